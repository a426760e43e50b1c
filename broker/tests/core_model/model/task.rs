//! One task and its arrows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentcom_broker::core::command::{
    AfterEnd, AfterView, Assign, DeadReason, Failure, Generation, Name, Progress, Retry, Spec,
    State, Submit, TaskEvent, TaskId, TaskView,
};

use super::Clocks;
use super::park::{Asked, Parent, Parking};

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) spec: Spec,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) headers: Option<Arc<[u8]>>,
    pub(crate) state: State,
    pub(crate) generation: u64,
    /// Whose it is, or was when it ended.
    pub(crate) agent: Option<Name>,
    pub(super) identity: Arc<str>,
    pub(super) fixed_ms: Option<u64>,
    pub(super) attempts: u32,
    pub(super) lost: u32,
    pub(super) offers_expired: u32,
    pub(super) declines: u32,
    pub(super) releases: u32,
    pub(super) redrives: u32,
    pub(crate) excluded: BTreeSet<Name>,
    /// When it became eligible, on the time line that never starts anew.
    pub(super) eligible: u64,
    pub(super) errors: Vec<Failure>,
    pub(super) dead: Option<DeadReason>,
    pub(super) cancelled: Option<Arc<str>>,
    pub(super) cancelling: Option<Cancelling>,
    pub(super) progress: Option<Arc<[u8]>>,
    pub(crate) progress_seq: u64,
    pub(crate) checkpoint: Option<(u64, Arc<[u8]>)>,
    pub(super) result: Option<Arc<[u8]>>,
    pub(super) end: Option<LeaseEnd>,
    pub(super) key: Option<Name>,
    pub(crate) after: Vec<Edge>,
    /// What is waited for once no edge is left.
    pub(super) start: Option<Wait>,
    /// What is waited for now.
    pub(super) wait: Option<Wait>,
    pub(super) submitted: u64,
    pub(super) version: u32,
    pub(super) parent: Option<Parent>,
    pub(crate) questions: Vec<Asked>,
    pub(crate) parking: Option<Parking>,
    /// The only agent that may have it, and if not for ever: for how long, from when.
    pub(super) window: Option<(Name, Option<(u64, u64)>)>,
    /// Who set it aside, if that one is to go on with it.
    former: Option<Name>,
    pub(super) redriven: Option<u64>,
    pub(super) updated: u64,
    pub(super) was_accepted: bool,
    pub(super) expires: Option<u64>,
    pub(super) timers: BTreeMap<Due, u64>,
    /// The lease lasts until then at least.
    pub(super) floor: u64,
    pub(super) event_seq: u64,
    pub(super) events: Vec<TaskEvent>,
    /// From this event on, a watcher that comes back may count on being told.
    pub(super) remembered_from: Option<u64>,
}

/// What a timer of a task is about; of several at once, the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Total,
    Queue,
    Start,
    Offer,
    Cancel,
    Attempt,
    Progress,
    Lease,
    Hold,
    Park,
    Window,
}

#[derive(Clone, Debug)]
pub(crate) struct Cancelling {
    pub(super) reason: Arc<str>,
    pub(super) is_deadline: bool,
    pub(super) grace_ms: u64,
    pub(super) anchor: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Until(u64),
    For { delay_ms: u64, anchor: u64, keeps_place: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) task: TaskId,
    pub(crate) on: AfterEnd,
    pub(crate) is_blocked: bool,
}

/// How a holder ended its lease: the operation as it was sent, and the state that followed.
#[derive(Clone, Debug)]
pub(crate) struct LeaseEnd {
    pub(super) generation: u64,
    pub(super) agent: Name,
    pub(super) action: agentcom_broker::core::command::Action,
    pub(super) outcome: State,
}

impl Wait {
    pub(super) fn due(&self) -> u64 {
        match self {
            Wait::Until(wall) => *wall,
            Wait::For { delay_ms, anchor, .. } => anchor.saturating_add(*delay_ms),
        }
    }
}

/// T5 of the order: urgent, a minute, ten minutes, then hours.
fn band_offset(band: u8) -> u64 {
    match band {
        0 => 0,
        1 => 60_000,
        2 => 600_000,
        band => (u64::from(band) - 2) * 3_600_000,
    }
}

