//! What waits to be written: one buffer that everybody encodes into, swapped out by the
//! connection task and written with one syscall.
//!
//! ```text
//! publish, subscribe, call --encode--> wire --swap--> writing --write--> socket
//!                                      (lock)          (connection task alone)
//! ```
//!
//! Invariants, all under the one lock:
//! 1. Frames in `wire` are whole and in the order in which the methods were called.
//! 2. `pongs` has one entry for each PING in `wire` or on its way, in the same order, since the
//!    link came up.
//! 3. When the link breaks, only publishes stay in `wire`: subscriptions are made again from
//!    their list, and whoever waits for an answer is told that none will come.
//! 4. While no link is up, `wire` is of lines.
//!
//! It does not know what a subscription or a task is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use agentcom_protocol::Publish;
use tokio::sync::{Notify, oneshot};

use crate::headers::HeaderMap;
use crate::subject::Subject;
use crate::wire::Wire;

/// A publisher waits while this much is in front of the socket: enough for thousands of small
/// messages per write, and little enough to stay in a core's second-level cache.
const HIGH_WATER_BYTES: usize = 256 * 1024;

/// A swapped-out buffer larger than this gives its memory back.
const KEPT_BYTES_MAX: usize = 4 * HIGH_WATER_BYTES;

/// Who waits for a PONG.
#[derive(Debug)]
pub(crate) enum Pong {
    /// The ping timer: the server is alive.
    Keepalive,
    /// Nobody: the PING was sent to renew leases.
    Heartbeat,
    /// A flush.
    Flush(oneshot::Sender<()>),
    /// The subscriptions with these numbers get no more messages.
    Drained(Vec<u32>),
}

