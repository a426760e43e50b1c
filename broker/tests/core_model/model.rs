//! The task machine once more, as plainly as it can be said: lists that are scanned, no indexes,
//! no lanes, no store, no effects. It predicts what every command answers and what state every
//! task is in; which idle agent gets a ready task it does not predict but judges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentcom_broker::core::command::{
    Action, Attach, Command, DeadReason, Generation, LeaseOp, Name, Rejection, Reply, State,
    Submit, TaskId, TaskView,
};
use agentcom_broker::core::limits::CoreConfig;

#[derive(Clone, Debug)]
pub(crate) struct Model {
    config: CoreConfig,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    agents: BTreeMap<Name, Agent>,
    /// Time that never starts anew, for the order of tasks.
    age: u64,
    tick: u64,
    wall: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) submit: Submit,
    pub(crate) state: State,
    pub(crate) generation: u64,
    holder: Option<Name>,
    identity: Arc<str>,
    attempts: u32,
    lost: u32,
    offers_expired: u32,
    excluded: BTreeSet<Name>,
    eligible: u64,
    dead: Option<DeadReason>,
    error: Option<Arc<str>>,
    progress: Option<Arc<[u8]>>,
    result: Option<Arc<[u8]>>,
    end: Option<(u64, Name, Action, State)>,
    /// When a scheduled task is due or an offer expires.
    timer: u64,
    wait: (u64, u64),
    floor: u64,
}

#[derive(Clone, Debug)]
struct Agent {
    attach: Attach,
    present: bool,
    away_until: u64,
    seen: u64,
    suspect: bool,
}

impl Model {
    pub(crate) fn new(config: CoreConfig) -> Model {
        let (tasks, agents) = (BTreeMap::new(), BTreeMap::new());
        Model { config, tasks, agents, age: 0, tick: 0, wall: 0 }
    }

    pub(crate) fn advance(&mut self, ms: u64, wall: u64) {
        self.tick += ms;
        self.age += ms;
        self.wall = wall;
    }

    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    pub(crate) fn open(&self) -> usize {
        self.tasks.values().filter(|task| !task.is_over()).count()
    }

    /// The answer that is due; for a submit, `id` is the one the core chose.
    pub(crate) fn apply(&mut self, command: &Command, id: TaskId) -> Result<Reply, Rejection> {
        match command {
            Command::Submit(submit) => {
                self.tasks.insert(id, Task::new(submit.clone(), self.age));
                Ok(Reply::Submitted { task: id })
            }
            Command::Attach(attach) => self.attach(attach),
            Command::Detach { session } => {
                if let Some(name) = self.speaker(session.0) {
                    self.away(&name);
                }
                Ok(Reply::Noted)
            }
            Command::Heartbeat { session } => {
                let name = self.speaker(session.0).ok_or(Rejection::NotAttached)?;
                self.see(&name);
                Ok(Reply::Noted)
            }
            Command::Lease(op) => self.lease(op),
            Command::Show { .. } | Command::Tick => Ok(Reply::Noted),
        }
    }

    fn attach(&mut self, attach: &Attach) -> Result<Reply, Rejection> {
        let name = attach.agent.clone();
        if self.known_identity(&name).is_some_and(|known| known != attach.identity) {
            return Err(Rejection::NameTaken { agent: name });
        }
        if let Some(other) = self.speaker(attach.session.0)
            && other != name
        {
            self.away(&other);
        }
        let name = attach.agent.clone();
        let (attach, seen) = (attach.clone(), self.tick);
        let agent = Agent { attach, present: true, away_until: 0, seen, suspect: false };
        self.agents.insert(name.clone(), agent);
        for task in self.tasks.values_mut().filter(|task| task.is_held_by(&name)) {
            if task.state == State::Offered {
                task.timer = self.tick + self.config.offer_ms;
            }
        }
        Ok(Reply::Attached { agent: name })
    }

