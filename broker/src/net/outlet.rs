//! The way out to one client: a socket, and what it would not take yet.
//!
//! Any thread may send. While nothing waits, the bytes go straight into the socket; what it does
//! not take is queued, and the connection's own task, woken for it, writes the rest when the
//! socket is writable again. A sender never waits for a receiver.
//!
//! Bounds: a receiver for which more than [`OutletLimits::pending_bytes_max`] bytes wait is cut off
//! as a slow consumer. Its queue is dropped but for the frame it is in the middle of, followed by
//! an `-ERR` that says why.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;

use super::aliases::Aliases;
use super::budget::Budget;
use super::card::Card;
use super::framing::Framing;
use super::outbox::Outbox;
use agentcom_protocol::{Decoded, Limits, ServerDecoder, binary};

/// Bounds of every outlet.
#[derive(Debug)]
pub struct OutletLimits {
    /// Bytes that may wait for one receiver.
    pub pending_bytes_max: usize,
    /// Bytes that may wait for all of them, half-received frames included.
    pub budget: Budget,
}

/// Where one client's bytes go.
#[derive(Debug)]
pub struct Outlet {
    index: usize,
    id: u64,
    card: Card,
    limits: Arc<OutletLimits>,
    outbox: Arc<Outbox>,
    queue: Mutex<Queue>,
    /// Set once the client is spoken to in the binary framing.
    aliases: OnceLock<Aliases>,
    /// Memory of the aliases that is charged to the budget.
    aliases_bytes: AtomicUsize,
    pending: AtomicUsize,
    /// Bytes that the client asked for and that may wait beyond the limit, until all is sent.
    allowance: AtomicUsize,
    /// Bytes that were queued and then written; tells a slow receiver from one that stands still.
    drained: AtomicU64,
    /// No more frames are taken.
    closed: AtomicBool,
    ended_subscriptions: AtomicU32,
    /// Requests to the durable plane that are not answered yet.
    open_requests: AtomicU32,
    /// The owner wants to know when there is none left.
    is_owed: AtomicBool,
    owner: AtomicWaker,
}

/// Why the broker cuts a client off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// More bytes wait for it than may.
    PendingBytes,
    /// It took no byte for too long.
    Stalled,
    /// The whole broker holds too much, and this one is the largest.
    Memory,
}

impl Cut {
    /// For the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Cut::PendingBytes => "more bytes wait for it than pending_bytes_max",
            Cut::Stalled => "it took no byte for write_ms",
            Cut::Memory => "the broker's memory_bytes_max is reached and it holds the most",
        }
    }
}

#[derive(Debug)]
struct Queue {
    /// `None` once the connection is over.
    socket: Option<OwnedWriteHalf>,
    /// Each starts at the boundary of a frame.
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are already sent.
    sent: usize,
    cut: Option<Cut>,
}

/// What a client that is cut off is told in its last `-ERR`.
const CUT_TEXT: &str = "Slow Consumer";
/// A queued chunk grows up to this size before a new one is started, so that many small sends to a
/// receiver that lags cost no allocation each.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks handed to one system call.
const VECTORS_MAX: usize = 32;

impl Outlet {
    /// An outlet for a socket. `index` is its place in the registry, `id` its number for ever;
    /// `outbox` is that of the worker whose connection it is.
    #[must_use]
    pub fn new(
        index: usize,
        id: u64,
        socket: OwnedWriteHalf,
        limits: Arc<OutletLimits>,
        outbox: Arc<Outbox>,
    ) -> Outlet {
        let queue = Queue { socket: Some(socket), chunks: VecDeque::new(), sent: 0, cut: None };
        Outlet {
            index,
            id,
            card: Card::default(),
            limits,
            outbox,
            queue: Mutex::new(queue),
            aliases: OnceLock::new(),
            aliases_bytes: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            allowance: AtomicUsize::new(0),
            drained: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            ended_subscriptions: AtomicU32::new(0),
            open_requests: AtomicU32::new(0),
            is_owed: AtomicBool::new(false),
            owner: AtomicWaker::new(),
        }
    }