impl Task {
    pub(super) fn new(submit: &Submit, at: &Clocks) -> Task {
        let mut task = Task {
            spec: Spec::clone(&submit.spec),
            payload: submit.payload.clone(),
            headers: submit.headers.clone(),
            state: State::Ready,
            generation: 0,
            agent: None,
            identity: "".into(),
            fixed_ms: None,
            attempts: 0,
            lost: 0,
            offers_expired: 0,
            declines: 0,
            releases: 0,
            redrives: 0,
            excluded: BTreeSet::new(),
            eligible: at.age,
            errors: Vec::new(),
            dead: None,
            cancelled: None,
            cancelling: None,
            progress: None,
            progress_seq: 0,
            checkpoint: None,
            result: None,
            end: None,
            key: None,
            after: Vec::new(),
            start: None,
            wait: None,
            submitted: at.wall,
            version: 0,
            parent: None,
            questions: Vec::new(),
            parking: None,
            window: None,
            former: None,
            redriven: None,
            updated: at.wall,
            was_accepted: false,
            expires: None,
            timers: BTreeMap::new(),
            floor: 0,
            event_seq: 1,
            events: Vec::new(),
            remembered_from: None,
        };
        task.start_patience(at.tick, 0);
        task
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Completed | State::Dead | State::Cancelled)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    pub(crate) fn is_leased(&self) -> bool {
        matches!(self.state, State::Offered | State::Running)
    }

    pub(crate) fn is_held_by(&self, name: &Name) -> bool {
        self.is_leased() && self.agent.as_ref() == Some(name)
    }

    /// Before which others it goes.
    pub(crate) fn place(&self, id: TaskId) -> (u64, TaskId) {
        (self.eligible + band_offset(self.spec.band), id)
    }

    pub(super) fn timer(&self, due: Due) -> Option<u64> {
        self.timers.get(&due).copied()
    }

    pub(super) fn start_patience(&mut self, tick: u64, gone_ms: u64) {
        let patience = self.spec.patience;
        for (due, limit) in [(Due::Total, patience.total_ms), (Due::Queue, patience.queue_ms)] {
            match limit {
                Some(limit) => {
                    self.timers.insert(due, tick.saturating_add(limit.saturating_sub(gone_ms)))
                }
                None => self.timers.remove(&due),
            };
        }
    }

    pub(super) fn begin_attempt(&mut self, tick: u64) {
        self.note_accepted();
        self.timers.insert(Due::Attempt, tick + self.spec.patience.attempt_ms);
        self.prove_progress(tick);
    }

    pub(super) fn prove_progress(&mut self, tick: u64) {
        if let Some(progress_ms) = self.spec.patience.progress_ms
            && self.parking.is_none()
        {
            self.timers.insert(Due::Progress, tick + progress_ms);
        }
    }

    pub(super) fn note_accepted(&mut self) {
        self.was_accepted = true;
        self.timers.remove(&Due::Queue);
        if matches!(self.window, Some((_, Some(_)))) {
            self.close_window();
        }
    }

    pub(super) fn ready_anew(&mut self, at: &Clocks) {
        self.eligible = at.age;
        self.state = State::Ready;
        self.wait = None;
    }

    /// T2, and the waits of T12, T26, T28 and T46.
    pub(super) fn schedule(&mut self, wait: Wait, at: &Clocks) {
        self.state = State::Scheduled;
        self.wait = Some(wait);
        self.start_wait(at.tick, at.wall);
    }

    pub(super) fn start_wait(&mut self, tick: u64, wall: u64) {
        if let Some(Wait::For { delay_ms, anchor, .. }) = self.wait {
            let waited = wall.saturating_sub(anchor);
            self.timers.insert(Due::Start, tick.saturating_add(delay_ms.saturating_sub(waited)));
        }
    }

    /// T8.
    pub(super) fn due(&mut self, at: &Clocks) {
        let keeps_place = matches!(self.wait, Some(Wait::For { keeps_place: true, .. }));
        self.timers.remove(&Due::Start);
        if keeps_place {
            self.state = State::Ready;
            self.wait = None;
        } else {
            self.ready_anew(at);
            self.open_window(at);
        }
    }

    /// 2.9: one that nobody had yet in this life is for whom its submitter named.
    pub(super) fn open_window(&mut self, at: &Clocks) {
        let is_fresh = !self.was_accepted && self.declines + self.offers_expired == 0;
        let placement = self.spec.placement.as_ref().filter(|_| is_fresh);
        if let Some(Assign { agent, for_ms }) = placement.and_then(|it| it.assign.clone()) {
            self.keep_for(agent, for_ms, at);
        }
    }

    fn keep_for(&mut self, agent: Name, for_ms: Option<u64>, at: &Clocks) {
        self.window = Some((agent, for_ms.map(|for_ms| (for_ms, at.wall))));
        if let Some(for_ms) = for_ms {
            self.timers.insert(Due::Window, at.tick + for_ms);
        }
    }

    pub(super) fn close_window(&mut self) {
        self.window = None;
        self.timers.remove(&Due::Window);
    }

    pub(super) fn remember_former(&mut self) {
        let sticky_ms = self.spec.placement.as_ref().map_or(0, |placement| placement.sticky_ms);
        self.former = self.agent.clone().filter(|_| sticky_ms > 0);
    }

