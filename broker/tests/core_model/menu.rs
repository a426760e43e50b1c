//! What the inhabitants of the world ask for: a step of a history, made into a command.
//!
//! The world is small on purpose, so that its inhabitants get into each other's way: two agents,
//! two queues, two keys, timers of a few milliseconds.

use std::sync::Arc;

use agentcom_broker::core::command::{
    Action, After, AfterEnd, AfterTask, Assign, Attach, Command, Dedup, DedupMode, Generation,
    LabelOp, LabelTest, LeaseLimit, LeaseOp, Name, Park, ParkTimeout, Patience, Placement,
    Preference, Question, QueueChange, RateLimit, Resource, Retry, SessionId, Spawn, Spec, Start,
    Submit, Take, TaskChange, TaskId, WatchId,
};

use agentcom_broker::core::limits::{Order, Rate};

use super::generator::{Dice, Kind, Step};
use super::model::Model;

const AGENTS: [&str; 2] = ["alice", "bob"];

/// What has been sent so far.
#[derive(Debug, Default)]
pub(crate) struct Menu {
    /// The agent that each session attached for last, or was made for.
    sessions: Vec<Name>,
    sent: Vec<Command>,
    watches: u64,
    bodies: u64,
}

pub(crate) fn word(text: &str) -> Name {
    Name::parse(text).expect("the test knows names")
}

fn queue(dice: &mut Dice) -> Name {
    word(if dice.roll(3) < 2 { "a" } else { "b" })
}

impl Menu {
    /// A new session for an agent.
    pub(crate) fn session(&mut self, agent: Name) -> SessionId {
        self.sessions.push(agent);
        SessionId(self.sessions.len() as u64 - 1)
    }

    /// The newest session of an agent.
    pub(crate) fn newest(&self, agent: &Name) -> Option<SessionId> {
        let position = self.sessions.iter().rposition(|name| name == agent)?;
        Some(SessionId(position as u64))
    }

    /// The command of a step; `None` if the step makes no sense in this world.
    pub(crate) fn command(&mut self, step: Step, model: &Model) -> Option<Command> {
        let mut dice = Dice::new(step.pick);
        let dice = &mut dice;
        let command = match step.kind {
            Kind::Submit => Command::Submit(Box::new(self.submit(dice, model, 0))),
            Kind::Batch => {
                let size = 2 + dice.roll(2) as usize;
                let is_cyclic = dice.is_one_in(6);
                let reach = |at| if is_cyclic { size + 1 } else { at };
                let batch = (0..size).map(|at| self.submit(dice, model, reach(at)));
                Command::SubmitBatch(batch.collect())
            }
            Kind::Attach => self.attach(dice, model),
            Kind::Detach => Command::Detach { session: self.recent(dice)? },
            Kind::Withhold => Command::Withhold {
                agent: word(AGENTS[dice.roll(AGENTS.len() as u64) as usize]),
                for_ms: 1 + dice.roll(9),
            },
            Kind::Heartbeat => Command::Heartbeat { session: self.recent(dice)? },
            Kind::Holder => self.holder(dice, model)?,
            Kind::Stray => Command::Lease(LeaseOp {
                session: self.recent(dice)?,
                task: task(dice, model),
                generation: Generation(dice.roll(6)),
                action: self.action(dice, model, None),
            }),
            Kind::Again => self.again(dice)?,
            Kind::Take => self.take(dice)?,
            Kind::Cancel => Command::Cancel {
                task: task(dice, model),
                reason: format!("no need {}", dice.roll(2)).into(),
                grace_ms: dice.is_one_in(2).then(|| dice.roll(4)),
            },
            Kind::Answer => Command::Answer {
                task: asked_task(dice, model),
                key: question_key(dice),
                value: self.body("answer"),
            },
            Kind::Edit => self.edit(dice, model),
            Kind::Why => Command::Why { task: task(dice, model) },
            Kind::Reclaim => Command::Reclaim { task: task(dice, model) },
            Kind::Redrive => Command::Redrive {
                task: ended_task(dice, model),
                delay_ms: if dice.is_one_in(3) { 1 + dice.roll(3) } else { 0 },
            },
            Kind::Discard => Command::Discard { task: ended_task(dice, model) },
            Kind::Show => Command::Show { task: task(dice, model) },
            Kind::Await => Command::Await {
                session: self.recent(dice).filter(|_| dice.is_one_in(2)),
                task: task(dice, model),
                timeout_ms: dice.roll(9),
            },
            Kind::Leave => Command::Leave { session: self.recent(dice)? },
            Kind::Watch => {
                self.watches += 1;
                Command::Watch {
                    watch: WatchId(self.watches),
                    session: self.recent(dice)?,
                    task: task(dice, model),
                    from: dice.is_one_in(2).then(|| dice.roll(6)),
                }
            }
            Kind::Unwatch => {
                Command::Unwatch { session: self.recent(dice)?, task: task(dice, model) }
            }
            Kind::SetQueue => Command::SetQueue { queue: queue(dice), change: change(dice) },
            Kind::ShowQueue => Command::ShowQueue { queue: queue(dice) },
            Kind::ListQueues => Command::ListQueues {
                after: dice.is_one_in(2).then(|| queue(dice)),
                limit: 1 + dice.roll(3) as usize,
            },
            Kind::Peek => Command::Peek { queue: queue(dice), limit: dice.roll(4) as usize },
            Kind::Purge => Command::Purge { queue: queue(dice), limit: dice.roll(4) as usize },
            Kind::Tick => Command::Tick,
        };
        if !matches!(command, Command::Show { .. } | Command::Tick) {
            self.sent.push(command.clone());
        }
        Some(command)
    }

