//! One task: its states and the arrows between them.
//!
//! ```text
//!   submit (T1-T3)
//!     |
//!     +--> held --(T6)--+                              complete (T25)
//!     |                 v        grant (T9)    +-----------------------------> completed
//!     +-----------> ready --------------> offered --accept (T10)--> running -> completed
//!     |              ^  ^                  |   |                     |  |
//!     |              |  |  decline (T12)   |   |  fail, time-out (T26, T27, rule R)
//!     |              |  +-- expired (T13) -+   |                     |  +----> dead
//!     |              |  +-- lost (T18), handed back (T28) -----------+
//!     |              |                                               |
//!     +-> scheduled -+ due (T8)  <------------- back-off ------------+
//!
//!   every open state: cancelled (T35-T40), out of its time (T44, T45)
//!   dead: redriven (T46), discarded (T47)
//! ```
//!
//! One method per arrow. A method changes the row and the task's own timers and nothing else: who
//! is told, what is logged and which agent is freed follows from the states before and after
//! (`core/mod.rs`). Each method asserts the phase it starts from; whether an agent *may* do it was
//! judged by `core/fence.rs`.
//!
//! The generation rises on every grant, on every revocation and on a redrive, never when the
//! holder itself brings the task to its end.

use std::sync::Arc;

use super::backlog::band_offset_ms;
use super::command::{
    Assign, DeadReason, Failure, Generation, Name, Progress, Question, Retry, Spec, State, TaskId,
    Tick,
};
use super::limits::{
    CoreConfig, ERROR_BYTES_MAX, FAILURES_MAX, OLD_ERROR_BYTES_MAX, PROGRESS_BYTES_MAX,
};
use super::live::{Due, Live, NEVER};
use super::record::{
    Asked, Cancelling, Edge, End, EndVerb, Ending, Holder, LeaseEnd, Parking, Phase, Span, TaskRow,
    Wait, Window,
};

/// An open task: its durable row and what only matters while the broker runs.
#[derive(Debug)]
pub(super) struct Task {
    /// What the store knows.
    pub(super) row: TaskRow,
    /// What most waiting tasks have nothing of.
    pub(super) live: Option<Box<Live>>,
}

/// When something happens, in the core's measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Monotone clock; timers are set on it.
    pub(super) tick: Tick,
    /// The core's own time line, which goes on across restarts; places are measured on it.
    pub(super) virtual_ms: u64,
    /// Wall clock.
    pub(super) wall_ms: u64,
}

/// The failure of an attempt.
#[derive(Debug)]
pub(super) struct Failed<'a> {
    /// For people.
    pub(super) error: &'a str,
    /// What may follow.
    pub(super) retry: Retry,
    /// What it is dead of if nothing does.
    pub(super) reason: DeadReason,
}

impl Task {
    /// A new task, ready (T3).
    pub(super) fn submit(task: TaskId, spec: Arc<Spec>, at: Moment) -> Task {
        let place_ms = at.virtual_ms + band_offset_ms(spec.band);
        let mut task = Task::open(TaskRow {
            task,
            spec,
            phase: Phase::Ready,
            generation: Generation(0),
            place_ms,
            submitted_ms: at.wall_ms,
            details: None,
        });
        task.start_patience(at.tick, 0);
        task
    }

    /// A task as the store has it, without its timers.
    pub(super) fn open(row: TaskRow) -> Task {
        Task { row, live: None }
    }

    /// T1: a new task waits for others, and afterwards perhaps for a time.
    pub(super) fn hold(&mut self, edges: Vec<Edge>, start: Option<Wait>) {
        let details = self.row.details_mut();
        details.after = edges;
        details.start = start;
        self.row.phase = Phase::Held;
    }

    /// T2: a new task waits for a time.
    pub(super) fn schedule(&mut self, start: Wait, at: Moment) {
        self.row.phase = Phase::Scheduled(Box::new(start));
        self.start_wait(at);
    }

