//! Our own verbs on a session: translated, sent to the durable plane, answered by it.

use std::sync::Arc;

use super::Session;
use super::auth::ANONYMOUS;
use crate::core::command::{Command, Rejection, Reply};
use crate::durable::{PushTo, ReplyTo};
use crate::quota::{Thing, Ticket, is_request};
use crate::routing::{API_PREFIX, Dispatch};
use crate::translate::{Asked, Asker, command};
use agentcom_protocol::Request;

impl Session {
    pub(super) fn handle_request(&mut self, request: &Request<'_>, dispatch: &mut Dispatch) {
        // A verb is a request to a subject in another spelling, so the same permission opens both.
        if self.is_restricted() {
            let subject = format!("{API_PREFIX}{}", request.verb.endpoint());
            if !self.may_publish(subject.as_bytes()) {
                self.context.metrics.denials.add(1);
                let sentence = format!("this login may not publish to {subject}");
                return self.decline(dispatch, request.tag, "denied", &sentence);
            }
        }
        let mut usual = std::mem::take(&mut self.usual);
        let asked = command::of_words(request, &self.asker(), &mut usual);
        self.usual = usual;
        match asked {
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
        let ticket = match self.request_ticket(&command) {
            Ok(ticket) => ticket,
            Err(rejection) => {
                self.context.metrics.quota_refusals.add(1);
                return reply_to.answer(Err(rejection), dispatch);
            }
        };
        let asked = self.context.durable.ask(self.id(), command, push_to, reply_to, ticket);
        if let Err(refused) = asked {
            self.context.metrics.requests_refused.add(1);
            refused.answer(dispatch);
        }
    }

    /// What a request takes; nothing, if it does not count as one.
    fn request_ticket(&self, command: &Command) -> Result<Option<Ticket>, Rejection> {
        if !is_request(command) {
            return Ok(None);
        }
        let limited = |retry_after_ms| Rejection::RateLimited { retry_after_ms };
        self.account.take_request(self.last_input).map_err(limited)?;
        self.account.enter(Thing::Request).map(Some).ok_or(Rejection::TooManyInFlight)
    }

    pub(super) fn asker(&self) -> Asker<'_> {
        let identity = match &self.login {
            Some(login) => &*login.identity,
            None => ANONYMOUS,
        };
        let agent = self.login.as_ref().and_then(|login| login.agent.clone());
        Asker { session: self.id(), identity, agent, process: &self.context.process }
    }
}
