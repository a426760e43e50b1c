//! The doors that the crowd comes through: how each of them says and hears the same few things.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use agentcom_protocol::binary::{self, encode};
use agentcom_protocol::{Decoded, Limits, ServerFrame, Verb};
use agentcom_tests::frames::Frames;
use agentcom_tests::{Offer, QUIET, Wire};
use serde_json::{Value, json};

/// Tasks that one agent holds or takes at once.
const CREDIT: usize = 8;
/// The queue of those who are offered work, and the one of those who take it.
const OFFERED: &str = "q";
const TAKEN: &str = "taken";

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Text verbs. Submits carry no key, so that a repeated one is another task.
    Words,
    /// JSON on reserved subjects.
    Json,
    /// The binary framing.
    Frames,
    /// Text verbs of queues: work is taken, for a time that no connection renews.
    Queue,
}

/// What a client hears.
#[derive(Debug)]
pub(super) enum Heard {
    Submitted {
        job: usize,
        task: u64,
    },
    Work {
        task: u64,
        generation: u64,
        payload: String,
    },
    Completed {
        task: u64,
        is_duplicate: bool,
    },
    /// What was taken has been heard; whoever wants more takes again.
    TakeIsOver,
    Noted,
    /// A lease is over.
    Revoked {
        task: u64,
    },
    /// What should not be said.
    Other(String),
}

/// One connection through a door.
#[derive(Debug)]
pub(super) enum Line {
    Words(Wire),
    /// With the subject that its answers come to, up to the last token.
    Json(Wire, String),
    Frames(Frames),
    Queue(Wire),
}

impl Door {
    /// Connect as `name`, or say why nobody is let in.
    pub(super) fn open(self, address: SocketAddr, name: &str) -> io::Result<Line> {
        if self == Door::Frames {
            return Frames::try_open(address, QUIET).map(Line::Frames);
        }
        let mut wire = Wire::try_open(address)?;
        wire.try_send(format!("CONNECT {QUIET}\r\n"))?;
        Ok(match self {
            Door::Json => {
                let inbox = format!("_INBOX.{name}.");
                wire.try_send(format!("SUB {inbox}* 1\r\n"))?;
                Line::Json(wire, inbox)
            }
            Door::Queue => Line::Queue(wire),
            _ => Line::Words(wire),
        })
    }

    /// Whether a submit that is sent again finds the first one.
    pub(super) fn has_keys(self) -> bool {
        self != Door::Words
    }
}

/// What tags and inboxes tell about an answer: what was asked for, and about which job or task.
const SUBMIT: u32 = 0;
const COMPLETE: u32 = 1;
const OTHER: u32 = 2;

fn tag(kind: u32, about: u64) -> u32 {
    let about = u32::try_from(about).expect("a small number");
    assert!(about < 1 << 28, "a small number");
    (kind << 28) | about
}

/// Kind and number of a tag.
fn split(tag: u32) -> (u32, u64) {
    (tag >> 28, u64::from(tag & ((1 << 28) - 1)))
}

impl Line {
    pub(super) fn submit(&mut self, job: usize, payload: &str) {
        let (tag, size, key) = (tag(SUBMIT, job as u64), payload.len(), format!("job-{job}"));
        let bytes = match self {
            Line::Words(_) => format!("TASK SUBMIT {tag} {OFFERED} {size}\r\n{payload}\r\n").into(),
            Line::Queue(_) => {
                format!("QUEUE PUT {tag} {TAKEN} dedup={key} {size}\r\n{payload}\r\n").into()
            }
            Line::Json(_, inbox) => {
                let body = json!({"queue": OFFERED, "payload": payload, "dedup": key});
                ask(inbox, "TASK.SUBMIT", tag, &body)
            }
            Line::Frames(_) => {
                let words = [OFFERED, &format!("dedup={key}")];
                frame(Verb::TaskSubmit, tag, &words, payload)
            }
        };
        self.say(bytes);
    }

