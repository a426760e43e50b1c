//! The task machine once more, as plainly as it can be said: lists that are scanned, no lanes, no
//! indexes, no store. It says what every request is answered, which events and pushes follow, and
//! where every task stands afterwards.
//!
//! One thing it does not predict: which idle agent gets which ready task. It is shown the grants
//! that were made, in order, and judges each; and while something could be granted, the next thing
//! that happens has to be a grant.

mod agent;
mod edge;
mod edit;
mod grant;
mod lease;
mod operate;
mod park;
mod queue;
mod submit;
mod task;
mod time;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use agentcom_broker::core::command::{
    Command, Name, Progress, Push, RateLimit, Rejection, Reply, RequestId, SessionId, State,
    TaskEvent, TaskId, TaskView,
};
use agentcom_broker::core::limits::{CoreConfig, QueueSettings};
use agentcom_broker::core::record::Record;

use agent::Agent;
pub(crate) use grant::Grant;
use grant::WaitingTake;
use submit::Key;
pub(crate) use submit::is_in_cycle;
pub(crate) use task::Task;
use watch::{WaitingAwait, Watching};

pub(crate) type Outcome = Result<Reply, Rejection>;

/// Ids and epochs are reserved in steps of this size; a restart goes on at the end of a step.
const IDS_STEP: u64 = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: CoreConfig,
    /// Every task that is not forgotten.
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) agents: BTreeMap<Name, Agent>,
    /// Who is offered nothing until when.
    withheld: BTreeMap<Name, u64>,
    queues: BTreeMap<Name, QueueSettings>,
    keys: BTreeMap<(Name, Name), Key>,
    takes: Vec<WaitingTake>,
    awaits: Vec<WaitingAwait>,
    watches: Vec<Watching>,
    /// How every task ended last, forgotten ones too.
    endings: BTreeMap<TaskId, State>,
    /// What every task is a part of, forgotten ones too.
    parents: BTreeMap<TaskId, TaskId>,
    /// Tasks that ended, whose dependents have not heard of it: all of them, or only one.
    ended: VecDeque<(TaskId, Option<TaskId>)>,
    next_task: u64,
    task_bound: u64,
    next_epoch: u64,
    epoch_bound: u64,
    /// Grants so far, to know who had none for longest.
    grants: u64,
    /// Time that never starts anew, for the order of tasks.
    age: u64,
    tick: u64,
    wall: u64,
    /// What the wall clock showed at the last start.
    started: u64,
    /// Grants that were made in this turn and are not explained yet.
    pub(crate) seen: VecDeque<Grant>,
    /// Who idled when the present request came, and has done so since.
    idle_before: BTreeSet<Name>,
    /// When queues with a rate granted something.
    granted: BTreeMap<Name, Vec<u64>>,
    /// Queues whose rate is used up, and when they go on.
    reopens: BTreeMap<Name, u64>,
    /// When tasks with a rate of their own were granted, since the last start.
    rate_grants: BTreeMap<RateLimit, Vec<u64>>,
    was_restarted: bool,
    /// Until when nothing with a rate is granted, because somebody said so.
    shut: BTreeMap<RateLimit, u64>,
    pub(crate) said: Said,
}

/// What has to be heard of a turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) replies: Vec<(RequestId, Outcome)>,
    pub(crate) events: Vec<TaskEvent>,
    pub(crate) pushes: Vec<Pushed>,
    /// Time did something.
    pub(crate) stirred: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) session: SessionId,
    pub(crate) push: Push,
    /// An event from so long ago that it need not be remembered.
    pub(crate) is_optional: bool,
}

impl Model {
    pub(crate) fn new(config: CoreConfig) -> Model {
        Model {
            config,
            tasks: BTreeMap::new(),
            agents: BTreeMap::new(),
            withheld: BTreeMap::new(),
            queues: BTreeMap::new(),
            keys: BTreeMap::new(),
            takes: Vec::new(),
            awaits: Vec::new(),
            watches: Vec::new(),
            endings: BTreeMap::new(),
            parents: BTreeMap::new(),
            ended: VecDeque::new(),
            next_task: 1,
            task_bound: 1,
            next_epoch: 1,
            epoch_bound: 1,
            grants: 0,
            age: 0,
            tick: 0,
            wall: 0,
            started: 0,
            seen: VecDeque::new(),
            idle_before: BTreeSet::new(),
            granted: BTreeMap::new(),
            reopens: BTreeMap::new(),
            rate_grants: BTreeMap::new(),
            was_restarted: false,
            shut: BTreeMap::new(),
            said: Said::default(),
        }
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.tick += ms;
        self.age += ms;
    }

