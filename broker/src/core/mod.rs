//! The durable core: every task, in one deterministic value.
//!
//! ```text
//!              Request, Loaded, Now                    Effect, in order
//!   commit ------------------------> Core::handle ------------------------> commit
//!                                        |
//!             task      one task: states and arrows         fence   may this operation act?
//!             queue     which task goes next?               agent   who could take it?
//!             deadlines when is something due?              limits  every number, with its reason
//! ```
//!
//! No clock, no randomness, no I/O and no locks: time comes in with the request, and the same
//! requests give the same effects on any machine. Three kinds of methods: [`Core::handle`] takes
//! something in, [`Core::poll_effect`] hands out what must happen next, and the others only look.
//! After every `handle`, drain the effects before the next one.
//!
//! The values above share a type or two and change nothing of each other. This file and its two halves (`lease.rs`, what
//! holders do and what time does to them; `restore.rs`, the way back from the store) connect
//! them, and decide what is logged, who is told and which timer starts.
//!
//! Open tasks are in memory, without their payloads: an [`Offer`] leaves the core with an empty
//! payload and the commit loop fills it from the store. Tasks that are over are only in the
//! store; [`Core::wants`] says when one of them has to be shown to `handle`.

mod agent;
pub mod command;
mod deadlines;
mod fence;
mod lease;
pub mod limits;
mod queue;
pub mod record;
mod restore;
mod task;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use self::agent::{Agent, Agents};
use self::command::{
    Attach, Command, Effect, Name, Now, Offer, Push, Rejection, Reply, Request, RequestId,
    SessionId, Submit, TaskEvent, TaskId, Tick,
};
use self::deadlines::Deadlines;
use self::limits::CoreConfig;
use self::queue::{Backlog, LaneKey};
use self::record::{BodyKind, Loaded, Phase, Record, Wanted};
use self::task::{Moment, Task};

/// How many task ids one [`Record::TaskIdBound`] covers. 1024: the record then costs a thousandth
/// of a submit, and a restart skips at most so many of 2^64 ids.
const TASK_IDS_STEP: u64 = 1024;

/// The state machine behind every durable verb.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    /// Open tasks only. Boxed, because a hash table keeps up to half of its places free.
    tasks: HashMap<TaskId, Box<Task>>,
    backlog: Backlog,
    agents: Agents,
    deadlines: Deadlines<Timer>,
    /// The next id to give out.
    next_task: TaskId,
    /// Ids below this are covered by a record.
    task_id_bound: TaskId,
    /// What the core's own time line showed when this process started at tick 0.
    virtual_start_ms: u64,
    /// Lanes that something was put into while they were empty, since agents were last matched.
    filled: Vec<LaneKey>,
    effects: VecDeque<Effect>,
}

/// What a deadline is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A scheduled task becomes ready (T8).
    Due(TaskId),
    /// An offer was not answered (T13).
    Offer(TaskId),
    /// Look whether leases of this agent have run out (T18). One for all of them, set lazily, so
    /// that a heart-beat costs nothing but writing down when it came.
    Watch(Name),
}

