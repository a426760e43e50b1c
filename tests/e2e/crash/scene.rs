//! The crowd of the crash test: submitters and agents that reconnect whenever the broker is
//! killed, do again what had no answer, and write down what was promised to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::doors::{Door, Heard, Line};

/// How many submits one client leaves unanswered.
const WINDOW: usize = 40;
/// Longer than the whole scene takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(50);

/// What everybody shares.
pub(super) struct Scene {
    address: SocketAddr,
    deadline: Instant,
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

/// What was promised to the clients, and where the broker is.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How often the broker was started again. Nobody looks for it while it is down.
    pub(super) life: usize,
    /// The broker goes and does not come back.
    pub(super) is_over: bool,
    /// The tasks of the jobs whose submit was acknowledged.
    pub(super) submitted: BTreeMap<usize, u64>,
    /// Submits without a key that had no answer and were sent again.
    pub(super) submitted_again: usize,
    /// What was accepted as the end of each task.
    pub(super) completed: BTreeMap<u64, Completion>,
    /// What should not have happened. The first one ends the scene.
    faults: Vec<String>,
}

/// How a task ended, as its agent was told.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    pub(super) agent: String,
    pub(super) payload: String,
    pub(super) result: String,
    /// The answer said that this was a repetition: the answer to the first one was lost.
    is_duplicate: bool,
    /// Where its agent came in.
    pub(super) door: Door,
}

impl Ledger {
    /// Acknowledged submits and completions so far.
    pub(super) fn steps(&self) -> usize {
        self.submitted.len() + self.completed.len()
    }

    /// All of `jobs` were acknowledged and completed.
    pub(super) fn is_all_done(&self, jobs: usize) -> bool {
        let is_done = |task| self.completed.contains_key(task);
        self.submitted.len() == jobs && self.submitted.values().all(is_done)
    }

    /// Completions whose first answer was lost.
    pub(super) fn unheard(&self) -> usize {
        self.completed.values().filter(|completion| completion.is_duplicate).count()
    }

    fn complete(&mut self, task: u64, completion: Completion) {
        if let Some(before) = self.completed.insert(task, completion.clone()) {
            self.faults.push(format!("task {task} ended twice: {before:?}, then {completion:?}"));
        }
    }
}

impl Scene {
    /// A scene around the broker at `address`.
    pub(super) fn new(address: SocketAddr) -> Self {
        let ledger = Mutex::new(Ledger { life: 1, ..Ledger::default() });
        Self { address, deadline: Instant::now() + DEADLINE, ledger, changed: Condvar::new() }
    }