    /// Ask for work as `agent`, which holds leases of an earlier connection.
    pub(super) fn start(&mut self, agent: &str, holding: impl Iterator<Item = (u64, u64)>) {
        let tag = tag(OTHER, 0);
        let bytes = match self {
            Line::Words(_) | Line::Frames(_) => {
                let leases = holding.map(|(task, generation)| format!("{task}:{generation}"));
                let holding = leases.collect::<Vec<_>>().join(",");
                let options = [
                    format!("queues={OFFERED}"),
                    format!("credit={CREDIT}"),
                    format!("holding={holding}"),
                ];
                let [queues, credit, holding] = options.each_ref().map(String::as_str);
                if matches!(self, Line::Words(_)) {
                    format!("WORKER START {tag} {agent} {queues} {credit} {holding}\r\n").into()
                } else {
                    frame(Verb::WorkerStart, tag, &[agent, queues, credit, holding], "")
                }
            }
            Line::Json(_, inbox) => {
                let lease = |(task, generation)| json!({"task": task, "generation": generation});
                let holding: Vec<Value> = holding.map(lease).collect();
                let body = json!({"agent": agent, "queues": [OFFERED], "credit": CREDIT,
                    "holding": holding, "deliver": format!("{inbox}work")});
                ask(inbox, "WORKER.START", tag, &body)
            }
            Line::Queue(_) => format!(
                "QUEUE TAKE {tag} {TAKEN} max={CREDIT} wait_ms=60000 lease_ms=5000 \
                 consumer={agent}\r\n"
            )
            .into(),
        };
        self.say(bytes);
    }

    /// Accept a task and report on it.
    pub(super) fn report(&mut self, task: u64, generation: u64) {
        let tag = tag(OTHER, task);
        let bytes = match self {
            Line::Words(_) => format!(
                "TASK ACCEPT {tag} {task} {generation}\r\n\
                 TASK PROGRESS {tag} {task} {generation} 3\r\n50%\r\n"
            )
            .into(),
            Line::Queue(_) => {
                format!("TASK PROGRESS {tag} {task} {generation} 3\r\n50%\r\n").into()
            }
            Line::Json(_, inbox) => {
                let body = json!({"task": task, "generation": generation, "data": "50%"});
                let accept = json!({"task": task, "generation": generation});
                [ask(inbox, "TASK.ACCEPT", tag, &accept), ask(inbox, "TASK.PROGRESS", tag, &body)]
                    .concat()
            }
            Line::Frames(_) => {
                let words = [task.to_string(), generation.to_string()];
                let words = words.each_ref().map(String::as_str);
                let accept = frame(Verb::TaskAccept, tag, &words, "");
                [accept, frame(Verb::TaskProgress, tag, &words, "50%")].concat()
            }
        };
        self.say(bytes);
    }

    pub(super) fn complete(&mut self, task: u64, generation: u64, result: &str) {
        let (tag, size) = (tag(COMPLETE, task), result.len());
        let bytes = match self {
            Line::Words(_) | Line::Queue(_) => {
                format!("TASK COMPLETE {tag} {task} {generation} {size}\r\n{result}\r\n").into()
            }
            Line::Json(_, inbox) => {
                let body = json!({"task": task, "generation": generation, "result": result});
                ask(inbox, "TASK.COMPLETE", tag, &body)
            }
            Line::Frames(_) => {
                let words = [task.to_string(), generation.to_string()];
                frame(Verb::TaskComplete, tag, &words.each_ref().map(String::as_str), result)
            }
        };
        self.say(bytes);
    }

    /// The next thing the broker says; `None` once it has hung up.
    pub(super) fn hear(&mut self) -> Option<Heard> {
        match self {
            Line::Words(wire) | Line::Queue(wire) => {
                wire.next_operation().map(|operation| heard_words(&operation))
            }
            Line::Json(wire, inbox) => {
                wire.next_operation().map(|operation| heard_json(inbox, &operation))
            }
            Line::Frames(frames) => frames.next_whole().map(|frame| heard_frame(&frame)),
        }
    }

