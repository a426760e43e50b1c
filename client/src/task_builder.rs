//! A task to be submitted, alone or in a graph.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::after::After;
use crate::answer::{Granted, Terms, milliseconds, word};
use crate::client::Client;
use crate::operation_error::{SubmitError, Trouble};
use crate::task_view::TaskState;
use crate::tasks::{Priority, TaskId};

/// A task to be submitted: set what differs from the defaults, then await it, or put it into a
/// [`crate::Graph`]. Made by [`crate::Tasks::submit`] and [`crate::Queue::enqueue`].
///
/// When awaiting it returns, the task is on disk. Not cancel-safe: when it is dropped after it was
/// polled, the task may or may not have been submitted; and so with
/// [`crate::SubmitErrorKind::Disconnected`] and [`crate::SubmitErrorKind::TimedOut`]. With a
/// [`TaskBuilder::dedup`] key, submitting it again is harmless.
#[derive(Clone, Debug)]
#[must_use = "a task is submitted when this is awaited"]
pub struct TaskBuilder {
    client: Client,
    is_entry: bool,
    queue: String,
    payload: Bytes,
    /// What stands behind the queue on the line, and the same in JSON.
    options: Map<String, Value>,
    after: Vec<After>,
}

/// What happens when something is submitted under a key of [`TaskBuilder::dedup`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dedup {
    /// For this long after the first submit, 1 s to 30 days: the answer is the first task.
    Return(Duration),
    /// For this long after the first submit, 1 s to 30 days: an error.
    Reject(Duration),
    /// Until an agent has it: the first task gets the new payload.
    Replace,
    /// Until it starts: the task waits until nothing was submitted for `delay`, for `max` at most.
    Debounce {
        /// The silence that is waited for, 1 s to 30 days.
        delay: Duration,
        /// The longest wait, counted from the first submit.
        max: Duration,
    },
    /// Until the first task is over: the answer is the first task.
    UntilDone,
    /// While an agent has the first task: the answer is the first task.
    WhileRunning,
}

impl Dedup {
    /// [`Dedup::Return`] for a day.
    pub const DAY: Dedup = Dedup::Return(Duration::from_secs(24 * 3600));
}

/// What can be said about an entry of a queue (docs/protocol.md).
const PUT_OPTIONS: [&str; 13] = [
    "priority",
    "attempts",
    "lease_ms",
    "delay_ms",
    "at_ms",
    "key",
    "dedup",
    "dedup_mode",
    "dedup_ms",
    "debounce_max_ms",
    "limits",
    "rates",
    "headers",
];

/// A task that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Submitted {
    /// Its number.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Its generation.
    pub generation: u64,
    /// It was submitted before, under the same key; this submit added nothing.
    pub existing: bool,
}

impl From<Submitted> for TaskId {
    fn from(submitted: Submitted) -> TaskId {
        submitted.task
    }
}

impl TaskBuilder {
    pub(crate) fn new(client: Client, queue: String) -> TaskBuilder {
        let (payload, options, after) = (Bytes::new(), Map::new(), Vec::new());
        TaskBuilder { client, is_entry: false, queue, payload, options, after }
    }

    /// An entry of a queue: a task that any consumer can take.
    pub(crate) fn put(client: Client, queue: String) -> TaskBuilder {
        TaskBuilder { is_entry: true, ..TaskBuilder::new(client, queue) }
    }

    /// The bytes for the agent. Default: none.
    pub fn payload(mut self, payload: impl Into<Bytes>) -> TaskBuilder {
        self.payload = payload.into();
        self
    }

    /// The bytes for the agent, as JSON, for a worker that runs with
    /// [`crate::WorkerBuilder::run_json`].
    ///
    /// # Errors
    /// When `value` cannot be written as JSON, such as a map whose keys are no text.
    pub fn json(self, value: &impl Serialize) -> Result<TaskBuilder, serde_json::Error> {
        Ok(self.payload(serde_json::to_vec(value)?))
    }

    /// Capabilities that an agent must have to get it. Default: any agent may.
    pub fn needs<I: IntoIterator<Item: Into<String>>>(self, capabilities: I) -> TaskBuilder {
        let capabilities: Vec<String> = capabilities.into_iter().map(Into::into).collect();
        self.set("needs", json!(capabilities))
    }

    /// Tests that an agent's labels must pass: `os=linux`, `os!=linux`, `mem>=16`, `mem<16`, or
    /// `gpu` for any value. Default: none.
    pub fn labels<I: IntoIterator<Item: Into<String>>>(self, tests: I) -> TaskBuilder {
        let tests: Vec<String> = tests.into_iter().map(Into::into).collect();
        self.set("labels", json!(tests))
    }

    /// What it uses of its agent's [`crate::WorkerBuilder::capacity`] as long as it is held: it
    /// goes to an agent that has so much left. May be called for up to 8 resources. Default:
    /// nothing.
    ///
    /// ```no_run
    /// # fn example(client: agentcom_client::Client) {
    /// let task = client.tasks().submit("train").uses("gpu", 2).uses("mem", 64);
    /// # }
    /// ```
    pub fn uses(self, resource: impl Into<String>, amount: u32) -> TaskBuilder {
        self.add("uses", resource, json!(amount))
    }

