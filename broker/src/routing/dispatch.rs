//! One thread's way to the receivers: routes it has seen, and the bytes it has not yet handed over.
//!
//! A message is copied once, into one buffer per receiver. The buffers are handed to the receivers'
//! outlets when the thread has worked off what it had to read ([`Dispatch::flush`]), so a lock and
//! a system call are paid once per receiver and turn, however many messages there were. Buffers
//! are used again; in steady state nothing here allocates.

use std::sync::Arc;
use std::time::Duration;

use super::buffers::Buffers;
use super::cache::{Place, RouteCache};
use super::frame::{Sizes, append_frame, extend};
use super::route::{Destination, Route, Target};
use super::router::Router;
use super::subscription::Take;
use crate::net::Outlet;
use agentcom_protocol::Publish;

/// One thread's share of the routing plane.
#[derive(Debug)]
pub struct Dispatch {
    router: Arc<Router>,
    cache: RouteCache,
    hands: Hands,
}

/// The part that delivers, apart from the part that finds out to whom.
#[derive(Debug, Default)]
struct Hands {
    buffers: Buffers,
    /// A frame that goes to several receivers.
    shared_frame: Vec<u8>,
    /// Of the newest message; the next one is often as large.
    sizes: Sizes,
    /// Turns the queue groups.
    turn: u64,
    /// Bytes put into the buffers since they were last handed over.
    staged_bytes: usize,
    /// Targets looked at since that was last asked.
    work: usize,
}

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The publisher's own outlet.
    pub outlet: &'a Outlet,
    /// Whether it wants to hear itself.
    pub echo: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Where the subject leads. Only [`Destination::Subscribers`] was acted on.
    pub destination: Destination,
    /// Receivers it was handed to.
    pub receivers: usize,
}

impl Dispatch {
    /// Nothing seen, nothing to hand over.
    #[must_use]
    pub fn new(router: Arc<Router>) -> Dispatch {
        Dispatch { router, cache: RouteCache::new(), hands: Hands::default() }
    }

    /// Put a client's message into its receivers' buffers. Permissions are the caller's business.
    #[inline]
    pub fn publish(&mut self, origin: Option<Origin<'_>>, publish: &Publish<'_>) -> Delivered {
        let route = self.cache.find(&self.router, publish.subject);
        self.hands.publish(&self.router, route, origin, publish)
    }

    /// The same for a message whose subject has been published to from `place` before.
    #[inline]
    pub fn publish_at(
        &mut self,
        origin: Option<Origin<'_>>,
        publish: &Publish<'_>,
        place: &mut Place,
    ) -> Delivered {
        let route = self.cache.find_at(&self.router, publish.subject, place);
        self.hands.publish(&self.router, route, origin, publish)
    }

    /// Publish in the broker's own name, under any subject.
    pub fn announce(&mut self, subject: &str, payload: &[u8]) {
        let subject = subject.as_bytes();
        let publish = Publish { subject, reply: None, header_bytes: None, payload };
        let route = self.cache.find(&self.router, subject);
        self.hands.deliver(&self.router, route, None, &publish);
    }

    /// Whether `subject` is something that a pedantic publisher wants to be warned of: a wildcard
    /// or empty token.
    pub fn is_dubious(&mut self, subject: &[u8]) -> bool {
        self.cache.find(&self.router, subject).is_dubious
    }

    /// Whether anybody subscribes to `subject`.
    pub fn is_wanted(&mut self, subject: &str) -> bool {
        !self.cache.find(&self.router, subject.as_bytes()).is_empty()
    }

    /// The sid of the plain subscription through which `outlet` itself would receive `subject`.
    pub fn own_subscription(&mut self, outlet: &Outlet, subject: &[u8]) -> Option<Box<[u8]>> {
        let route = self.cache.find(&self.router, subject);
        let target = route.plain.iter().find(|target| {
            target.subscription.outlet.id() == outlet.id() && !target.subscription.is_ended()
        });
        target.map(|target| target.subscription.sid().into())
    }

    /// The buffer of what `outlet` will be sent at the next flush.
    #[inline]
    pub fn buffer(&mut self, outlet: &Arc<Outlet>) -> &mut Vec<u8> {
        self.hands.buffers.of(outlet)
    }

    /// What was put into the buffer of `outlet` last is an answer to a request.
    pub fn note_answer(&mut self, outlet: &Outlet) {
        self.hands.buffers.note_answer(outlet);
    }

    /// Leave everything to the workers whose connections they are.
    pub fn post(&mut self) {
        self.hands.staged_bytes = 0;
        self.hands.buffers.post();
    }

    /// Processor time that it took so far to send what was left to workers.
    #[must_use]
    pub fn sending(&self) -> Duration {
        self.hands.buffers.sending()
    }

