//! Random histories of the durable plane, judged by a slow model, with crashes between any two
//! effects.
//!
//! The world is small on purpose: two agents, three open tasks, timers of a few milliseconds. A
//! step is one turn of the real commit loop over a store that forgets. Every operation ever sent
//! stays in a pool and one step in five sends one of them again, perhaps from another session:
//! that is what finds holes in the fence.
//!
//! A failure prints its seed and the shortest history found that still fails. Replay it with
//! `CORE_MODEL_SEED=<seed> cargo test --release --test core_model`; `CORE_MODEL_STEPS` sets the
//! number of steps.

mod model;

use std::collections::HashMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use agentcom_broker::commit::turn::{Committer, Voice};
use agentcom_broker::core::command::{
    Action, Attach, Command, Effect, Generation, LeaseOp, Name, Now, Push, Rejection, Reply,
    Request, RequestId, SessionId, State, Submit, TaskEvent, TaskId, TaskView, Tick,
};
use agentcom_broker::core::limits::{Backoff, CoreConfig};
use agentcom_broker::core::record::Record;
use agentcom_broker::store::Store;
use agentcom_broker::store::memory::{MemoryStore, Unsynced};
use model::Model;
use parking_lot::Mutex;

const STEPS: usize = 240_000;
const HISTORY_STEPS: usize = 80;
const OPEN_TASKS_MAX: usize = 3;
const AGENTS: [&str; 2] = ["alice", "bob"];

/// Timers of a few milliseconds, all different, so that every order of firing occurs.
fn config() -> CoreConfig {
    CoreConfig {
        offer_ms: 5,
        grace_ms: 3,
        restart_grace_ms: 7,
        backoff: Backoff { base_ms: 2, factor: 2, cap_ms: 6 },
        offers_max: 3,
        declines_max: 2,
        lost_max: 3,
        queue_tasks_max: 100,
    }
}

/// What happens next, in terms that make sense in any world, so that a history stays one when
/// steps are taken out of it.
#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    /// Which agent, task, old operation: an index into what there is, wrapped around.
    pick: usize,
    crash: Option<Crash>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Submit,
    Attach,
    Detach,
    Heartbeat,
    /// The holder of a task does what it should or could.
    Holder,
    /// Somebody does something to some task with some generation.
    Stray,
    /// An operation sent before comes again.
    Again,
    Advance,
}

#[derive(Clone, Copy, Debug)]
enum Crash {
    /// Before the sync returned.
    Unsynced { kept: bool },
    /// After so many releases.
    Released(usize),
}

/// SplitMix64, to need nothing else.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % sides as u64) as usize
    }
}

fn history(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed);
    let step = |_| {
        let kind = match dice.roll(100) {
            0..12 => Kind::Submit,
            12..22 => Kind::Attach,
            22..26 => Kind::Detach,
            26..33 => Kind::Heartbeat,
            33..57 => Kind::Holder,
            57..62 => Kind::Stray,
            62..82 => Kind::Again,
            _ => Kind::Advance,
        };
        let crash = match dice.roll(100) {
            0..2 => Some(Crash::Unsynced { kept: false }),
            2..4 => Some(Crash::Unsynced { kept: true }),
            4..7 => Some(Crash::Released(dice.roll(5))),
            _ => None,
        };
        Step { kind, pick: dice.roll(1 << 30), crash }
    };
    (0..HISTORY_STEPS).map(step).collect()
}

#[test]
fn random_histories_agree_with_the_model() {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("CORE_MODEL_SEED") {
        return check(seed);
    }
    let steps = number("CORE_MODEL_STEPS").map_or(STEPS, |steps| steps as usize);
    for seed in 0..(steps / HISTORY_STEPS) as u64 {
        check(seed);
    }
}