    /// The connection's place in the registry; used again after it is over.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The connection's number; never used again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who is at the other end.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Where letters to the client may be left.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// How the client is spoken to.
    #[inline]
    #[must_use]
    pub fn framing(&self) -> Framing {
        if self.aliases.get().is_some() { Framing::Binary } else { Framing::Text }
    }

    /// Speak to the client in the binary framing from now on. To be called by its session before
    /// anybody else can have something to say to it.
    pub fn speak_binary(&self) {
        let _ = self.aliases.set(Aliases::default());
    }

    /// The numbers that the client gave to subjects; `None` in the text framing.
    #[must_use]
    pub fn aliases(&self) -> Option<&Aliases> {
        self.aliases.get()
    }

    /// Let `subject` be called `number`. `false` if there is no memory for it: the client must go.
    #[must_use]
    pub fn add_alias(&self, subject: Arc<[u8]>, number: u16) -> bool {
        let weight = Aliases::weight(&subject);
        self.aliases_bytes.fetch_add(weight, Ordering::Relaxed);
        if let Some(aliases) = self.aliases.get() {
            aliases.insert(subject, number);
        }
        self.limits.budget.charge(weight)
    }

    /// Bytes that the socket has not taken yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether nothing more can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Send whole frames. Never waits. `bytes` is left empty, possibly with other memory behind it.
    pub fn send(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        if self.is_closed() {
            bytes.clear();
            return;
        }
        self.card.note_output(bytes.len() as u64);
        let mut sent = 0;
        if queue.chunks.is_empty() {
            let Some(socket) = &queue.socket else { return };
            match socket.try_write(bytes) {
                Ok(written) if written == bytes.len() => {
                    self.allowance.store(0, Ordering::Relaxed);
                    bytes.clear();
                    return;
                }
                Ok(written) => sent = written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.close_locked(&mut queue);
                    bytes.clear();
                    return;
                }
            }
        }
        self.enqueue(&mut queue, bytes, sent);
        drop(queue);
        self.owner.wake();
    }

    /// Let `bytes` more wait than the limit says, until everything is sent. For what a client asked
    /// for in a quantity that is limited elsewhere: offers, of which its credit is the limit. They
    /// still count in the budget of all connections.
    pub fn allow(&self, bytes: usize) {
        self.allowance.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Cut the client off: drop what waits, tell it why, take no more.
    pub fn cut(&self, cut: Cut) {
        self.cut_locked(&mut self.queue.lock(), cut);
        self.owner.wake();
    }

    /// Take no more frames. What is queued here is still sent; then the owner closes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.owner.wake();
    }

    pub(super) fn drained_bytes(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }

    /// Why it was cut off, if it was.
    #[must_use]
    pub fn was_cut(&self) -> Option<Cut> {
        self.queue.lock().cut
    }

    /// Wake the connection's task.
    pub fn wake(&self) {
        self.owner.wake();
    }

    /// Note that a subscription of the connection came to its end by itself.
    pub fn note_ended_subscription(&self) {
        self.ended_subscriptions.fetch_add(1, Ordering::Relaxed);
    }

    /// Subscriptions that ended by themselves since this was last asked.
    #[must_use]
    pub fn take_ended_subscriptions(&self) -> u32 {
        self.ended_subscriptions.swap(0, Ordering::Relaxed)
    }

    /// Subscriptions that ended by themselves and are not swept yet.
    #[must_use]
    pub fn ended_subscriptions(&self) -> u32 {
        self.ended_subscriptions.load(Ordering::Relaxed)
    }

    /// A request was handed to the durable plane, to be answered on this connection.
    pub fn note_request(&self) {
        self.open_requests.fetch_add(1, Ordering::SeqCst);
    }

    /// So many of them are answered, and the answers sent.
    pub fn note_answers(&self, count: u32) {
        let before = self.open_requests.fetch_sub(count, Ordering::SeqCst);
        if before == count && self.is_owed.load(Ordering::SeqCst) {
            self.owner.wake();
        }
    }

    /// Send whole frames, so many of which answer requests.
    pub fn send_answers(&self, bytes: &mut Vec<u8>, answers: u32) {
        self.send(bytes);
        if answers > 0 {
            self.note_answers(answers);
        }
    }

    /// Whether answers are still to come. If so, the owner is woken by the last one.
    pub(super) fn awaits_answers(&self) -> bool {
        self.is_owed.store(true, Ordering::SeqCst);
        self.open_requests.load(Ordering::SeqCst) > 0
    }

    /// Register the connection's task, to be woken by senders and by [`Outlet::wake`].
    pub(super) fn register(&self, waker: &Waker) {
        self.owner.register(waker);
    }

    /// Write what waits. `Ready(true)`: all of it was written; `Ready(false)`: the socket is broken; `Pending`: it takes nothing now and the task will be woken.
    pub(super) fn poll_drain(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut queue = self.queue.lock();
        while !queue.chunks.is_empty() {
            let Some(socket) = &queue.socket else { return Poll::Ready(false) };
            let mut vectors = [IoSlice::new(&[]); VECTORS_MAX];
            let mut skip = queue.sent;
            let mut count = 0;
            for (vector, chunk) in vectors.iter_mut().zip(&queue.chunks) {
                *vector = IoSlice::new(&chunk[skip..]);
                skip = 0;
                count += 1;
            }
            match socket.try_write_vectored(&vectors[..count]) {
                Ok(written) => self.advance(&mut queue, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = socket.as_ref().poll_write_ready(context);
                    if ready.is_pending() {
                        return Poll::Pending;
                    }
                }
                Err(_) => {
                    self.close_locked(&mut queue);
                    return Poll::Ready(false);
                }
            }
        }
        Poll::Ready(queue.socket.is_some())
    }

    /// Give the socket back to the system: the sending direction is shut down.
    pub(super) fn shut_down(&self) {
        self.close_locked(&mut self.queue.lock());
    }

    fn enqueue(&self, queue: &mut Queue, bytes: &mut Vec<u8>, sent: usize) {
        let waiting = bytes.len() - sent;
        let pending = self.pending.load(Ordering::Relaxed) + waiting;
        let fits = self.limits.budget.charge(waiting);
        self.pending.store(pending, Ordering::Relaxed);
        match queue.chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK_BYTES => {
                last.extend_from_slice(bytes);
                bytes.clear();
            }
            Some(_) => queue.chunks.push_back(right_sized(bytes)),
            None => {
                queue.chunks.push_back(right_sized(bytes));
                queue.sent = sent;
            }
        }
        let allowance = self.allowance.load(Ordering::Relaxed);
        if pending > self.limits.pending_bytes_max.saturating_add(allowance) {
            self.cut_locked(queue, Cut::PendingBytes);
        } else if !fits && pending > self.limits.budget_share() {
            self.cut_locked(queue, Cut::Memory);
        }
    }

    fn cut_locked(&self, queue: &mut Queue, cut: Cut) {
        if queue.cut.is_some() || queue.socket.is_none() {
            return;
        }
        queue.cut = Some(cut);
        let mut last = Vec::new();
        // In the middle of something that is no frame, an error would only be more garbage.
        if let Some((rest, framing)) = unfinished_frame(queue, self.framing()) {
            last = rest;
            framing.error(&mut last, CUT_TEXT);
        }
        self.forget_pending();
        let _ = self.limits.budget.charge(last.len());
        self.pending.store(last.len(), Ordering::Relaxed);
        queue.chunks.clear();
        queue.chunks.push_back(last);
        queue.sent = 0;
        self.closed.store(true, Ordering::Release);
    }

    fn close_locked(&self, queue: &mut Queue) {
        queue.chunks = VecDeque::new();
        queue.sent = 0;
        queue.socket = None;
        self.forget_pending();
        self.closed.store(true, Ordering::Release);
        self.owner.wake();
    }

    fn forget_pending(&self) {
        self.limits.budget.release(self.pending.swap(0, Ordering::Relaxed));
    }

    fn advance(&self, queue: &mut Queue, mut written: usize) {
        self.pending.fetch_sub(written, Ordering::Relaxed);
        self.drained.fetch_add(written as u64, Ordering::Relaxed);
        self.limits.budget.release(written);
        while let Some(first) = queue.chunks.front() {
            let rest = first.len() - queue.sent;
            if written < rest {
                queue.sent += written;
                return;
            }
            written -= rest;
            queue.sent = 0;
            queue.chunks.pop_front();
        }
        queue.chunks = VecDeque::new();
        self.allowance.store(0, Ordering::Relaxed);
    }
}