    /// Hand everything over.
    pub fn flush(&mut self) {
        self.hands.flush();
    }

    /// Receivers looked at since this was last asked: what a caller has used of its turn.
    #[must_use]
    pub fn take_work(&mut self) -> usize {
        std::mem::take(&mut self.hands.work)
    }
}

impl Hands {
    #[inline]
    fn publish(
        &mut self,
        router: &Router,
        route: &Route,
        origin: Option<Origin<'_>>,
        publish: &Publish<'_>,
    ) -> Delivered {
        let mut delivered = Delivered { destination: route.destination, receivers: 0 };
        if route.destination == Destination::Subscribers && !route.is_empty() {
            delivered.receivers = self.deliver(router, route, origin, publish);
        }
        delivered
    }

    #[inline]
    fn deliver(
        &mut self,
        router: &Router,
        route: &Route,
        origin: Option<Origin<'_>>,
        publish: &Publish<'_>,
    ) -> usize {
        let deaf = origin.filter(|origin| !origin.echo).map(|origin| origin.outlet.id());
        self.work += 1 + route.plain.len();
        if !self.sizes.are_of(publish) {
            self.sizes = Sizes::of(publish);
        }
        let sizes = self.sizes;
        let mut receivers = 0;
        let mut frame_is_built = false;
        for (at, target) in route.plain.iter().enumerate() {
            frame_is_built &= target.repeats;
            let outlet = &target.subscription.outlet;
            if Some(outlet.id()) == deaf || outlet.is_closed() || !take(router, target) {
                continue;
            }
            receivers += 1;
            if self.staged_bytes > STAGED_BYTES_MAX {
                self.flush();
            }
            let buffer = self.buffers.of(outlet);
            let before = buffer.len();
            let is_alone =
                !target.repeats && route.plain.get(at + 1).is_none_or(|next| !next.repeats);
            if is_alone {
                append_frame(buffer, route, target, publish, &sizes);
                self.staged_bytes += buffer.len() - before;
                continue;
            }
            if !frame_is_built {
                self.shared_frame.clear();
                append_frame(&mut self.shared_frame, route, target, publish, &sizes);
                frame_is_built = true;
            }
            extend(buffer, &self.shared_frame);
            self.staged_bytes += self.shared_frame.len();
        }
        for members in &route.groups {
            let is_taken = self.deliver_to_one(router, route, members, deaf, publish, &sizes);
            receivers += usize::from(is_taken);
        }
        receivers
    }

    /// Give the message to one member of a queue group. `false` if none can take it.
    fn deliver_to_one(
        &mut self,
        router: &Router,
        route: &Route,
        members: &[Target],
        deaf: Option<u64>,
        publish: &Publish<'_>,
        sizes: &Sizes,
    ) -> bool {
        let preferred = self.less_busy(members);
        for step in 0..members.len() {
            let target = &members[(preferred + step) % members.len()];
            let outlet = &target.subscription.outlet;
            if Some(outlet.id()) == deaf || outlet.is_closed() || !take(router, target) {
                continue;
            }
            if self.staged_bytes > STAGED_BYTES_MAX {
                self.flush();
            }
            let buffer = self.buffers.of(outlet);
            let before = buffer.len();
            append_frame(buffer, route, target, publish, sizes);
            self.staged_bytes += buffer.len() - before;
            return true;
        }
        false
    }

    fn flush(&mut self) {
        self.staged_bytes = 0;
        self.buffers.flush();
    }

    /// The next member in turn, unless another one has less waiting for it.
    #[inline]
    fn less_busy(&mut self, members: &[Target]) -> usize {
        let count = members.len() as u64;
        self.turn = self.turn.wrapping_add(1);
        let first = (self.turn % count) as usize;
        if count == 1 {
            return first;
        }
        // A multiplicative hash of the turn spreads the second choice over the other members.
        let spread = self.turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let second = (first + 1 + (spread % (count - 1)) as usize) % members.len();
        let waiting = |at: usize| members[at].subscription.outlet.pending_bytes();
        if waiting(second) < waiting(first) { second } else { first }
    }
}

#[inline]
fn take(router: &Router, target: &Target) -> bool {
    match target.subscription.take() {
        Take::More => true,
        Take::Last => {
            router.unsubscribe(&target.subscription);
            target.subscription.outlet.note_ended_subscription();
            true
        }
        Take::Ended => false,
    }
}

/// All buffers of a thread are handed over when they hold this much together. 16 MiB: a full read
/// to a hundred receivers; without it, one large message to a thousand would fill a gigabyte.
const STAGED_BYTES_MAX: usize = 16 << 20;