    /// T6: no other task is waited for any more.
    pub(super) fn unhold(&mut self, at: Moment) {
        assert_eq!(self.row.state(), State::Held, "only a held task is let go");
        match self.row.details_mut().start.take() {
            Some(start) if start.due_ms() > at.wall_ms => {
                self.turn(Phase::Scheduled(Box::new(start)), at);
                self.start_wait(at);
            }
            _ => {
                self.become_eligible(at);
                self.turn(Phase::Ready, at);
            }
        }
    }

    /// T4, *debounce*: the wait is another one now.
    pub(super) fn postpone(&mut self, wait: Wait, at: Moment) {
        assert_eq!(self.row.state(), State::Scheduled, "only a waiting task is postponed");
        self.turn(Phase::Scheduled(Box::new(wait)), at);
        self.start_wait(at);
    }

    /// It can be granted for the first time: behind what can be already, and perhaps to one agent
    /// alone for a while.
    fn become_eligible(&mut self, at: Moment) {
        self.row.place_ms = self.new_place(at);
        let details = self.row.details();
        if !details.was_accepted && details.declines == 0 && details.offers_expired == 0 {
            self.open_window(at);
        }
    }

    /// 2.9: it is for the agent that its submitter named.
    pub(super) fn open_window(&mut self, at: Moment) {
        let placement = self.row.spec.placement.as_ref();
        if let Some(Assign { agent, for_ms }) = placement.and_then(|it| it.assign.clone()) {
            self.keep_for(agent, for_ms, at);
        }
    }

    fn keep_for(&mut self, agent: Name, for_ms: Option<u64>, at: Moment) {
        self.clear(Due::Window);
        if let Some(for_ms) = for_ms {
            self.set(Due::Window, at.tick.after(for_ms));
        }
        let span = for_ms.map(|length_ms| Span { length_ms, anchor_ms: at.wall_ms });
        self.row.details_mut().window = Some(Box::new(Window { agent, span }));
    }

    /// Any agent that can do it will do.
    pub(super) fn close_window(&mut self, at: Moment) {
        self.drop_window();
        self.turn(self.row.phase.clone(), at);
    }

    fn drop_window(&mut self) {
        self.clear(Due::Window);
        self.row.details_mut().window = None;
    }

    /// T8: the wait is over; it queues behind what is eligible already, unless it was handed back.
    pub(super) fn due(&mut self, at: Moment) {
        let Phase::Scheduled(wait) = &self.row.phase else {
            unreachable!("only a waiting task is due");
        };
        let keeps_place = matches!(**wait, Wait::For { keeps_place: true, .. });
        if !keeps_place {
            self.become_eligible(at);
        }
        self.clear(Due::Start);
        self.turn(Phase::Ready, at);
    }

    /// T9: offered to `holder`, under a generation that nobody was ever given before.
    pub(super) fn grant(&mut self, holder: Arc<Holder>, offer_ms: u64, at: Moment) {
        assert_eq!(self.row.state(), State::Ready, "only a ready task is granted");
        self.row.generation.0 += 1;
        self.live().lease_floor = Tick(0);
        self.set(Due::Offer, at.tick.after(offer_ms));
        self.turn(Phase::Offered(holder), at);
    }

    /// T9 and T10 at once: taken by `holder`, who asked for it.
    pub(super) fn take(&mut self, holder: Arc<Holder>, at: Moment) {
        assert_eq!(self.row.state(), State::Ready, "only a ready task is taken");
        self.row.generation.0 += 1;
        self.live().lease_floor = Tick(0);
        if let Some(fixed_ms) = holder.fixed_ms {
            self.set(Due::Lease, at.tick.after(fixed_ms));
        }
        self.begin_attempt(at.tick);
        self.turn(Phase::Running(holder), at);
    }

    /// T10: the holder takes the offer.
    pub(super) fn accept(&mut self, at: Moment) {
        let Phase::Offered(holder) = &self.row.phase else {
            unreachable!("only an offered task is accepted");
        };
        let holder = holder.clone();
        self.clear(Due::Offer);
        self.begin_attempt(at.tick);
        self.turn(Phase::Running(holder), at);
    }