    /// One of the last few sessions, so that old ones speak now and then.
    fn recent(&self, dice: &mut Dice) -> Option<SessionId> {
        let recent = self.sessions.len().min(4) as u64;
        let back = dice.roll(recent.max(1)) + 1;
        (recent > 0).then(|| SessionId(self.sessions.len() as u64 - back))
    }

    fn body(&mut self, what: &str) -> Arc<[u8]> {
        self.bodies += 1;
        format!("{what} {}", self.bodies).into_bytes().into()
    }

    /// A task that may wait for members of its batch before position `reach`.
    fn submit(&mut self, dice: &mut Dice, model: &Model, reach: usize) -> Submit {
        let ms = |dice: &mut Dice, sides| 1 + dice.roll(sides);
        let start = match dice.roll(8) {
            0 => Start::In(ms(dice, 4)),
            1 => Start::At(model.wall() + dice.roll(4)),
            _ => Start::Now,
        };
        let mode = match dice.roll(6) {
            0 => DedupMode::Return(dice.roll(5)),
            1 => DedupMode::Reject(ms(dice, 4)),
            2 => DedupMode::Replace,
            3 => DedupMode::Debounce { delay_ms: ms(dice, 3), max_ms: ms(dice, 6) },
            4 => DedupMode::UntilDone,
            _ => DedupMode::WhileRunning,
        };
        let key = word(if dice.is_one_in(2) { "k1" } else { "k2" });
        let dedup = dice.is_one_in(3).then_some(Dedup { key, mode });
        let mut after = Vec::new();
        while after.len() < 2 && dice.is_one_in(if reach > 0 { 2 } else { 4 }) {
            let task = if reach > 0 && !dice.is_one_in(4) {
                AfterTask::InBatch(dice.roll(reach as u64) as usize)
            } else {
                AfterTask::Kept(task(dice, model))
            };
            let on = match dice.roll(4) {
                0 => AfterEnd::Any,
                1 => AfterEnd::SuccessElseBlock,
                2 => AfterEnd::SuccessElseCancel,
                _ => AfterEnd::SuccessElseFail,
            };
            after.push(After { task, on });
        }
        let mut spec = spec(dice);
        spec.has_headers = dice.is_one_in(3);
        let headers = spec.has_headers.then(|| self.body("headers"));
        let (spec, payload) = (Arc::new(spec), self.body("payload"));
        Submit { spec, payload, headers, start, dedup, after }
    }

