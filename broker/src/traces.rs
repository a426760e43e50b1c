//! Spans: what the broker adds to traces that others began (W3C Trace Context).
//!
//! A task that was submitted with a `traceparent` has one span for its whole life, from the submit
//! to its end, and below it one for each attempt, from the grant on. Each is told when it is over.
//!
//! ```text
//! headers of tasks --+
//!                    +--> a book of tasks --> spans --> a batch --> otlp.rs --> collector
//! steps of tasks ----+    (pure)
//! ```
//!
//! Nothing waits for a collector. What comes too fast for it is counted and missing.

#[cfg(feature = "otlp")]
pub mod otlp;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use crate::board::{Step, Stepped};
use crate::core::command::{Name, TaskId};
use crate::lookout::Trail;
use crate::metrics::{Counter, Reading};
use crate::translate::trace;

/// How spans are gathered.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// Spans that are sent at once.
    pub spans_max: usize,
    /// How long a span waits for others to be sent with.
    pub gather: Duration,
}

/// A span that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which trace it is part of.
    pub trace: u128,
    /// Its own number there.
    pub id: u64,
    /// The span that it stands below.
    pub parent: u64,
    /// What it is about.
    pub part: Part,
    /// A few words.
    pub name: String,
    /// Wall clock, in milliseconds since 1970.
    pub start_ms: u64,
    /// The same.
    pub end_ms: u64,
    /// What else is known, under the names that OpenTelemetry gives to such things.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it ended badly, if it did.
    pub failure: Option<&'static str>,
}

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// A task from its submit to its end.
    Task,
    /// One attempt at it.
    Attempt,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Traces {
    sent: Counter,
    failed: Counter,
    missed: Counter,
}

impl Traces {
    /// The counts, for `/metrics`.
    #[must_use]
    pub fn readings(&self) -> [Reading; 3] {
        [
            ("trace_spans_total", "spans that a collector took", &self.sent),
            ("trace_spans_failed_total", "spans that a collector did not take", &self.failed),
            (
                "trace_steps_missed_total",
                "steps of tasks that came too fast for a collector",
                &self.missed,
            ),
        ]
        .map(|(name, meaning, counter)| Reading {
            kind: "counter",
            name,
            meaning,
            value: counter.value(),
        })
    }
}

/// How long a span of a broker waits for others. One second: whoever looks does not notice.
pub const GATHER: Duration = Duration::from_secs(1);

/// Tasks of traces that are remembered while they are not over. 100,000: some 10 MB; what is more is
/// missing in traces.
const TASKS_MAX: usize = 100_000;

/// Tell of tasks, for ever. `headers` gives those of a task that was there before.
pub async fn go(
    traces: Arc<Traces>,
    batches: Batches,
    mut trails: broadcast::Receiver<Trail>,
    headers: impl AsyncFn(TaskId) -> Option<Arc<[u8]>>,
    export: impl AsyncFn(Vec<Span>) -> Result<(), String>,
) {
    let mut book = Book::default();
    let mut batch: Vec<Span> = Vec::new();
    let mut due = None;
    loop {
        let trail = match due {
            Some(due) => timeout_at(due, trails.recv()).await,
            None => Ok(trails.recv().await),
        };
        match trail {
            Ok(Ok(Trail::Headers(task, headers))) => {
                traces.missed.add(u64::from(!book.learn(task, 0, &headers)));
            }
            Ok(Ok(Trail::Step(stepped, queue, submitted_ms))) => {
                if book.is_unknown(&stepped)
                    && let Some(headers) = headers(stepped.task).await
                {
                    let life = if stepped.step == Step::Redriven { stepped.at_ms } else { 0 };
                    let has_room = book.learn(stepped.task, life, &headers);
                    traces.missed.add(u64::from(!has_room));
                }
                batch.extend(book.spans(&stepped, &queue, submitted_ms));
            }
            Ok(Err(broadcast::error::RecvError::Lagged(missed))) => traces.missed.add(missed),
            Ok(Err(broadcast::error::RecvError::Closed)) => return,
            Err(_) => {}
        }
        if batch.is_empty() {
            continue;
        }
        let until = *due.get_or_insert_with(|| Instant::now() + batches.gather);
        if batch.len() < batches.spans_max && Instant::now() < until {
            continue;
        }
        due = None;
        while !batch.is_empty() {
            let some: Vec<Span> = batch.drain(..batch.len().min(batches.spans_max)).collect();
            let count = some.len() as u64;
            match export(some).await {
                Ok(()) => traces.sent.add(count),
                Err(error) => {
                    traces.failed.add(count);
                    tracing::warn!(%error, spans = count, "a collector did not take spans");
                }
            }
        }
    }
}