    fn lease(&mut self, op: &LeaseOp) -> Result<Reply, Rejection> {
        let agent = self.speaker(op.session.0).ok_or(Rejection::NotAttached)?;
        let id = op.task;
        let config = self.config.clone();
        let (tick, wall, age) = (self.tick, self.wall, self.age);
        let task = self.tasks.get_mut(&id).ok_or(Rejection::NotFound { task: id })?;
        let duplicate = |state| Ok(Reply::Done { task: id, state, duplicate: true });
        if let Some((generation, by, action, outcome)) = &task.end
            && (*generation, by) == (op.generation.0, &agent)
        {
            if *action == op.action {
                return duplicate(*outcome);
            }
            let recorded = match action {
                Action::Decline { .. } => "decline",
                Action::Complete { .. } => "complete",
                _ => "fail",
            };
            return Err(Rejection::Conflict { task: id, generation: op.generation, recorded });
        }
        let (state, current) = (task.state, Generation(task.generation));
        let invalid = Err(Rejection::InvalidState { task: id, state, generation: current });
        if !matches!(state, State::Offered | State::Running) {
            return invalid;
        }
        if op.generation != current {
            let found = op.generation;
            return Err(Rejection::StaleGeneration { task: id, found, current, state });
        }
        if !task.is_held_by(&agent) {
            return Err(Rejection::NotOwner { task: id, agent });
        }
        match (&op.action, state) {
            (Action::Accept, State::Running) => return duplicate(State::Running),
            (Action::Decline { .. }, State::Running) => return invalid,
            _ => {}
        }
        match &op.action {
            Action::Accept => task.state = State::Running,
            Action::Progress { data } => {
                task.state = State::Running;
                task.progress = Some(data.clone());
            }
            Action::Complete { result } => {
                task.result = Some(result.clone());
                task.leave(State::Completed);
            }
            Action::Decline { .. } => {
                task.excluded.insert(agent.clone());
                task.generation += 1;
                let over = task.excluded.len() as u32 >= config.declines_max;
                task.back(over.then_some(DeadReason::Rejected));
            }
            Action::Fail { error, retryable, retry_after_ms } => {
                task.attempts += 1;
                task.error = Some(error.clone());
                if !retryable {
                    task.back(Some(DeadReason::NonRetryable));
                } else if task.attempts >= task.submit.attempts_max {
                    task.back(Some(DeadReason::Failed));
                } else {
                    task.generation += 1;
                    let backoff = config.backoff.delay_ms(id, task.attempts);
                    let delay = backoff.max(retry_after_ms.unwrap_or(0));
                    task.back(None);
                    task.eligible = age;
                    if delay > 0 {
                        task.state = State::Scheduled;
                        task.timer = tick + delay;
                        task.wait = (delay, wall);
                    }
                }
            }
        }
        let state = task.state;
        if !matches!(op.action, Action::Accept | Action::Progress { .. }) {
            task.end = Some((op.generation.0, agent.clone(), op.action.clone(), state));
        }
        self.see(&agent);
        Ok(Reply::Done { task: id, state, duplicate: false })
    }

    /// Everything that is due by now.
    pub(crate) fn expire(&mut self) {
        let (tick, age, config) = (self.tick, self.age, self.config.clone());
        let mut suspects = BTreeSet::new();
        let ends: BTreeMap<TaskId, u64> =
            self.tasks.keys().filter_map(|id| Some((*id, self.deadline(*id)?))).collect();
        for (id, task) in &mut self.tasks {
            if ends.get(id).is_none_or(|end| *end > tick) {
                continue;
            }
            match task.state {
                State::Scheduled => {
                    task.state = State::Ready;
                    task.eligible = age;
                    continue;
                }
                State::Offered => {
                    suspects.extend(task.holder.clone());
                    task.offers_expired += 1;
                    task.generation += 1;
                    let over = task.offers_expired >= config.offers_max;
                    task.back(over.then_some(DeadReason::Lost));
                }
                _ => {
                    suspects.extend(task.holder.clone());
                    task.lost += 1;
                    task.generation += 1;
                    task.back((task.lost >= config.lost_max).then_some(DeadReason::Lost));
                }
            }
        }
        for name in suspects {
            if let Some(agent) = self.agents.get_mut(&name) {
                agent.suspect = true;
            }
        }
    }

    /// When time moves this task on; `None` if it is ready or over.
    fn deadline(&self, id: TaskId) -> Option<u64> {
        let task = &self.tasks[&id];
        let agent = || &self.agents[task.holder.as_ref().expect("leased")];
        let away = || if agent().present { u64::MAX } else { agent().away_until };
        match task.state {
            State::Scheduled => Some(task.timer),
            State::Offered => Some(task.timer.min(away())),
            State::Running => {
                let silent = (agent().seen + task.submit.lease_ms).max(task.floor);
                Some(silent.min(away()))
            }
            _ => None,
        }
    }