    fn attach(&mut self, dice: &mut Dice, model: &Model) -> Command {
        let agent = word(AGENTS[dice.roll(2) as usize]);
        let session = match self.recent(dice) {
            Some(session) if dice.is_one_in(4) => session,
            _ => self.session(agent.clone()),
        };
        let held = model.open().filter(|(_, task)| task.is_leased());
        let mut holding = Vec::new();
        for (id, task) in held {
            if task.is_held_by(&agent) && !dice.is_one_in(4) || dice.is_one_in(8) {
                let back = u64::from(dice.is_one_in(8));
                holding.push((id, Generation(task.generation.saturating_sub(back))));
            }
        }
        if dice.is_one_in(8) {
            holding.push((task(dice, model), Generation(dice.roll(4))));
        }
        let mem = dice.choose(&["8", "16", "16", "many"]).map(|mem| (word("mem"), mem.into()));
        Command::Attach(Attach {
            session,
            agent,
            identity: if dice.is_one_in(10) { "stranger" } else { "owner" }.into(),
            capabilities: if dice.is_one_in(3) { vec![] } else { vec![word("gpu")] },
            labels: mem.into_iter().filter(|_| !dice.is_one_in(3)).collect(),
            capacity: if dice.is_one_in(4) {
                vec![]
            } else {
                vec![amount("cores", 1 + dice.roll(3)), amount("seats", 1 + dice.roll(2))]
            },
            queues: if dice.is_one_in(4) { vec![word("a")] } else { vec![] },
            credit: 1 + dice.roll(2) as u32,
            holding,
        })
    }

    /// What a holder does next, as a rule on the session that speaks for it.
    fn holder(&mut self, dice: &mut Dice, model: &Model) -> Option<Command> {
        let held: Vec<TaskId> =
            model.open().filter(|(_, task)| task.is_leased()).map(|(id, _)| id).collect();
        let id = dice.choose(&held)?;
        let task = &model.tasks[&id];
        let session = self.newest(task.agent.as_ref()?)?;
        let (generation, action) =
            (Generation(task.generation), self.action(dice, model, Some(id)));
        Some(Command::Lease(LeaseOp { session, task: id, generation, action }))
    }

    fn action(&mut self, dice: &mut Dice, model: &Model, id: Option<TaskId>) -> Action {
        let seq = |dice: &mut Dice, next: u64| match dice.roll(4) {
            0 => Some(next),
            1 => Some((next + 1).saturating_sub(dice.roll(3))),
            _ => None,
        };
        let task = id.map(|id| &model.tasks[&id]);
        let reported = task.map_or(0, |task| task.progress_seq);
        let kept = task.and_then(|task| task.checkpoint.as_ref()).map_or(0, |(seq, _)| *seq);
        match dice.roll(21) {
            16..20 => Action::Park(park(dice)),
            20 => {
                let size = 1 + dice.roll(2) as usize;
                let children = (0..size).map(|at| self.submit(dice, model, at)).collect();
                Action::Spawn(Spawn { children, end_with_parent: dice.is_one_in(2) })
            }
            0..4 => Action::Accept,
            4 => Action::Decline {
                reason: format!("reason {}", dice.roll(2)).into(),
                retry_after_ms: dice.is_one_in(2).then(|| dice.roll(4)),
            },
            5 => Action::Progress { seq: seq(dice, reported + 1), data: self.body("report") },
            6 => Action::Checkpoint { seq: seq(dice, kept + 1), data: self.body("checkpoint") },
            7 => Action::Busy { for_ms: 1 + dice.roll(9) },
            8 => Action::Extend { lease_ms: 1 + dice.roll(9) },
            9 => {
                Action::Complete { result: format!("result {}", dice.roll(2)).into_bytes().into() }
            }
            10 => Action::Ack,
            11..14 => Action::Fail {
                error: format!("error {}", dice.roll(2)).into(),
                retry: match dice.roll(7) {
                    0..3 => Retry::Backoff { at_least_ms: dice.roll(2) * 4 },
                    3 | 4 => Retry::In(dice.roll(4)),
                    5 => Retry::Throttled(dice.roll(6)),
                    _ => Retry::Never,
                },
            },
            14 => Action::Release { delay_ms: dice.roll(3) },
            _ => Action::CancelAck { result: self.body("so far") },
        }
    }