impl Core {
    /// A core without tasks.
    #[must_use]
    pub fn new(config: CoreConfig) -> Core {
        Core {
            config,
            tasks: HashMap::new(),
            backlog: Backlog::default(),
            agents: Agents::default(),
            deadlines: Deadlines::new(),
            next_task: TaskId(1),
            task_id_bound: TaskId(1),
            virtual_start_ms: 0,
            filled: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// Which row of the store `handle` must be shown with this command, because its task is over
    /// and no longer in memory. Rows that the store does not have need not be shown.
    #[must_use]
    pub fn wants(&self, command: &Command) -> Option<Wanted> {
        let wanted = match command {
            Command::Show { task } => Wanted { task: *task, result: true },
            Command::Lease(op) if self.agents.speaker(op.session).is_some() => {
                Wanted { task: op.task, result: false }
            }
            _ => return None,
        };
        let is_over = wanted.task < self.next_task && !self.tasks.contains_key(&wanted.task);
        is_over.then_some(wanted)
    }

    /// Apply one request. `loaded` answers [`Core::wants`]; `now` is the only clock there is.
    /// Every request but a tick is answered by exactly one [`Effect::Reply`].
    pub fn handle(&mut self, request: Request, loaded: Option<Loaded>, now: Now) {
        let Request { id, command } = request;
        match command {
            Command::Tick => self.handle_timers(now),
            Command::Attach(attach) => {
                let (agent, session) = (attach.agent.clone(), attach.session);
                let outcome = self.attach(attach, now);
                let is_attached = outcome.is_ok();
                self.reply(id, outcome);
                if is_attached {
                    self.offer_again(&agent, session, now);
                }
            }
            command => {
                let outcome = self.apply(command, loaded, now);
                self.reply(id, outcome);
            }
        }
        self.match_agents(now);
    }

    /// What must happen next, in order. Drain it after every call to `handle`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call `handle` with [`Command::Tick`] even if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.next()
    }

    /// How many tasks are open, that is, in memory.
    #[must_use]
    pub fn open_tasks(&self) -> usize {
        self.tasks.len()
    }

    fn apply(
        &mut self,
        command: Command,
        loaded: Option<Loaded>,
        now: Now,
    ) -> Result<Reply, Rejection> {
        match command {
            Command::Tick | Command::Attach(_) => unreachable!("`handle` took them out"),
            Command::Submit(submit) => self.submit(submit, now),
            Command::Show { task } => self.show(task, loaded),
            Command::Detach { session } => {
                self.detach(session, now);
                Ok(Reply::Noted)
            }
            Command::Heartbeat { session } => {
                let agent = self.agents.speaker(session).ok_or(Rejection::NotAttached)?.clone();
                self.agents.see(&agent, now.tick);
                Ok(Reply::Noted)
            }
            Command::Lease(op) => self.lease_op(op, loaded, now),
        }
    }

    fn submit(&mut self, submit: Submit, now: Now) -> Result<Reply, Rejection> {
        let tasks_max = self.config.queue_tasks_max;
        if self.backlog.open_tasks(&submit.queue) >= tasks_max {
            return Err(Rejection::QueueFull { queue: submit.queue, tasks_max });
        }
        let id = self.new_task_id();
        let bytes = submit.payload.clone();
        self.persist(Record::Body { task: id, kind: BodyKind::Payload, bytes });
        self.backlog.count_opened(&submit.queue);
        self.tasks.insert(id, Box::new(Task::submit(id, submit, self.moment(now))));
        self.settle(id, now);
        Ok(Reply::Submitted { task: id })
    }

    fn show(&self, task: TaskId, loaded: Option<Loaded>) -> Result<Reply, Rejection> {
        if let Some(open) = self.tasks.get(&task) {
            return Ok(Reply::Task(Box::new(open.row.view(open.progress.clone(), None))));
        }
        let Loaded { row, result } = loaded.ok_or(Rejection::NotFound { task })?;
        Ok(Reply::Task(Box::new(row.view(None, result))))
    }

    fn attach(&mut self, attach: Attach, now: Now) -> Result<Reply, Rejection> {
        let Attach { session, agent, identity, .. } = &attach;
        if self.agents.find(agent).is_some_and(|known| known.identity != *identity) {
            return Err(Rejection::NameTaken { agent: agent.clone() });
        }
        if self.agents.speaker(*session).is_some_and(|speaker| speaker != agent) {
            self.detach(*session, now);
        }
        let name = agent.clone();
        if let Some(former) = self.agents.attach(attach, now.tick) {
            self.deliver(former, Push::Replaced);
        }
        Ok(Reply::Attached { agent: name })
    }

    fn detach(&mut self, session: SessionId, now: Now) {
        let until = Tick(now.tick.0 + self.config.grace_ms);
        let Some(agent) = self.agents.detach(session, until) else { return };
        self.watch(&agent, until);
        self.forget_if_gone(&agent);
    }

    fn handle_timers(&mut self, now: Now) {
        while let Some(timer) = self.deadlines.pop_due(now.tick) {
            match timer {
                Timer::Due(task) => self.handle_due(task, now),
                Timer::Offer(task) => self.handle_offer_expired(task, now),
                Timer::Watch(agent) => self.handle_watch(&agent, now),
            }
        }
    }

    fn handle_due(&mut self, id: TaskId, now: Now) {
        let at = self.moment(now);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.timer = None;
        task.due(at);
        self.settle(id, now);
    }

    /// Log a task after an arrow, tell its watchers, and see to it that something will move it on:
    /// a lane, a timer or a lease, or else it leaves memory.
    fn settle(&mut self, id: TaskId, now: Now) {
        self.persist_task(id);
        self.announce(id, None);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        match task.row.phase {
            Phase::Ready => self.filled.extend(self.backlog.push(&task.row)),
            Phase::Scheduled { delay_ms, .. } => {
                let due = Tick(now.tick.0.saturating_add(delay_ms));
                task.timer = Some(due);
                self.deadlines.set(due, Timer::Due(id));
            }
            Phase::Offered(_) | Phase::Running(_) => {}
            Phase::Completed { .. } | Phase::Dead { .. } => {
                self.backlog.count_closed(&task.row.queue);
                self.tasks.remove(&id);
            }
        }
    }

    /// Give out all work that can be given out. Afterwards no ready task stands beside an idle
    /// agent that suits it. Only agents that began to idle and lanes that were empty can make a
    /// new pair, so nothing else is looked at. Every agent takes the best that there is for it.
    fn match_agents(&mut self, now: Now) {
        while let Some(agent) = self.agents.take_roused() {
            while self.agents.is_idle(&agent) && self.grant_best(&agent, now) {}
        }
        for lane in std::mem::take(&mut self.filled) {
            while self.backlog.has(&lane)
                && let Some(agent) = self.agents.idle_for(&lane).cloned()
                && self.grant_best(&agent, now)
            {}
        }
    }

    /// Grant this idle agent what goes first among all that it could do, if there is anything.
    fn grant_best(&mut self, agent: &Name, now: Now) -> bool {
        let best = self.backlog.best(|lane| self.agents.suits(agent, lane)).cloned();
        best.inspect(|lane| self.grant(lane, agent, now)).is_some()
    }

    /// T9. The grant is logged before the offer goes out, so a generation that an agent has seen
    /// is on disk and never given to another.
    fn grant(&mut self, lane: &LaneKey, agent: &Name, now: Now) {
        let at = self.moment(now);
        let Some(id) = self.backlog.pop(lane) else { return };
        let holder = self.agents.grant(agent, id).expect("only an agent that idles is matched");
        let session = self.agents.find(agent).and_then(Agent::session);
        let task = self.tasks.get_mut(&id).expect("a ready task is open");
        task.grant(holder, at);
        self.start_offer(id, now.tick.0 + self.config.offer_ms);
        self.persist_task(id);
        if let Some(session) = session {
            self.deliver_offer(id, session);
        }
        self.announce(id, None);
    }

    fn start_offer(&mut self, id: TaskId, expires: u64) {
        self.stop_timer(id);
        let task = self.tasks.get_mut(&id).expect("an offered task is open");
        task.timer = Some(Tick(expires));
        self.deadlines.set(Tick(expires), Timer::Offer(id));
    }

    /// Stop the offer timer of a task, if one runs.
    fn stop_timer(&mut self, id: TaskId) {
        if let Some(at) = self.tasks.get_mut(&id).and_then(|task| task.timer.take()) {
            self.deadlines.clear(at, Timer::Offer(id));
        }
    }

    fn new_task_id(&mut self) -> TaskId {
        let id = self.next_task;
        self.next_task.0 += 1;
        if self.task_id_bound < self.next_task {
            self.task_id_bound.0 = id.0 + TASK_IDS_STEP;
            self.persist(Record::TaskIdBound(self.task_id_bound));
        }
        id
    }

    fn moment(&self, now: Now) -> Moment {
        Moment { virtual_ms: self.virtual_start_ms + now.tick.0, wall_ms: now.wall_ms }
    }

    fn persist(&mut self, record: Record) {
        self.effects.push_back(Effect::Persist(record));
    }

    fn persist_task(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get(&id) {
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

    fn deliver_offer(&mut self, id: TaskId, session: SessionId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let offer = Offer {
            task: id,
            generation: task.row.generation,
            queue: task.row.queue.clone(),
            attempt: task.attempt(),
            offer_ms: self.config.offer_ms,
            lease_ms: task.row.lease_ms,
            payload: Arc::default(),
        };
        self.deliver(session, Push::Offer(offer));
    }

    fn announce(&mut self, id: TaskId, progress: Option<Arc<[u8]>>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let agent = match &task.row.phase {
            Phase::Scheduled { .. } | Phase::Ready => None,
            Phase::Offered(holder) | Phase::Running(holder) => Some(holder.agent.clone()),
            Phase::Completed { by } | Phase::Dead { by, .. } => Some(by.clone()),
        };
        self.effects.push_back(Effect::Event(TaskEvent {
            task: id,
            queue: task.row.queue.clone(),
            state: task.row.state(),
            generation: task.row.generation,
            agent,
            progress,
        }));
    }
}
