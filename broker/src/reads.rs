//! Long reads, beside the commit loop: lists of tasks, from a snapshot of the store.
//!
//! The loop answers what is quick; whoever wants a list must not make submits wait. What is read
//! is on disk, and may be a moment older than what the loop knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::commit::turn::Voice;
use crate::core::command::{List, Rejection, Reply, RequestId, TaskView};
use crate::core::record::{BodyKind, Ending, Shelf, TaskRow};
use crate::store::{Reader, StoreError};

/// Lists that may wait. 256: more people than ever look at the same time.
const WAITING_MAX: usize = 256;

/// Rows that one list looks at. 20,000: some 20 ms. A list that finds less than it wants says
/// where it stopped, and the next one goes on there.
const ROWS_MAX: usize = 20_000;

/// A handle to the thread that reads; clones are the same thread.
#[derive(Clone, Debug)]
pub struct Reads {
    sender: SyncSender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Job {
    List(RequestId, List),
    Stop,
}

impl Reads {
    /// Start the thread. It ends with [`Reads::stop`].
    ///
    /// # Panics
    /// If the operating system gives no thread.
    pub fn start(reader: Arc<dyn Reader>, voice: impl Voice + 'static) -> Reads {
        let (sender, jobs) = sync_channel(WAITING_MAX);
        let stopping = AtomicBool::new(false);
        let shared = Arc::new(Shared { stopping, thread: Mutex::new(None) });
        let theirs = Arc::clone(&shared);
        let read = move || run(&jobs, &*reader, voice, &theirs.stopping);
        let thread = thread::Builder::new().name("reads".into()).spawn(read);
        *shared.thread.lock() = Some(thread.expect("the operating system gives a thread at start"));
        Reads { sender, shared }
    }

    /// Hand in a list. It is answered through the voice.
    ///
    /// # Errors
    /// [`Rejection::Busy`] or [`Rejection::Unavailable`]; it is gone then.
    pub fn send(&self, request: RequestId, wanted: List) -> Result<(), Rejection> {
        self.sender.try_send(Job::List(request, wanted)).map_err(|error| match error {
            TrySendError::Full(_) => Rejection::Busy { requests: WAITING_MAX, bytes: 0 },
            TrySendError::Disconnected(_) => stopping(),
        })
    }