    /// T12: the holder refuses the offer. It keeps its place; that agent is not asked again, or
    /// nobody is for a while.
    pub(super) fn decline(&mut self, retry_ms: Option<u64>, config: &CoreConfig, at: Moment) {
        let agent = self.end_lease();
        self.row.generation.0 += 1;
        let details = self.row.details_mut();
        details.declines += 1;
        if details.declines >= config.declines_max {
            return self.die(DeadReason::Rejected, Some(agent), at);
        }
        if let Some(delay_ms) = retry_ms {
            return self.wait_in_place(delay_ms, at);
        }
        let mut excluded = details.excluded.to_vec();
        if let Err(gap) = excluded.binary_search(&agent) {
            excluded.insert(gap, agent.clone());
        }
        details.excluded = excluded.into();
        match details.window.as_deref().filter(|window| window.agent == agent) {
            // Nobody else will ever do.
            Some(Window { span: None, .. }) => {
                return self.die(DeadReason::Rejected, Some(agent), at);
            }
            Some(_) => self.drop_window(),
            None => {}
        }
        self.turn(Phase::Ready, at);
    }

    /// T13 and, before it was accepted, T18: nobody answered the offer.
    pub(super) fn expire_offer(&mut self, config: &CoreConfig, at: Moment) {
        assert_eq!(self.row.state(), State::Offered, "only an offer expires");
        let agent = self.end_lease();
        self.row.generation.0 += 1;
        let details = self.row.details_mut();
        details.offers_expired += 1;
        let is_exhausted = details.offers_expired >= config.offers_max;
        self.back_or_dead(is_exhausted, agent, at);
    }

    /// T18: the holder of running work vanished. The system failed the task, so it keeps its
    /// place and no attempt is counted.
    pub(super) fn lose(&mut self, config: &CoreConfig, at: Moment) {
        assert_eq!(self.row.state(), State::Running, "only running work is lost");
        let agent = self.end_lease();
        self.row.generation.0 += 1;
        let details = self.row.details_mut();
        details.lost += 1;
        let is_exhausted = details.lost >= config.lost_max;
        self.back_or_dead(is_exhausted, agent, at);
    }

    /// T43: an operator takes it away; nothing is counted.
    pub(super) fn reclaim(&mut self, at: Moment) {
        self.end_lease();
        self.row.generation.0 += 1;
        self.turn(Phase::Ready, at);
    }

    /// T25: done.
    pub(super) fn complete(&mut self, at: Moment) {
        let agent = self.end_lease();
        self.row.details_mut().has_result = true;
        self.end(Ending::Completed, Some(agent), at);
    }

    /// T26: the attempt failed, says its holder; rule R decides what follows.
    pub(super) fn fail(&mut self, failed: &Failed<'_>, config: &CoreConfig, at: Moment) {
        self.note_accepted();
        let agent = self.end_lease();
        self.note_failure(failed.error, agent.clone(), at);
        let details = self.row.details_mut();
        match failed.retry {
            Retry::Throttled(_) if details.releases < config.releases_max => details.releases += 1,
            _ => details.attempts += 1,
        }
        self.retry(failed, agent, config, at);
    }

    /// T27: the attempt ran out of time; rule R decides what follows.
    pub(super) fn time_out(&mut self, error: &str, config: &CoreConfig, at: Moment) {
        let agent = self.end_lease();
        self.note_failure(error, agent.clone(), at);
        self.row.details_mut().attempts += 1;
        let failed =
            Failed { error, retry: Retry::Backoff { at_least_ms: 0 }, reason: DeadReason::Timeout };
        if !self.retry(&failed, agent, config, at) {
            // A retry has raised it already.
            self.row.generation.0 += 1;
        }
    }

    /// T28: the holder hands it back. No attempt is counted, and it keeps its place.
    pub(super) fn release(&mut self, delay_ms: u64, at: Moment) {
        self.note_accepted();
        self.end_lease();
        self.row.generation.0 += 1;
        self.row.details_mut().releases += 1;
        if delay_ms == 0 { self.turn(Phase::Ready, at) } else { self.wait_in_place(delay_ms, at) }
    }

