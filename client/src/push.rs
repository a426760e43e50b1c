//! What the broker says about tasks beside its answers, and who hears it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use agentcom_protocol::ServerFrame;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::shared::Shared;
use crate::takes;
use crate::task_event::TaskEvent;

/// `OFFER`, `CANCEL`, `REVOKED` or `REPLACED`: what a worker hears.
#[derive(Debug)]
pub(crate) enum Push {
    Offer(Offer),
    Cancel { task: u64, generation: u64, grace: Duration, reason: Bytes },
    Revoked { task: u64, generation: u64 },
    Replaced,
}

/// Work for an agent: offered, or taken from a queue.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) task: u64,
    pub(crate) generation: u64,
    pub(crate) queue: String,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) lease: Duration,
    /// Number of the newest report on the task.
    pub(crate) progress_seq: u64,
    pub(crate) checkpoint: Option<Bytes>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: Bytes,
}

/// The lease of a task that says nothing else (docs/protocol.md).
const LEASE_DEFAULT: Duration = Duration::from_secs(30);

impl Offer {
    /// The work in a frame whose body lies in `chunk`.
    fn slice(
        chunk: &Bytes,
        (task, generation): (u64, u64),
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Offer {
        let field =
            |key: &str| fields.iter().find(|(found, _)| *found == key).map(|&(_, value)| value);
        let number = |key: &str| field(key).and_then(|value| value.parse::<u64>().ok());
        let size = |key: &str| number(key).and_then(|bytes| usize::try_from(bytes).ok());
        // Answers, then the checkpoint, then headers stand in front of the payload.
        let answers = size("answers_bytes").filter(|&bytes| bytes <= body.len()).unwrap_or(0);
        let body = chunk.slice_ref(&body[answers..]);
        let split = size("checkpoint_bytes").filter(|&bytes| bytes <= body.len());
        let checkpoint = split.map(|bytes| body.slice(..bytes));
        let body = body.slice(split.unwrap_or(0)..);
        let split = size("headers_bytes").filter(|&bytes| bytes <= body.len()).unwrap_or(0);
        Offer {
            task,
            generation,
            queue: field("queue").unwrap_or_default().to_owned(),
            attempt: number("attempt").and_then(|number| number.try_into().ok()).unwrap_or(1),
            lease: number("lease_ms").map_or(LEASE_DEFAULT, Duration::from_millis),
            progress_seq: number("progress_seq").unwrap_or(0),
            checkpoint,
            headers: serde_json::from_slice(&body[..split]).unwrap_or_default(),
            payload: body.slice(split..),
        }
    }
}

impl Shared {
    /// Hand a frame that answers no question to whoever it is for. Its body lies in `chunk`.
    pub(crate) fn hear(&self, chunk: &Bytes, frame: &ServerFrame<'_>) {
        match frame {
            ServerFrame::Item { tag, task, generation, fields, body } => {
                takes::arrived(self, tag, Offer::slice(chunk, (*task, *generation), fields, body));
            }
            ServerFrame::Event { task, fields, body } => {
                self.watches.deliver(TaskEvent::slice(chunk, *task, fields, body));
            }
            ServerFrame::Offer { task, generation, fields, body } => {
                let offer = Offer::slice(chunk, (*task, *generation), fields, body);
                self.pushes.push(Push::Offer(offer));
            }
            ServerFrame::Cancel { task, generation, fields, body } => {
                let grace_ms = fields.iter().find(|(key, _)| *key == "grace_ms");
                let grace_ms = grace_ms.and_then(|(_, value)| value.parse().ok());
                let grace = Duration::from_millis(grace_ms.unwrap_or(0));
                let (task, generation) = (*task, *generation);
                let reason = chunk.slice_ref(body);
                self.pushes.push(Push::Cancel { task, generation, grace, reason });
            }
            &ServerFrame::Revoked { task, generation, .. } => {
                self.pushes.push(Push::Revoked { task, generation });
            }
            ServerFrame::Replaced => self.pushes.push(Push::Replaced),
            _ => {}
        }
    }
}

/// The place of the one worker that a connection may have.
///
/// The channel has no bound of its own because the broker has one: it offers no more than the
/// worker's credit, and revokes and cancels no more than it offered.
#[derive(Debug, Default)]
pub(crate) struct PushSlot {
    sender: Mutex<Option<mpsc::UnboundedSender<Push>>>,
}

impl PushSlot {
    /// Take the place; `None` if it is taken.
    pub(crate) fn take(&self) -> Option<mpsc::UnboundedReceiver<Push>> {
        let mut slot = self.lock();
        if slot.as_ref().is_some_and(|sender| !sender.is_closed()) {
            return None;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        *slot = Some(sender);
        Some(receiver)
    }

    /// Hand a push to the worker, if there is one.
    fn push(&self, push: Push) {
        if let Some(sender) = &*self.lock() {
            // A worker that is gone has told the broker so; this one crossed it on the way.
            let _ = sender.send(push);
        }
    }

    /// The worker hears nothing any more.
    pub(crate) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::UnboundedSender<Push>>> {
        self.sender.lock().expect("no method panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(fields: &[(&str, &str)]) -> Offer {
        let body = Bytes::from_static(b"page 3hello");
        Offer::slice(&body, (17, 2), fields, &body)
    }

    #[test]
    fn a_checkpoint_is_cut_off_the_front_of_the_payload() {
        let found = offer(&[("queue", "q"), ("checkpoint_bytes", "6"), ("lease_ms", "5000")]);
        assert_eq!(found.checkpoint.as_deref(), Some(&b"page 3"[..]));
        assert_eq!(&found.payload[..], b"hello");
        assert_eq!((found.queue.as_str(), found.lease), ("q", Duration::from_secs(5)));
        let found = offer(&[("answers_bytes", "5"), ("checkpoint_bytes", "1")]);
        let parts = (found.checkpoint.as_deref(), &found.payload[..]);
        assert_eq!(parts, (Some(&b"3"[..]), &b"hello"[..]));
    }

    #[test]
    fn headers_stand_right_before_the_payload() {
        let body = Bytes::from_static(br#"page 3{"type":"text"}hello"#);
        let sizes = [("checkpoint_bytes", "6"), ("headers_bytes", "15")];
        let found = Offer::slice(&body, (17, 2), &sizes, &body);
        assert_eq!(found.checkpoint.as_deref(), Some(&b"page 3"[..]));
        assert_eq!(found.headers.get("type").map(String::as_str), Some("text"));
        assert_eq!(&found.payload[..], b"hello");
    }

    #[test]
    fn a_checkpoint_that_cannot_be_there_is_none() {
        for fields in [&[][..], &[("checkpoint_bytes", "12")], &[("checkpoint_bytes", "x")]] {
            let found = offer(fields);
            assert_eq!((found.checkpoint, found.payload.len()), (None, 11), "{fields:?}");
        }
    }
}