    /// Of several idle agents, it goes to one whose labels pass these tests, written as those of
    /// [`TaskBuilder::labels`]; `5:ssd` counts five times as much as `ssd`. Up to 8. Default: to
    /// the one that has been without work for longest.
    pub fn prefer<I: IntoIterator<Item: Into<String>>>(self, tests: I) -> TaskBuilder {
        let tests: Vec<String> = tests.into_iter().map(Into::into).collect();
        self.set("prefer", json!(tests))
    }

    /// It is for this agent and nobody else. Default: for whoever can do it.
    pub fn assign_to(self, agent: impl Into<String>) -> TaskBuilder {
        self.set("assign_to", json!(agent.into()))
    }

    /// It is for this agent, and for whoever can do it once it waited for so long, 1 s to 1 year.
    pub fn assign_to_for(self, agent: impl Into<String>, time: Duration) -> TaskBuilder {
        self.assign_to(agent).set("assign_ms", json!(milliseconds(time)))
    }

    /// When it was set aside for an answer and goes on, the agent that set it aside goes before
    /// others for so long, up to a day. Default: not at all.
    pub fn sticky(self, time: Duration) -> TaskBuilder {
        self.set("sticky_ms", json!(milliseconds(time)))
    }

    /// It is handed out while fewer than so many tasks with a limit of this name are held, in
    /// whatever queues. May be called for up to 4 limits. Default: none.
    pub fn limit(self, name: impl Into<String>, leases: u32) -> TaskBuilder {
        self.add("limits", name, json!(leases))
    }

    /// At most so many tasks with this same rate are handed out in any stretch of time of this
    /// length, up to an hour. May be called for up to 4 rates. Default: none.
    pub fn rate(self, name: impl Into<String>, tasks: u32, per: Duration) -> TaskBuilder {
        self.add("rates", name, json!(format!("{tasks}/{}", milliseconds(per))))
    }