    /// T29: its holder asks; what was asked before is known.
    pub(super) fn ask(&mut self, questions: Vec<Question>) {
        let asked = &mut self.row.details_mut().questions;
        for Question { key, text, default } in questions {
            if !asked.iter().any(|known| known.key == key) {
                asked.push(Asked { key, text, default, answer: None });
            }
        }
    }

    /// Something about it changed that has no arrow of its own.
    pub(super) fn note(&mut self, at: Moment) {
        self.turn(self.row.phase.clone(), at);
    }

    /// T29: its holder waits with the task; its other clocks stand still meanwhile.
    pub(super) fn wait_for_answers(&mut self, mut parking: Parking, at: Moment) {
        parking.attempt_left_ms = match &self.row.details().parking {
            Some(former) => former.attempt_left_ms,
            None => self.timer(Due::Attempt).0.saturating_sub(at.tick.0),
        };
        self.clear(Due::Attempt);
        self.clear(Due::Progress);
        self.set(Due::Hold, at.tick.after(parking.hold_ms));
        self.row.details_mut().parking = Some(Box::new(parking));
    }

    /// T30: all answers are there, and its holder goes on.
    pub(super) fn go_on(&mut self, at: Moment) {
        let parking = self.row.details_mut().parking.take();
        let left_ms = parking.map_or(0, |parking| parking.attempt_left_ms);
        self.clear(Due::Hold);
        self.set(Due::Attempt, at.tick.after(left_ms));
        self.prove_progress(at);
        self.turn(self.row.phase.clone(), at);
    }

    /// T31: set aside, without a holder.
    pub(super) fn park(&mut self, at: Moment) {
        let parking = self.row.details_mut().parking.take();
        let agent = self.end_lease();
        self.row.generation.0 += 1;
        if self.sticky_ms() > 0 {
            self.row.details_mut().former = Some(agent);
        }
        self.row.details_mut().parking = parking;
        self.start_parking(at);
        self.turn(Phase::Parked, at);
    }

    fn start_parking(&mut self, at: Moment) {
        let parking = self.row.details_mut().parking.as_mut();
        let parking = parking.expect("only what waits is set aside");
        parking.anchor_ms = at.wall_ms;
        let ends = at.tick.after(parking.park_ms);
        self.set(Due::Park, ends);
    }

    /// T34, *escalate*: its time is over and begins once more.
    pub(super) fn escalate(&mut self, at: Moment) {
        self.start_parking(at);
        if let Some(parking) = &mut self.row.details_mut().parking {
            parking.is_escalated = true;
        }
        self.turn(Phase::Parked, at);
    }

    fn sticky_ms(&self) -> u64 {
        self.row.spec.placement.as_ref().map_or(0, |placement| placement.sticky_ms)
    }

    /// T32: what it waited for is there; it has its old place. The agent that set it aside goes
    /// before others for a while, if it is still here.
    pub(super) fn unpark(&mut self, is_here: impl FnOnce(&Name) -> bool, at: Moment) {
        assert_eq!(self.row.state(), State::Parked, "only what was set aside comes back");
        let details = self.row.details_mut();
        details.parking = None;
        let former = details.former.take().filter(is_here);
        if let Some(agent) = former.filter(|_| details.window.is_none()) {
            self.keep_for(agent, Some(self.sticky_ms()), at);
        }
        self.clear(Due::Park);
        self.turn(Phase::Ready, at);
    }

    /// T33.
    pub(super) fn take_answer(&mut self, key: &Name, value: Arc<[u8]>, at: Moment) {
        for asked in &mut self.row.details_mut().questions {
            if asked.key == *key {
                asked.answer = Some(value.clone());
            }
        }
        self.turn(self.row.phase.clone(), at);
    }

    /// T34: what it waits for and nobody answered is answered by its default.
    pub(super) fn take_defaults(&mut self) {
        let details = self.row.details_mut();
        let keys = details.parking.as_ref().map_or(&[][..], |parking| &parking.keys);
        for asked in &mut details.questions {
            if asked.answer.is_none() && keys.contains(&asked.key) {
                asked.answer.clone_from(&asked.default);
            }
        }
    }