    /// Decline what waits, and return when the thread has let go of the store: RocksDB must not
    /// be closed by a thread that outlives `main`.
    pub fn stop(&self) {
        if let Some(thread) = self.shared.thread.lock().take() {
            self.shared.stopping.store(true, Ordering::Relaxed);
            // Fails if the thread is gone, which is what was wanted.
            let _ = self.sender.send(Job::Stop);
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

fn run(jobs: &Receiver<Job>, reader: &dyn Reader, mut voice: impl Voice, is_over: &AtomicBool) {
    while let Ok(Job::List(request, wanted)) = jobs.recv() {
        let outcome = match is_over.load(Ordering::Relaxed) {
            true => Err(stopping()),
            false => list(reader, &wanted),
        };
        voice.reply(request, outcome);
        voice.flush();
    }
}

fn stopping() -> Rejection {
    Rejection::Unavailable { reason: "the broker is stopping".into() }
}

/// One page of a list.
///
/// # Errors
/// [`Rejection::Unreadable`] if the store cannot be read.
pub fn list(reader: &dyn Reader, wanted: &List) -> Result<Reply, Rejection> {
    let mut tasks = Vec::new();
    let mut next = None;
    let mut looked_at = 0;
    let mut last = wanted.after;
    let outcome = reader.rows(wanted.shelf, wanted.after, &mut |row| {
        if tasks.len() == wanted.limit || looked_at == ROWS_MAX {
            next = last;
            return false;
        }
        looked_at += 1;
        last = Some(row.task);
        if fits(wanted, &row) {
            tasks.push(row.view(None, None));
        }
        true
    });
    let filled = outcome.and_then(|()| match wanted.has_bodies {
        true => tasks.iter_mut().try_for_each(|view| fill(reader, view)),
        false => Ok(()),
    });
    match filled {
        Ok(()) => Ok(Reply::Listed { tasks, next }),
        Err(error) => Err(Rejection::Unreadable { reason: error.to_string().into() }),
    }
}

/// A body that is gone since the row was read is shown as none.
fn fill(reader: &dyn Reader, view: &mut TaskView) -> Result<(), StoreError> {
    let body = |kind| reader.body(view.task, kind);
    let payload = body(BodyKind::Payload)?.unwrap_or_default();
    let result = if view.state.is_terminal() { body(BodyKind::Result)? } else { None };
    (view.payload, view.result) = (payload, result);
    Ok(())
}

fn fits(wanted: &List, row: &TaskRow) -> bool {
    let reason = row.end().and_then(|end| match end.how {
        Ending::Dead(reason) => Some(reason),
        _ => None,
    });
    wanted.queue.as_ref().is_none_or(|queue| row.spec.queue == *queue)
        && wanted.state.is_none_or(|state| row.state() == state)
        && (wanted.reason.is_none() || wanted.reason == reason)
}

impl List {
    /// Everything on one shelf.
    #[must_use]
    pub fn of(shelf: Shelf, limit: usize) -> List {
        let (queue, state, reason, after) = (None, None, None, None);
        List { shelf, queue, state, reason, after, limit, has_bodies: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{Name, Now, Push, SessionId, State, TaskEvent, TaskId};
    use crate::store::Store;
    use crate::store::memory::MemoryStore;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// Tasks 1 to 9, of queues `a` and `b` in turn.
    fn store() -> MemoryStore {
        use crate::commit::turn::Committer;
        use crate::core::limits::CoreConfig;
        let store = MemoryStore::new();
        let mut committer =
            Committer::restore(CoreConfig::default(), store.clone(), Deaf, Now::default()).unwrap();
        for number in 1..10u64 {
            let queue = if number % 2 == 1 { "a" } else { "b" };
            committer.turn([crate::commit::tests::submit_to(queue, number)], Now::default());
        }
        store
    }

    struct Deaf;

    impl Voice for Deaf {
        fn reply(&mut self, _: RequestId, _: Result<Reply, Rejection>) {}
        fn deliver(&mut self, _: SessionId, _: Push) {}
        fn event(&mut self, _: TaskEvent) {}
        fn flush(&mut self) {}
    }

    fn page(store: &MemoryStore, wanted: &List) -> (Vec<u64>, Option<u64>) {
        let Ok(Reply::Listed { tasks, next }) = list(&*store.reader(), wanted) else { panic!() };
        (tasks.iter().map(|view| view.task.0).collect(), next.map(|task| task.0))
    }

    #[test]
    fn a_stopped_reader_has_let_go_of_the_store_and_takes_nothing_in() {
        let store: Arc<dyn Reader> = Arc::new(store());
        let reads = Reads::start(Arc::clone(&store), Deaf);
        reads.send(RequestId(1), List::of(Shelf::Open, 1)).unwrap();
        reads.stop();
        assert_eq!(Arc::strong_count(&store), 1);
        let refused = reads.send(RequestId(2), List::of(Shelf::Open, 1));
        assert!(matches!(refused, Err(Rejection::Unavailable { .. })), "{refused:?}");
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let store = store();
        let mut wanted = List::of(Shelf::Open, 4);
        assert_eq!(page(&store, &wanted), (vec![1, 2, 3, 4], Some(4)));
        wanted.after = Some(TaskId(4));
        assert_eq!(page(&store, &wanted), (vec![5, 6, 7, 8], Some(8)));
        wanted.after = Some(TaskId(8));
        assert_eq!(page(&store, &wanted), (vec![9], None));
    }

    #[test]
    fn a_list_holds_what_was_asked_for() {
        let store = store();
        let of_b = List { queue: Some(name("b")), ..List::of(Shelf::Open, 3) };
        assert_eq!(page(&store, &of_b), (vec![2, 4, 6], Some(6)));
        let held = List { state: Some(State::Held), ..List::of(Shelf::Open, 3) };
        assert_eq!(page(&store, &held), (vec![], None));
        assert_eq!(page(&store, &List::of(Shelf::Dead, 3)), (vec![], None));
    }
}