    pub(crate) fn set_wall(&mut self, wall: u64) {
        self.wall = wall;
    }

    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    pub(crate) fn wall(&self) -> u64 {
        self.wall
    }

    /// Any id that was given out, and some that will be.
    pub(crate) fn newest_task(&self) -> u64 {
        self.next_task
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter().filter(|(_, task)| !task.is_over()).map(|(id, task)| (*id, task))
    }

    /// Take one request: what it does by itself, what follows for dependents, and the grants.
    pub(crate) fn request(&mut self, request: RequestId, command: &Command) -> Result<(), String> {
        self.idle_before = self.idle_agents().cloned().collect();
        if let Some(outcome) = self.apply(request, command)? {
            self.reply(request, outcome);
        }
        self.tell_dependents();
        self.forget_agents();
        self.explain_grants()
    }

    /// What time does by itself, and the grants that follow.
    pub(crate) fn let_time_act(&mut self) -> Result<(), String> {
        self.idle_before = self.idle_agents().cloned().collect();
        self.fire_timers();
        self.explain_grants()
    }

    fn apply(&mut self, request: RequestId, command: &Command) -> Result<Option<Outcome>, String> {
        Ok(Some(match command {
            Command::Tick => {
                self.fire_timers();
                return Ok(None);
            }
            Command::Submit(submit) => self
                .submit_parts(std::slice::from_ref(&**submit), None)
                .map(|kept| Reply::Submitted(kept[0])),
            Command::SubmitBatch(batch) => {
                self.submit_parts(batch, None).map(Reply::SubmittedBatch)
            }
            Command::Show { task } => self.show(*task),
            Command::Await { session, task, timeout_ms } => {
                return Ok(self.wait_for(request, *session, *task, *timeout_ms));
            }
            Command::Watch { watch, session, task, from } => {
                self.watch(request, *watch, *session, *task, *from);
                return Ok(None);
            }
            Command::Unwatch { session, task } => {
                self.watches.retain(|one| (one.session, one.task) != (*session, *task));
                Ok(Reply::Noted)
            }
            Command::Cancel { task, reason, grace_ms } => self.cancel(*task, reason, *grace_ms),
            Command::Reclaim { task } => self.reclaim(*task),
            Command::Answer { task, key, value } => self.answer(*task, key, value),
            Command::Edit { task, version, change } => self.edit(*task, *version, change),
            Command::Why { task } => self.why(*task),
            Command::SetSchedule(_)
            | Command::IssueToken(_)
            | Command::RevokeTokens { .. }
            | Command::Identify { .. }
            | Command::ListTokens
            | Command::Config(_)
            | Command::Holds { .. }
            | Command::Message(_)
            | Command::ShowSchedule { .. }
            | Command::ListSchedules { .. }
            | Command::RemoveSchedule { .. }
            | Command::List(_)
            | Command::Upkeep(_)
            | Command::Room(_) => {
                return Err("not asked for yet".into());
            }
            Command::Redrive { task, delay_ms } => self.redrive(*task, *delay_ms),
            Command::Discard { task } => self.discard(*task),
            Command::Retire { .. } => return Err("only the commit loop retires".into()),
            Command::Attach(attach) => self.attach(attach),
            Command::Leave { session } => {
                self.leave(*session);
                Ok(Reply::Noted)
            }
            Command::Detach { session } => {
                self.leave(*session);
                self.watches.retain(|one| one.session != *session);
                self.stop_awaits_of(*session);
                Ok(Reply::Noted)
            }
            Command::Heartbeat { session } => match self.speaker(*session) {
                None => Err(Rejection::NotAttached),
                Some(name) => {
                    self.see(&name);
                    Ok(Reply::Noted)
                }
            },
            Command::Withhold { agent, for_ms } => {
                self.withhold(agent, *for_ms);
                Ok(Reply::Noted)
            }
            Command::Take(take) => return self.take(request, take),
            Command::Lease(op) => self.lease(op),
            Command::SetQueue { queue, change } => Ok(self.set_queue(queue, change)),
            Command::ShowQueue { queue } => self.show_queue(queue),
            Command::ListQueues { after, limit } => {
                let views = self.queue_views();
                let behind = views.into_iter().filter(|view| Some(&view.queue) > after.as_ref());
                Ok(Reply::Queues(behind.take(*limit).collect()))
            }
            Command::Peek { queue, limit } => {
                let first = self.ready_of(queue).into_iter().take(*limit);
                Ok(Reply::Tasks(
                    first.map(|id| TaskView { progress: None, ..self.view(id) }).collect(),
                ))
            }
            Command::Purge { queue, limit } => Ok(self.purge(queue, *limit)),
        }))
    }

    pub(crate) fn view(&self, id: TaskId) -> TaskView {
        self.tasks[&id].view(id)
    }

