//! Requests to `$AC.API.>`: the same commands as our verbs, for clients that only know NATS.

use super::Session;
use crate::durable::{PushTo, ReplyTo};
use crate::routing::{API_PREFIX, BROKER_PREFIX, Dispatch};
use crate::translate::trace::Trace;
use crate::translate::{Asked, json};
use agentcom_protocol::{HeaderMap, Mistake, Publish, Verb};

impl Session {
    pub(super) fn handle_api(&mut self, publish: &Publish<'_>, dispatch: &mut Dispatch) {
        let subject = std::str::from_utf8(publish.subject).unwrap_or_default();
        let endpoint = subject.strip_prefix(API_PREFIX).unwrap_or_default();
        let body = &publish.payload[publish.header_bytes.unwrap_or(0)..];
        let reply = publish.reply.and_then(|reply| std::str::from_utf8(reply).ok());
        if let Some(reply) = reply.filter(|reply| !self.may_be_told_at(reply, dispatch)) {
            return self.deny(dispatch, "Publish with Reply of", reply.as_bytes());
        }
        let Some(verb) = Verb::at(endpoint) else {
            return self.answer_no_verb(endpoint, publish, dispatch);
        };
        match json::request(verb, body, &self.asker()) {
            Err(invalid) => decline(reply, "invalid", &invalid.to_string(), dispatch),
            Ok(Asked { deliver: Some(deliver), .. })
                if !self.may_be_told_at(&deliver, dispatch) =>
            {
                self.deny(dispatch, "Publish to", deliver.as_bytes());
            }
            Ok(Asked { mut command, deliver, names }) => {
                if let Some(trace) =
                    publish.header_bytes.and_then(|bytes| trace_of(&publish.payload[..bytes]))
                {
                    trace.mark(&mut command);
                }
                let reply_to = match reply {
                    Some(reply) => ReplyTo::Subject { subject: reply.into(), names },
                    None => ReplyTo::Nobody,
                };
                let push_to = deliver.map(|subject| PushTo::Subject { subject: subject.into() });
                self.ask(command, reply_to, push_to, dispatch);
            }
        }
    }

    /// There is no such verb, or not yet.
    fn answer_no_verb(&mut self, endpoint: &str, publish: &Publish<'_>, dispatch: &mut Dispatch) {
        let words = endpoint.split_once('.');
        let not_yet = words.and_then(|(family, action)| Verb::find_not_yet(family, action));
        let Some(name) = not_yet else { return self.answer_unheard(publish, dispatch) };
        let mistake = Mistake::NotSupported { name };
        let reply = publish.reply.and_then(|reply| std::str::from_utf8(reply).ok());
        decline(reply, mistake.code(), &mistake.to_string(), dispatch);
    }

    /// Whether the broker may publish to `subject` on the client's behalf: where the client could
    /// itself, or where it listens. Never where only the broker speaks.
    fn may_be_told_at(&mut self, subject: &str, dispatch: &mut Dispatch) -> bool {
        !subject.starts_with(BROKER_PREFIX)
            && (self.may_publish(subject.as_bytes())
                || dispatch.own_subscription(&self.outlet, subject.as_bytes()).is_some())
    }
}

/// The trace that a request belongs to; headers that cannot be read tell of none.
fn trace_of(block: &[u8]) -> Option<Trace> {
    HeaderMap::parse(block).ok().and_then(|headers| Trace::of(headers.iter()))
}

fn decline(reply: Option<&str>, code: &str, sentence: &str, dispatch: &mut Dispatch) {
    if let Some(reply) = reply {
        dispatch.announce(reply, json::error(code, sentence).to_string().as_bytes());
    }
}
