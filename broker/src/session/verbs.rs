//! Our own verbs on a session: translated, sent to the durable plane, answered by it.

use std::sync::Arc;

use super::Session;
use crate::core::command::{Command, Reply};
use crate::durable::{PushTo, ReplyTo};
use crate::routing::{API_PREFIX, Dispatch};
use crate::translate::{Asked, Asker, command};
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
        match command::of_words(request, &self.asker()) {
            Ok(Asked { command, .. }) => {
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

    /// Send a command on its way, noting what of the session the durable plane knows by it.
    pub(super) fn ask(
        &mut self,
        command: Command,
        reply_to: ReplyTo,
        push_to: Option<PushTo>,
        dispatch: &mut Dispatch,
    ) {
        match &command {
            Command::Attach(_) | Command::Take(_) => {
                self.renewed = Some(self.last_input);
                self.is_known = true;
            }
            Command::Watch { .. } | Command::Await { .. } => self.is_known = true,
            Command::Leave { .. } if self.renewed.take().is_none() => {
                return reply_to.answer(Ok(Reply::Noted), dispatch);
            }
            _ => {}
        }
        if let Err(refused) = self.context.durable.ask(self.id(), command, push_to, reply_to) {
            self.context.metrics.requests_refused.add(1);
            refused.answer(dispatch);
        }
    }

    pub(super) fn asker(&self) -> Asker<'_> {
        let identity = match &self.login {
            Some(login) => Arc::clone(&login.identity),
            None => "anonymous".into(),
        };
        let agent = self.login.as_ref().and_then(|login| login.agent.clone());
        Asker { session: self.id(), identity, agent, process: &self.context.process }
    }
}