    /// The answer to a question, if there is one.
    pub(super) fn answer(&self, key: &Name) -> Option<&Arc<[u8]>> {
        let asked = self.row.details().questions.iter().find(|asked| asked.key == *key);
        asked?.answer.as_ref()
    }

    /// T4, *replace*: it carries something else, which its spec knows of.
    pub(super) fn carry(&mut self, spec: Arc<Spec>, at: Moment) {
        self.row.spec = spec;
        self.turn(self.row.phase.clone(), at);
    }

    /// T50, T51: another spec, and perhaps another start.
    pub(super) fn edit(&mut self, spec: Arc<Spec>, start: Option<Option<Wait>>, at: Moment) {
        let former = std::mem::replace(&mut self.row.spec, spec);
        let spec = self.row.spec.clone();
        let eligible_ms = self.row.place_ms.saturating_sub(band_offset_ms(former.band));
        self.row.place_ms = eligible_ms + band_offset_ms(spec.band);
        let (old, new) = (former.patience, spec.patience);
        self.limit(Due::Attempt, Some(old.attempt_ms), Some(new.attempt_ms), at);
        self.limit(Due::Progress, old.progress_ms, new.progress_ms, at);
        self.limit(Due::Total, old.total_ms, new.total_ms, at);
        if !self.row.details().was_accepted {
            self.limit(Due::Queue, old.queue_ms, new.queue_ms, at);
        }
        let details = self.row.details_mut();
        details.version += 1;
        if let Some(parking) = &mut details.parking {
            let left_ms = parking.attempt_left_ms.saturating_add(new.attempt_ms);
            parking.attempt_left_ms = left_ms.saturating_sub(old.attempt_ms);
        }
        let has_start = start.is_some();
        if has_start {
            self.clear(Due::Start);
        }
        let phase = match (start, self.row.state()) {
            (Some(start), State::Held) => {
                self.row.details_mut().start = start;
                Phase::Held
            }
            (Some(Some(start)), State::Scheduled | State::Ready) => {
                self.drop_window();
                Phase::Scheduled(Box::new(start))
            }
            (Some(None), State::Scheduled) => {
                self.become_eligible(at);
                Phase::Ready
            }
            _ => self.row.phase.clone(),
        };
        self.turn(phase, at);
        if has_start {
            self.start_wait(at);
        }
    }

    /// A time limit is another one, counted from where it was counted from. Where none was, only
    /// the wall clock can tell how much is over.
    fn limit(&mut self, due: Due, old_ms: Option<u64>, new_ms: Option<u64>, at: Moment) {
        let (Some(new_ms), timer) = (new_ms, self.timer(due)) else { return };
        match old_ms {
            Some(old_ms) if timer != NEVER => {
                self.set(due, Tick(timer.0.saturating_add(new_ms).saturating_sub(old_ms)));
            }
            None if matches!(due, Due::Total | Due::Queue) => {
                let since_ms = self.row.details().redriven_ms.unwrap_or(self.row.submitted_ms);
                let gone_ms = at.wall_ms.saturating_sub(since_ms);
                self.set(due, at.tick.after(new_ms.saturating_sub(gone_ms)));
            }
            None if self.row.state() == State::Running && self.row.details().parking.is_none() => {
                self.set(due, at.tick.after(new_ms));
            }
            _ => {}
        }
    }

    /// T37, T45: its holder is asked to stop.
    pub(super) fn ask_to_stop(&mut self, cancelling: Cancelling, at: Moment) {
        assert_eq!(self.row.state(), State::Running, "only running work is asked to stop");
        self.set(Due::Cancel, at.tick.after(cancelling.grace_ms));
        let details = self.row.details_mut();
        details.cancelling = Some(Box::new(cancelling));
        self.turn(self.row.phase.clone(), at);
    }

    /// T37 again: there is less time to stop, never more.
    pub(super) fn hurry(&mut self, grace_ms: u64, at: Moment) {
        self.set(Due::Cancel, at.tick.after(grace_ms));
        let cancelling = self.row.details_mut().cancelling.as_mut();
        let cancelling = cancelling.expect("only what is to stop is hurried");
        let gone_ms = at.wall_ms.saturating_sub(cancelling.anchor_ms);
        cancelling.grace_ms = cancelling.grace_ms.min(gone_ms.saturating_add(grace_ms));
        self.turn(self.row.phase.clone(), at);
    }

