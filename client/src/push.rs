//! What the broker says about work without being asked, and who hears it.

use std::sync::Mutex;
use std::time::Duration;

use agentcom_protocol::ServerFrame;
use bytes::Bytes;
use tokio::sync::mpsc;

/// `OFFER`, `REVOKED` or `REPLACED`.
#[derive(Debug)]
pub(crate) enum Push {
    Offer(Offer),
    Revoked { task: u64, generation: u64 },
    Replaced,
}

/// Work for an agent.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) task: u64,
    pub(crate) generation: u64,
    pub(crate) queue: String,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) lease: Duration,
    /// What an earlier attempt left.
    pub(crate) checkpoint: Option<Bytes>,
    pub(crate) payload: Bytes,
}

/// The lease of a task that says nothing else (docs/protocol.md).
const LEASE_DEFAULT: Duration = Duration::from_secs(30);

impl Push {
    /// The push in `frame`, whose body lies in `chunk`; `None` for other frames.
    pub(crate) fn slice(chunk: &Bytes, frame: &ServerFrame<'_>) -> Option<Push> {
        match frame {
            ServerFrame::Offer { task, generation, fields, body } => {
                let field = |key: &str| {
                    fields.iter().find(|(found, _)| *found == key).map(|&(_, value)| value)
                };
                let lease_ms = field("lease_ms").and_then(|value| value.parse().ok());
                let bytes = |key| field(key).and_then(|value| value.parse().ok()).unwrap_or(0);
                let (answers, checkpoint) = (bytes("answers_bytes"), bytes("checkpoint_bytes"));
                let (_, behind) = body.split_at_checked(answers)?;
                let (checkpoint, payload) = behind.split_at_checked(checkpoint)?;
                Some(Push::Offer(Offer {
                    task: *task,
                    generation: *generation,
                    queue: field("queue").unwrap_or_default().to_owned(),
                    attempt: field("attempt").and_then(|value| value.parse().ok()).unwrap_or(1),
                    lease: lease_ms.map_or(LEASE_DEFAULT, Duration::from_millis),
                    checkpoint: field("checkpoint_bytes").map(|_| chunk.slice_ref(checkpoint)),
                    payload: chunk.slice_ref(payload),
                }))
            }
            &ServerFrame::Revoked { task, generation, .. } => {
                Some(Push::Revoked { task, generation })
            }
            ServerFrame::Replaced => Some(Push::Replaced),
            _ => None,
        }
    }
}

/// The place of the one worker that a connection may have.
///
/// The channel has no bound of its own because the broker has one: it offers no more than the
/// worker's credit, and revokes no more than it offered.
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
    pub(crate) fn push(&self, push: Push) {
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
