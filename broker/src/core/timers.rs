//! What time does. The half of [`Core`] that answers ticks.
//!
//! Every open task stands in the set of deadlines once, at the soonest of its own timers; after
//! each change it is put where it belongs by then ([`Core::arm`]). Agents have one deadline each
//! for all their leases (`lease.rs`). Waiting for a time of day follows the wall clock: those
//! deadlines are looked at with every request, and once a minute in between, so that a jump of
//! that clock is noticed.

use super::Core;
use super::command::{Command, DeadReason, Name, Now, Request, RequestId, State, TaskId, Tick};
use super::live::{Due, NEVER};
use super::record::{Cancelling, Phase, Wait};

/// What a deadline on the monotone clock is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// One of a task's own timers.
    Task(TaskId),
    /// Look whether leases of this agent have run out (T18). One for all of them, set lazily, so
    /// that a heart-beat costs nothing but writing down when it came.
    Watch(Name),
    /// An agent that let offers run out may be tried again.
    Trial(Name),
    /// It was offered nothing for long enough.
    Amnesty(Name),
    /// Somebody who waits for the end of a task waits no longer.
    Await(RequestId),
    /// Somebody who waits for work waits no longer.
    Take(RequestId),
    /// A key of a queue does not count any more.
    Dedup(Name, Name),
    /// The rate of a queue lets it go on.
    Rate(Name),
}

/// What a deadline on the wall clock is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WallTimer {
    /// A task waits for this time.
    Start(TaskId),
    /// A slot of a schedule comes.
    Schedule(Name),
    /// The retention of some task is over (T48).
    Retire,
    /// Mailboxes are looked at for what is too old.
    Mail,
}

/// Longest time between two looks at the wall clock while something waits for it.
const WALL_GLANCE_MS: u64 = 60_000;

/// Retention ends at full seconds, so that it is looked at once a second at most.
const RETIRE_STEP_MS: u64 = 1_000;

