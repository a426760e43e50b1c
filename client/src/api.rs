//! The JSON spelling of our verbs, for what cannot stand on a line: text with blanks in it.

use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::error::{RequestError, RequestErrorKind};
use crate::operation_error::{Trouble, TroubleKind};
use crate::request::Request;

/// The answer to a request that was declined.
#[derive(Deserialize)]
struct Refusal {
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    sentence: String,
}

impl Client {
    /// Ask the broker on `$AC.API.` + `endpoint`.
    ///
    /// Cancel-safe for this process: a dropped question leaves nothing behind here, but the broker
    /// may have it already.
    pub(crate) async fn ask_in_json(&self, endpoint: &str, body: &Value) -> Result<(), Trouble> {
        let request = Request::new().payload(body.to_string().into());
        let answer = self
            .send_request(format!("$AC.API.{endpoint}"), request)
            .await
            .map_err(|error| trouble(error.kind()))?;
        let refusal: Refusal =
            serde_json::from_slice(&answer.payload).map_err(Trouble::protocol)?;
        match refusal.error {
            None => Ok(()),
            Some(Reason { code, sentence }) => {
                Err(Trouble::with_source(TroubleKind::Declined(code), sentence))
            }
        }
    }
}

fn trouble(kind: RequestErrorKind) -> Trouble {
    match kind {
        RequestErrorKind::NoResponders => TroubleKind::NotSupported.into(),
        RequestErrorKind::TimedOut => TroubleKind::TimedOut.into(),
        RequestErrorKind::MaxPayloadExceeded => TroubleKind::MaxPayloadExceeded.into(),
        RequestErrorKind::Closed => TroubleKind::Closed.into(),
        other => Trouble::with_source(TroubleKind::Disconnected, RequestError::from(other)),
    }
}
