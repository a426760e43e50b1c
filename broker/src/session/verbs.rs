//! Our own verbs on a session: translated, sent to the durable plane, answered by it.

use std::sync::Arc;

use super::Session;
use crate::core::command::{Command, Reply};
use crate::durable::{PushTo, ReplyTo};
use crate::routing::{API_PREFIX, Dispatch};
use crate::translate::words;
use agentcom_protocol::Request;

impl Session {
    pub(super) fn handle_request(&mut self, request: &Request<'_>, dispatch: &mut Dispatch) {
        // A verb is a request to a subject in another spelling, so the same permission opens both.
        let subject = format!("{API_PREFIX}{}", request.verb.endpoint());
        if !self.may_publish(subject.as_bytes()) {
            self.context.metrics.denials.add(1);
            let sentence = format!("this login may not publish to {subject}");
            return self.decline(dispatch, request.tag, "denied", &sentence);
        }
        let identity = self.identity();
        match words::command(request, self.id(), &identity) {
            Ok(command) => {
                let tag = request.tag.into();
                let reply_to = ReplyTo::Verb { outlet: Arc::clone(&self.outlet), tag };
                let push_to = PushTo::Verb { outlet: Arc::clone(&self.outlet) };
                self.ask(command, reply_to, Some(push_to), dispatch);
            }
            Err(invalid) => {
                let sentence = format!("{invalid}; usage: {}", request.verb.usage());
                self.decline(dispatch, request.tag, "invalid", &sentence);
            }
        }
    }

    /// Send a command on its way, noting whether the connection speaks for an agent.
    pub(super) fn ask(
        &mut self,
        command: Command,
        reply_to: ReplyTo,
        push_to: Option<PushTo>,
        dispatch: &mut Dispatch,
    ) {
        let handed_in = match (command, push_to) {
            (Command::Attach(attach), Some(push_to)) => {
                self.agent = Some(self.last_input);
                self.context.durable.attach(attach, push_to, reply_to)
            }
            (Command::Detach { .. }, _) if self.agent.is_some() => self.stop_agent(reply_to),
            (Command::Detach { .. }, _) => return reply_to.answer(Ok(Reply::Noted), dispatch),
            (command, _) => self.context.durable.send(command, reply_to),
        };
        if let Err(refused) = handed_in {
            self.context.metrics.requests_refused.add(1);
            refused.answer(dispatch);
        }
    }

    pub(super) fn identity(&self) -> Arc<str> {
        self.login.as_ref().map_or_else(|| "anonymous".into(), |login| Arc::clone(&login.identity))
    }
}