    /// T38, T40 by its holder, who stopped and perhaps left a result.
    pub(super) fn stop(&mut self, has_result: bool, at: Moment) {
        let agent = self.end_lease();
        self.row.details_mut().has_result |= has_result;
        self.end_stopped(agent, at);
    }

    /// T40 by the broker: whatever else would have become of it, it was to stop.
    pub(super) fn stop_by_force(&mut self, at: Moment) {
        let agent = self.end_lease();
        self.row.generation.0 += 1;
        self.end_stopped(agent, at);
    }

    /// T35, T36: called off before anybody worked on it.
    pub(super) fn cancel(&mut self, reason: Arc<str>, at: Moment) {
        let agent = self.end_lease_if_any();
        self.end(Ending::Cancelled(reason), agent, at);
    }

    /// T7, T44, T45: given up before anybody worked on it.
    pub(super) fn give_up(&mut self, reason: DeadReason, at: Moment) {
        let agent = self.end_lease_if_any();
        self.die(reason, agent, at);
    }

    /// T46: back from the dead letters. Failures are remembered, counters are not.
    pub(super) fn redrive(&mut self, after: Vec<Edge>, delay_ms: u64, at: Moment) {
        assert_eq!(self.row.state(), State::Dead, "only a dead task is redriven");
        self.row.generation.0 += 1;
        let details = self.row.details_mut();
        (details.attempts, details.lost, details.offers_expired) = (0, 0, 0);
        (details.declines, details.releases) = (0, 0);
        details.excluded = Arc::default();
        details.redrives += 1;
        details.was_accepted = false;
        details.parking = None;
        details.redriven_ms = Some(at.wall_ms);
        details.after = after;
        let is_held = !details.after.is_empty();
        self.row.place_ms = self.new_place(at);
        self.start_patience(at.tick, 0);
        let (anchor_ms, keeps_place) = (at.wall_ms, false);
        let start = (delay_ms > 0).then_some(Wait::For { delay_ms, anchor_ms, keeps_place });
        match start {
            _ if is_held => {
                self.row.details_mut().start = start;
                self.turn(Phase::Held, at);
            }
            None => {
                self.open_window(at);
                self.turn(Phase::Ready, at);
            }
            Some(start) => {
                self.turn(Phase::Scheduled(Box::new(start)), at);
                self.start_wait(at);
            }
        }
    }

    /// T47: given up for good.
    pub(super) fn discard(&mut self, at: Moment) {
        assert_eq!(self.row.state(), State::Dead, "only a dead task is discarded");
        let by = self.row.end().and_then(|end| end.by.clone());
        self.end(Ending::Cancelled("discarded".into()), by, at);
    }

    /// T20: its holder reports.
    pub(super) fn report(&mut self, data: Arc<[u8]>, at: Moment) -> Progress {
        let details = self.row.details_mut();
        details.progress_seq += 1;
        let seq = details.progress_seq;
        self.live().progress = Some(data[..data.len().min(PROGRESS_BYTES_MAX)].into());
        self.prove_progress(at);
        self.turn(self.row.phase.clone(), at);
        Progress { seq, data }
    }

    /// T22: its holder leaves something for the next one, under this number.
    pub(super) fn checkpoint(&mut self, seq: u64, at: Moment) {
        self.row.details_mut().checkpoint_seq = Some(seq);
        self.prove_progress(at);
    }

    /// It gets on: the time between reports begins anew.
    fn prove_progress(&mut self, at: Moment) {
        if self.row.details().parking.is_some() {
            return;
        }
        if let Some(progress_ms) = self.row.spec.patience.progress_ms {
            self.set(Due::Progress, at.tick.after(progress_ms));
        }
    }

    /// D: the other end of some of its edges is over.
    pub(super) fn block(&mut self, task: TaskId, is_blocked: bool, at: Moment) {
        for edge in &mut self.row.details_mut().after {
            if edge.task == task {
                edge.is_blocked = is_blocked;
            }
        }
        self.turn(self.row.phase.clone(), at);
    }

