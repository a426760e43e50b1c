//! The tokens of the hub's agents, brought as they are.

use std::fs;
use std::path::Path;

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::tally::{Fate, Progress, Tally};

/// A token, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct KnownToken {
    pub(super) agent: String,
    pub(super) token: String,
}

/// The hub's token file: an object, token to agent.
pub(super) fn read(file: &Path) -> Result<Vec<KnownToken>, String> {
    let path = file.display();
    let text = fs::read(file).map_err(|error| format!("cannot read {path}: {error}"))?;
    let wrong = || format!("{path} is no tokens.json: an object of tokens and their agents");
    let map: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| wrong())?;
    let known = map.into_iter().map(|(token, agent)| match agent {
        Value::String(agent) => Ok(KnownToken { agent, token }),
        _ => Err(wrong()),
    });
    known.collect()
}

/// Bring them through the HTTP door at an address, with a token that opens it; `None` counts only.
pub(super) async fn bring(
    tokens: &[KnownToken],
    door: Option<(&str, Option<String>)>,
    progress: &Progress,
) -> Result<Tally, String> {
    let mut tally = Tally::of("tokens");
    let bar = progress.bar("tokens", tokens.len());
    let client = reqwest::Client::new();
    for KnownToken { agent, token } in tokens {
        let fate = match &door {
            None => Fate::Left,
            Some((http, operator)) => {
                let body = json!({"agent_id": agent, "token": token});
                let mut request = client.post(format!("{http}/admin/tokens")).json(&body);
                if let Some(operator) = operator {
                    request = request.bearer_auth(operator);
                }
                let failed = |error: reqwest::Error| {
                    let error = crate::cli::chain(&error.without_url());
                    format!("cannot bring tokens to {http}: {error}; --http says where it is")
                };
                let answer = request.send().await.map_err(failed)?;
                match answer.status() {
                    StatusCode::CREATED => Fate::Imported,
                    StatusCode::CONFLICT => Fate::Known,
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        return Err(format!(
                            "{http} wants the operator's token; give it with --token, or run this \
                             where the broker's data folder is"
                        ));
                    }
                    status => {
                        let said = answer.text().await.map_err(failed)?;
                        Fate::Refused(format!("the token of {agent:?}: {status} {said}"))
                    }
                }
            }
        };
        tally.count(fate);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(tally)
}