    /// A header: something about the payload, such as its content type. Up to 20, each value up to
    /// 256 printable characters. Default: none.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> TaskBuilder {
        self.add("headers", name, json!(value.into()))
    }

    /// How urgent it is. Default: [`Priority::NORMAL`].
    pub fn priority(self, priority: impl Into<Priority>) -> TaskBuilder {
        self.set("priority", json!(priority.into().0))
    }

    /// How often it may fail before it is dead, 1 to 100. Default: 3.
    pub fn attempts(self, attempts: u32) -> TaskBuilder {
        self.set("attempts", json!(attempts))
    }

    /// How long an agent may be silent before the task goes to another, 1 s to 1 day, in whole
    /// milliseconds. Default: 30 seconds.
    pub fn lease(self, lease: Duration) -> TaskBuilder {
        self.set("lease_ms", json!(milliseconds(lease)))
    }

    /// How long one attempt may take, 1 s to 1 day. Default: an hour.
    pub fn attempt_timeout(self, timeout: Duration) -> TaskBuilder {
        self.set("attempt_ms", json!(milliseconds(timeout)))
    }

    /// How long its agent may go without a report, 1 s to 1 day. Default: for ever.
    pub fn progress_timeout(self, timeout: Duration) -> TaskBuilder {
        self.set("progress_ms", json!(milliseconds(timeout)))
    }

    /// How long it may wait for an agent, 1 s to 1 year; then it is dead. Default: for ever.
    pub fn queue_timeout(self, timeout: Duration) -> TaskBuilder {
        self.set("queue_ms", json!(milliseconds(timeout)))
    }

    /// How long it may take from the submit to its end, 1 s to 1 year; then it is dead. Default:
    /// for ever.
    pub fn total_timeout(self, timeout: Duration) -> TaskBuilder {
        self.set("total_ms", json!(milliseconds(timeout)))
    }

    /// Not before this has passed, whatever the wall clock does meanwhile; at most a year.
    /// Default: at once.
    pub fn delay(self, delay: Duration) -> TaskBuilder {
        self.set("delay_ms", json!(milliseconds(delay)))
    }

    /// Not before the broker's wall clock shows this. Default: at once.
    pub fn at(self, time: SystemTime) -> TaskBuilder {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.set("at_ms", json!(milliseconds(since)))
    }

    /// Whose work it is: keys of one queue get even shares. Default: nobody's.
    pub fn key(self, key: impl Into<String>) -> TaskBuilder {
        self.set("key", json!(key.into()))
    }

    /// A name under which the same work is recognised within its queue, and what happens then.
    /// Default: none, each submit is another task.
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::SubmitError> {
    /// use agentcom_client::Dedup;
    /// let report = client.tasks().submit("reports").payload("march").dedup("march", Dedup::DAY);
    /// let kept = report.clone().await?;
    /// assert!(report.await?.existing);
    /// # Ok(()) }
    /// ```
    pub fn dedup(self, key: impl Into<String>, mode: Dedup) -> TaskBuilder {
        let builder = self.set("dedup", json!(key.into()));
        let (word, times) = match mode {
            Dedup::Return(window) => ("return", vec![("dedup_ms", window)]),
            Dedup::Reject(window) => ("reject", vec![("dedup_ms", window)]),
            Dedup::Replace => ("replace", Vec::new()),
            Dedup::Debounce { delay, max } => {
                ("debounce", vec![("dedup_ms", delay), ("debounce_max_ms", max)])
            }
            Dedup::UntilDone => ("until_done", Vec::new()),
            Dedup::WhileRunning => ("while_running", Vec::new()),
        };
        times.into_iter().fold(builder.set("dedup_mode", json!(word)), |builder, (key, time)| {
            builder.set(key, json!(milliseconds(time)))
        })
    }

    /// Not before another task ends; may be called several times, at most 100. Default: none.
    pub fn after(mut self, task: impl Into<After>) -> TaskBuilder {
        self.after.push(task.into());
        self
    }

    /// One more member of an option that is an object.
    fn add(mut self, key: &str, name: impl Into<String>, value: Value) -> TaskBuilder {
        let members = self.options.entry(key).or_insert_with(|| json!({}));
        members[name.into()] = value;
        self
    }

    fn set(mut self, key: &str, value: Value) -> TaskBuilder {
        self.options.insert(key.to_owned(), value);
        self
    }

    /// What asks more of its holder than an entry may is an ordinary task.
    fn verb(&self) -> [&'static str; 2] {
        let is_known = |key: &String| PUT_OPTIONS.contains(&key.as_str());
        if self.is_entry && self.after.is_empty() && self.options.keys().all(is_known) {
            return ["QUEUE", "PUT"];
        }
        ["TASK", "SUBMIT"]
    }

    /// What stands behind the tag.
    fn to_words(&self) -> Result<Vec<String>, Trouble> {
        let mut words = vec![word("the queue", &self.queue)?.to_owned()];
        for (key, value) in &self.options {
            let value = match value {
                Value::Array(items) if items.is_empty() => continue,
                Value::Array(items) => {
                    let items: Result<Vec<&str>, Trouble> = items
                        .iter()
                        .map(|item| list_item(key, item.as_str().unwrap_or_default()))
                        .collect();
                    items?.join(",")
                }
                Value::String(text) => word(key, text)?.to_owned(),
                Value::Object(members) => {
                    let members: Result<Vec<String>, Trouble> =
                        members.iter().map(|(name, value)| member(key, name, value)).collect();
                    members?.join(",")
                }
                other => other.to_string(),
            };
            words.push(format!("{key}={value}"));
        }
        if !self.after.is_empty() {
            let after: Result<Vec<String>, Trouble> =
                self.after.iter().map(After::to_word).collect();
            words.push(format!("after={}", after?.join(",")));
        }
        Ok(words)
    }

    /// As a member of a batch.
    pub(crate) fn to_json(&self, name: Option<&str>) -> Value {
        let mut object = self.options.clone();
        object.insert("queue".to_owned(), json!(self.queue));
        if let Some(name) = name {
            object.insert("name".to_owned(), json!(name));
        }
        match std::str::from_utf8(&self.payload) {
            Ok(text) => object.insert("payload".to_owned(), json!(text)),
            Err(_) => {
                object.insert("payload_base64".to_owned(), json!(STANDARD.encode(&self.payload)))
            }
        };
        if !self.after.is_empty() {
            let after: Vec<Value> = self.after.iter().map(After::to_json).collect();
            object.insert("after".to_owned(), Value::Array(after));
        }
        Value::Object(object)
    }

    async fn send(self) -> Result<Submitted, SubmitError> {
        let words = self.to_words()?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (shared, body) = (self.client.shared(), Some(&self.payload[..]));
        let granted = shared.ask(self.verb(), &words, body, Terms::default()).await?;
        Ok(submitted(&granted)?)
    }
}

/// A member of an object on a line. Values of headers may hold what a word may not.
fn member(key: &str, name: &str, value: &Value) -> Result<String, Trouble> {
    let name = list_item(key, name)?;
    Ok(match value {
        Value::String(text) if key == "headers" => format!("{name}:{}", percent_encoded(text)),
        Value::String(text) => format!("{name}:{}", list_item(key, text)?),
        other => format!("{name}:{other}"),
    })
}

/// The way of W3C baggage: what would end a word or an item is written as `%20`.
fn percent_encoded(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ',' && c != '%';
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            encoded.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    encoded
}

/// An item of a list on a line.
fn list_item<'a>(key: &str, item: &'a str) -> Result<&'a str, Trouble> {
    if item.contains(',') {
        return Err(Trouble::invalid(format!(
            "{key} {item:?} must not hold a comma; give two items instead"
        )));
    }
    word(key, item)
}

fn submitted(granted: &Granted) -> Result<Submitted, Trouble> {
    Ok(Submitted {
        task: TaskId(granted.number("task")?),
        state: granted.field("state").map_or(TaskState::Unknown, TaskState::from_word),
        generation: granted.field("generation").and_then(|value| value.parse().ok()).unwrap_or(0),
        existing: granted.field("existing") == Some("true"),
    })
}

impl IntoFuture for TaskBuilder {
    type Output = Result<Submitted, SubmitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
