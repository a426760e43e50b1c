//! The durable core: every task, in one deterministic value.
//!
//! ```text
//!              Request, rows, Now                      Effect, in order
//!   commit ------------------------> Core::handle ------------------------> commit
//!                                        |
//!   values   task, live  one task: states, arrows, timers    fence   may this operation act?
//!            backlog     which task goes next?               agent   who could take it?
//!            lane        tasks alike, in order               eligible  who could do what at all?
//!            queue       what is set, how many stand where?  dedup   was it submitted before?
//!            token       who may come in as which agent?     presence  who is here?
//!            messages    which are kept, and answer which?   mailbox, channel  what waits where?
//!            deadlines   when is something due?              limits  every number, with its reason
//!   halves   submit, depend, schedule, matching, lease, connect, take, park, timers, cancel,
//!            edit, dead, watch, why, manage, identify, post, config, restore
//! ```
//!
//! No clock, no randomness, no I/O and no locks: time comes in with the request, and the same
//! requests give the same effects on any machine. Three kinds of methods: [`Core::handle`] takes
//! something in, [`Core::poll_effect`] and [`Core::drain_effects`] hand out what must happen next, one
//! by one or all at once, and the others only look. After every `handle`, drain the effects before
//! the next one.
//!
//! The values change nothing of each other. The halves are what [`Core`] does for one kind of
//! request; each connects the values that it needs. What all of them share is here: a task only
//! changes through [`Core::change`], which sees to it that the change is logged and told, that the
//! counts are right, and that something will move the task on.
//!
//! Open tasks are in memory, without their payloads: an [`Offer`](command::Offer) leaves the core
//! with an empty payload and the commit loop fills it from the store. Tasks that are over are only
//! in the store; [`Core::wants`] says when one of them has to be shown to `handle`.

mod agent;
mod backlog;
mod bits;
pub mod calendar;
mod cancel;
mod channel;
pub mod command;
mod config;
mod connect;
pub mod cron;
mod dead;
mod deadlines;
mod dedup;
mod depend;
mod edit;
mod eligible;
mod fence;
mod identify;
mod lane;
mod lease;
pub mod limits;
mod live;
mod mailbox;
mod manage;
mod matching;
mod messages;
mod park;
mod post;
mod presence;
mod queue;
mod rate;
pub mod record;
mod restore;
mod schedule;
mod specs;
mod submit;
mod table;
mod take;
mod task;
mod timers;
mod token;
mod watch;
mod why;

use std::collections::{BTreeSet, VecDeque};

use self::agent::Agents;
use self::backlog::{Backlog, LaneId};
use self::channel::Channels;
use self::command::{
    Action, Command, Effect, Epoch, MessageId, Name, Now, Progress, Push, QueueCounts, Rejection,
    Reply, Request, RequestId, Scarcity, SessionId, State, TaskEvent, TaskId, Tick, TokenDigest,
};
use self::config::Shared;
use self::deadlines::Deadlines;
use self::dedup::Dedups;
use self::depend::{Dependents, Ended};
use self::eligible::Eligible;
use self::limits::{BANDS_COUNTED, CoreConfig};
use self::live::{Live, event_bytes};
use self::mailbox::Mailboxes;
use self::messages::Messages;
use self::park::Children;
use self::presence::Presence;
use self::queue::Queues;
use self::record::{Ending, Phase, Record, TaskRow};
use self::schedule::Schedules;
use self::specs::Specs;
use self::table::Tasks;
use self::take::Takes;
use self::task::{Moment, Task};
use self::timers::{Timer, WallTimer};
use self::token::Tokens;
use self::watch::Audience;

/// How many task ids one [`Record::TaskIdBound`] covers. 1024: the record then costs a thousandth
/// of a submit, and a restart skips at most so many of 2^64 ids. The same for epochs.
const IDS_STEP: u64 = 1024;

/// Bytes of reports that are remembered in events of all open tasks together. 64 MiB: enough for
/// every agent to come back to, and too little to hurt.
const EVENTS_BYTES_MAX: usize = 64 << 20;