/// The tasks of traces that are not over.
#[derive(Default)]
struct Book {
    tasks: HashMap<TaskId, (Context, u64)>,
    /// The first task that was seen from its beginning. Ids only grow.
    first: Option<TaskId>,
}

impl Book {
    /// A task has these headers. Each of its lives has a number: the time of the redrive, 0 for the
    /// first. Gives whether there was room.
    fn learn(&mut self, task: TaskId, life: u64, headers: &[u8]) -> bool {
        let context = trace::parent(Some(headers)).as_deref().and_then(Context::parse);
        let has_room = self.tasks.len() < TASKS_MAX || self.tasks.contains_key(&task);
        match context {
            Some(context) if has_room => drop(self.tasks.insert(task, (context, life))),
            Some(_) => return false,
            // Edited: it belongs to none any more.
            None => drop(self.tasks.remove(&task)),
        }
        true
    }

    /// Whether nothing is known of a task that is given out: it is older than this book, or comes back
    /// from the dead letters.
    fn is_unknown(&mut self, stepped: &Stepped) -> bool {
        if stepped.step == Step::Submitted {
            self.first.get_or_insert(stepped.task);
        }
        let is_old = self.first.is_none_or(|first| stepped.task < first);
        let comes_back = stepped.step == Step::Redriven;
        let is_asked = comes_back || (is_old && stepped.step == Step::Assigned);
        is_asked && !self.tasks.contains_key(&stepped.task)
    }

    /// The spans that are over with a step of a task.
    fn spans(&mut self, stepped: &Stepped, queue: &Name, submitted_ms: u64) -> Vec<Span> {
        let Some((context, life)) = self.tasks.get(&stepped.task).copied() else {
            return Vec::new();
        };
        if ends_task(stepped.step) {
            self.tasks.remove(&stepped.task);
        }
        spans((context, life), stepped, queue, submitted_ms)
    }
}

fn ends_task(step: Step) -> bool {
    matches!(step, Step::Completed | Step::Died { .. } | Step::Cancelled)
}

fn spans(
    (context, life): (Context, u64),
    stepped: &Stepped,
    queue: &Name,
    submitted_ms: u64,
) -> Vec<Span> {
    let number = |part: Part, of: u64| {
        let mut hasher = DefaultHasher::new();
        (context.trace, context.span, stepped.task.0, part, of).hash(&mut hasher);
        // All zeros is no span.
        hasher.finish().max(1)
    };
    let whole = number(Part::Task, life);
    let mut attributes = vec![
        ("messaging.system", "agentcom".to_owned()),
        ("messaging.destination.name", queue.as_str().to_owned()),
        ("messaging.message.id", stepped.task.0.to_string()),
    ];
    let span = |part, id, parent, start_ms, attributes| Span {
        trace: context.trace,
        id,
        parent,
        part,
        name: match part {
            Part::Task => format!("task {}", queue.as_str()),
            Part::Attempt => format!("attempt {}", queue.as_str()),
        },
        start_ms,
        end_ms: stepped.at_ms,
        attributes,
        failure: failure(stepped.step),
    };
    let mut spans = Vec::new();
    if ends_task(stepped.step) {
        let attributes = attributes.clone();
        spans.push(span(Part::Task, whole, context.span, submitted_ms, attributes));
    }
    if let Some(took_ms) = stepped.took_ms {
        let start_ms = stepped.at_ms.saturating_sub(took_ms);
        let agent = stepped.agent.as_ref().map(|agent| agent.as_str().to_owned());
        attributes.extend(agent.map(|agent| ("messaging.consumer.group.name", agent)));
        let id = number(Part::Attempt, stepped.at_ms);
        spans.push(span(Part::Attempt, id, whole, start_ms, attributes));
    }
    spans
}