    /// Number of the try that is being made or comes next; 1 for the first.
    pub(super) fn attempt(&self) -> u32 {
        self.row.details().attempts + 1
    }

    /// What is known of it only while the broker runs.
    pub(super) fn live(&mut self) -> &mut Live {
        self.live.get_or_insert_default()
    }

    /// The deadline at which it is looked at next; [`NEVER`] if none is set.
    pub(super) fn armed(&self) -> Tick {
        self.live.as_ref().map_or(NEVER, |live| live.armed())
    }

    /// Set that deadline, or take it away with [`NEVER`]. Gives the one before.
    pub(super) fn arm(&mut self, at: Tick) -> Tick {
        match &mut self.live {
            Some(live) => live.arm(at),
            None if at == NEVER => NEVER,
            None => self.live().arm(at),
        }
    }

    /// Set one of its timers.
    pub(super) fn set(&mut self, due: Due, at: Tick) {
        self.live().set(due, at);
    }

    /// Stop one of its timers.
    pub(super) fn clear(&mut self, due: Due) {
        if let Some(live) = &mut self.live {
            live.set(due, NEVER);
        }
    }

    /// When one of its timers is due; [`NEVER`] if it is not set.
    pub(super) fn timer(&self, due: Due) -> Tick {
        self.live.as_ref().map_or(NEVER, |live| live.timer(due))
    }

    /// The soonest of its timers. That of its waiting time rests while somebody looks at it.
    pub(super) fn soonest(&self) -> Option<(Tick, Due)> {
        let rests = |due| due == Due::Queue && self.row.holder().is_some();
        let timers = Due::ALL.into_iter().filter(|&due| !rests(due));
        timers.map(|due| (self.timer(due), due)).filter(|(at, _)| *at != NEVER).min()
    }

    /// Begin to count its total and its waiting time, `gone_ms` of which are over.
    pub(super) fn start_patience(&mut self, tick: Tick, gone_ms: u64) {
        let patience = self.row.spec.patience;
        let limits = [(Due::Total, patience.total_ms), (Due::Queue, patience.queue_ms)];
        for (due, limit_ms) in limits {
            match limit_ms {
                Some(limit_ms) => self.set(due, tick.after(limit_ms.saturating_sub(gone_ms))),
                None => self.clear(due),
            }
        }
    }

    /// Begin to count the time of a running attempt.
    pub(super) fn begin_attempt(&mut self, tick: Tick) {
        let patience = self.row.spec.patience;
        self.note_accepted();
        self.set(Due::Attempt, tick.after(patience.attempt_ms));
        if let Some(progress_ms) = patience.progress_ms {
            self.set(Due::Progress, tick.after(progress_ms));
        }
    }

    fn note_accepted(&mut self) {
        self.row.details_mut().was_accepted = true;
        self.clear(Due::Queue);
        // A window is for whom it is offered to first, and it was.
        let window = self.row.details().window.as_ref();
        if window.is_some_and(|window| window.span.is_some()) {
            self.drop_window();
        }
    }

    /// Set the timer of a span of time that is waited for, of which some may be over. A wait for
    /// the wall clock is not the task's own timer.
    pub(super) fn start_wait(&mut self, at: Moment) {
        let Phase::Scheduled(wait) = &self.row.phase else { return };
        if let Wait::For { delay_ms, anchor_ms, .. } = **wait {
            let waited_ms = at.wall_ms.saturating_sub(anchor_ms);
            self.set(Due::Start, at.tick.after(delay_ms.saturating_sub(waited_ms)));
        }
    }

    /// Remember how the holder ended its lease, to know the operation again.
    pub(super) fn remember(
        &mut self,
        generation: Generation,
        agent: Name,
        verb: EndVerb,
        digest: u64,
    ) {
        let outcome: State = self.row.state();
        let end = LeaseEnd { generation, agent, verb, digest, outcome };
        self.row.details_mut().last_end = Some(Box::new(end));
    }

