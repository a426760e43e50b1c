//! Who watches which task: the way from the connection to each [`crate::Watch`].
//!
//! The broker pushes an event once for each time it was asked to, so two watches of one task each
//! hear everything twice; they tell by the event's number. A watch that falls behind loses events
//! and is told so; it then asks the broker for those behind its cursor.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::client::Client;
use crate::task_event::TaskEvent;

/// Events that may wait for one watch. 64: twice of what the broker remembers of a task, so a
/// watch that is further behind gains nothing from more.
const EVENTS_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_task: Mutex<HashMap<u64, Vec<Watcher>>>,
}

#[derive(Debug)]
struct Watcher {
    sender: mpsc::Sender<TaskEvent>,
    is_behind: Arc<AtomicBool>,
}

/// One watch's end of the way. Dropping it ends the broker's pushes with the last of its task.
#[derive(Debug)]
pub(crate) struct Interest {
    client: Client,
    task: u64,
    pub(crate) events: mpsc::Receiver<TaskEvent>,
    is_behind: Arc<AtomicBool>,
}

impl Watches {
    /// Hand an event to all who watch its task.
    pub(crate) fn deliver(&self, event: TaskEvent) {
        let by_task = self.lock();
        for watcher in by_task.get(&event.task.0).into_iter().flatten() {
            if watcher.sender.try_send(event.clone()).is_err() {
                watcher.is_behind.store(true, Ordering::Release);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<Watcher>>> {
        self.by_task.lock().expect("no method panics while it holds the lock")
    }
}

impl Interest {
    /// Hear of `task` from now on, once the broker was asked.
    pub(crate) fn new(client: Client, task: u64) -> Interest {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let is_behind = Arc::new(AtomicBool::new(false));
        let watcher = Watcher { sender, is_behind: Arc::clone(&is_behind) };
        client.shared().watches.lock().entry(task).or_default().push(watcher);
        Interest { client, task, events, is_behind }
    }

    /// Whether events were lost since this was last asked.
    pub(crate) fn fell_behind(&self) -> bool {
        self.is_behind.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.events.close();
        let shared = self.client.shared();
        let mut by_task = shared.watches.lock();
        let Some(watchers) = by_task.get_mut(&self.task) else { return };
        watchers.retain(|watcher| !watcher.sender.is_closed());
        if watchers.is_empty() {
            by_task.remove(&self.task);
            // Under the lock, so that it cannot overtake the next watch of the same task.
            shared.tell(["TASK", "UNWATCH"], &[&self.task.to_string()], None);
        }
    }
}