/// The state machine behind every durable verb.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    /// The disk is almost full.
    scarcity: Option<Scarcity>,
    /// Open tasks only.
    tasks: Tasks,
    specs: Specs,
    queues: Queues,
    backlog: Backlog,
    eligible: Eligible,
    agents: Agents,
    takes: Takes,
    dedups: Dedups,
    dependents: Dependents,
    children: Children,
    audience: Audience,
    schedules: Schedules,
    tokens: Tokens,
    messages: Messages,
    mailboxes: Mailboxes,
    channels: Channels,
    presence: Presence,
    shared: Shared,
    deadlines: Deadlines<Tick, Timer>,
    /// Deadlines of the wall clock.
    wall_deadlines: Deadlines<u64, WallTimer>,
    /// Both clocks when they were last looked at.
    now: Now,
    /// The next id to give out.
    next_task: TaskId,
    /// Ids below this are covered by a record.
    task_id_bound: TaskId,
    /// The next epoch to give out, and the bound that is covered by a record.
    next_epoch: Epoch,
    epoch_bound: Epoch,
    /// The same for messages.
    next_message: MessageId,
    message_id_bound: MessageId,
    /// How long a message may wait in a mailbox.
    mailbox_keep_ms: u64,
    /// Mailboxes will be looked at for what is too old.
    evict_armed: bool,
    /// When the wall clock is looked at next for tasks to forget.
    retire_armed: Option<u64>,
    /// What the core's own time line showed when this process started at tick 0.
    virtual_start_ms: u64,
    /// Lanes that something was put into while they were empty, or that were opened, since agents
    /// were last matched.
    filled: Vec<LaneId>,
    /// Agents that keep room for a task that waited for long, when they were last looked at: what
    /// they may take depends on more than themselves.
    held_back: BTreeSet<Name>,
    /// Tasks that ended, whose dependents have not heard of it.
    ended: VecDeque<Ended>,
    /// Bytes of reports in remembered events.
    events_bytes: usize,
    effects: VecDeque<Effect>,
}

impl Core {
    /// A core without tasks.
    #[must_use]
    pub fn new(config: CoreConfig) -> Core {
        Core {
            config,
            scarcity: None,
            tasks: Tasks::default(),
            specs: Specs::default(),
            queues: Queues::default(),
            backlog: Backlog::default(),
            eligible: Eligible::default(),
            agents: Agents::default(),
            takes: Takes::default(),
            dedups: Dedups::default(),
            dependents: Dependents::default(),
            children: Children::default(),
            audience: Audience::default(),
            schedules: Schedules::default(),
            tokens: Tokens::default(),
            messages: Messages::default(),
            mailboxes: Mailboxes::default(),
            channels: Channels::default(),
            presence: Presence::default(),
            shared: Shared::default(),
            deadlines: Deadlines::new(),
            wall_deadlines: Deadlines::new(),
            now: Now::default(),
            next_task: TaskId(1),
            task_id_bound: TaskId(1),
            next_epoch: Epoch(1),
            epoch_bound: Epoch(1),
            next_message: MessageId(1),
            message_id_bound: MessageId(1),
            mailbox_keep_ms: limits::MAILBOX_KEEP_MS,
            evict_armed: false,
            retire_armed: None,
            virtual_start_ms: 0,
            filled: Vec::new(),
            held_back: BTreeSet::new(),
            ended: VecDeque::new(),
            events_bytes: 0,
            effects: VecDeque::new(),
        }
    }

    /// Which rows of the store `handle` must be shown with this command, because their tasks are
    /// over and no longer in memory. Rows that the store does not have need not be shown. Ask
    /// again with the rows that were found, until nothing new is wanted: one row may name others.
    #[must_use]
    pub fn wants(&self, command: &Command, found: &[TaskRow]) -> Vec<TaskId> {
        let named: Vec<TaskId> = match command {
            Command::Show { task }
            | Command::Await { task, .. }
            | Command::Watch { task, .. }
            | Command::Cancel { task, .. }
            | Command::Answer { task, .. }
            | Command::Edit { task, .. }
            | Command::Why { task }
            | Command::Reclaim { task }
            | Command::Discard { task } => vec![*task],
            Command::Redrive { task, .. } => {
                let row = found.iter().find(|row| row.task == *task);
                let edges = row.map_or(&[][..], |row| &row.details().after);
                edges.iter().map(|edge| edge.task).chain([*task]).collect()
            }
            Command::Submit(submit) => submit::named_by(submit).collect(),
            Command::SubmitBatch(batch) => batch.iter().flat_map(submit::named_by).collect(),
            Command::Retire { tasks, .. } => tasks.clone(),
            Command::Lease(op) if self.agents.speaker(op.session).is_some() => {
                let children = match &op.action {
                    Action::Spawn(spawn) => &spawn.children[..],
                    _ => &[],
                };
                children.iter().flat_map(submit::named_by).chain([op.task]).collect()
            }
            _ => return Vec::new(),
        };
        let is_over = |task: &TaskId| *task < self.next_task && !self.tasks.has(*task);
        named.into_iter().filter(is_over).collect()
    }