impl OutletLimits {
    /// When the budget is exceeded, only receivers that hold at least this much are cut, so that
    /// one who is merely unlucky with its timing is not.
    pub(super) fn budget_share(&self) -> usize {
        self.pending_bytes_max / 16
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.forget_pending();
        self.limits.budget.release(self.aliases_bytes.load(Ordering::Relaxed));
    }
}

/// Take the bytes, without much more memory than they need.
fn right_sized(bytes: &mut Vec<u8>) -> Vec<u8> {
    if bytes.capacity() <= 2 * bytes.len() {
        return std::mem::take(bytes);
    }
    let copy = bytes.clone();
    bytes.clear();
    copy
}

/// The rest of the frame that the receiver has seen a part of, and the framing of what would follow
/// it: `framing`, unless lines that were said before still wait.
fn unfinished_frame(queue: &Queue, framing: Framing) -> Option<(Vec<u8>, Framing)> {
    let chunk = queue.chunks.front()?;
    let mut at = 0;
    while at < queue.sent {
        at += frame_bytes(&chunk[at..])?;
    }
    let is_line = |byte: &u8| !binary::begins_frame(*byte);
    let framing = if chunk.get(at).is_some_and(is_line) { Framing::Text } else { framing };
    Some((chunk[queue.sent..at].to_vec(), framing))
}

