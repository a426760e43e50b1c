//! Is what was heard what had to be heard?

use std::collections::BTreeMap;

use agentcom_broker::core::command::{
    Command, Effect, Push, Rejection, Reply, Request, RequestId, SessionId, TaskId, TaskView,
};
use agentcom_broker::core::record::{Phase, Record};

use super::model::{Grant, Outcome, Pushed, is_in_cycle};

/// What has to be in order among pushes to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thread {
    Session,
    Task(TaskId),
    Watch(u64),
}

impl Thread {
    pub(crate) fn of(push: &Push) -> Thread {
        match push {
            Push::Replaced => Thread::Session,
            Push::Event { watch, .. } => Thread::Watch(watch.0),
            Push::Offer(offer) => Thread::Task(offer.task),
            Push::Revoked { task, .. }
            | Push::Cancel { task, .. }
            | Push::Answered { task, .. } => Thread::Task(*task),
        }
    }
}

pub(crate) fn judge_pushes(
    pushes: BTreeMap<(SessionId, Thread), Vec<Push>>,
    said: Vec<Pushed>,
    is_crash: bool,
) -> Result<(), String> {
    let mut expected: BTreeMap<(SessionId, Thread), Vec<Pushed>> = BTreeMap::new();
    for pushed in said {
        let key = (pushed.session, Thread::of(&pushed.push));
        expected.entry(key).or_default().push(pushed);
    }
    let mut wanted: BTreeMap<(SessionId, Thread), Vec<Push>> = BTreeMap::new();
    for (key, mut list) in expected {
        let found = pushes.get(&key).map_or(0, Vec::len);
        if !is_crash {
            let surplus = list.len().saturating_sub(found);
            let optional = list.iter().take_while(|pushed| pushed.is_optional).count();
            list.drain(..surplus.min(optional));
        } else if let Some(first) = pushes.get(&key).and_then(|found| found.first()) {
            let missing = list.iter().take_while(|one| one.is_optional && one.push != *first);
            list.drain(..missing.count());
        }
        wanted.insert(key, list.into_iter().map(|pushed| pushed.push).collect());
    }
    wanted.retain(|_, list| !list.is_empty());
    compare_lists(pushes, wanted, is_crash)
}

pub(crate) fn compare_lists<K: Ord + std::fmt::Debug, T: PartialEq + std::fmt::Debug>(
    found: BTreeMap<K, Vec<T>>,
    mut expected: BTreeMap<K, Vec<T>>,
    is_crash: bool,
) -> Result<(), String> {
    for (key, list) in found {
        let wanted = expected.remove(&key).unwrap_or_default();
        let is_right = if is_crash { wanted.starts_with(&list) } else { wanted == list };
        if !is_right {
            return Err(format!("{key:?} heard {list:?}\nexpected {wanted:?}"));
        }
    }
    match expected.into_iter().next() {
        Some((key, list)) if !is_crash => Err(format!("{key:?} never heard {list:?}")),
        _ => Ok(()),
    }
}

/// Bodies are read when an answer leaves, after everything else of its turn happened.
pub(crate) fn comparable(outcome: Outcome) -> Outcome {
    let plain = |view: &mut TaskView| {
        (view.payload, view.headers, view.result) = (Default::default(), None, None);
    };
    outcome.map(|mut reply| {
        match &mut reply {
            Reply::Task(view) => plain(view),
            Reply::Tasks(views) => views.iter_mut().for_each(plain),
            _ => {}
        }
        reply
    })
}

/// Any member of a cycle may be named.
pub(crate) fn is_same_cycle(
    requests: &[Request],
    id: RequestId,
    outcome: &Outcome,
    expected: &Outcome,
) -> bool {
    let (Err(Rejection::Cycle { position }), Err(Rejection::Cycle { .. })) = (outcome, expected)
    else {
        return false;
    };
    let request = requests.iter().find(|request| request.id == id);
    match request.map(|request| &request.command) {
        Some(Command::SubmitBatch(batch)) => is_in_cycle(batch, *position - 1),
        _ => false,
    }
}

pub(crate) fn grant_in(record: &Record) -> Option<Grant> {
    let Record::Task(row) = record else { return None };
    let (Phase::Offered(holder) | Phase::Running(holder)) = &row.phase else { return None };
    Some(Grant {
        task: row.task,
        generation: row.generation.0,
        agent: holder.agent.clone(),
        fixed_ms: holder.fixed_ms,
    })
}

pub(crate) fn is_unavailable(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Reply {
            outcome: Err(Rejection::Unavailable { .. } | Rejection::Uncertain { .. }),
            ..
        }
    )
}