    /// Apply one request. `rows` answers [`Core::wants`]; `now` is the only clock there is.
    /// Every request but a tick is answered by exactly one [`Effect::Reply`], which may come out
    /// of a later call if the request is one that waits.
    pub fn handle(&mut self, request: Request, rows: Vec<TaskRow>, now: Now) {
        self.now = now;
        self.filled.extend(self.backlog.tell_time(now.tick));
        let Request { id, command } = request;
        let outcome = match command {
            Command::Tick => {
                self.handle_timers(now);
                None
            }
            Command::Await { session, task, timeout_ms } => {
                self.wait_for(id, session, task, timeout_ms, rows, now)
            }
            Command::Take(take) => self.take(id, take, now),
            Command::Watch { watch, session, task, from } => {
                self.watch(id, watch, session, task, from, &rows);
                None
            }
            command => Some(self.apply(command, rows, now)),
        };
        if let Some(outcome) = outcome {
            self.reply(id, outcome);
        }
        self.tell_dependents(now);
        self.match_agents(now);
    }

    /// What must happen next, in order. Drain it after every call to `handle`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// All that must happen next, behind what is in `effects` already.
    pub fn drain_effects(&mut self, effects: &mut VecDeque<Effect>) {
        effects.append(&mut self.effects);
    }

    /// How many tasks are open, that is, in memory.
    #[must_use]
    pub fn open_tasks(&self) -> u64 {
        self.queues.totals().open()
    }

    /// Tasks of all queues, by where they stand.
    #[must_use]
    pub fn totals(&self) -> QueueCounts {
        self.queues.totals()
    }