fn failure(step: Step) -> Option<&'static str> {
    match step {
        Step::Failed => Some("the attempt failed"),
        Step::Died { .. } => Some("the task is a dead letter"),
        Step::Reclaimed => Some("the task was taken back or given back"),
        Step::Cancelled => Some("the task was cancelled"),
        _ => None,
    }
}

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Context {
    trace: u128,
    span: u64,
}

impl Context {
    /// `None` if it says that nobody records the trace.
    fn parse(parent: &str) -> Option<Context> {
        let mut parts = parent.split('-').skip(1);
        let trace = u128::from_str_radix(parts.next()?, 16).ok()?;
        let span = u64::from_str_radix(parts.next()?, 16).ok()?;
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        (flags & 1 == 1).then_some(Context { trace, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

    fn headers(flags: &str) -> Arc<[u8]> {
        let parent = format!("00-{TRACE:032x}-b7ad6b7169203331-{flags}");
        serde_json::json!({"traceparent": parent}).to_string().into_bytes().into()
    }

    fn stepped(task: u64, step: Step, at_ms: u64, took_ms: Option<u64>) -> Stepped {
        let agent = Some(Name::parse("ada").unwrap());
        Stepped { task: TaskId(task), step, agent, at_ms, took_ms }
    }

    fn spans(book: &mut Book, stepped: &Stepped) -> Vec<Span> {
        book.spans(stepped, &Name::parse("jobs").unwrap(), 1_000)
    }

    #[test]
    fn a_task_has_one_span_and_one_below_it_for_each_attempt() {
        let mut book = Book::default();
        assert!(book.learn(TaskId(7), 0, &headers("01")));
        assert_eq!(spans(&mut book, &stepped(7, Step::Assigned, 2_500, None)), []);
        let first = spans(&mut book, &stepped(7, Step::Failed, 3_000, Some(500)));
        let [failed] = &first[..] else { panic!("{first:?}") };
        let end = stepped(7, Step::Completed, 9_000, Some(2_000));
        let second = spans(&mut book, &end);
        let [whole, done] = &second[..] else { panic!("{second:?}") };
        assert_eq!((whole.trace, whole.parent), (TRACE, 0xb7ad_6b71_6920_3331));
        assert_eq!(
            (whole.name.as_str(), whole.start_ms, whole.end_ms),
            ("task jobs", 1_000, 9_000)
        );
        assert_eq!((failed.parent, failed.start_ms, failed.end_ms), (whole.id, 2_500, 3_000));
        assert_eq!((done.parent, done.start_ms, done.end_ms), (whole.id, 7_000, 9_000));
        assert_ne!(failed.id, done.id);
        assert_eq!((failed.failure, done.failure), (Some("the attempt failed"), None));
        assert!(done.attributes.contains(&("messaging.consumer.group.name", "ada".to_owned())));
        assert_eq!(spans(&mut book, &end), [], "it is over");
    }

    #[test]
    fn a_task_that_dies_without_an_attempt_has_no_attempt() {
        let mut book = Book::default();
        assert!(book.learn(TaskId(7), 0, &headers("01")));
        let all = spans(&mut book, &stepped(7, Step::Died { has_failed: false }, 3_000, None));
        let [whole] = &all[..] else { panic!("{all:?}") };
        assert_eq!((whole.part, whole.failure), (Part::Task, Some("the task is a dead letter")));
    }

    #[test]
    fn another_life_is_another_span() {
        let mut book = Book::default();
        let died = stepped(7, Step::Died { has_failed: false }, 3_000, None);
        let mut die = |life| {
            assert!(book.learn(TaskId(7), life, &headers("01")));
            spans(&mut book, &died)[0].id
        };
        assert_ne!(die(0), die(4_000));
    }

    #[test]
    fn what_nobody_records_has_no_spans() {
        for (flags, is_recorded) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let mut book = Book::default();
            assert!(book.learn(TaskId(7), 0, &headers(flags)));
            let spans = spans(&mut book, &stepped(7, Step::Completed, 3_000, None));
            assert_eq!(spans.len(), usize::from(is_recorded), "{flags}");
        }
    }

    #[test]
    fn only_tasks_that_were_not_seen_from_their_beginning_are_asked_for() {
        let mut book = Book::default();
        assert!(book.is_unknown(&stepped(4, Step::Assigned, 1, None)), "older than the book");
        assert!(!book.is_unknown(&stepped(5, Step::Submitted, 1, None)));
        assert!(!book.is_unknown(&stepped(5, Step::Assigned, 1, None)), "it has no headers");
        assert!(book.is_unknown(&stepped(4, Step::Assigned, 2, None)));
        assert!(!book.is_unknown(&stepped(4, Step::Completed, 2, None)), "too late");
        assert!(book.is_unknown(&stepped(5, Step::Redriven, 2, None)));
        assert!(book.learn(TaskId(4), 0, &headers("01")));
        assert!(!book.is_unknown(&stepped(4, Step::Assigned, 3, None)), "known");
    }

    #[test]
    fn so_many_tasks_are_remembered_and_no_more() {
        let mut book = Book::default();
        for task in 0..TASKS_MAX as u64 {
            assert!(book.learn(TaskId(task), 0, &headers("01")));
        }
        assert!(!book.learn(TaskId(TASKS_MAX as u64), 0, &headers("01")));
        assert!(book.learn(TaskId(0), 0, &headers("01")), "a known one is not one more");
        assert_eq!(spans(&mut book, &stepped(0, Step::Cancelled, 3_000, None)).len(), 1);
        assert!(book.learn(TaskId(TASKS_MAX as u64), 0, &headers("01")));
    }

    /// How many spans are sent at once if four tasks end, and what was counted. Of more than two, or
    /// of a single one, the collector takes none.
    async fn sent(batches: Batches) -> (Vec<usize>, [u64; 3]) {
        let (sender, trails) = broadcast::channel(16);
        let sizes = parking_lot::Mutex::new(Vec::new());
        let traces = Arc::new(Traces::default());
        for task in 1..=4 {
            sender.send(Trail::Headers(TaskId(task), headers("01"))).unwrap();
            let step = stepped(task, Step::Completed, 5_000, None);
            sender.send(Trail::Step(step, Name::parse("jobs").unwrap(), 1_000)).unwrap();
        }
        drop(sender);
        let export = async |spans: Vec<Span>| {
            sizes.lock().push(spans.len());
            if spans.len() == 2 { Ok(()) } else { Err("no".to_owned()) }
        };
        go(Arc::clone(&traces), batches, trails, async |_| None, export).await;
        (sizes.into_inner(), traces.readings().map(|reading| reading.value))
    }

    #[tokio::test]
    async fn spans_are_sent_together_or_after_a_while() {
        let patient = Batches { spans_max: 2, gather: Duration::from_secs(3_600) };
        assert_eq!(sent(patient).await, (vec![2, 2], [4, 0, 0]));
        let hasty = Batches { spans_max: 100, gather: Duration::ZERO };
        assert_eq!(sent(hasty).await, (vec![1, 1, 1, 1], [0, 4, 0]));
    }
}