    /// Where sending fails, answers may still be there to be read.
    fn say(&mut self, bytes: Vec<u8>) {
        match self {
            Line::Words(wire) | Line::Json(wire, _) | Line::Queue(wire) => {
                let _ = wire.try_send(bytes);
            }
            Line::Frames(frames) => frames.send(bytes),
        }
    }
}

fn ask(inbox: &str, endpoint: &str, tag: u32, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let size = body.len();
    format!("PUB $AC.API.{endpoint} {inbox}{tag} {size}\r\n{body}\r\n").into()
}

fn frame(verb: Verb, tag: u32, words: &[&str], body: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::request(&mut bytes, verb, tag, words, body.as_bytes());
    bytes
}

/// An answer, taken apart the same way whatever door it came through.
fn answered(tag: u32, fields: &BTreeMap<String, String>) -> Heard {
    let field = |key: &str| fields.get(key).map(String::as_str);
    let number = |key: &str| field(key).and_then(|value| value.parse::<u64>().ok());
    match (split(tag), number("task"), field("state")) {
        ((SUBMIT, job), Some(task), _) => Heard::Submitted { job: job as usize, task },
        ((COMPLETE, task), Some(named), Some("completed")) if task == named => {
            Heard::Completed { task, is_duplicate: field("duplicate") == Some("true") }
        }
        ((OTHER, _), None, _) if field("count").is_some() => Heard::TakeIsOver,
        ((OTHER, _), ..) => Heard::Noted,
        _ => Heard::Other(format!("answer {tag}: {fields:?}")),
    }
}

fn heard_words(operation: &[u8]) -> Heard {
    let item = || Offer::parse_item(operation, &tag(OTHER, 0).to_string());
    if let Some(work) = Offer::parse(operation).or_else(item) {
        let payload = String::from_utf8_lossy(&work.payload).into_owned();
        return Heard::Work { task: work.task, generation: work.generation, payload };
    }
    let text = String::from_utf8_lossy(operation);
    let mut words = text.trim_end().split(' ');
    match (words.next(), words.next().and_then(|number| number.parse().ok())) {
        (Some("OK"), Some(tag)) => {
            let fields = words.filter_map(|word| word.split_once('='));
            answered(tag, &fields.map(|(key, value)| (key.into(), value.into())).collect())
        }
        (Some("REVOKED"), Some(task)) => Heard::Revoked { task: u64::from(task) },
        _ => Heard::Other(text.into_owned()),
    }
}

fn heard_json(inbox: &str, operation: &[u8]) -> Heard {
    let text = String::from_utf8_lossy(operation);
    let fault = || Heard::Other(text.to_string());
    let Some((line, body)) = text.split_once("\r\n") else { return fault() };
    let to = line.strip_prefix("MSG ").and_then(|line| line.strip_prefix(inbox));
    let to = to.and_then(|to| to.split(' ').next()).unwrap_or_default();
    let Ok(Value::Object(body)) = serde_json::from_str(body.trim_end()) else { return fault() };
    if to == "work" {
        let number = |key| body.get(key).and_then(Value::as_u64);
        return match (&body["type"], number("task"), number("generation"), body.get("payload")) {
            (kind, Some(task), Some(generation), Some(Value::String(payload)))
                if kind == "offer" =>
            {
                Heard::Work { task, generation, payload: payload.clone() }
            }
            _ => fault(),
        };
    }
    match to.parse() {
        Ok(tag) if !body.contains_key("error") => {
            let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            answered(tag, &body.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        _ => fault(),
    }
}

fn heard_frame(bytes: &[u8]) -> Heard {
    use binary::ServerFrame::{Common, Granted};
    match binary::ServerDecoder::new(Limits::default()).decode(bytes) {
        Ok(Decoded::Frame { frame: Granted { tag, fields, .. }, .. }) => {
            let fields = fields.into_iter().map(|(key, value)| (key.into(), value.into()));
            answered(tag, &fields.collect())
        }
        Ok(Decoded::Frame {
            frame: Common(ServerFrame::Offer { task, generation, body, .. }),
            ..
        }) => Heard::Work { task, generation, payload: String::from_utf8_lossy(body).into_owned() },
        other => Heard::Other(format!("{other:?}")),
    }
}
