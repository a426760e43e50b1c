//! What an agent may send over its WebSocket: one table of frames and their fields.

use serde_json::{Map, Value};

use crate::http::error::FieldError;
use crate::http::form::{Form, excerpt, too_long};
use crate::http::schemas::Field;

/// What a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Text,
    Texts,
    Object,
    Objects,
    Integer,
    Number,
}

/// The frames: name, required fields, optional fields; fields in the order of their names, which
/// is the order in which mistakes are told.
type Frame = (&'static str, &'static [(&'static str, Want)], &'static [(&'static str, Want)]);

const TASK: &[(&str, Want)] = &[("task_id", Want::Text)];
const CHANNEL: &[(&str, Want)] = &[("channel", Want::Text)];
const OUTCOME: &[(&str, Want)] = &[("generation", Want::Integer), ("task_id", Want::Text)];

const FRAMES: &[Frame] = &[
    (
        "identify",
        &[("agent_id", Want::Text), ("token", Want::Text)],
        &[
            ("capabilities", Want::Texts),
            ("name", Want::Text),
            ("ollama_url", Want::Text),
            ("status", Want::Text),
        ],
    ),
    (
        "message",
        &[("payload", Want::Object)],
        &[("message_type", Want::Text), ("reply_to", Want::Text), ("to", Want::Text)],
    ),
    ("status", &[("status", Want::Text)], &[]),
    ("list_agents", &[], &[]),
    ("ping", &[], &[]),
    ("channel_subscribe", CHANNEL, &[]),
    ("channel_unsubscribe", CHANNEL, &[]),
    (
        "channel_publish",
        &[("channel", Want::Text), ("payload", Want::Object)],
        &[("message_type", Want::Text), ("reply_to", Want::Text)],
    ),
    ("channel_history", CHANNEL, &[("limit", Want::Integer), ("since", Want::Integer)]),
    ("list_channels", &[], &[]),
    ("task_accepted", TASK, &[]),
    ("task_progress", TASK, &[("execution_event", Want::Object), ("progress", Want::Integer)]),
    (
        "task_complete",
        OUTCOME,
        &[
            ("result", Want::Object),
            ("tokens_used", Want::Integer),
            ("verification_history", Want::Objects),
            ("verification_report", Want::Object),
        ],
    ),
    ("task_failed", OUTCOME, &[("error", Want::Text), ("reason", Want::Text)]),
    ("task_recovering", TASK, &[]),
    ("task_rejected", TASK, &[("reason", Want::Text)]),
    (
        "state_report",
        TASK,
        &[("assigned_at", Want::Number), ("generation", Want::Integer), ("status", Want::Text)],
    ),
    (
        "wake_result",
        &[("status", Want::Text), ("task_id", Want::Text)],
        &[("attempt", Want::Integer), ("error", Want::Text), ("reason", Want::Text)],
    ),
    (
        "resource_report",
        &[],
        &[
            ("cpu_percent", Want::Number),
            ("ram_total_bytes", Want::Number),
            ("ram_used_bytes", Want::Number),
            ("timestamp", Want::Number),
            ("vram_total_bytes", Want::Number),
            ("vram_used_bytes", Want::Number),
        ],
    ),
    ("ollama_report", &[("ollama_url", Want::Text)], &[]),
    ("agent_restarting", &[], &[("reason", Want::Text)]),
];

/// What each frame is for, in the order of the table.
const MEANINGS: [&str; 21] = [
    "Say who you are, and what you can do",
    "Send a message to an agent or to all",
    "Say what you do",
    "Ask who is here",
    "Say that you are there",
    "Hear what is said in a channel",
    "Hear it no more",
    "Say something in a channel",
    "Ask what was said in a channel",
    "Ask which channels there are",
    "Take on a task that you were given",
    "Report on a task",
    "Say that a task is done",
    "Say that an attempt failed",
    "Ask what became of a task after you were started again",
    "Give a task back that you were given",
    "Say what you work on after a lost connection",
    "Say how it went to wake the agent behind you",
    "Say how busy your machine is; nothing comes of it",
    "Say where models are; nothing comes of it",
    "Say that you will be back",
];

/// A frame as others are told of it.
pub(in crate::http) struct Shape {
    pub(in crate::http) kind: &'static str,
    pub(in crate::http) description: &'static str,
    pub(in crate::http) required: Vec<Field>,
    pub(in crate::http) optional: Vec<Field>,
}

/// Every frame.
pub(in crate::http) fn frames() -> impl Iterator<Item = Shape> {
    let worded = |fields: &'static [(&'static str, Want)]| -> Vec<Field> {
        fields.iter().map(|(name, want)| (*name, want.word())).collect()
    };
    FRAMES.iter().zip(MEANINGS).map(move |((kind, required, optional), description)| Shape {
        kind,
        description,
        required: worded(required),
        optional: worded(optional),
    })
}

impl Want {
    /// Its word for programs.
    fn word(self) -> &'static str {
        match self {
            Want::Text => "string",
            Want::Texts => "array<string>",
            Want::Object => "object",
            Want::Objects => "array<object>",
            Want::Integer => "integer",
            Want::Number => "number",
        }
    }
}

/// Longest texts, in characters, by the names of their fields.
const TEXTS_MAX: [(&str, usize); 6] = [
    ("agent_id", 128),
    ("channel", 64),
    ("name", 128),
    ("ollama_url", 512),
    ("status", 256),
    ("token", 256),
];

/// Every mistake in a frame; none if it can be handled.
pub(super) fn check(kind: &str, fields: &Map<String, Value>) -> Vec<FieldError> {
    let mut form = Form::new(fields);
    match FRAMES.iter().find(|(name, ..)| *name == kind) {
        None => {
            let known: Vec<&str> = FRAMES.iter().map(|(name, ..)| *name).collect();
            let detail = format!("must be one of {}", known.join(", "));
            form.refuse("type", "unknown_message_type", detail, Some(excerpt(kind)));
        }
        Some((_, required, optional)) => {
            for (name, want) in *required {
                if form.field(name).is_none() {
                    form.required(name);
                }
                form.check(name, *want);
            }
            optional.iter().for_each(|(name, want)| form.check(name, *want));
        }
    }
    form.into_errors()
}

impl Form<'_> {
    /// Note it if the field is there and is not what it must be.
    fn check(&mut self, name: &'static str, want: Want) {
        if let (Want::Text, Some(Value::String(text))) = (want, self.field(name)) {
            let max = TEXTS_MAX.iter().find(|(field, _)| *field == name);
            if let Some((_, max)) = max.filter(|(_, max)| text.chars().count() > *max) {
                let detail = too_long(*max, "characters");
                self.refuse(name, "too_long", detail, Some(excerpt(text)));
            }
        }
        self.check_types([(name, want.word())]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(frame: &Value) -> Vec<String> {
        let fields = frame.as_object().unwrap();
        let found = check(fields["type"].as_str().unwrap(), fields);
        found.into_iter().map(|mistake| format!("{} {}", mistake.field, mistake.error)).collect()
    }

    #[test]
    fn what_is_right_passes_with_fields_that_nobody_knows() {
        for (name, required, optional) in FRAMES {
            let value = |want: &Want| match want {
                Want::Text => json!("x"),
                Want::Texts => json!(["x"]),
                Want::Object => json!({}),
                Want::Objects => json!([{}]),
                Want::Integer => json!(-1),
                Want::Number => json!(0.5),
            };
            let mut frame = Map::from_iter([("type".to_owned(), json!(name))]);
            frame.insert("stranger".to_owned(), json!([1]));
            frame.extend(required.iter().map(|(field, want)| ((*field).to_owned(), value(want))));
            let mut nulls = frame.clone();
            nulls.extend(optional.iter().map(|(field, _)| ((*field).to_owned(), Value::Null)));
            assert_eq!(mistakes(&Value::Object(nulls)), [""; 0], "{name}");
            frame.extend(optional.iter().map(|(field, want)| ((*field).to_owned(), value(want))));
            assert_eq!(mistakes(&Value::Object(frame)), [""; 0], "{name}");
        }
    }

    #[test]
    fn every_mistake_is_told_in_order() {
        let none = json!({"type": "identify", "name": "x".repeat(129), "status": 1, "token": null});
        assert_eq!(
            mistakes(&none),
            ["agent_id required", "token required", "name too_long", "status wrong_type"]
        );
        let listed = json!({"type": "identify", "agent_id": "a", "token": "b",
            "capabilities": ["x", {"name": "y"}, 3]});
        assert_eq!(mistakes(&listed), ["capabilities[1] wrong_type"]);
        let float = json!({"type": "task_complete", "task_id": "t", "generation": 1.0});
        assert_eq!(mistakes(&float), ["generation wrong_type"]);
        assert_eq!(mistakes(&json!({"type": "dance"})), ["type unknown_message_type"]);
    }

    #[test]
    fn fields_stand_in_the_order_in_which_their_mistakes_are_told() {
        for (name, required, optional) in FRAMES {
            assert!(required.is_sorted_by_key(|(field, _)| field), "{name}");
            assert!(optional.is_sorted_by_key(|(field, _)| field), "{name}");
        }
    }
}