    /// The soonest time at which something has to happen.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.tasks.keys().filter_map(|id| self.deadline(*id)).min()
    }

    /// The process dies and comes back: nobody is connected, the clock starts anew.
    pub(crate) fn restart(&mut self) {
        let grace = self.config.restart_grace_ms;
        self.tick = 0;
        self.age += 1;
        let mut agents: BTreeMap<Name, Agent> = BTreeMap::new();
        for task in self.tasks.values_mut() {
            task.progress = None;
            match (task.state, task.holder.clone()) {
                (State::Scheduled, _) => {
                    let (delay, anchor) = task.wait;
                    task.timer = delay - delay.min(self.wall.saturating_sub(anchor));
                }
                (State::Offered | State::Running, Some(name)) => {
                    task.floor = grace;
                    task.timer = grace.max(self.config.offer_ms);
                    let length = match task.state {
                        State::Offered => self.config.offer_ms,
                        _ => task.submit.lease_ms,
                    };
                    let mut attach = self.agents[&name].attach.clone();
                    attach.identity = task.identity.clone();
                    let away_until = grace.max(length);
                    let agent = agents.entry(name).or_insert(Agent {
                        attach,
                        present: false,
                        away_until,
                        seen: 0,
                        suspect: false,
                    });
                    agent.away_until = agent.away_until.max(away_until);
                }
                _ => {}
            }
        }
        self.agents = agents;
    }

    /// The core granted this generation of a task to an agent: was that right?
    pub(crate) fn granted(
        &mut self,
        id: TaskId,
        generation: u64,
        name: &Name,
    ) -> Result<(), String> {
        let (offer, tick) = (self.config.offer_ms, self.tick);
        let agent = self.agents.get(name).ok_or(format!("{id:?} granted to a stranger, {name}"))?;
        let identity = agent.attach.identity.clone();
        let task = &self.tasks[&id];
        if task.state != State::Ready || task.generation + 1 != generation {
            return Err(format!("{id:?} granted as {generation} while {task:?}"));
        }
        if !self.is_idle(name) || !self.suits(task, name) {
            return Err(format!("{id:?} granted to {name}, who cannot take it: {agent:?}"));
        }
        let task = self.tasks.get_mut(&id).expect("looked up above");
        task.generation = generation;
        task.state = State::Offered;
        task.holder = Some(name.clone());
        task.identity = identity;
        task.floor = 0;
        task.timer = tick + offer;
        Ok(())
    }

    /// After the grants of a step: nobody idles beside work that suits him, and nobody got a task
    /// while an older one of the same kind waits.
    pub(crate) fn judge_order(&self, granted: &[(TaskId, Name)]) -> Result<(), String> {
        let ready = || self.tasks.iter().filter(|(_, task)| task.state == State::Ready);
        for (id, task) in ready() {
            for name in self.agents.keys() {
                if self.is_idle(name) && self.suits(task, name) {
                    return Err(format!("{name} idles beside {id:?}"));
                }
            }
            for (other, name) in granted {
                let taken = &self.tasks[other];
                if self.suits(task, name) && task.place(*id) < taken.place(*other) {
                    return Err(format!("{other:?} went to {name} before {id:?}"));
                }
            }
        }
        Ok(())
    }

    /// Does the core show the task as it should be?
    pub(crate) fn judge_view(&self, view: &TaskView) -> Result<(), String> {
        let task = self.tasks.get(&view.task).ok_or(format!("unknown task {view:?}"))?;
        let same = view.state == task.state
            && view.generation.0 == task.generation
            && view.agent == task.holder
            && view.attempts == task.attempts
            && view.lost == task.lost
            && view.dead == task.dead
            && view.error == task.error
            && view.progress == task.progress
            && view.result == task.result
            && view.queue == task.submit.queue
            && view.needs == task.submit.needs;
        if same { Ok(()) } else { Err(format!("shown {view:?}\nexpected {task:?}")) }
    }

    fn suits(&self, task: &Task, name: &Name) -> bool {
        let attach = &self.agents[name].attach;
        (attach.queues.is_empty() || attach.queues.contains(&task.submit.queue))
            && task.submit.needs.iter().all(|need| attach.capabilities.contains(need))
            && !task.excluded.contains(name)
    }

    fn is_idle(&self, name: &Name) -> bool {
        let agent = &self.agents[name];
        let held = self.tasks.values().filter(|task| task.is_held_by(name)).count();
        agent.present && !agent.suspect && held < agent.attach.credit as usize
    }

    fn speaker(&self, session: u64) -> Option<Name> {
        let speaks = |agent: &Agent| agent.present && agent.attach.session.0 == session;
        self.agents.iter().find(|(_, agent)| speaks(agent)).map(|(name, _)| name.clone())
    }

    fn known_identity(&self, name: &Name) -> Option<Arc<str>> {
        let agent = self.agents.get(name)?;
        let holds = self.tasks.values().any(|task| task.is_held_by(name));
        (agent.present || holds).then(|| agent.attach.identity.clone())
    }

    fn away(&mut self, name: &Name) {
        let until = self.tick + self.config.grace_ms;
        let agent = self.agents.get_mut(name).expect("somebody spoke for it");
        agent.present = false;
        agent.away_until = until;
    }

    fn see(&mut self, name: &Name) {
        let agent = self.agents.get_mut(name).expect("somebody speaks for it");
        agent.seen = self.tick;
        agent.suspect = false;
    }
}

impl Task {
    fn new(submit: Submit, eligible: u64) -> Task {
        Task {
            submit,
            state: State::Ready,
            generation: 0,
            holder: None,
            identity: "".into(),
            attempts: 0,
            lost: 0,
            offers_expired: 0,
            excluded: BTreeSet::new(),
            eligible,
            dead: None,
            error: None,
            progress: None,
            result: None,
            end: None,
            timer: 0,
            wait: (0, 0),
            floor: 0,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Completed | State::Dead)
    }

    fn is_held_by(&self, name: &Name) -> bool {
        matches!(self.state, State::Offered | State::Running) && self.holder.as_ref() == Some(name)
    }

    /// Histories are far shorter than the smallest difference between two bands.
    fn place(&self, id: TaskId) -> (u8, u64, TaskId) {
        (self.submit.band, self.eligible, id)
    }

    fn back(&mut self, dead: Option<DeadReason>) {
        self.dead = dead;
        self.leave(if dead.is_some() { State::Dead } else { State::Ready });
    }

    fn leave(&mut self, state: State) {
        self.state = state;
        self.progress = None;
        if !self.is_over() {
            self.holder = None;
        }
    }
}