    fn edit(&mut self, dice: &mut Dice, model: &Model) -> Command {
        let task = task(dice, model);
        let mut change = TaskChange::default();
        for _ in 0..=dice.roll(2) {
            match dice.roll(9) {
                0 => change.band = Some(dice.roll(3) as u8),
                1 => change.key = Some(word("other")),
                2 => change.start = Some(Start::In(dice.roll(4))),
                3 => change.start = Some(Start::At(model.wall() + dice.roll(4))),
                4 => change.attempts_max = Some(1 + dice.roll(3) as u32),
                5 => change.lease_ms = Some(4 + dice.roll(9)),
                6 => change.attempt_ms = Some(6 + dice.roll(9)),
                7 => change.progress_ms = Some(2 + dice.roll(5)),
                _ => {
                    change.queue_ms = Some(4 + dice.roll(9));
                    change.total_ms = Some(9 + dice.roll(9));
                }
            }
        }
        let version = dice.is_one_in(3).then(|| dice.roll(2) as u32);
        Command::Edit { task, version, change: Box::new(change) }
    }

    fn again(&mut self, dice: &mut Dice) -> Option<Command> {
        let mut command = dice.choose(&self.sent)?;
        let other = self.recent(dice).filter(|_| dice.is_one_in(2));
        match &mut command {
            Command::Lease(LeaseOp { session, .. })
            | Command::Attach(Attach { session, .. })
            | Command::Take(Take { session, .. })
            | Command::Detach { session }
            | Command::Leave { session }
            | Command::Heartbeat { session }
            | Command::Unwatch { session, .. } => *session = other.unwrap_or(*session),
            Command::Watch { session, watch, .. } => {
                self.watches += 1;
                *watch = WatchId(self.watches);
                *session = other.unwrap_or(*session);
            }
            _ => {}
        }
        Some(command)
    }

    fn take(&mut self, dice: &mut Dice) -> Option<Command> {
        let consumer = word(AGENTS[dice.roll(2) as usize]);
        let session = match self.recent(dice) {
            Some(session) if !dice.is_one_in(4) => session,
            _ => self.session(consumer.clone()),
        };
        Some(Command::Take(Take {
            session,
            consumer,
            identity: if dice.is_one_in(10) { "stranger" } else { "owner" }.into(),
            queue: queue(dice),
            max: 1 + dice.roll(2) as u32,
            wait_ms: if dice.is_one_in(3) { 0 } else { 1 + dice.roll(9) },
            lease_ms: dice.is_one_in(2).then(|| 1 + dice.roll(8)),
        }))
    }
}

/// Mostly one that is open, sometimes one that is over, is not there yet or never will be.
fn task(dice: &mut Dice, model: &Model) -> TaskId {
    let open: Vec<TaskId> = model.open().map(|(id, _)| id).collect();
    match dice.roll(8) {
        0..5 => dice.choose(&open).unwrap_or(TaskId(1)),
        5 | 6 => ended_task(dice, model),
        _ => TaskId(model.newest_task() + 1 - dice.roll(3).min(model.newest_task())),
    }
}

fn ended_task(dice: &mut Dice, model: &Model) -> TaskId {
    let over = |dead: bool| {
        let over = model.tasks.iter().filter(|(_, task)| task.is_over());
        let over = over.filter(|(_, task)| task.is_dead() == dead).map(|(id, _)| *id);
        over.collect::<Vec<TaskId>>()
    };
    let dead = !dice.is_one_in(5);
    dice.choose(&over(dead)).unwrap_or(TaskId(1))
}

fn spec(dice: &mut Dice) -> Spec {
    let labels: Arc<[LabelTest]> = match dice.roll(8) {
        0 => [test(LabelOp::AtLeast, "16")].into(),
        1 => [test(LabelOp::NotEqual, "16")].into(),
        _ => Arc::default(),
    };
    Spec {
        queue: queue(dice),
        key: dice.is_one_in(3).then(|| word(if dice.is_one_in(2) { "mine" } else { "yours" })),
        needs: if dice.is_one_in(3) { [word("gpu")].into() } else { Arc::default() },
        labels,
        rates: match dice.roll(8) {
            0 => [rate("api", 1, 4)].into(),
            1 => [rate("api", 1, 4), rate("api", 2, 9)].into(),
            _ => Arc::default(),
        },
        placement: dice.is_one_in(2).then(|| Arc::new(placement(dice))),
        has_headers: false,
        limits: match dice.roll(5) {
            0 => [limit("repo", 1)].into(),
            1 => [limit("account", 2), limit("repo", 1 + dice.roll(2) as u32)].into(),
            _ => Arc::default(),
        },
        band: dice.roll(2) as u8,
        attempts_max: 1 + dice.roll(3) as u32,
        patience: Patience {
            lease_ms: 6 + 5 * dice.roll(2),
            attempt_ms: if dice.is_one_in(4) { 9 } else { 1_000_000 },
            progress_ms: dice.is_one_in(4).then_some(4),
            queue_ms: dice.is_one_in(5).then_some(8),
            total_ms: dice.is_one_in(5).then_some(13),
        },
    }
}

