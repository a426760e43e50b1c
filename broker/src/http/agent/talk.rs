//! What an agent says to others.

use serde_json::{Map, Value, json};

use super::{AgentSocket, Step};
use crate::core::command::{
    Destination, MessageCommand, MessageReply, Name, Rejection, channel_name,
};
use crate::http::form::Form;
use crate::http::{DurableCalls, channels};
use crate::translate::message::HISTORY_LIMIT;

impl<D: DurableCalls> AgentSocket<D> {
    pub(super) async fn send_message(&mut self, agent: Name, fields: &Map<String, Value>) -> Step {
        let mut form = Form::new(fields);
        let Some(post) = form.post("message_type", agent, None) else {
            return self.violate("message", form.into_errors()).await;
        };
        match self.message(MessageCommand::Post(Box::new(post))).await {
            Ok(Some(MessageReply::Posted { id, .. })) => {
                self.say(&json!({"type": "message_sent", "id": id.to_string()})).await
            }
            Ok(other) => unreachable!("a post answered {other:?}"),
            Err(rejection) => self.decline(&rejection).await,
        }
    }

    pub(super) async fn use_channel(
        &mut self,
        agent: Name,
        kind: &str,
        fields: &Map<String, Value>,
    ) -> Step {
        let spelling = fields["channel"].as_str().unwrap_or_default().to_owned();
        if kind == "channel_history" {
            let number = |name: &str, default: u64| match fields.get(name) {
                Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
                _ => default,
            };
            let (after, limit) = (number("since", 0), number("limit", HISTORY_LIMIT));
            return match channels::said(&self.state.durable, &spelling, after, limit).await {
                Ok(messages) => {
                    let body = json!({"type": kind, "channel": spelling, "messages": messages});
                    self.say(&body).await
                }
                Err(_) => self.refuse("unavailable").await,
            };
        }
        let Some(channel) = channel_name(&spelling) else {
            return self.refuse("channel_not_found").await;
        };
        let command = match kind {
            "channel_subscribe" => MessageCommand::Subscribe { channel, agent },
            "channel_unsubscribe" => MessageCommand::Unsubscribe { channel, agent },
            _ => {
                let mut form = Form::new(fields);
                let to = Destination::Channel(channel);
                match form.post("message_type", agent, Some(to)) {
                    Some(post) => MessageCommand::Post(Box::new(post)),
                    None => return self.violate(kind, form.into_errors()).await,
                }
            }
        };
        let reply = match self.message(command).await {
            Ok(reply) => reply,
            Err(Rejection::NoChannel { .. }) => return self.refuse("channel_not_found").await,
            Err(rejection) => return self.decline(&rejection).await,
        };
        let body = match (kind, reply) {
            (_, Some(MessageReply::Posted { id, channel_seq })) => json!({
                "type": "channel_published",
                "channel": spelling,
                "seq": channel_seq,
                "id": id.to_string(),
            }),
            ("channel_subscribe", Some(MessageReply::Changed { is_new: false })) => json!({
                "type": "channel_subscribed",
                "channel": spelling,
                "note": "already_subscribed",
            }),
            ("channel_subscribe", _) => json!({"type": "channel_subscribed", "channel": spelling}),
            _ => json!({"type": "channel_unsubscribed", "channel": spelling}),
        };
        self.say(&body).await
    }
}