    /// Rule R. Gives whether there is another attempt, which raises the generation.
    fn retry(&mut self, failed: &Failed<'_>, agent: Name, config: &CoreConfig, at: Moment) -> bool {
        let attempts = self.row.details().attempts;
        if attempts >= self.row.spec.attempts_max && failed.retry != Retry::Never {
            self.die(failed.reason, Some(agent), at);
            return false;
        }
        let delay_ms = match failed.retry {
            Retry::Never => {
                self.die(DeadReason::NonRetryable, Some(agent), at);
                return false;
            }
            Retry::Backoff { at_least_ms } => {
                config.backoff.delay_ms(self.row.task, attempts).max(at_least_ms)
            }
            Retry::In(delay_ms) | Retry::Throttled(delay_ms) => delay_ms,
        };
        if self.timer(Due::Total) < at.tick.after(delay_ms) {
            self.die(DeadReason::Deadline, Some(agent), at);
            return false;
        }
        self.row.generation.0 += 1;
        if delay_ms == 0 {
            self.row.place_ms = self.new_place(at);
            self.turn(Phase::Ready, at);
        } else {
            let wait = Wait::For { delay_ms, anchor_ms: at.wall_ms, keeps_place: false };
            self.turn(Phase::Scheduled(Box::new(wait)), at);
            self.start_wait(at);
        }
        true
    }

    fn note_failure(&mut self, error: &str, agent: Name, at: Moment) {
        let generation = self.row.generation;
        let details = self.row.details_mut();
        if let Some(last) = details.failures.last_mut() {
            last.error = truncated(&last.error, OLD_ERROR_BYTES_MAX).into();
        }
        if details.failures.len() == FAILURES_MAX {
            details.failures.remove(0);
        }
        let error = truncated(error, ERROR_BYTES_MAX).into();
        details.failures.push(Failure { generation, agent, at_ms: at.wall_ms, error });
    }

    fn new_place(&self, at: Moment) -> u64 {
        at.virtual_ms + band_offset_ms(self.row.spec.band)
    }

    fn wait_in_place(&mut self, delay_ms: u64, at: Moment) {
        let wait = Wait::For { delay_ms, anchor_ms: at.wall_ms, keeps_place: true };
        self.turn(Phase::Scheduled(Box::new(wait)), at);
        self.start_wait(at);
    }

    fn end_lease(&mut self) -> Name {
        self.end_lease_if_any().expect("only a leased task can lose its lease")
    }

    fn end_lease_if_any(&mut self) -> Option<Name> {
        let agent = self.row.holder()?.agent.clone();
        for due in Due::OF_LEASE {
            self.clear(due);
        }
        self.row.details_mut().parking = None;
        if let Some(live) = &mut self.live {
            live.progress = None;
        }
        Some(agent)
    }

    fn end_stopped(&mut self, agent: Name, at: Moment) {
        let cancelling = self.row.details_mut().cancelling.take();
        let cancelling = cancelling.expect("only a task that is to stop is stopped");
        let how = if cancelling.is_deadline {
            Ending::Dead(DeadReason::Deadline)
        } else {
            Ending::Cancelled(cancelling.reason)
        };
        self.end(how, Some(agent), at);
    }

    fn back_or_dead(&mut self, is_exhausted: bool, agent: Name, at: Moment) {
        if is_exhausted {
            self.die(DeadReason::Lost, Some(agent), at);
        } else {
            self.turn(Phase::Ready, at);
        }
    }

    fn die(&mut self, reason: DeadReason, by: Option<Name>, at: Moment) {
        self.end(Ending::Dead(reason), by, at);
    }

    fn end(&mut self, how: Ending, by: Option<Name>, at: Moment) {
        let details = self.row.details_mut();
        (details.cancelling, details.parking) = (None, None);
        (details.window, details.former) = (None, None);
        self.turn(Phase::Over(Box::new(End { how, by, expires_ms: None })), at);
    }

    fn turn(&mut self, phase: Phase, at: Moment) {
        self.row.phase = phase;
        let details = self.row.details_mut();
        details.updated_ms = at.wall_ms;
        details.event_seq += 1;
    }
}

/// At most `max` bytes of `text`, ending between two characters.
fn truncated(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
pub(super) mod tests;
