//! A durable queue: enqueue, lease, ack; and what an operator does with it.

use std::time::Duration;

use bytes::Bytes;

use crate::answer::{Granted, Terms, milliseconds, option, word};
use crate::client::Client;
use crate::lease::LeaseBuilder;
use crate::operation_error::{QueueError, Trouble};
use crate::queue_view::{Purged, QueueSettings, QueueView};
use crate::task_builder::TaskBuilder;
use crate::task_view::TaskView;

/// One queue; made by [`Client::queue`]. An entry of a queue is a task that anybody may take: it
/// has a number, it is retried, and it can be shown, awaited and watched like any other
/// ([`Client::tasks`]).
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// let emails = client.queue("emails");
/// emails.enqueue("welcome 42").await?;
/// while let Some(lease) = emails.lease(Duration::from_secs(30)).await? {
///     println!("sending {:?}", lease.payload());
///     lease.ack().await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    name: String,
}

impl Queue {
    pub(crate) fn new(client: Client, name: String) -> Queue {
        Queue { client, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Put an entry into the queue. Await the returned [`TaskBuilder`]: when it is ready, the entry
    /// is on disk.
    pub fn enqueue(&self, payload: impl Into<Bytes>) -> TaskBuilder {
        TaskBuilder::put(self.client.clone(), self.name.clone()).payload(payload)
    }

    /// Take the entry that goes next, for `lease` (1 s to 1 day); if it is not acknowledged within
    /// that time, somebody else gets it. Await the returned [`LeaseBuilder`]; it does not wait for
    /// an entry unless told so.
    pub fn lease(&self, lease: Duration) -> LeaseBuilder {
        LeaseBuilder::new(self.client.clone(), self.name.clone(), lease)
    }

    /// Its settings, and how many tasks stand where. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn show(&self) -> Result<QueueView, QueueError> {
        Ok(QueueView::parse(&self.ask("SHOW", None).await?.body)?)
    }

    /// The entries that go next, at most `limit` (1 to 100), without taking them. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn peek(&self, limit: usize) -> Result<Vec<TaskView>, QueueError> {
        let granted = self.ask("PEEK", Some(option("limit", limit))).await?;
        Ok(TaskView::parse_several(&granted.body)?.0)
    }

    /// Change its settings. To call it again after a dropped call is harmless.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn set(&self, settings: QueueSettings) -> Result<(), QueueError> {
        let QueueSettings { leases_max, rate, is_fair, weights, keep, keep_dead } = settings;
        let order = is_fair.map(|is_fair| if is_fair { "fair" } else { "deadline" });
        let weights = weights.map(|weights| {
            let weights = weights.iter().map(|(key, weight)| format!("{key}:{weight}"));
            weights.collect::<Vec<_>>().join(",")
        });
        let options = [
            leases_max.map(|leases| option("leases_max", leases)),
            rate.map(|(tasks, _)| option("rate_max", tasks)),
            rate.map(|(_, period)| option("rate_ms", milliseconds(period).max(1))),
            order.map(|order| option("order", order)),
            weights.map(|weights| option("weights", weights)),
            keep.map(|keep| option("keep_ms", milliseconds(keep))),
            keep_dead.map(|keep| option("keep_dead_ms", milliseconds(keep))),
        ];
        self.ask("SET", options.into_iter().flatten()).await?;
        Ok(())
    }

    /// Give no entry to anybody until [`Queue::resume`]; entries may still be put, and those that
    /// are held finished. To call it again after a dropped call is harmless.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn pause(&self) -> Result<(), QueueError> {
        self.ask("PAUSE", None).await?;
        Ok(())
    }

    /// Give entries out again. To call it again after a dropped call is harmless.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn resume(&self) -> Result<(), QueueError> {
        self.ask("RESUME", None).await?;
        Ok(())
    }

    /// Cancel and forget entries that nobody holds, at most 10,000 at once; [`Purged::left`] says
    /// how many more there are. Entries that are held stay. To call it again after a dropped call
    /// is harmless.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn purge(&self) -> Result<Purged, QueueError> {
        let granted = self.ask("PURGE", None).await?;
        Ok(Purged { tasks: granted.number("tasks")?, left: granted.number("left")? })
    }

    async fn ask(
        &self,
        action: &str,
        options: impl IntoIterator<Item = String>,
    ) -> Result<Granted, Trouble> {
        let options: Vec<String> = options.into_iter().collect();
        let mut arguments = vec![word("the queue", &self.name)?];
        arguments.extend(options.iter().map(String::as_str));
        self.client.shared().ask(["QUEUE", action], &arguments, None, Terms::default()).await
    }
}

/// Queues of the broker behind the name `after`, in the order of their names, at most `limit` (1 to
/// 1,000).
pub(crate) async fn list(
    client: &Client,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<QueueView>, Trouble> {
    let mut arguments = vec![option("limit", limit)];
    if let Some(after) = after {
        arguments.push(option("after", word("the queue", after)?));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let granted =
        client.shared().ask(["QUEUE", "LIST"], &arguments, None, Terms::default()).await?;
    QueueView::parse_several(&granted.body)
}