impl Core {
    /// When to call [`Core::handle`] with [`Command::Tick`] even if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let wall = self.wall_deadlines.next().map(|at| {
            let wait_ms = at.saturating_sub(self.now.wall_ms).min(WALL_GLANCE_MS);
            self.now.tick.after(wait_ms)
        });
        [self.deadlines.next(), wall, self.backlog.next_alarm()].into_iter().flatten().min()
    }

    /// A request for whatever is due now; nobody waits for its answer.
    #[must_use]
    pub fn tick() -> Request {
        Request { id: RequestId(u64::MAX), command: Command::Tick }
    }

    pub(super) fn handle_timers(&mut self, now: Now) {
        while let Some(timer) = self.deadlines.pop_due(now.tick) {
            match timer {
                Timer::Task(task) => self.handle_task(task, now),
                Timer::Watch(agent) => self.handle_watch(&agent, now),
                Timer::Trial(agent) => self.agents.try_again(&agent, now.tick),
                Timer::Amnesty(agent) => self.agents.end_withholding(&agent),
                Timer::Await(request) => self.stop_waiting(request),
                Timer::Take(request) => self.stop_taking(request),
                Timer::Dedup(queue, key) => self.expire_dedup(&queue, &key, now),
                Timer::Rate(queue) => {
                    let is_open = self.queues.reopen(&queue);
                    self.open_queue(&queue, is_open);
                }
            }
            // Dependents of what ended hear of it before anything else happens to them.
            self.tell_dependents(now);
        }
        while let Some(timer) = self.wall_deadlines.pop_due(now.wall_ms) {
            match timer {
                WallTimer::Start(task) => self.handle_start(task, now),
                WallTimer::Schedule(name) => self.handle_schedule(&name, now),
                WallTimer::Retire => self.handle_retire(now),
                WallTimer::Mail => self.handle_mail(now),
            }
        }
    }

    /// The soonest timer of a task may be due; others may be due with it.
    fn handle_task(&mut self, id: TaskId, now: Now) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.arm(NEVER);
        while let Some(task) = self.tasks.get(id)
            && let Some((at, due)) = task.soonest()
            && at <= now.tick
        {
            self.handle_task_due(id, due, now);
        }
        self.arm(id);
    }

    fn handle_task_due(&mut self, id: TaskId, due: Due, now: Now) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.clear(due);
        match due {
            Due::Start => self.change(id, now, |task, _, at| task.due(at)),
            Due::Queue => {
                self.change(id, now, |task, _, at| task.give_up(DeadReason::Expired, at));
            }
            Due::Total => self.handle_total(id, now),
            Due::Offer => {
                let agent = task.row.holder().map(|holder| holder.agent.clone());
                let agent = agent.expect("only an offered task has that timer");
                self.suspect(&agent, now);
                self.revoke(id, now);
            }
            Due::Cancel | Due::Lease => {
                self.revoke(id, now);
            }
            Due::Hold => {
                self.take_away(id, now, |task, _, at| match task.row.details().cancelling {
                    Some(_) => task.stop_by_force(at),
                    None => task.park(at),
                });
            }
            Due::Park => self.handle_park_timeout(id, now),
            Due::Window => self.change(id, now, |task, _, at| task.close_window(at)),
            Due::Attempt => self.handle_time_out(id, "the attempt took longer than allowed", now),
            Due::Progress => {
                self.handle_time_out(id, "no progress was reported for too long", now);
            }
        }
    }

    /// T45.
    fn handle_total(&mut self, id: TaskId, now: Now) {
        let row = &self.tasks[id].row;
        match row.state() {
            State::Running if row.details().cancelling.is_some() => {}
            State::Running => {
                let cancelling = Cancelling {
                    reason: "its total time is over".into(),
                    is_deadline: true,
                    grace_ms: self.config.cancel_ms,
                    anchor_ms: now.wall_ms,
                };
                self.ask_to_stop(id, cancelling, now);
            }
            State::Offered => {
                self.take_away(id, now, |task, _, at| {
                    task.row.generation.0 += 1;
                    task.give_up(DeadReason::Deadline, at);
                });
            }
            _ => self.change(id, now, |task, _, at| task.give_up(DeadReason::Deadline, at)),
        }
    }

    /// T27, T40.
    fn handle_time_out(&mut self, id: TaskId, error: &str, now: Now) {
        let is_cancelling = self.tasks[id].row.details().cancelling.is_some();
        self.take_away(id, now, |task, config, at| {
            if is_cancelling {
                task.stop_by_force(at);
            } else {
                task.time_out(error, config, at);
            }
        });
    }

    /// T8, by the wall clock. What the deadline was set for may have changed meanwhile.
    fn handle_start(&mut self, id: TaskId, now: Now) {
        let phase = self.tasks.get(id).map(|task| &task.row.phase);
        if let Some(Phase::Scheduled(wait)) = phase
            && let Wait::Until { wall_ms } = **wait
            && wall_ms <= now.wall_ms
        {
            self.change(id, now, |task, _, at| task.due(at));
        }
    }

    /// Put a task where its soonest timer is, and let the wall clock know of it if it waits for
    /// that.
    pub(super) fn arm(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let Phase::Scheduled(wait) = &task.row.phase
            && let Wait::Until { wall_ms } = **wait
        {
            self.wall_deadlines.set(wall_ms, WallTimer::Start(id));
        }
        let at = task.soonest().map_or(NEVER, |(at, _)| at);
        let armed = task.arm(at);
        if armed != at {
            self.disarm(id, armed);
            if at != NEVER {
                self.deadlines.set(at, Timer::Task(id));
            }
        }
    }

    pub(super) fn disarm(&mut self, id: TaskId, armed: Tick) {
        if armed != NEVER {
            self.deadlines.clear(armed, Timer::Task(id));
        }
    }

    /// Look for tasks whose retention is over once the wall clock shows this, or sooner.
    pub(super) fn retire_at(&mut self, wall_ms: u64) {
        let at = wall_ms.div_ceil(RETIRE_STEP_MS).saturating_mul(RETIRE_STEP_MS);
        if self.retire_armed.is_none_or(|armed| at < armed) {
            if let Some(armed) = self.retire_armed.replace(at) {
                self.wall_deadlines.clear(armed, WallTimer::Retire);
            }
            self.wall_deadlines.set(at, WallTimer::Retire);
        }
    }
}
