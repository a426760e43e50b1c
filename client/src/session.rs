//! The background task of a worker: keeps it known to the broker, its leases alive and its desk
//! up to date, while the worker's owner is busy with jobs.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Terms, names, option};
use crate::desk::{Attachment, Desk, Offered, SharedDesk};
use crate::error::{WorkerError, WorkerErrorKind};
use crate::event::State;
use crate::operation_error::{Trouble, TroubleKind};
use crate::outbound::Pong;
use crate::push::Push;
use crate::resume::{self, Resumed};
use crate::shared::Shared;
use crate::stop_signal::Cancellation;
use crate::takes;

/// Pause before the broker is asked again to have the worker back.
const ATTACH_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) desk: SharedDesk,
    pub(crate) pushes: mpsc::UnboundedReceiver<Push>,
    pub(crate) greeting: Greeting,
    /// The worker takes no more: end when nothing runs any more.
    pub(crate) stopping: CancellationToken,
}

/// What goes behind the tag of WORKER START, but for the leases that it resumes.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// Name, capabilities, labels and credit.
    pub(crate) about: Vec<String>,
    /// Where it takes work from; `None` means everywhere.
    pub(crate) queues: Option<String>,
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
        let mut is_draining = false;
        loop {
            let now = *status.borrow_and_update();
            let is_stopping = self.stopping.is_cancelled();
            let is_known =
                desk.attachment() == Attachment::On(now.link) && is_draining == is_stopping;
            match now.state {
                State::Closed => return Some(WorkerErrorKind::Closed.into()),
                State::Connected if !is_known => {
                    is_draining = is_stopping;
                    match self.greet(&desk, &shared, now.link, is_draining).await {
                        Ok(()) => {}
                        Err(trouble) if trouble.is_passing() => {
                            is_draining = false;
                            tokio::time::sleep(ATTACH_AGAIN).await;
                            continue;
                        }
                        Err(trouble) => return Some(start_error(trouble)),
                    }
                }
                State::Connected | State::Pending | State::Disconnected => {}
            }
            let heartbeat = desk.heartbeat();
            if is_stopping && heartbeat.is_none() {
                // Whether or not this arrives: with the connection, the broker forgets the worker.
                let terms = Terms::on_link(now.link);
                let _ = shared.ask(["WORKER", "STOP"], &[], None, terms).await;
                return None;
            }
            let beat = beaten + heartbeat.unwrap_or_default();
            tokio::select! {
                push = self.pushes.recv() => match push {
                    Some(Push::Replaced) => return Some(WorkerErrorKind::Replaced.into()),
                    Some(push) => self.hear(push, &desk, &shared),
                    None => return Some(WorkerErrorKind::Closed.into()),
                },
                _ = status.changed() => {}
                () = desk.changed.notified() => {}
                () = self.stopping.cancelled(), if !is_stopping => {}
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

    /// Tell the broker who is on this link. A worker that drains asks for work from a queue that
    /// nobody uses, so that it keeps what it has and gets nothing more; what it was offered before
    /// goes back.
    async fn greet(
        &self,
        desk: &Desk,
        shared: &Shared,
        link: u64,
        is_draining: bool,
    ) -> Result<(), Trouble> {
        let mut greeting = self.greeting.clone();
        if is_draining {
            greeting.queues = Some(option("queues", shared.unused_name()));
        }
        let holding = desk.holding();
        let resumed = attach(shared, &greeting, &holding, link).await?;
        desk.resume(&resumed);
        desk.attached(link);
        if is_draining {
            desk.clear_waiting().iter().for_each(|offer| takes::hand_back(shared, offer));
        }
        Ok(())
    }

    fn hear(&self, push: Push, desk: &Desk, shared: &Shared) {
        match push {
            // It crossed the news that this worker drains.
            Push::Offer(offer) if self.stopping.is_cancelled() => takes::hand_back(shared, &offer),
            Push::Offer(offer) => {
                let [task, generation] = names(offer.task, offer.generation);
                if desk.offer(offer) == Offered::Runs {
                    shared.tell(["TASK", "ACCEPT"], &[&task, &generation], None);
                }
            }
            Push::Cancel { task, generation, grace, reason } => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                desk.cancel(task, generation, Cancellation { reason, grace: Some(grace) });
            }
            Push::Revoked { task, generation } => desk.revoke(task, generation),
            Push::Replaced => {}
        }
    }
}

/// Tell the broker that connection `link` is the worker's, and that it holds these leases.
pub(crate) async fn attach(
    shared: &Shared,
    greeting: &Greeting,
    holding: &[(u64, u64)],
    link: u64,
) -> Result<Resumed, Trouble> {
    let (resumed, named) = resume::holding(holding);
    if named < holding.len() {
        tracing::warn!(
            held = holding.len(),
            named,
            "some leases do not fit on the line and are lost"
        );
    }
    let Greeting { about, queues } = greeting;
    let arguments = about.iter().chain(queues).chain(&resumed).map(String::as_str);
    let arguments: Vec<&str> = arguments.collect();
    let terms = Terms::on_link(link);
    let granted = shared.ask(["WORKER", "START"], &arguments, None, terms).await?;
    let mut resumed = Resumed::parse(&granted);
    resumed.stopped.extend_from_slice(&holding[named..]);
    Ok(resumed)
}

/// Why a worker did not start, from why its WORKER START was not granted.
pub(crate) fn start_error(trouble: Trouble) -> WorkerError {
    match (&trouble.kind, trouble.code()) {
        (TroubleKind::NotSupported, _) => WorkerErrorKind::NotSupported.into(),
        (TroubleKind::Closed, _) => WorkerErrorKind::Closed.into(),
        (_, Some("name_taken")) => WorkerErrorKind::NameTaken.into(),
        _ => trouble.into_worker_error(),
    }
}