    /// Every valid token, and the agent that has it.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenDigest, &Name)> {
        self.tokens.iter().map(|row| (row.digest, &row.agent))
    }

    /// The newest event of every task that somebody has. As many steps as there are open tasks.
    pub fn leased(&self) -> impl Iterator<Item = TaskEvent> {
        let leased = self.tasks.iter().filter(|task| task.row.holder().is_some());
        leased.map(|task| {
            let from = Some(task.row.state());
            event_of(&task.row, Step { from, has_failed: false }, None)
        })
    }

    /// Tasks that nobody has yet, by band; the last number is that band and all behind it.
    #[must_use]
    pub fn queued(&self) -> [u64; BANDS_COUNTED] {
        self.queues.queued()
    }

    /// How many messages have a place somewhere.
    #[must_use]
    pub fn messages_kept(&self) -> usize {
        self.messages.len()
    }

    /// In how many mailboxes something waits.
    #[must_use]
    pub fn mailboxes_in_use(&self) -> usize {
        self.mailboxes.len()
    }

    /// Requests that wait for work or for the end of a task.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.takes.len() + self.audience.len()
    }

    /// Who they are, for when they wait in vain because nothing is granted any more. In order.
    #[must_use]
    pub fn waiting_requests(&self) -> Vec<RequestId> {
        let mut waiting: Vec<_> = self.takes.requests().chain(self.audience.requests()).collect();
        waiting.sort_unstable();
        waiting
    }

    fn apply(
        &mut self,
        command: Command,
        rows: Vec<TaskRow>,
        now: Now,
    ) -> Result<Reply, Rejection> {
        match command {
            Command::Tick | Command::Await { .. } | Command::Take(_) | Command::Watch { .. } => {
                unreachable!("`handle` took them out")
            }
            Command::Submit(submit) => {
                let kept = self.submit_all(vec![*submit], None, &rows, now)?;
                Ok(Reply::Submitted(kept[0]))
            }
            Command::SubmitBatch(batch) => {
                self.submit_all(batch, None, &rows, now).map(Reply::SubmittedBatch)
            }
            Command::Show { task } => self.show(task, &rows),
            Command::Unwatch { session, task } => Ok(self.unwatch(session, task)),
            Command::Cancel { task, reason, grace_ms } => {
                self.cancel(task, reason, grace_ms, &rows, now)
            }
            Command::Answer { task, key, value } => self.answer(task, key, value, &rows, now),
            Command::Edit { task, version, change } => {
                self.edit(task, version, &change, &rows, now)
            }
            Command::Why { task } => self.why(task, &rows),
            Command::Reclaim { task } => self.reclaim(task, &rows, now),
            Command::Redrive { task, delay_ms } => self.redrive(task, delay_ms, rows, now),
            Command::Discard { task } => self.discard(task, rows, now),
            Command::Retire { tasks, next_ms } => Ok(self.retire(&tasks, next_ms, rows, now)),
            Command::Room(scarcity) => {
                self.scarcity = scarcity;
                Ok(Reply::Noted)
            }
            Command::Attach(attach) => self.attach(attach, now),
            Command::Leave { session } => {
                self.leave(session, now);
                self.part(session);
                Ok(Reply::Noted)
            }
            Command::Detach { session } => {
                self.leave(session, now);
                self.part(session);
                self.forget_audience(session);
                Ok(Reply::Noted)
            }
            Command::Heartbeat { session } => {
                let agent = self.agents.speaker(session).ok_or(Rejection::NotAttached)?.clone();
                self.agents.see(&agent, now.tick);
                Ok(Reply::Noted)
            }
            Command::Withhold { agent, for_ms } => {
                self.withhold(&agent, now.tick.after(for_ms));
                Ok(Reply::Noted)
            }
            Command::Lease(op) => self.lease_op(op, &rows, now),
            Command::SetQueue { queue, change } => Ok(self.set_queue(queue, &change)),
            Command::ShowQueue { queue } => self.show_queue(queue),
            Command::ListQueues { after, limit } => {
                Ok(Reply::Queues(self.queues.list(after.as_ref(), limit)))
            }
            Command::List(_) => unreachable!("the commit loop reads lists from the store"),
            Command::Upkeep(_) => unreachable!("it is done beside the commit loop"),
            Command::SetSchedule(schedule) => self.set_schedule(*schedule, now),
            Command::ShowSchedule { name } => self.show_schedule(name),
            Command::ListSchedules { after, limit } => {
                Ok(self.list_schedules(after.as_ref(), limit))
            }
            Command::RemoveSchedule { name } => self.remove_schedule(name),
            Command::IssueToken(token) => self.issue_token(*token, now),
            Command::RevokeTokens { agent } => Ok(self.revoke_tokens(agent)),
            Command::Identify { digest } => self.identify(&digest),
            Command::ListTokens => Ok(self.list_tokens()),
            Command::Config(command) => self.config_command(command),
            Command::Holds { agent } => Ok(self.holds(&agent)),
            Command::Message(command) => self.message_command(*command, now),
            Command::Peek { queue, limit } => Ok(self.peek(&queue, limit)),
            Command::Purge { queue, limit } => Ok(self.purge(&queue, limit, now)),
        }
    }

    fn show(&self, task: TaskId, rows: &[TaskRow]) -> Result<Reply, Rejection> {
        if let Some(open) = self.tasks.get(task) {
            let progress = open.live.as_ref().and_then(|live| live.progress.clone());
            return Ok(Reply::Task(Box::new(open.row.view(progress, None))));
        }
        self.over(task, rows).map(|row| Reply::Task(Box::new(row.view(None, None))))
    }

    /// The row of a task that is over, if the store had it.
    fn over<'a>(&self, task: TaskId, rows: &'a [TaskRow]) -> Result<&'a TaskRow, Rejection> {
        rows.iter().find(|row| row.task == task).ok_or_else(|| self.unknown(task))
    }

    /// What is said about a task that is neither in memory nor in the store.
    fn unknown(&self, task: TaskId) -> Rejection {
        let was_given = task < self.next_task && task.0 > 0;
        if was_given { Rejection::Gone { task } } else { Rejection::NotFound { task } }
    }

    /// Follow one arrow of an open task: the only way to change one. Afterwards the change is
    /// logged and told, the queue and the former holder know of it, and something will move the
    /// task on: a lane, a timer, a lease or another task; or else it leaves memory.
    fn change<R>(
        &mut self,
        id: TaskId,
        now: Now,
        arrow: impl FnOnce(&mut Task, &CoreConfig, Moment) -> R,
    ) -> R {
        let (step, outcome) = self.follow(id, now, arrow);
        let task = self.tasks.get_mut(id).expect("an open task is in memory");
        if let Phase::Over(end) = &mut task.row.phase {
            let settings = self.queues.settings(&task.row.spec.queue);
            end.expires_ms = settings.expires_ms(&end.how, now.wall_ms);
        }
        self.persist_task(id);
        self.announce(id, step, None);
        self.settle(id, step.from);
        outcome
    }

    /// The same for an arrow to a task's end, after which nothing of it is kept.
    fn end_and_forget(
        &mut self,
        id: TaskId,
        now: Now,
        arrow: impl FnOnce(&mut Task, &CoreConfig, Moment),
    ) {
        let record = dead::forget(&self.tasks[id].row);
        let (step, ()) = self.follow(id, now, arrow);
        self.persist(record);
        self.announce(id, step, None);
        self.settle(id, step.from);
    }

    fn follow<R>(
        &mut self,
        id: TaskId,
        now: Now,
        arrow: impl FnOnce(&mut Task, &CoreConfig, Moment) -> R,
    ) -> (Step, R) {
        let at = self.moment(now);
        let task = self.tasks.get_mut(id).expect("an open task is in memory");
        let (from, attempts) = (task.row.state(), task.row.details().attempts);
        if from == State::Ready {
            self.backlog.remove(&task.row, &mut self.eligible);
        }
        self.queues.unqueue(&task.row);
        let holder = task.row.holder().map(|holder| holder.agent.clone());
        let outcome = arrow(task, &self.config, at);
        let is_leased = task.row.holder().is_some();
        let spec = task.row.spec.clone();
        match holder {
            None if is_leased => self.backlog.count_grant(&spec),
            Some(agent) if !is_leased => {
                self.agents.release(&agent, id, spec.resources());
                self.forget_if_gone(&agent);
                self.filled.extend(self.backlog.count_end(&spec));
            }
            _ => {}
        }
        let has_failed = self.tasks[id].row.details().attempts > attempts;
        (Step { from: Some(from), has_failed }, outcome)
    }

    /// Put a task where it belongs after it came from the state `from`, or from outside.
    fn settle(&mut self, id: TaskId, from: Option<State>) {
        let task = self.tasks.get(id).expect("an open task is in memory");
        let (to, queue) = (task.row.state(), task.row.spec.queue.clone());
        self.queues.enqueue(&task.row);
        let is_open = self.queues.count(&queue, id, from, Some(to), self.now.tick);
        self.open_queue(&queue, is_open);
        if let Some(at) = self.reopens(&queue) {
            self.deadlines.set(at, Timer::Rate(queue));
        }
        if to == State::Ready {
            let task = self.tasks.get(id).expect("looked up above");
            self.filled.extend(self.backlog.push(&task.row, &mut self.eligible));
        }
        if to.is_terminal() { self.bury(id) } else { self.arm(id) }
    }

    /// Let a queue grant, or not.
    fn open_queue(&mut self, queue: &Name, is_open: bool) {
        if is_open {
            self.filled.extend(self.backlog.open(queue));
        } else {
            self.backlog.close(queue);
        }
    }

    /// A task is over and logged: whoever cares is told, and it leaves memory.
    fn bury(&mut self, id: TaskId) {
        let task = self.tasks.remove(id).expect("an open task is in memory");
        self.disarm(id, task.armed());
        let row = &task.row;
        if let Some(at) = row.end().and_then(|end| end.expires_ms) {
            self.retire_at(at);
        }
        self.free_dedup(row);
        if let Some(live) = &task.live {
            self.events_bytes -= live.event_bytes();
            self.dismiss(id, live, row);
        }
        for edge in &row.details().after {
            self.dependents.remove(edge.task, id);
        }
        let parent = row.details().parent.map(|parent| parent.task);
        if let Some(parent) = parent {
            self.children.remove(parent, id);
        }
        self.ended.push_back(Ended { task: id, state: row.state(), parent, only: None });
    }

    /// Take a task into memory.
    fn admit(&mut self, task: Task) -> TaskId {
        let id = task.row.task;
        self.tasks.insert(task);
        id
    }

    fn new_task_id(&mut self) -> TaskId {
        let id = self.next_task;
        self.next_task.0 += 1;
        if self.task_id_bound < self.next_task {
            self.task_id_bound.0 = id.0 + IDS_STEP;
            self.persist(Record::TaskIdBound(self.task_id_bound));
        }
        id
    }

    fn new_epoch(&mut self) -> Epoch {
        let epoch = self.next_epoch;
        self.next_epoch.0 += 1;
        if self.epoch_bound < self.next_epoch {
            self.epoch_bound.0 = epoch.0 + IDS_STEP;
            self.persist(Record::EpochBound(self.epoch_bound));
        }
        epoch
    }

    fn moment(&self, now: Now) -> Moment {
        let virtual_ms = self.virtual_start_ms + now.tick.0;
        Moment { tick: now.tick, virtual_ms, wall_ms: now.wall_ms }
    }

    fn persist(&mut self, record: Record) {
        self.effects.push_back(Effect::Persist(record));
    }

    fn persist_task(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get(id) {
            let row = Box::new(task.row.clone());
            self.effects.push_back(Effect::Persist(Record::Task(row)));
        }
    }

    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>) {
        self.effects.push_back(Effect::Reply { request, outcome });
    }

    fn deliver(&mut self, session: SessionId, push: Push) {
        self.effects.push_back(Effect::Deliver { session, push });
    }

    /// Tell everybody what just happened to a task: those who watch all, and those who watch it.
    fn announce(&mut self, id: TaskId, step: Step, progress: Option<Progress>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let event = event_of(&task.row, step, progress);
        if let Some(live) = &mut task.live {
            for (watch, session) in &live.watches {
                let push = Push::Event { watch: *watch, event: event.clone() };
                self.effects.push_back(Effect::Deliver { session: *session, push });
            }
            self.events_bytes += event_bytes(&event);
            remember(live, event.clone(), self.config.events_max, &mut self.events_bytes);
        }
        self.effects.push_back(Effect::Event(event));
    }
}