    /// T32: for whoever set it aside, if it is for nobody else.
    pub(super) fn keep_for_former(&mut self, is_here: impl Fn(&Name) -> bool, at: &Clocks) {
        let former = self.former.take().filter(is_here);
        if let (Some(agent), None) = (former, &self.window) {
            let sticky_ms = self.spec.placement.as_ref().map(|placement| placement.sticky_ms);
            self.keep_for(agent, sticky_ms, at);
        }
    }

    /// The lease is over, whatever comes next.
    pub(super) fn free(&mut self) {
        for due in [Due::Offer, Due::Cancel, Due::Attempt, Due::Progress, Due::Lease, Due::Hold] {
            self.timers.remove(&due);
        }
        self.parking = None;
        self.progress = None;
        self.fixed_ms = None;
        self.floor = 0;
    }

    fn back(&mut self) {
        self.state = State::Ready;
        self.agent = None;
    }

    pub(super) fn finish(&mut self, state: State) {
        self.free();
        self.state = state;
        self.wait = None;
        (self.window, self.former) = (None, None);
        self.cancelling = None;
        self.timers.clear();
    }

    pub(super) fn die(&mut self, reason: DeadReason) {
        self.finish(State::Dead);
        self.dead = Some(reason);
    }

    pub(super) fn call_off(&mut self, reason: Arc<str>) {
        self.finish(State::Cancelled);
        self.dead = None;
        self.cancelled = Some(reason);
    }

    /// T13, T18 and T40: the holder is not there any more.
    pub(super) fn lose(&mut self, at: &Clocks) {
        self.generation += 1;
        if self.cancelling.is_some() {
            return self.stop();
        }
        let (count, max) = if self.state == State::Offered {
            (&mut self.offers_expired, at.config.offers_max)
        } else {
            (&mut self.lost, at.config.lost_max)
        };
        *count += 1;
        let is_exhausted = *count >= max;
        self.free();
        if is_exhausted { self.die(DeadReason::Lost) } else { self.back() }
    }

    /// T43.
    pub(super) fn reclaim(&mut self) {
        self.generation += 1;
        if self.cancelling.is_some() {
            return self.stop();
        }
        self.free();
        self.back();
    }

    /// T38 and T40: it was to stop, and stops.
    pub(super) fn stop(&mut self) {
        let cancelling = self.cancelling.take().expect("it was to stop");
        if cancelling.is_deadline {
            self.die(DeadReason::Deadline);
        } else {
            self.call_off(cancelling.reason);
        }
    }

    /// T37 again: less time to stop than before.
    pub(super) fn hurry(&mut self, grace_ms: u64, at: &Clocks) {
        self.timers.insert(Due::Cancel, at.tick + grace_ms);
        let cancelling = self.cancelling.as_mut().expect("it was to stop");
        let gone = at.wall.saturating_sub(cancelling.anchor);
        cancelling.grace_ms = cancelling.grace_ms.min(gone + grace_ms);
    }

    /// T12.
    pub(super) fn decline(&mut self, retry_after_ms: Option<u64>, at: &Clocks) {
        let agent = self.agent.clone().expect("somebody declines");
        self.generation += 1;
        self.declines += 1;
        self.free();
        if self.declines >= at.config.declines_max {
            return self.die(DeadReason::Rejected);
        }
        self.back();
        match retry_after_ms {
            Some(delay_ms) => {
                self.schedule(Wait::For { delay_ms, anchor: at.wall, keeps_place: true }, at);
            }
            None => {
                match self.window.clone() {
                    Some((only, None)) if only == agent => self.die(DeadReason::Rejected),
                    Some((only, Some(_))) if only == agent => self.close_window(),
                    _ => {}
                }
                if self.is_dead() {
                    self.agent = Some(agent.clone());
                }
                self.excluded.insert(agent);
            }
        }
    }

    /// T28.
    pub(super) fn release(&mut self, delay_ms: u64, at: &Clocks) {
        self.note_accepted();
        self.generation += 1;
        self.releases += 1;
        self.free();
        self.back();
        if delay_ms > 0 {
            self.schedule(Wait::For { delay_ms, anchor: at.wall, keeps_place: true }, at);
        }
    }

