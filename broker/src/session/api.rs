//! Requests to `$AC.API.>`: the same commands as our verbs, for clients that only know NATS.

use std::sync::Arc;

use super::Session;
use crate::durable::{PushTo, ReplyTo};
use crate::routing::{API_PREFIX, BROKER_PREFIX, Dispatch};
use crate::translate::json::{self, ApiRequest};
use agentcom_protocol::Publish;

impl Session {
    pub(super) fn handle_api(&mut self, publish: &Publish<'_>, dispatch: &mut Dispatch) {
        let subject = std::str::from_utf8(publish.subject).unwrap_or_default();
        let endpoint = subject.strip_prefix(API_PREFIX).unwrap_or_default();
        let body = &publish.payload[publish.header_bytes.unwrap_or(0)..];
        let reply = publish.reply.and_then(|reply| std::str::from_utf8(reply).ok());
        if let Some(reply) = reply.filter(|reply| !self.may_be_told_at(reply, dispatch)) {
            return self.deny(dispatch, "Publish with Reply of", reply.as_bytes());
        }
        let reply_to = || match reply {
            Some(reply) => ReplyTo::Subject { subject: reply.into() },
            None => ReplyTo::Nobody,
        };
        match json::command(endpoint, body, self.id(), &self.identity()) {
            None => self.answer_unheard(publish, dispatch),
            Some(Err(invalid)) => {
                if let Some(reply) = reply {
                    let answer = json::error("invalid", &invalid.to_string()).to_string();
                    dispatch.announce(reply, answer.as_bytes());
                }
            }
            Some(Ok(ApiRequest { deliver: Some(deliver), .. }))
                if !self.may_be_told_at(&deliver, dispatch) =>
            {
                self.deny(dispatch, "Publish to", deliver.as_bytes());
            }
            Some(Ok(request)) => {
                let push_to =
                    request.deliver.map(|subject| PushTo::Subject { subject: Arc::from(subject) });
                self.ask(request.command, reply_to(), push_to, dispatch);
            }
        }
    }

    /// Whether the broker may publish to `subject` on the client's behalf: where the client could
    /// itself, or where it listens. Never where only the broker speaks.
    fn may_be_told_at(&mut self, subject: &str, dispatch: &mut Dispatch) -> bool {
        !subject.starts_with(BROKER_PREFIX)
            && (self.may_publish(subject.as_bytes())
                || dispatch.own_subscription(&self.outlet, subject.as_bytes()).is_some())
    }
}