/// Why bytes were not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The link is down and the bound for that time is reached.
    Full,
    /// The link is not the one asked for.
    LinkChanged,
    /// Closed for good.
    Closed,
    /// A header cannot be encoded.
    Header(agentcom_protocol::HeaderError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// Up, and the how-manyeth connection this is.
    Up(u64),
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbound {
    inner: Mutex<Inner>,
    /// There is something to write.
    ready: Notify,
    /// There is room below the high water mark, or the link changed.
    room: Notify,
    /// The bound while the link is down.
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner {
    wire: Wire,
    /// A header block and its body on their way into `bytes`.
    scratch: Vec<u8>,
    pongs: VecDeque<Pong>,
    link: Link,
    /// The connection task found nothing to write and sleeps on `ready`.
    writer_sleeps: bool,
    /// Some publisher sleeps on `room`.
    publisher_sleeps: bool,
}

impl Outbound {
    pub(crate) fn new(bytes_max: usize) -> Outbound {
        Outbound {
            inner: Mutex::new(Inner {
                wire: Wire::text(Vec::with_capacity(HIGH_WATER_BYTES)),
                scratch: Vec::new(),
                pongs: VecDeque::new(),
                link: Link::Down,
                writer_sleeps: false,
                publisher_sleeps: false,
            }),
            ready: Notify::new(),
            room: Notify::new(),
            bytes_max,
        }
    }

    /// Take a message. Waits while the link is up and the socket is behind. Cancel-safe: either
    /// the whole message was taken or nothing.
    #[inline]
    pub(crate) async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&HeaderMap>,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        match self.try_publish(subject, reply, headers, payload)? {
            Admission::Taken => Ok(()),
            Admission::Wait => self.publish_slowly(subject, reply, headers, payload).await,
        }
    }

    #[cold]
    async fn publish_slowly(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&HeaderMap>,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // From here on a wake-up is not lost, so ask once more before sleeping.
            room.as_mut().enable();
            match self.try_publish(subject, reply, headers, payload)? {
                Admission::Taken => return Ok(()),
                Admission::Wait => room.await,
            }
        }
    }

    #[inline]
    fn try_publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&HeaderMap>,
        payload: &[u8],
    ) -> Result<Admission, Refusal> {
        let mut inner = self.lock();
        match inner.link {
            Link::Up(_) if inner.wire.bytes.len() >= HIGH_WATER_BYTES => {
                inner.publisher_sleeps = true;
                return Ok(Admission::Wait);
            }
            Link::Down if inner.wire.bytes.len() + payload.len() > self.bytes_max => {
                return Err(Refusal::Full);
            }
            Link::Closed => return Err(Refusal::Closed),
            Link::Up(_) | Link::Down => {}
        }
        let (subject, reply) = (subject.as_bytes(), reply.map(str::as_bytes));
        let Inner { wire, scratch, .. } = &mut *inner;
        match headers {
            None => {
                wire.publish(&Publish { subject, reply, header_bytes: None, payload });
            }
            Some(headers) => {
                scratch.clear();
                let header_bytes = Some(headers.encode(scratch).map_err(Refusal::Header)?);
                scratch.extend_from_slice(payload);
                let payload = scratch.as_slice();
                wire.publish(&Publish { subject, reply, header_bytes, payload });
            }
        }
        self.wake_writer(inner);
        Ok(Admission::Taken)
    }

    /// Append frames other than publishes. They do not wait for room, so they must be few; while
    /// the link is down they are bounded as publishes are. `link` asks for exactly that link.
    pub(crate) fn append(
        &self,
        link: Option<u64>,
        encode: impl FnOnce(&mut Wire),
    ) -> Result<(), Refusal> {
        let mut inner = self.lock();
        match (inner.link, link) {
            (Link::Closed, _) => return Err(Refusal::Closed),
            (Link::Up(current), Some(wanted)) if current != wanted => {
                return Err(Refusal::LinkChanged);
            }
            (Link::Down, Some(_)) => return Err(Refusal::LinkChanged),
            (Link::Down, None) if inner.wire.bytes.len() >= self.bytes_max => {
                return Err(Refusal::Full);
            }
            _ => {}
        }
        encode(&mut inner.wire);
        self.wake_writer(inner);
        Ok(())
    }

    /// Append frames if the link is up. Subscriptions use this: while it is down, they are made
    /// from their list when it comes up.
    pub(crate) fn append_if_up(&self, encode: impl FnOnce(&mut Wire)) {
        let mut inner = self.lock();
        if matches!(inner.link, Link::Up(_)) {
            encode(&mut inner.wire);
            self.wake_writer(inner);
        }
    }

    /// Append a PING and remember who waits for its PONG. While the link is down it waits for the
    /// next one.
    pub(crate) fn ping(&self, pong: Pong) -> Result<(), Refusal> {
        let mut inner = self.lock();
        if inner.link == Link::Closed {
            return Err(Refusal::Closed);
        }
        inner.wire.ping();
        inner.pongs.push_back(pong);
        self.wake_writer(inner);
        Ok(())
    }

    /// What the number of a subject stands for on the link that is up.
    pub(crate) fn numbered(&self, number: u16) -> Option<Subject> {
        self.lock().wire.subject(number).cloned()
    }

    /// Who the PONG that just came in is for.
    pub(crate) fn pop_pong(&self) -> Option<Pong> {
        self.lock().pongs.pop_front()
    }

    /// PINGs of the ping timer without an answer.
    pub(crate) fn keepalives_unanswered(&self) -> usize {
        self.lock().pongs.iter().filter(|pong| matches!(pong, Pong::Keepalive)).count()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().link == Link::Closed
    }

    /// Which connection is up, if any.
    pub(crate) fn link(&self) -> Option<u64> {
        match self.lock().link {
            Link::Up(link) => Some(link),
            Link::Down | Link::Closed => None,
        }
    }

    /// Swap everything that waits into `writing`, whose own content has been written. `false`
    /// means that there is nothing; then [`Outbound::ready`] wakes when there is.
    pub(crate) fn swap(&self, writing: &mut Vec<u8>) -> bool {
        writing.clear();
        if writing.capacity() > KEPT_BYTES_MAX {
            *writing = Vec::with_capacity(HIGH_WATER_BYTES);
        }
        let mut inner = self.lock();
        if inner.wire.bytes.is_empty() {
            inner.writer_sleeps = true;
            return false;
        }
        std::mem::swap(&mut inner.wire.bytes, writing);
        self.wake_publishers(inner);
        true
    }

    /// Wait until there is something to write.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// The link `link` is up, and speaks as the empty `wire` does: what `prefix` encodes goes out
    /// before everything that waited.
    pub(crate) fn link_up(&self, link: u64, mut wire: Wire, prefix: impl FnOnce(&mut Wire)) {
        let mut inner = self.lock();
        prefix(&mut wire);
        wire.repeat(&inner.wire.bytes);
        inner.wire = wire;
        inner.link = Link::Up(link);
        inner.writer_sleeps = false;
        self.wake_publishers(inner);
    }

    /// The link broke after `written` bytes of `writing`. What was not written stays if it is a
    /// publish. Returned are those who wait for a PONG that will not come.
    pub(crate) fn link_down(&self, writing: &[u8], written: usize) -> VecDeque<Pong> {
        let mut inner = self.lock();
        let mut kept = Vec::with_capacity(HIGH_WATER_BYTES);
        inner.wire.keep_publishes(writing, written, &mut kept);
        inner.wire.keep_publishes(&inner.wire.bytes, 0, &mut kept);
        inner.wire = Wire::text(kept);
        inner.link = Link::Down;
        let pongs = std::mem::take(&mut inner.pongs);
        self.wake_publishers(inner);
        pongs
    }

    /// Nothing is taken any more, and nobody waits any longer.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.link = Link::Closed;
        inner.wire = Wire::text(Vec::new());
        inner.pongs.clear();
        inner.publisher_sleeps = true;
        self.wake_publishers(inner);
    }

    #[inline]
    fn wake_writer(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.writer_sleeps {
            inner.writer_sleeps = false;
            drop(inner);
            self.ready.notify_one();
        }
    }

    fn wake_publishers(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.publisher_sleeps {
            inner.publisher_sleeps = false;
            drop(inner);
            self.room.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no method panics while it holds the outbound lock")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Taken,
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Wire {
        Wire::text(Vec::new())
    }

    fn bytes_of(outbound: &Outbound) -> String {
        let mut writing = Vec::new();
        outbound.swap(&mut writing);
        String::from_utf8(writing).expect("text")
    }

    #[tokio::test]
    async fn what_was_published_while_down_follows_the_subscriptions() {
        let outbound = Outbound::new(1024);
        outbound.publish("a", None, None, b"1").await.expect("taken");
        outbound.append_if_up(|_| panic!("the link is down"));
        outbound.link_up(1, lines(), |wire| wire.subscribe("a", None, 1));
        assert_eq!(bytes_of(&outbound), "SUB a 1\r\nPUB a 1\r\n1\r\n");
    }

    #[tokio::test]
    async fn the_bound_while_down_is_an_error_at_once() {
        let outbound = Outbound::new(16);
        outbound.publish("a", None, None, &[b'x'; 16]).await.expect("just inside");
        assert_eq!(outbound.publish("a", None, None, b"x").await, Err(Refusal::Full));
    }

    #[tokio::test]
    async fn a_broken_link_keeps_the_publishes_that_were_not_begun() {
        let outbound = Outbound::new(1024);
        outbound.link_up(1, lines(), |_| {});
        outbound.publish("a", None, None, b"1").await.expect("taken");
        outbound.publish("b", None, None, b"2").await.expect("taken");
        outbound.ping(Pong::Heartbeat).expect("taken");
        let mut writing = Vec::new();
        assert!(outbound.swap(&mut writing));
        outbound.append_if_up(|wire| wire.subscribe("s", None, 1));
        outbound.publish("c", None, None, b"PUB x 0").await.expect("taken");
        let pongs = outbound.link_down(&writing, 3);
        assert_eq!(pongs.len(), 1);
        assert_eq!(bytes_of(&outbound), "PUB b 1\r\n2\r\nPUB c 7\r\nPUB x 0\r\n");
    }

    #[tokio::test]
    async fn a_publisher_waits_for_room_while_the_link_is_up() {
        let outbound = Outbound::new(1024);
        outbound.link_up(1, lines(), |_| {});
        outbound.publish("a", None, None, &[0; HIGH_WATER_BYTES]).await.expect("taken");
        let waiting = outbound.publish("a", None, None, b"2");
        let room = async {
            tokio::task::yield_now().await;
            assert!(outbound.swap(&mut Vec::new()));
        };
        let (published, ()) = tokio::join!(waiting, room);
        published.expect("taken once there is room");
        assert_eq!(bytes_of(&outbound), "PUB a 1\r\n2\r\n");
    }

    #[test]
    fn a_frame_for_one_link_is_refused_on_the_next() {
        let outbound = Outbound::new(1024);
        outbound.link_up(2, lines(), |_| {});
        assert_eq!(outbound.append(Some(1), |_| {}), Err(Refusal::LinkChanged));
        assert_eq!(outbound.append(Some(2), |_| {}), Ok(()));
        outbound.close();
        assert_eq!(outbound.append(None, |_| {}), Err(Refusal::Closed));
    }

    #[tokio::test]
    async fn headers_go_in_front_of_the_body() {
        let outbound = Outbound::new(1024);
        let headers: HeaderMap = [("a", "1")].into_iter().collect();
        outbound.publish("s", Some("r"), Some(&headers), b"x").await.expect("taken");
        assert_eq!(bytes_of(&outbound), "HPUB s r 18 19\r\nNATS/1.0\r\na: 1\r\n\r\nx\r\n");
    }
}