    fn show(&self, id: TaskId) -> Outcome {
        self.known(id)?;
        Ok(Reply::Task(Box::new(self.view(id))))
    }

    fn known(&self, id: TaskId) -> Result<&Task, Rejection> {
        let was_given = id.0 > 0 && id.0 < self.next_task;
        let unknown =
            if was_given { Rejection::Gone { task: id } } else { Rejection::NotFound { task: id } };
        self.tasks.get(&id).ok_or(unknown)
    }

    /// One arrow of one task: it changes once, and everybody hears of it once.
    fn change<R>(&mut self, id: TaskId, arrow: impl FnOnce(&mut Task, &Clocks) -> R) -> R {
        let at = self.clocks();
        let task = self.tasks.get_mut(&id).expect("a task that changes is there");
        let (from, attempts) = (Some(task.state), task.attempts);
        let holder = task.agent.clone().filter(|_| task.is_leased());
        let outcome = arrow(task, &at);
        if let Some(holder) = holder.filter(|_| !task.is_leased()) {
            self.idle_before.remove(&holder);
        }
        task.updated = at.wall;
        task.event_seq += 1;
        let (is_over, queue, state) = (task.is_over(), task.spec.queue.clone(), task.state);
        let settings = self.settings(&queue);
        let task = self.tasks.get_mut(&id).expect("it was there above");
        task.expires = match state {
            State::Completed | State::Cancelled => Some(at.wall.saturating_add(settings.keep_ms)),
            State::Dead => settings.keep_dead_ms.map(|keep| at.wall.saturating_add(keep)),
            _ => None,
        };
        let has_failed = task.attempts > attempts;
        self.announce(id, from, has_failed, None);
        if is_over {
            self.bury(id);
        }
        outcome
    }

    fn announce(
        &mut self,
        id: TaskId,
        from: Option<State>,
        has_failed: bool,
        progress: Option<Progress>,
    ) {
        let task = self.tasks.get_mut(&id).expect("an announced task is there");
        let event = TaskEvent { from, has_failed, ..task.event(id, progress) };
        task.events.push(event.clone());
        for one in self.watches.iter().filter(|one| one.task == id) {
            let push = Push::Event { watch: one.watch, event: event.clone() };
            self.said.pushes.push(Pushed { session: one.session, push, is_optional: false });
        }
        self.said.events.push(event);
    }

    fn bury(&mut self, id: TaskId) {
        self.endings.insert(id, self.tasks[&id].state);
        self.answer_awaits(id);
        self.watches.retain(|one| one.task != id);
        self.free_key(id);
        self.ended.push_back((id, None));
    }

    fn push(&mut self, session: SessionId, push: Push) {
        self.said.pushes.push(Pushed { session, push, is_optional: false });
    }

    fn reply(&mut self, request: RequestId, outcome: Outcome) {
        self.said.replies.push((request, outcome));
    }

    fn clocks(&self) -> Clocks {
        let Model { age, tick, wall, config, .. } = self;
        Clocks { age: *age, tick: *tick, wall: *wall, config: config.clone() }
    }

    fn new_task_id(&mut self) -> TaskId {
        let id = self.next_task;
        self.next_task += 1;
        if self.next_task > self.task_bound {
            self.task_bound = id + IDS_STEP;
        }
        TaskId(id)
    }

    fn new_epoch(&mut self) -> u64 {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        if self.next_epoch > self.epoch_bound {
            self.epoch_bound = epoch + IDS_STEP;
        }
        epoch
    }

    /// T48 is looked for at full seconds, and first at the one that follows the start.
    pub(crate) fn check_retention(&self) -> Result<(), String> {
        let is_overdue = |(_, task): &(&TaskId, &Task)| {
            task.expires.is_some_and(|at| at.max(self.started).div_ceil(1_000) * 1_000 <= self.wall)
        };
        match self.tasks.iter().find(is_overdue) {
            Some((id, task)) => Err(format!("{id:?} is not forgotten at {}: {task:?}", self.wall)),
            None => Ok(()),
        }
    }

    /// The store knows whose time is over; never too early.
    pub(crate) fn retired(&mut self, record: &Record) -> Result<(), String> {
        let Record::Forget { task: id, .. } = record else { return Ok(()) };
        let Some(task) = self.tasks.get(id) else { return Ok(()) };
        if task.expires.is_none_or(|at| at > self.wall) {
            return Err(format!("{id:?} was forgotten at {}: {task:?}", self.wall));
        }
        self.tasks.remove(id);
        self.said.stirred = true;
        Ok(())
    }
}

/// The present, and the numbers that tell what it means.
pub(crate) struct Clocks {
    age: u64,
    tick: u64,
    wall: u64,
    config: CoreConfig,
}