    /// What was written down.
    pub(super) fn into_ledger(self) -> Ledger {
        self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look into the ledger.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock())
    }

    /// Write into the ledger, for everybody to see.
    pub(super) fn change(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Wait until the ledger satisfies `is_met`. A fault or too much time ends the test.
    #[track_caller]
    pub(super) fn wait(&self, what: &str, is_met: impl Fn(&Ledger) -> bool) {
        let mut ledger = self.lock();
        while !is_met(&ledger) {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if !ledger.faults.is_empty() || left.is_zero() {
                let text = summary(&ledger);
                // Whoever waits for the broker must not wait for ever.
                ledger.is_over = true;
                self.changed.notify_all();
                drop(ledger);
                panic!("waiting for {what}: {text}");
            }
            let (guard, _) =
                self.changed.wait_timeout(ledger, left).unwrap_or_else(PoisonError::into_inner);
            ledger = guard;
        }
    }

    /// Connect to a broker that was started after `life`; `None` when there will be none.
    fn enter(&self, door: Door, name: &str, mut life: usize) -> Option<(Line, usize)> {
        loop {
            self.wait("the broker", |ledger| ledger.life > life || ledger.is_over);
            if self.look(|ledger| ledger.is_over) {
                return None;
            }
            life = self.look(|ledger| ledger.life);
            if let Ok(line) = door.open(self.address, name) {
                return Some((line, life));
            }
        }
    }

    fn fault(&self, fault: String) {
        self.change(|ledger| ledger.faults.push(fault));
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is submitted as `job`.
pub(super) fn payload(job: usize) -> String {
    format!("job {job}")
}

/// Submit `jobs` until each was acknowledged once.
pub(super) fn submit(scene: &Scene, door: Door, jobs: Range<usize>) {
    let name = format!("submitter-{}", jobs.start);
    let mut open: BTreeSet<usize> = jobs.collect();
    let mut sent = BTreeSet::new();
    let mut life = 0;
    while !open.is_empty() {
        let Some((mut line, entered)) = scene.enter(door, &name, life) else { return };
        life = entered;
        let mut waiting = open.clone().into_iter();
        let mut unanswered = 0;
        loop {
            for job in waiting.by_ref().take(WINDOW - unanswered) {
                line.submit(job, &payload(job));
                unanswered += 1;
                if !sent.insert(job) && !door.has_keys() {
                    scene.change(|ledger| ledger.submitted_again += 1);
                }
            }
            if open.is_empty() {
                return;
            }
            let (job, task) = match line.hear() {
                Some(Heard::Submitted { job, task }) => (job, task),
                Some(Heard::Other(said)) => return scene.fault(format!("{name}: {said}")),
                Some(heard) => return scene.fault(format!("{name} heard {heard:?}")),
                None => break,
            };
            if !open.remove(&job) {
                return scene.fault(format!("job {job} was acknowledged twice"));
            }
            unanswered -= 1;
            scene.change(|ledger| {
                ledger.submitted.insert(job, task);
            });
        }
    }
}

/// Work as `agent` until the broker is gone for good.
pub(super) fn work(scene: &Scene, door: Door, agent: &str) {
    // What was done and is not acknowledged yet. It is kept like the work itself would be.
    let mut done: BTreeMap<u64, Done> = BTreeMap::new();
    let mut life = 0;
    while let Some((mut line, entered)) = scene.enter(door, agent, life) {
        life = entered;
        line.start(agent, done.iter().map(|(task, done)| (*task, done.generation)));
        done.iter().for_each(|(&task, done)| line.complete(task, done.generation, &done.result));
        while let Some(heard) = line.hear() {
            match heard {
                Heard::Work { task, generation, payload } => {
                    if done.get(&task).is_some_and(|done| done.generation == generation) {
                        // Offered before a kill, and repeated already.
                        continue;
                    }
                    let result = format!("{payload} by {agent} under generation {generation}");
                    if task % 2 == 0 {
                        line.report(task, generation);
                    }
                    line.complete(task, generation, &result);
                    done.insert(task, Done { generation, payload, result });
                }
                Heard::Completed { task, is_duplicate } => {
                    let Some(Done { payload, result, .. }) = done.remove(&task) else {
                        return scene.fault(format!("{agent}: answered twice: task {task}"));
                    };
                    let agent = agent.to_owned();
                    let completion = Completion { agent, payload, result, is_duplicate, door };
                    scene.change(|ledger| ledger.complete(task, completion));
                }
                Heard::TakeIsOver => line.start(agent, [].into_iter()),
                Heard::Noted => {}
                Heard::Other(said) => {
                    return scene.fault(format!("{agent}: {said}, holding {done:?}"));
                }
                // Taken just before a kill, and never heard of.
                Heard::Revoked { task } if door == Door::Queue && !done.contains_key(&task) => {}
                Heard::Revoked { task } => {
                    return scene.fault(format!("{agent} lost task {task}, holding {done:?}"));
                }
                Heard::Submitted { .. } => return scene.fault(format!("{agent} submits nothing")),
            }
        }
    }
}

/// Work that is done.
#[derive(Debug)]
struct Done {
    generation: u64,
    payload: String,
    result: String,
}

fn summary(ledger: &Ledger) -> String {
    let Ledger { life, submitted, submitted_again, completed, faults, .. } = ledger;
    let open: Vec<_> = submitted.iter().filter(|(_, task)| !completed.contains_key(task)).collect();
    let some = &open[..open.len().min(20)];
    format!(
        "{faults:#?}; life {life} of the broker; {} jobs acknowledged, {submitted_again} submitted \
         again; {} tasks completed; {} acknowledged (job, task) not completed, such as {some:?}",
        submitted.len(),
        completed.len(),
        open.len(),
    )
}