/// Mostly one that asked something.
fn asked_task(dice: &mut Dice, model: &Model) -> TaskId {
    let asked = model.open().filter(|(_, task)| !task.questions.is_empty());
    let asked: Vec<TaskId> = asked.map(|(id, _)| id).collect();
    dice.choose(&asked).unwrap_or_else(|| task(dice, model))
}

fn question_key(dice: &mut Dice) -> Name {
    word(if dice.is_one_in(2) { "colour" } else { "size" })
}

fn park(dice: &mut Dice) -> Park {
    let mut questions: Vec<Question> = Vec::new();
    for _ in 0..dice.roll(3) {
        let key = question_key(dice);
        let text = if dice.is_one_in(8) { "really?" } else { key.as_str() };
        let text = text.as_bytes().into();
        let default = dice.is_one_in(2).then(|| b"blue".as_slice().into());
        if !questions.iter().any(|question| question.key == key) {
            questions.push(Question { key, text, default });
        }
    }
    Park {
        questions,
        children: dice.is_one_in(2),
        hold_ms: if dice.is_one_in(2) { 0 } else { 1 + dice.roll(5) },
        park_ms: 1 + dice.roll(9),
        on_timeout: ParkTimeout::ALL[dice.roll(4) as usize],
    }
}

fn placement(dice: &mut Dice) -> Placement {
    let agent = word(AGENTS[dice.roll(2) as usize]);
    let for_ms = (!dice.is_one_in(4)).then(|| 1 + dice.roll(8));
    Placement {
        resources: match dice.roll(5) {
            0 => [amount("cores", 1)].into(),
            1 => [amount("cores", 1 + dice.roll(3))].into(),
            2 => [amount("cores", 1 + dice.roll(2)), amount("seats", 1 + dice.roll(2))].into(),
            _ => Arc::default(),
        },
        prefer: match dice.roll(4) {
            0 => [Preference { weight: 2, test: test(LabelOp::AtLeast, "16") }].into(),
            1 => [
                Preference { weight: 1, test: test(LabelOp::Exists, "") },
                Preference { weight: 3, test: test(LabelOp::Less, "16") },
            ]
            .into(),
            _ => Arc::default(),
        },
        assign: dice.is_one_in(5).then_some(Assign { agent, for_ms }),
        sticky_ms: if dice.is_one_in(2) { 0 } else { 1 + dice.roll(5) },
    }
}

fn amount(name: &str, amount: u64) -> Resource {
    Resource { name: word(name), amount: amount as u32 }
}

fn rate(name: &str, grants: u32, period_ms: u64) -> RateLimit {
    RateLimit { name: word(name), rate: Rate { grants, period_ms } }
}

fn limit(name: &str, max: u32) -> LeaseLimit {
    LeaseLimit { name: word(name), max }
}

fn test(op: LabelOp, value: &str) -> LabelTest {
    LabelTest { label: word("mem"), op, value: value.into() }
}

fn change(dice: &mut Dice) -> QueueChange {
    let mut change = QueueChange::default();
    match dice.roll(9) {
        8 => {
            let weights = [(word("mine"), 1 + dice.roll(3) as u32), (word("yours"), 2)];
            change.weights = Some(weights.into_iter().take(dice.roll(3) as usize).collect());
        }
        7 => change.rate = Some(None),
        6 => {
            let (grants, period_ms) = (1 + dice.roll(2) as u32, 1 + dice.roll(9));
            change.rate = Some(Some(Rate { grants, period_ms }));
        }
        5 => change.order = Some(Order::ALL[dice.roll(2) as usize]),
        0 => change.paused = Some(true),
        1 => change.paused = Some(false),
        2 => change.leases_max = Some(dice.roll(3)),
        3 => change.keep_ms = Some(dice.roll(3_000)),
        _ => change.keep_dead_ms = Some(dice.roll(2) * 2_000),
    }
    change
}