fn check(seed: u64) {
    let steps = history(seed);
    let Err(failure) = run(&steps) else { return };
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (steps, shortest) = shrink(steps);
    std::panic::set_hook(quiet);
    let failure = shortest.unwrap_or(failure);
    let steps: String = steps.iter().map(|step| format!("  {step:?}\n")).collect();
    panic!("seed {seed} (set CORE_MODEL_SEED to replay it)\n{steps}{failure}");
}

/// Leave out whatever the failure does not need.
fn shrink(mut steps: Vec<Step>) -> (Vec<Step>, Option<String>) {
    let mut failure = None;
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + size).min(steps.len()));
            match run(&fewer) {
                Err(same) => (steps, failure) = (fewer, Some(same)),
                Ok(()) => start += size,
            }
        }
        size /= 2;
    }
    (steps, failure)
}

fn run(steps: &[Step]) -> Result<(), String> {
    let run = || {
        let mut world = World::new();
        for step in steps {
            world.step(step).map_err(|failure| format!("at {step:?}: {failure}"))?;
        }
        world.finish()
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// What left the commit loop before the process died.
#[derive(Clone, Default)]
struct Outside {
    released: Arc<Mutex<Vec<Effect>>>,
    /// Releases until the process dies.
    left: Arc<Mutex<Option<usize>>>,
}

impl Outside {
    fn release(&self, effect: Effect) {
        let mut left = self.left.lock();
        match &mut *left {
            Some(0) => return,
            Some(left) => *left -= 1,
            None => {}
        }
        self.released.lock().push(effect);
    }
}

impl Voice for Outside {
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>) {
        self.release(Effect::Reply { request, outcome });
    }
    fn deliver(&mut self, session: SessionId, push: Push) {
        self.release(Effect::Deliver { session, push });
    }
    fn event(&mut self, event: TaskEvent) {
        self.release(Effect::Event(event));
    }
    fn flush(&mut self) {}
}

struct World {
    store: MemoryStore,
    outside: Outside,
    committer: Committer<MemoryStore, Outside>,
    model: Model,
    /// Every generation that was ever granted, and to whom.
    grants: HashMap<(TaskId, u64), Name>,
    /// The agent behind every session there ever was.
    sessions: Vec<Name>,
    sent: Vec<LeaseOp>,
    requests: u64,
    wall_ms: u64,
}

impl World {
    fn new() -> World {
        let (store, outside) = (MemoryStore::new(), Outside::default());
        let committer =
            Committer::restore(config(), store.clone(), outside.clone(), Now::default()).unwrap();
        let wall_ms = 1_000_000;
        let mut model = Model::new(config());
        model.advance(0, wall_ms);
        World {
            store,
            outside,
            committer,
            model,
            grants: HashMap::new(),
            sessions: Vec::new(),
            sent: Vec::new(),
            requests: 0,
            wall_ms,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Some(command) = self.command(step) else { return Ok(()) };
        if let Command::Lease(op) = &command {
            self.sent.push(op.clone());
        }
        self.turn(command, step.crash)
    }

    fn command(&mut self, step: &Step) -> Option<Command> {
        let pick = step.pick;
        let agent = Name::parse(AGENTS[pick % 2]).unwrap();
        Some(match step.kind {
            Kind::Submit if self.model.open() >= OPEN_TASKS_MAX => return None,
            Kind::Submit => Command::Submit(self.submit(pick)),
            Kind::Attach => {
                self.sessions.push(agent.clone());
                let word = |text: &str| Name::parse(text).unwrap();
                Command::Attach(Attach {
                    session: SessionId(self.sessions.len() as u64 - 1),
                    agent,
                    identity: if (pick / 2).is_multiple_of(8) { "stranger" } else { "owner" }
                        .into(),
                    capabilities: if (pick / 16).is_multiple_of(3) {
                        vec![]
                    } else {
                        vec![word("gpu")]
                    },
                    queues: if (pick / 48).is_multiple_of(3) { vec![word("a")] } else { vec![] },
                    credit: 1 + (pick / 144 % 2) as u32,
                })
            }
            Kind::Detach => Command::Detach { session: self.session(pick)? },
            Kind::Heartbeat => Command::Heartbeat { session: self.session(pick)? },
            Kind::Holder => {
                let held: Vec<_> = self.grants.keys().copied().collect();
                let current = |(task, generation): &(TaskId, u64)| {
                    let task = &self.model.tasks[task];
                    task.generation == *generation && !task.is_over()
                };
                let mut held: Vec<_> = held.into_iter().filter(current).collect();
                held.sort_unstable();
                let (task, generation) = *held.get(pick % held.len().max(1))?;
                let holder = &self.grants[&(task, generation)];
                let session = self.sessions.iter().rposition(|agent| agent == holder)? as u64;
                Command::Lease(LeaseOp {
                    session: SessionId(session),
                    task,
                    generation: Generation(generation),
                    action: action(pick / 8),
                })
            }
            Kind::Stray => Command::Lease(LeaseOp {
                session: self.session(pick)?,
                task: TaskId(1 + (pick / 8 % 12) as u64),
                generation: Generation((pick / 128 % 6) as u64),
                action: action(pick / 1024),
            }),
            Kind::Again => {
                let mut op = self.sent.get(pick % self.sent.len().max(1))?.clone();
                if (pick / 64).is_multiple_of(2) {
                    op.session = self.session(pick / 128)?;
                }
                Command::Lease(op)
            }
            Kind::Advance => {
                // The wall clock is set back and forth by hours, which must not matter.
                match pick / 16 % 10 {
                    0 => self.wall_ms += 10_000_000,
                    1 => self.wall_ms = self.wall_ms.saturating_sub(10_000_000),
                    _ => {}
                }
                let ms = (pick % 6) as u64;
                self.wall_ms += ms;
                self.model.advance(ms, self.wall_ms);
                Command::Tick
            }
        })
    }

    fn submit(&self, pick: usize) -> Submit {
        let word = |text: &str| Name::parse(text).unwrap();
        Submit {
            queue: word(if pick.is_multiple_of(2) { "a" } else { "b" }),
            payload: format!("payload {}", self.requests).into_bytes().into(),
            needs: if (pick / 2).is_multiple_of(3) { vec![word("gpu")] } else { vec![] },
            band: (pick / 6 % 2) as u8,
            attempts_max: 1 + (pick / 12 % 3) as u32,
            lease_ms: 6 + (pick / 36 % 2) as u64 * 5,
        }
    }

    /// One of the last few sessions, so that old ones speak now and then.
    fn session(&self, pick: usize) -> Option<SessionId> {
        let recent = self.sessions.len().min(4);
        let back = pick % recent.max(1);
        (recent > 0).then(|| SessionId((self.sessions.len() - 1 - back) as u64))
    }

    fn now(&self) -> Now {
        Now { tick: Tick(self.model.tick()), wall_ms: self.wall_ms }
    }

    fn now_after_restart(&self) -> Now {
        Now { tick: Tick(0), wall_ms: self.wall_ms }
    }

    fn turn(&mut self, command: Command, crash: Option<Crash>) -> Result<(), String> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let before = self.model.clone();
        match crash {
            Some(Crash::Unsynced { .. }) => self.store.fail_next_sync(),
            Some(Crash::Released(count)) => *self.outside.left.lock() = Some(count),
            None => {}
        }
        self.committer.turn([Request { id: request, command: command.clone() }], self.now());
        let mut released = std::mem::take(&mut *self.outside.released.lock());
        let mut crashed = crash.is_some();
        let mut lost = false;
        if let Some(Crash::Unsynced { kept }) = crash {
            if self.committer.refusing().is_some() {
                // Whatever is told now is told by a process that does not know.
                let told = released.iter().find(|effect| !is_unavailable(effect));
                if let Some(told) = told {
                    return Err(format!("released although the sync failed: {told:?}"));
                }
                released.clear();
                lost = !kept;
                self.store.crash(if kept { Unsynced::Kept } else { Unsynced::Lost });
            } else {
                // Nothing was to be synced, so there was nothing to lose.
                self.store.crash(Unsynced::Lost);
                crashed = false;
            }
        } else if self.store.unsynced() > 0 {
            return Err("the turn is over and something is not synced".into());
        }
        let new_task = self.new_task(&command, &released, crashed)?;
        let expected = match new_task {
            None if matches!(command, Command::Submit(_)) => None,
            id => Some(self.model.apply(&command, id.unwrap_or(TaskId(0)))),
        };
        self.model.expire();
        if lost {
            self.model = before;
        }
        if crashed {
            *self.outside.left.lock() = None;
            self.committer = Committer::restore(
                config(),
                self.store.clone(),
                self.outside.clone(),
                self.now_after_restart(),
            )
            .map_err(|error| error.to_string())?;
            self.committer.turn([], self.now_after_restart());
            self.outside.released.lock().clear();
        }
        self.learn_grants(crashed)?;
        if crashed {
            self.model.restart();
            self.model.expire();
        }
        self.judge(&command, request, expected, &released, crashed)
    }

    /// The id of the task that the command made, if it made one that lasts.
    fn new_task(
        &self,
        command: &Command,
        released: &[Effect],
        crashed: bool,
    ) -> Result<Option<TaskId>, String> {
        if !matches!(command, Command::Submit(_)) {
            return Ok(None);
        }
        let mut found = None;
        let mut scan = |record| {
            if let Record::Task(row) = record
                && !self.model.tasks.contains_key(&row.task)
            {
                found = Some(row.task);
            }
        };
        self.store.scan(&mut scan).map_err(|error| error.to_string())?;
        let told = released.iter().find_map(|effect| match effect {
            Effect::Reply { outcome: Ok(Reply::Submitted { task }), .. } => Some(*task),
            _ => None,
        });
        if told.is_some() && told != found {
            return Err(format!("acknowledged {told:?}, the store has {found:?}"));
        }
        if found.is_none() && !crashed {
            return Err("a submit left nothing behind".into());
        }
        let newest = self.model.tasks.keys().next_back();
        if found.is_some() && newest >= found.as_ref() {
            return Err(format!("id {found:?} was given out after {newest:?}"));
        }
        Ok(found)
    }

    fn view(&mut self, task: TaskId, now: Now) -> Result<TaskView, String> {
        let request = Request { id: RequestId(0), command: Command::Show { task } };
        self.committer.turn([request], now);
        let mut released = self.outside.released.lock();
        match released.drain(..).next() {
            Some(Effect::Reply { outcome: Ok(Reply::Task(view)), .. }) => Ok(*view),
            other => Err(format!("{task:?} is gone: {other:?}")),
        }
    }

    /// Grants are the core's choice: see which it made, and judge them.
    fn learn_grants(&mut self, crashed: bool) -> Result<(), String> {
        let now = if crashed { self.now_after_restart() } else { self.now() };
        let mut granted = Vec::new();
        let ready = self.model.tasks.iter().filter(|(_, task)| task.state == State::Ready);
        let ready: Vec<TaskId> = ready.map(|(id, _)| *id).collect();
        for id in ready {
            let view = self.view(id, now)?;
            if view.state != State::Offered {
                continue;
            }
            let agent = view.agent.ok_or("offered to nobody")?;
            let generation = view.generation.0;
            self.model.granted(id, generation, &agent)?;
            if let Some(former) = self.grants.insert((id, generation), agent.clone()) {
                return Err(format!("{id:?} generation {generation} was {former}'s already"));
            }
            granted.push((id, agent));
        }
        self.model.judge_order(&granted)
    }

    fn judge(
        &mut self,
        command: &Command,
        request: RequestId,
        expected: Option<Result<Reply, Rejection>>,
        released: &[Effect],
        crashed: bool,
    ) -> Result<(), String> {
        let mut answered = matches!(command, Command::Tick);
        for effect in released {
            match effect {
                Effect::Reply { request: answers, outcome } => {
                    if *answers != request || expected.as_ref() != Some(outcome) {
                        return Err(format!("answered {outcome:?}\nexpected {expected:?}"));
                    }
                    answered = true;
                }
                Effect::Deliver { session, push: Push::Offer(offer) } => {
                    let agent = self.sessions.get(session.0 as usize);
                    let granted = self.grants.get(&(offer.task, offer.generation.0));
                    if granted.is_none() || granted != agent {
                        return Err(format!("{offer:?} went to {agent:?}, granted to {granted:?}"));
                    }
                    if self.model.tasks[&offer.task].submit.payload != offer.payload {
                        return Err(format!("another payload: {offer:?}"));
                    }
                }
                _ => {}
            }
        }
        if !answered && !crashed {
            return Err("no answer".into());
        }
        let ids: Vec<TaskId> = self.model.tasks.keys().copied().collect();
        for id in ids {
            let view = self.view(id, self.now())?;
            self.model.judge_view(&view)?;
        }
        let (ours, theirs) = (self.model.next_deadline(), self.committer.next_deadline());
        if ours.is_some_and(|ours| theirs.is_none_or(|theirs| theirs.0 > ours)) {
            return Err(format!("something is due at {ours:?}, the core wakes at {theirs:?}"));
        }
        Ok(())
    }

    /// No limbo: with an able agent and enough time, every task ends.
    fn finish(&mut self) -> Result<(), String> {
        for name in ["carol", "dave", "erin"] {
            self.sessions.push(Name::parse(name).unwrap());
            let attach = Attach {
                session: SessionId(self.sessions.len() as u64 - 1),
                agent: Name::parse(name).unwrap(),
                identity: "owner".into(),
                capabilities: vec![Name::parse("gpu").unwrap()],
                queues: vec![],
                credit: 9,
            };
            self.turn(Command::Attach(attach), None)?;
        }
        for _ in 0..60 {
            let mine = |(key, holder): (&(TaskId, u64), &Name)| {
                let current = self.model.tasks[&key.0].generation == key.1;
                (current && !self.model.tasks[&key.0].is_over()).then(|| (*key, holder.clone()))
            };
            let mut held: Vec<_> = self.grants.iter().filter_map(mine).collect();
            held.sort();
            for ((task, generation), holder) in held {
                let session = self.sessions.iter().rposition(|agent| *agent == holder);
                let session = SessionId(session.ok_or("a holder without session")? as u64);
                let action = Action::Complete { result: b"at last".as_slice().into() };
                let generation = Generation(generation);
                let op = LeaseOp { session, task, generation, action };
                self.turn(Command::Lease(op), None)?;
            }
            self.wall_ms += 3;
            self.model.advance(3, self.wall_ms);
            self.turn(Command::Tick, None)?;
        }
        match self.model.open() {
            0 => Ok(()),
            open => Err(format!("{open} tasks never ended: {:?}", self.model.tasks)),
        }
    }
}

fn is_unavailable(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Reply {
            outcome: Err(Rejection::Unavailable { .. } | Rejection::Uncertain { .. }),
            ..
        }
    )
}

fn action(pick: usize) -> Action {
    let detail = pick / 8 % 2;
    match pick % 8 {
        0 | 1 => Action::Accept,
        2 => Action::Decline { reason: format!("reason {detail}").into() },
        3 => Action::Progress { data: format!("progress {detail}").into_bytes().into() },
        4 | 5 => Action::Complete { result: format!("result {detail}").into_bytes().into() },
        _ => Action::Fail {
            error: format!("error {detail}").into(),
            retryable: !(pick / 16).is_multiple_of(4),
            retry_after_ms: ((pick / 64).is_multiple_of(3)).then_some(4),
        },
    }
}