/// Bytes of the frame at the front of `bytes`, which is whole. Lines and frames of the binary
/// framing stand one behind the other where a client has just changed over.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    const LIMITS: Limits =
        Limits { control_line_bytes_max: usize::MAX, payload_bytes_max: usize::MAX };
    if binary::begins_frame(*bytes.first()?) {
        match binary::ServerDecoder::new(LIMITS).decode(bytes) {
            Ok(Decoded::Frame { consumed, .. }) => Some(consumed),
            _ => None,
        }
    } else {
        match ServerDecoder::new(LIMITS).decode(bytes) {
            Ok(Decoded::Frame { consumed, .. }) => Some(consumed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunk: &[u8], sent: usize, rest: &[u8], framing: Framing) {
        let queue =
            Queue { socket: None, chunks: VecDeque::from([chunk.to_vec()]), sent, cut: None };
        let found =
            unfinished_frame(&queue, Framing::Binary).expect("the chunk is of whole frames");
        assert_eq!(found, (rest.to_vec(), framing));
    }

    #[test]
    fn the_frame_that_was_begun_is_finished_before_the_error() {
        let chunk = b"MSG a 1 2\r\nhi\r\nMSG a 1 3\r\nyou\r\nPONG\r\n";
        check(chunk, 0, b"", Framing::Text);
        check(chunk, 3, b" a 1 2\r\nhi\r\n", Framing::Text);
        check(chunk, 15, b"", Framing::Text);
        check(chunk, 29, b"\r\n", Framing::Text);
    }

    #[test]
    fn a_client_that_changes_over_hears_the_error_in_the_framing_that_comes_next() {
        let mut chunk = b"INFO {}\r\n+OK\r\n".to_vec();
        chunk.extend_from_slice(binary::encode::fixed::PONG);
        binary::encode::error(&mut chunk, "x");
        check(&chunk, 4, b" {}\r\n", Framing::Text);
        check(&chunk, 10, b"OK\r\n", Framing::Binary);
        check(&chunk, 14, b"", Framing::Binary);
        check(&chunk, 17, b"\0\0\0\0\0", Framing::Binary);
        check(&chunk, chunk.len() - 1, b"x", Framing::Binary);
    }
}
