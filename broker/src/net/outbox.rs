//! What other threads leave to a worker to send, while they do something else.
//!
//! ```text
//!   commit thread --post--> letters ==all of them==> in hand: send, send, send   (worker)
//!        ^                                                         |
//!        +---------------------- spare memory <--------------------+
//! ```
//!
//! Whoever posts can also ask that everything is sent at once, and then sends what the worker has
//! not begun with; letters are never overtaken by later ones.
//!
//! Bound: with [`POSTED_BYTES_MAX`] waiting, the poster is made to send them itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::clock::processor_time;
use super::outlet::Outlet;

/// Whole frames for one client.
#[derive(Debug)]
pub struct Letter {
    /// Where they go.
    pub outlet: Arc<Outlet>,
    /// The frames.
    pub bytes: Vec<u8>,
    /// How many of them answer requests.
    pub answers: u32,
}

/// Letters that a worker has not sent yet.
#[derive(Debug, Default)]
pub struct Outbox {
    posted: Mutex<Posted>,
    /// Held by whoever sends.
    in_hand: Mutex<Vec<Letter>>,
    /// Letters that are posted or in hand.
    unsent: AtomicUsize,
    sending_ns: AtomicU64,
    owner: AtomicWaker,
}

#[derive(Debug, Default)]
struct Posted {
    letters: Vec<Letter>,
    bytes: usize,
    /// Memory of letters that were sent.
    spare: Vec<Vec<u8>>,
}

/// Bytes that may wait in an outbox. 4 MiB: what a worker sends in some milliseconds. They are not
/// counted as waiting for their receivers yet.
const POSTED_BYTES_MAX: usize = 4 << 20;
/// Letters whose memory is used again, and the most that each of them may hold.
const SPARE_MAX: usize = 1024;
const SPARE_BYTES_MAX: usize = 4096;

impl Outbox {
    /// Leave `letters` to the worker; they are none afterwards. `spare` gets memory for more.
    pub fn post(&self, letters: &mut Vec<Letter>, spare: &mut Vec<Vec<u8>>) {
        self.unsent.fetch_add(letters.len(), Ordering::Relaxed);
        let mut posted = self.posted.lock();
        posted.bytes += letters.iter().map(|letter| letter.bytes.len()).sum::<usize>();
        let is_full = posted.bytes > POSTED_BYTES_MAX;
        posted.letters.append(letters);
        spare.append(&mut posted.spare);
        drop(posted);
        if is_full {
            self.send_all();
        } else {
            self.owner.wake();
        }
    }

    /// Send whatever is posted. When this returns, everything that was posted before is sent.
    pub fn send_all(&self) {
        if self.unsent.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut letters = self.in_hand.lock();
        loop {
            let mut posted = self.posted.lock();
            for letter in letters.drain(..) {
                if letter.bytes.capacity() <= SPARE_BYTES_MAX && posted.spare.len() < SPARE_MAX {
                    posted.spare.push(letter.bytes);
                }
            }
            std::mem::swap(&mut posted.letters, &mut *letters);
            posted.bytes = 0;
            drop(posted);
            if letters.is_empty() {
                return;
            }
            let started = processor_time();
            for Letter { outlet, bytes, answers } in &mut *letters {
                outlet.send_answers(bytes, *answers);
            }
            let spent = u64::try_from((processor_time() - started).as_nanos()).unwrap_or(u64::MAX);
            self.sending_ns.fetch_add(spent, Ordering::Relaxed);
            self.unsent.fetch_sub(letters.len(), Ordering::Release);
        }
    }

    /// Processor time that it took so far to send letters.
    #[must_use]
    pub fn sending(&self) -> Duration {
        Duration::from_nanos(self.sending_ns.load(Ordering::Relaxed))
    }

    /// Send whatever is posted, for ever.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<()> {
        self.owner.register(context.waker());
        self.send_all();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::{Budget, OutletLimits};

    /// A client, and the way to it.
    async fn client() -> (TcpStream, Arc<Outlet>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_, write) = server.unwrap().0.into_split();
        let limits = OutletLimits { pending_bytes_max: 64 << 20, budget: Budget::new(1 << 30) };
        let outlet = Outlet::new(0, 1, write, Arc::new(limits), Arc::default());
        (client.unwrap(), Arc::new(outlet))
    }

    fn post(outlet: &Arc<Outlet>, frames: &[u8], answers: u32) -> Vec<Vec<u8>> {
        let letter = Letter { outlet: Arc::clone(outlet), bytes: frames.to_vec(), answers };
        let mut spare = Vec::new();
        outlet.outbox().post(&mut vec![letter], &mut spare);
        spare
    }

    async fn read(client: &mut TcpStream, length: usize) -> String {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn the_worker_is_woken_and_sends_in_order() {
        let (mut client, outlet) = client().await;
        let outbox = Arc::clone(outlet.outbox());
        let worker = tokio::spawn(poll_fn(move |context| outbox.poll_send(context)));
        for frames in ["one ", "two ", "three"] {
            post(&outlet, frames.as_bytes(), 0);
        }
        assert_eq!(read(&mut client, 13).await, "one two three");
        worker.abort();
    }

    #[tokio::test]
    async fn whoever_cannot_wait_sends_what_was_left_to_the_worker() {
        let (mut client, outlet) = client().await;
        post(&outlet, b"one ", 0);
        post(&outlet, b"two ", 0);
        outlet.outbox().send_all();
        outlet.send(&mut b"three".to_vec());
        assert_eq!(read(&mut client, 13).await, "one two three");
    }

    #[tokio::test]
    async fn an_answer_is_owed_until_it_is_sent() {
        let (_client, outlet) = client().await;
        outlet.note_request();
        outlet.note_request();
        post(&outlet, b"two", 2);
        assert!(outlet.awaits_answers());
        outlet.outbox().send_all();
        assert!(!outlet.awaits_answers());
    }

    #[tokio::test]
    async fn a_worker_that_does_not_come_to_it_is_not_left_more_than_the_bound() {
        let (_client, outlet) = client().await;
        let frames = vec![0; POSTED_BYTES_MAX / 4];
        for _ in 0..4 {
            post(&outlet, &frames, 0);
        }
        assert_eq!(outlet.card().traffic().bytes_out, 0, "the worker is left with it");
        post(&outlet, b"more", 0);
        let sent = outlet.card().traffic().bytes_out;
        assert_eq!(sent, POSTED_BYTES_MAX as u64 + 4);
    }

    #[tokio::test]
    async fn memory_of_small_letters_comes_back() {
        let (_client, outlet) = client().await;
        post(&outlet, b"small", 0);
        post(&outlet, &[0; SPARE_BYTES_MAX + 1], 0);
        outlet.outbox().send_all();
        let spare = post(&outlet, b"next", 0);
        assert_eq!(spare.len(), 1);
        assert!(spare[0].is_empty() && spare[0].capacity() >= 5);
    }
}
