//! The background task of a worker: keeps it known to the broker, its leases alive and its desk
//! up to date, while the worker's owner is busy with jobs.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Granted, Terms};
use crate::desk::{Attachment, Offered, SharedDesk, names};
use crate::error::{TaskError, TaskErrorKind, WorkerError, WorkerErrorKind};
use crate::event::State;
use crate::outbound::Pong;
use crate::push::Push;
use crate::shared::Shared;

/// Pause before the broker is asked again to have the worker back.
const ATTACH_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) desk: SharedDesk,
    pub(crate) pushes: mpsc::UnboundedReceiver<Push>,
    /// What goes behind the tag of WORKER START.
    pub(crate) arguments: Vec<String>,
    /// The worker takes no more: end when nothing runs any more.
    pub(crate) stopping: CancellationToken,
}

impl Session {
    /// Run until the worker stops, or cannot work any more.
    pub(crate) async fn run(mut self) {
        let error = self.work().await;
        self.desk.end(error);
    }

    async fn work(&mut self) -> Option<WorkerError> {
        let desk = SharedDesk::clone(&self.desk);
        let shared = SharedDesk::clone(&self.desk).client.shared().clone();
        let mut status = shared.watch_status();
        let mut beaten = Instant::now();
        loop {
            let now = *status.borrow_and_update();
            match now.state {
                State::Closed => return Some(WorkerErrorKind::Closed.into()),
                State::Connected if desk.attachment() != Attachment::On(now.link) => {
                    let mut arguments = self.arguments.clone();
                    arguments.extend(desk.holding().map(|leases| format!("holding={leases}")));
                    match attach(&shared, &arguments, now.link).await {
                        Ok(granted) => {
                            drop_stopped(&desk, &granted);
                            desk.attached(now.link);
                        }
                        Err(error) if is_passing(&error) => {
                            tokio::time::sleep(ATTACH_AGAIN).await;
                            continue;
                        }
                        Err(error) => return Some(start_error(error)),
                    }
                }
                State::Connected | State::Pending | State::Disconnected => {}
            }
            let heartbeat = desk.heartbeat();
            if self.stopping.is_cancelled() && heartbeat.is_none() {
                // Whether or not this arrives: with the connection, the broker forgets the worker.
                let _ = shared.ask(["WORKER", "STOP"], &[], None, link_terms(now.link)).await;
                return None;
            }
            let beat = beaten + heartbeat.unwrap_or_default();
            tokio::select! {
                push = self.pushes.recv() => match push {
                    Some(Push::Offer(offer)) => {
                        let (task, generation) = (offer.task, offer.generation);
                        if desk.offer(offer) == Offered::Runs {
                            let [task, generation] = names(task, generation);
                            shared.tell(["TASK", "ACCEPT"], &[&task, &generation], None);
                        }
                    }
                    Some(Push::Revoked { task, generation }) => desk.revoke(task, generation),
                    Some(Push::Replaced) => return Some(WorkerErrorKind::Replaced.into()),
                    None => return Some(WorkerErrorKind::Closed.into()),
                },
                _ = status.changed() => {}
                () = desk.changed.notified() => {}
                () = self.stopping.cancelled(), if !self.stopping.is_cancelled() => {}
                () = tokio::time::sleep_until(beat), if heartbeat.is_some() => {
                    beaten = Instant::now();
                    if shared.outbound.link().is_some() {
                        // A closed client shows in the status.
                        let _ = shared.outbound.ping(Pong::Heartbeat);
                    }
                }
            }
        }
    }
}

/// Tell the broker that connection `link` is the worker's.
pub(crate) async fn attach(
    shared: &Shared,
    arguments: &[String],
    link: u64,
) -> Result<Granted, TaskError> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    shared.ask(["WORKER", "START"], &arguments, None, link_terms(link)).await
}

/// Take off the desk what the broker gave to somebody else meanwhile.
fn drop_stopped(desk: &SharedDesk, granted: &Granted) {
    let stopped = granted.field("stopped").unwrap_or_default();
    for lease in stopped.split(',') {
        let Some((task, generation)) = lease.split_once(':') else { continue };
        if let (Ok(task), Ok(generation)) = (task.parse(), generation.parse()) {
            desk.revoke(task, generation);
        }
    }
}

fn link_terms(link: u64) -> Terms {
    Terms { link: Some(link) }
}

/// Whether to ask again is likely to help.
fn is_passing(error: &TaskError) -> bool {
    matches!(
        error.kind(),
        TaskErrorKind::Disconnected | TaskErrorKind::TimedOut | TaskErrorKind::Unavailable
    )
}

/// Why a worker did not start, from why its WORKER START was not granted.
pub(crate) fn start_error(error: TaskError) -> WorkerError {
    match error.kind() {
        TaskErrorKind::NotSupported => WorkerErrorKind::NotSupported.into(),
        TaskErrorKind::Closed => WorkerErrorKind::Closed.into(),
        _ => WorkerError::with_source(WorkerErrorKind::Start, error),
    }
}
