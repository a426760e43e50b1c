//! `GET /api/schemas`: what may be sent here, for programs that check before they send. The frames
//! are those that the WebSocket goes by; the bodies are written down, and tested against what the
//! routes say of an empty one.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::agent;
use super::error::reply;

/// Of the form of this document.
const VERSION: &str = "1.0";

/// A field and the word for its type.
pub(super) type Field = (&'static str, &'static str);

/// A body: its key, the method and path that take it, what for, and its fields.
pub(super) struct Body {
    pub(super) key: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) description: &'static str,
    pub(super) required: &'static [Field],
    pub(super) optional: &'static [Field],
}

/// The bodies of the contract's 8.1 that this broker takes.
pub(super) const BODIES: [Body; 12] = [
    Body {
        key: "post_message",
        method: "POST",
        path: "/api/message",
        description: "Send a message to an agent or to all",
        required: &[("payload", "object")],
        optional: &[("reply_to", "string"), ("to", "string"), ("type", "string")],
    },
    Body {
        key: "put_heartbeat_interval",
        method: "PUT",
        path: "/api/config/heartbeat-interval",
        description: "Set how often agents are advised to say that they are there",
        required: &[("heartbeat_interval_ms", "positive_integer")],
        optional: &[],
    },
    Body {
        key: "put_mailbox_retention",
        method: "PUT",
        path: "/api/config/mailbox-retention",
        description: "Set how long messages wait in mailboxes",
        required: &[("mailbox_ttl_ms", "positive_integer")],
        optional: &[],
    },
    Body {
        key: "put_default_repo",
        method: "PUT",
        path: "/api/config/default-repo",
        description: "Set the repository that new agents are told",
        required: &[("url", "string")],
        optional: &[],
    },
    Body {
        key: "post_channel",
        method: "POST",
        path: "/api/channels",
        description: "Make a channel",
        required: &[("name", "string")],
        optional: &[("description", "string")],
    },
    Body {
        key: "post_channel_publish",
        method: "POST",
        path: "/api/channels/{id}/publish",
        description: "Send a message to a channel",
        required: &[("payload", "object")],
        optional: &[("reply_to", "string"), ("type", "string")],
    },
    Body {
        key: "post_mailbox_ack",
        method: "POST",
        path: "/api/mailbox/{id}/ack",
        description: "Drop what was read of a mailbox",
        required: &[("seq", "integer")],
        optional: &[],
    },
    Body {
        key: "post_admin_token",
        method: "POST",
        path: "/admin/tokens",
        description: "Issue a token for an agent",
        required: &[("agent_id", "string")],
        optional: &[("token", "string")],
    },
    Body {
        key: "post_admin_push_task",
        method: "POST",
        path: "/api/admin/push-task",
        description: "Give a task to one agent that is here",
        required: &[("agent_id", "string"), ("description", "string")],
        optional: &[("metadata", "object")],
    },
    Body {
        key: "post_task",
        method: "POST",
        path: "/api/tasks",
        description: "Submit a task",
        required: &[("description", "string")],
        optional: &[
            ("assign_to", "string"),
            ("branch", "string"),
            ("complete_by", "integer"),
            ("complexity_tier", "string"),
            ("depends_on", "array<string>"),
            ("file_hints", "array<object>"),
            ("goal_id", "string"),
            ("max_retries", "integer"),
            ("max_verification_retries", "integer"),
            ("metadata", "object"),
            ("needed_capabilities", "array<string>"),
            ("priority", "string"),
            ("queue", "string"),
            ("repo", "string"),
            ("skip_verification", "boolean"),
            ("success_criteria", "array<string>"),
            ("verification_steps", "array<object>"),
            ("verification_timeout_ms", "integer"),
        ],
    },
    Body {
        key: "post_onboard_register",
        method: "POST",
        path: "/api/onboard/register",
        description: "Register an agent, and get its first token",
        required: &[("agent_id", "string")],
        optional: &[],
    },
    Body {
        key: "post_push_subscribe",
        method: "POST",
        path: "/api/dashboard/push-subscribe",
        description: "Tell a browser what went wrong: its subscription, as it writes it",
        required: &[("endpoint", "string"), ("keys", "object")],
        optional: &[],
    },
];

/// The fields that may be in the body with this key.
pub(super) fn fields_of(key: &'static str) -> impl Iterator<Item = Field> {
    let body = BODIES.into_iter().filter(move |body| body.key == key);
    body.flat_map(|body| body.required.iter().chain(body.optional).copied())
}

/// `GET /api/schemas`: for everybody.
pub(super) async fn show() -> Response {
    let schemas = json!({
        "websocket": agent::frames().map(|frame| {
            // The field by which a frame is told from others is part of each.
            let required = [("type", "string")].into_iter().chain(frame.required);
            json!({"type": frame.kind, "description": frame.description,
                "required_fields": fields(required), "optional_fields": fields(frame.optional)})
        }).collect::<Vec<Value>>(),
        "http": BODIES.iter().map(|body| json!({
            "key": body.key,
            "method": body.method,
            "path": body.path,
            "description": body.description,
            "required_fields": fields(body.required.iter().copied()),
            "optional_fields": fields(body.optional.iter().copied()),
        })).collect::<Vec<Value>>(),
        "version": VERSION,
    });
    reply(StatusCode::OK, &json!({"schemas": schemas, "version": VERSION}))
}

fn fields(fields: impl IntoIterator<Item = Field>) -> Vec<Value> {
    fields.into_iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect()
}