    /// T26 and T27 with rule R.
    pub(super) fn fail(
        &mut self,
        id: TaskId,
        error: Arc<str>,
        retry: Retry,
        is_timer: bool,
        at: &Clocks,
    ) {
        self.note_accepted();
        let agent = self.agent.clone().expect("an attempt is somebody's");
        let generation = Generation(self.generation);
        self.errors.push(Failure { generation, agent, at_ms: at.wall, error });
        match retry {
            Retry::Throttled(_) if self.releases < at.config.releases_max => self.releases += 1,
            _ => self.attempts += 1,
        }
        self.free();
        let delay_ms = match retry {
            Retry::Never => None,
            Retry::In(delay_ms) | Retry::Throttled(delay_ms) => Some(delay_ms),
            Retry::Backoff { at_least_ms } => {
                Some(at.config.backoff.delay_ms(id, self.attempts).max(at_least_ms))
            }
        };
        let total = self.timer(Due::Total);
        let verdict = match delay_ms {
            None => Some(DeadReason::NonRetryable),
            Some(_) if self.attempts >= self.spec.attempts_max => {
                Some(if is_timer { DeadReason::Timeout } else { DeadReason::Failed })
            }
            Some(delay_ms) if total.is_some_and(|total| total < at.tick + delay_ms) => {
                Some(DeadReason::Deadline)
            }
            Some(_) => None,
        };
        if verdict.is_none() || is_timer {
            self.generation += 1;
        }
        if let Some(reason) = verdict {
            return self.die(reason);
        }
        self.back();
        match delay_ms {
            Some(delay_ms) if delay_ms > 0 => {
                self.schedule(Wait::For { delay_ms, anchor: at.wall, keeps_place: false }, at);
            }
            _ => self.ready_anew(at),
        }
    }

    /// T46.
    pub(super) fn redrive(&mut self, after: Vec<Edge>, delay_ms: u64, at: &Clocks) {
        self.generation += 1;
        (self.attempts, self.lost, self.offers_expired) = (0, 0, 0);
        (self.declines, self.releases) = (0, 0);
        self.redrives += 1;
        self.excluded.clear();
        self.was_accepted = false;
        self.redriven = Some(at.wall);
        self.dead = None;
        self.agent = None;
        self.start_patience(at.tick, 0);
        self.ready_anew(at);
        self.remembered_from = None;
        self.after = after;
        let anchor = at.wall;
        let start = (delay_ms > 0).then_some(Wait::For { delay_ms, anchor, keeps_place: false });
        if !self.after.is_empty() {
            self.state = State::Held;
            self.start = start;
        } else if let Some(start) = start {
            self.schedule(start, at);
        } else {
            self.open_window(at);
        }
    }

    pub(super) fn event(&self, id: TaskId, progress: Option<Progress>) -> TaskEvent {
        TaskEvent {
            task: id,
            seq: self.event_seq,
            at_ms: self.updated.max(self.submitted),
            submitted_ms: self.submitted,
            queue: self.spec.queue.clone(),
            from: Some(self.state),
            state: self.state,
            has_failed: false,
            generation: Generation(self.generation),
            agent: self.agent.clone(),
            progress,
            blocked_by: self.after.iter().find(|edge| edge.is_blocked).map(|edge| edge.task),
            is_escalated: self.parking.as_ref().is_some_and(|parking| parking.is_escalated),
        }
    }

    pub(super) fn view(&self, id: TaskId) -> TaskView {
        let is_over = self.is_over();
        TaskView {
            task: id,
            queue: self.spec.queue.clone(),
            key: self.spec.key.clone(),
            state: self.state,
            generation: Generation(self.generation),
            event_seq: self.event_seq,
            band: self.spec.band,
            needs: self.spec.needs.to_vec(),
            resources: self.spec.resources().to_vec(),
            window: self
                .window
                .clone()
                .map(|(agent, span)| (agent, span.map(|(length, anchor)| length + anchor))),
            agent: self.agent.clone(),
            attempts: self.attempts,
            attempts_max: self.spec.attempts_max,
            lost: self.lost,
            offers_expired: self.offers_expired,
            declines: self.declines,
            releases: self.releases,
            redrives: self.redrives,
            excluded: self.excluded.iter().cloned().collect(),
            submitted_ms: self.submitted,
            updated_ms: self.updated.max(self.submitted),
            due_ms: self.wait.map(|wait| wait.due()),
            after: self.after.iter().map(Edge::view).collect(),
            version: self.version,
            parent: self.parent.map(|parent| parent.task),
            questions: self.questions.iter().map(Asked::view).collect(),
            is_waiting: self.parking.is_some() && self.is_leased(),
            is_cancelling: self.cancelling.is_some(),
            has_headers: self.spec.has_headers,
            payload: self.payload.clone(),
            headers: self.headers.clone(),
            progress: self.progress.clone(),
            progress_seq: self.progress_seq,
            result: self.result.clone().filter(|_| is_over),
            errors: self.errors.clone(),
            dead: self.dead,
            cancelled: self.cancelled.clone(),
        }
    }
}

impl Edge {
    fn view(&self) -> AfterView {
        AfterView { task: self.task, on: self.on, is_blocked: self.is_blocked }
    }
}