/// Where a task came from when it changed.
#[derive(Clone, Copy)]
struct Step {
    /// Its state; `None` is outside.
    from: Option<State>,
    /// An attempt failed.
    has_failed: bool,
}

fn event_of(row: &TaskRow, step: Step, progress: Option<Progress>) -> TaskEvent {
    let details = row.details();
    let by = row.end().and_then(|end| end.by.clone());
    TaskEvent {
        task: row.task,
        seq: details.event_seq,
        at_ms: details.updated_ms.max(row.submitted_ms),
        submitted_ms: row.submitted_ms,
        queue: row.spec.queue.clone(),
        from: step.from,
        state: row.state(),
        has_failed: step.has_failed,
        generation: row.generation,
        agent: row.holder().map(|holder| holder.agent.clone()).or(by),
        progress,
        blocked_by: details.after.iter().find(|edge| edge.is_blocked).map(|edge| edge.task),
        is_escalated: details.parking.as_ref().is_some_and(|parking| parking.is_escalated),
    }
}

/// Keep an event for watchers that come back, and let go of what is too much.
fn remember(live: &mut Live, event: TaskEvent, max: usize, bytes: &mut usize) {
    live.events.push_back(event);
    while live.events.len() > max || (*bytes > EVENTS_BYTES_MAX && !live.events.is_empty()) {
        let oldest = live.events.pop_front();
        *bytes -= oldest.as_ref().map_or(0, event_bytes);
    }
}

/// Whether it was the way that a dependent hopes for.
fn is_success(state: State) -> bool {
    state == State::Completed
}

fn is_dead(row: &TaskRow) -> bool {
    matches!(row.end(), Some(end) if matches!(end.how, Ending::Dead(_)))
}
