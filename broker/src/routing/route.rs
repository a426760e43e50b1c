//! Everything that is known about one subject: who wants it, and the bytes that every frame for
//! each of them starts with, as lines or as numbers. Worked out once per subject, then used for message after message.

use std::ops::Range;
use std::sync::Arc;

use super::router::Stamp;
use super::subscription::Subscription;
use agentcom_protocol::{Subject, SubjectError};

/// Where a subject leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To its subscribers.
    Subscribers,
    /// To the durable plane: a request under `$AC.API.`.
    Api,
    /// Nowhere: only the broker publishes under `$AC.EVENT.`.
    BrokerOnly,
    /// Nowhere: it has an empty token. NATS drops such messages without a word.
    Invalid,
    /// Nowhere: it has a byte that no door lets through.
    Forbidden,
}

/// The subscribers of a subject.
#[derive(Debug)]
pub(super) struct Route {
    stamp: Stamp,
    pub(super) destination: Destination,
    /// Has a wildcard or empty token, which a pedantic publisher is warned of.
    pub(super) is_dubious: bool,
    /// Those who want every message, receivers with equal frames side by side.
    pub(super) plain: Vec<Target>,
    /// Queue groups: one of each gets a message.
    pub(super) groups: Vec<Vec<Target>>,
    /// `HMSG subject sid ` of every target that is spoken to in lines; targets with equal ones share
    /// them.
    prefixes: Vec<u8>,
}

/// A subscriber on a route.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) subscription: Arc<Subscription>,
    pub(super) start: Start,
    /// Its frames equal those of the target before it.
    pub(super) repeats: bool,
}

/// What the frames for a target start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// `HMSG subject sid `, in the prefixes of the route.
    Line(Range<u32>),
    /// The numbers of the binary framing.
    Numbers(Numbers),
}

/// What a receiver that speaks the binary framing calls subscription and subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbers {
    pub(super) sid: u32,
    /// 0 if the subject has none.
    pub(super) alias: u16,
    /// The subject must be there: it has no number, and is not the filter itself.
    pub(super) in_full: bool,
}

impl Numbers {
    /// `None`: the receiver is spoken to in lines.
    fn of(subscription: &Subscription, subject: &str) -> Option<Numbers> {
        let aliases = subscription.outlet.aliases()?;
        let is_filter = subscription.filter().is_literal();
        let alias = if is_filter { 0 } else { aliases.number(subject.as_bytes()) };
        Some(Numbers { sid: subscription.number(), alias, in_full: alias == 0 && !is_filter })
    }
}

/// What clients do not publish among themselves.
pub(crate) const BROKER_PREFIX: &str = "$AC.";
/// Requests to the broker.
pub(crate) const API_PREFIX: &str = "$AC.API.";
/// What the broker tells the world.
pub(crate) const EVENT_PREFIX: &str = "$AC.EVENT.";

impl Route {
    /// A route to nobody, for bytes that are no subject.
    pub(super) fn nowhere(stamp: Stamp, error: &SubjectError) -> Route {
        let destination = match error {
            SubjectError::Byte => Destination::Forbidden,
            SubjectError::EmptyToken | SubjectError::TailInMiddle => Destination::Invalid,
        };
        Route {
            stamp,
            destination,
            is_dubious: destination == Destination::Invalid,
            plain: Vec::new(),
            groups: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    pub(super) fn new(
        stamp: Stamp,
        subject: Subject<'_>,
        subscriptions: Vec<Arc<Subscription>>,
    ) -> Route {
        let text = subject.as_str();
        let mut route = Route {
            stamp,
            destination: if text.starts_with(API_PREFIX) {
                Destination::Api
            } else if text.starts_with(EVENT_PREFIX) {
                Destination::BrokerOnly
            } else {
                Destination::Subscribers
            },
            is_dubious: subject.has_wildcard_token(),
            plain: Vec::new(),
            groups: Vec::new(),
            prefixes: Vec::new(),
        };
        let mut plain = Vec::new();
        let mut grouped: Vec<Vec<Arc<Subscription>>> = Vec::new();
        for subscription in subscriptions.into_iter().filter(|s| s.may_receive(text)) {
            let Some(queue) = subscription.queue() else {
                plain.push(subscription);
                continue;
            };
            match grouped.iter_mut().find(|members| members[0].queue() == Some(queue)) {
                Some(members) => members.push(subscription),
                None => grouped.push(vec![subscription]),
            }
        }
        route.plain = route.targets(text, plain);
        for members in grouped {
            let targets = route.targets(text, members);
            route.groups.push(targets);
        }
        route
    }

    #[inline]
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether nobody wants the subject.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    /// Memory that the route takes in a cache, about, in bytes, without its subject.
    pub(super) fn weight(&self) -> usize {
        let targets = self.plain.len() + self.groups.iter().map(Vec::len).sum::<usize>();
        size_of::<Route>() + self.prefixes.len() + targets * size_of::<Target>()
    }

    /// `HMSG subject sid `
    #[inline]
    pub(super) fn prefix(&self, line: &Range<u32>) -> &[u8] {
        &self.prefixes[line.start as usize..line.end as usize]
    }

    /// The targets with equal frames side by side.
    fn targets(&mut self, subject: &str, subscriptions: Vec<Arc<Subscription>>) -> Vec<Target> {
        let with_numbers =
            |subscription: Arc<Subscription>| (Numbers::of(&subscription, subject), subscription);
        let mut subscriptions: Vec<(Option<Numbers>, Arc<Subscription>)> =
            subscriptions.into_iter().map(with_numbers).collect();
        subscriptions.sort_by(|(a_numbers, a), (b_numbers, b)| {
            (a_numbers, a.sid(), a.headers).cmp(&(b_numbers, b.sid(), b.headers))
        });
        let mut targets: Vec<Target> = Vec::with_capacity(subscriptions.len());
        for (numbers, subscription) in subscriptions {
            let before = targets.last().filter(|target| {
                target.subscription.sid() == subscription.sid()
                    && target.subscription.headers == subscription.headers
            });
            let (start, repeats) = match (numbers, before.map(|target| &target.start)) {
                (None, Some(Start::Line(line))) => (Start::Line(line.clone()), true),
                (None, _) => (Start::Line(self.append_prefix(subject, subscription.sid())), false),
                (Some(numbers), before) => {
                    let start = Start::Numbers(numbers);
                    let repeats = before == Some(&start);
                    (start, repeats)
                }
            };
            targets.push(Target { subscription, start, repeats });
        }
        targets
    }

    fn append_prefix(&mut self, subject: &str, sid: &[u8]) -> Range<u32> {
        let start = self.prefixes.len();
        for part in [b"HMSG ", subject.as_bytes(), b" ", sid, b" "] {
            self.prefixes.extend_from_slice(part);
        }
        let at = |at: usize| u32::try_from(at).expect("a route's prefixes stay far below 4 GiB");
        at(start)..at(self.prefixes.len())
    }
}
