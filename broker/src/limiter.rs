//! How often somebody may do something: a bucket of tokens for each who, where and what.
//!
//! A bucket begins full, is filled evenly, and each act takes one token. Like the board the limiter
//! reads no clock. Only the doors of the legacy hub ask it; its numbers are those of the contract's
//! 8.2 and of the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hashbrown::HashMap;

use crate::board::Hour;
use crate::core::command::Name;

/// A bucket warns when less than one part in so many is left.
const WARN_BELOW: u64 = 5;
/// Said to wait if nothing is ever filled in.
const NEVER_MS: u64 = 60_000;
/// How long violations count together.
const WINDOW_MS: u64 = 60_000;
/// Whoever asked too often in the last hour is remembered, so many. 10,000: 2 MB; further ones are
/// denied all the same, and not shown.
const VIOLATORS_MAX: usize = 10_000;

/// What is limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// To look.
    Light,
    /// To do.
    Normal,
    /// To do what costs much.
    Heavy,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Anything of its tier that has no limit of its own.
    Other(Tier),
    /// Send a message.
    Message,
    /// Submit a task.
    TaskSubmit,
    /// Say something in a channel.
    ChannelPublish,
    /// Look into a mailbox.
    MailboxPoll,
    /// Make a channel.
    ChannelCreate,
    /// Send any frame over a WebSocket.
    WsMessage,
    /// Register.
    Onboard,
}

/// How much fits into a bucket, and how much is filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Acts in a row.
    pub capacity: f64,
    /// Acts a minute.
    pub per_minute: f64,
}

/// Who is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An agent, by its token.
    Agent(Name),
    /// Whoever comes from an address and shows no token.
    Address(IpAddr),
}

/// Where: the doors are limited apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// REST.
    Http,
    /// A WebSocket.
    Ws,
}

/// Whether it may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// Yes, but soon not any more.
    Warned {
        /// So many times more.
        remaining: u64,
        /// Out of so many in a row.
        capacity: u64,
    },
    /// No; in so many milliseconds, whole seconds.
    Denied {
        /// How long to wait.
        retry_after_ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: u64,
    at_ms: u64,
    quota: Quota,
}

#[derive(Clone, Debug, Default)]
struct Violations {
    since_ms: u64,
    in_window: u64,
    of_hour: Hour,
}

/// What somebody has left and did.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Who.
    pub subject: Subject,
    /// What is left, by door and action: whole acts, and the capacity.
    pub buckets: Vec<(Transport, Action, u64, f64)>,
    /// Denials in the window that is open; 0 if none is.
    pub violations: u64,
}

/// Every bucket, and what is set.
#[derive(Debug)]
pub struct Limiter {
    /// As configured; empty if nobody is limited at all.
    configured: BTreeMap<Action, Quota>,
    buckets_max: usize,
    defaults: BTreeMap<Action, Quota>,
    overrides: BTreeMap<String, BTreeMap<Tier, Quota>>,
    exempt: BTreeSet<String>,
    buckets: HashMap<(Subject, Transport, Action), Bucket>,
    violations: BTreeMap<Subject, Violations>,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Tier; 3] = [Tier::Light, Tier::Normal, Tier::Heavy];

    /// Its word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Light => "light",
            Tier::Normal => "normal",
            Tier::Heavy => "heavy",
        }
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 10] = [
        Action::Other(Tier::Light),
        Action::Other(Tier::Normal),
        Action::Other(Tier::Heavy),
        Action::Message,
        Action::TaskSubmit,
        Action::ChannelPublish,
        Action::MailboxPoll,
        Action::ChannelCreate,
        Action::WsMessage,
        Action::Onboard,
    ];

    /// The action of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Other(tier) => tier.as_str(),
            Action::Message => "message",
            Action::TaskSubmit => "task_submit",
            Action::ChannelPublish => "channel_publish",
            Action::MailboxPoll => "mailbox_poll",
            Action::ChannelCreate => "channel_create",
            Action::WsMessage => "ws_message",
            Action::Onboard => "onboard",
        }
    }

    /// The tier that it is in for whoever knows tiers only.
    #[must_use]
    pub fn tier(self) -> Tier {
        match self {
            Action::Other(tier) => tier,
            Action::MailboxPoll => Tier::Light,
            Action::Message | Action::ChannelPublish | Action::WsMessage => Tier::Normal,
            Action::TaskSubmit | Action::ChannelCreate | Action::Onboard => Tier::Heavy,
        }
    }
}

impl Quota {
    /// So many a minute, and as many in a row; none means no limit.
    #[must_use]
    pub fn a_minute(acts: u64) -> Option<Quota> {
        Quota::of(acts, 1)
    }

    /// So many in so many minutes, and as many in a row; none means no limit.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "settings are small")]
    pub fn of(acts: u64, minutes: u64) -> Option<Quota> {
        let capacity = acts as f64;
        (acts > 0).then(|| Quota { capacity, per_minute: capacity / minutes as f64 })
    }
}

impl Subject {
    /// Its name in settings.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Subject::Agent(agent) => agent.to_string(),
            Subject::Address(address) => format!("ip:{address}"),
        }
    }
}

/// An act, in the units of [`Bucket::level`]: a thousandth of an act a minute fills in one of them
/// each millisecond, so that nothing is rounded off however often somebody looks.
const ACT: u64 = 60_000_000;

impl Bucket {
    fn full(quota: Quota, now_ms: u64) -> Bucket {
        Bucket { level: units(quota.capacity, ACT), at_ms: now_ms, quota }
    }

    /// Filled in each millisecond.
    fn rate(&self) -> u64 {
        units(self.quota.per_minute, 1_000)
    }

    fn fill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        let filled = self.level.saturating_add(passed_ms.saturating_mul(self.rate()));
        self.level = filled.min(units(self.quota.capacity, ACT));
        self.at_ms = now_ms.max(self.at_ms);
    }

    fn take(&mut self, now_ms: u64) -> Verdict {
        self.fill(now_ms);
        if self.level < ACT {
            let wait_ms = match self.rate() {
                0 => NEVER_MS,
                rate => (ACT - self.level).div_ceil(rate),
            };
            return Verdict::Denied { retry_after_ms: wait_ms.div_ceil(1_000).max(1) * 1_000 };
        }
        self.level -= ACT;
        let capacity = units(self.quota.capacity, ACT);
        if self.level >= capacity / WARN_BELOW {
            return Verdict::Allowed;
        }
        Verdict::Warned { remaining: self.level / ACT, capacity: capacity / ACT }
    }

    fn is_full(&self) -> bool {
        self.level >= units(self.quota.capacity, ACT)
    }
}

/// So much of something, in units of which it has so many.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a cast of a float stays in range, and settings are small"
)]
fn units(amount: f64, each: u64) -> u64 {
    (amount * each as f64).round() as u64
}

impl Limiter {
    /// A limiter with these quotas; what has none is not limited. `buckets_max` buckets are remembered.
    #[must_use]
    pub fn new(defaults: BTreeMap<Action, Quota>, buckets_max: usize) -> Limiter {
        let (overrides, exempt) = Default::default();
        let (buckets, violations) = Default::default();
        let configured = defaults.clone();
        Limiter { configured, defaults, buckets_max, overrides, exempt, buckets, violations }
    }

    /// Buckets that are remembered now.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// What is allowed to whoever has nothing of their own.
    #[must_use]
    pub fn defaults(&self) -> &BTreeMap<Action, Quota> {
        &self.defaults
    }

    /// Who is allowed something else, by their keys.
    #[must_use]
    pub fn overrides(&self) -> &BTreeMap<String, BTreeMap<Tier, Quota>> {
        &self.overrides
    }

    /// Who is never limited, by their keys.
    #[must_use]
    pub fn exempt(&self) -> &BTreeSet<String> {
        &self.exempt
    }

    /// Have these quotas in place of those configured, unless nobody is limited at all. Everybody
    /// begins anew if that changes anything.
    pub fn set_defaults(&mut self, own: BTreeMap<Action, Quota>) {
        if self.configured.is_empty() {
            return;
        }
        let mut defaults = self.configured.clone();
        defaults.extend(own);
        if defaults != self.defaults {
            self.defaults = defaults;
            self.buckets.clear();
        }
    }

    /// Allow these something else. Those for whom that changes anything begin anew.
    pub fn set_overrides(&mut self, overrides: BTreeMap<String, BTreeMap<Tier, Quota>>) {
        let before = std::mem::replace(&mut self.overrides, overrides);
        let is_same = |subject: &Subject| {
            let key = subject.key();
            before.get(&key) == self.overrides.get(&key)
        };
        self.buckets.retain(|(subject, ..), _| is_same(subject));
    }

    /// Limit these never.
    pub fn set_exempt(&mut self, exempt: BTreeSet<String>) {
        self.exempt = exempt;
    }

    /// Somebody does something.
    pub fn check(
        &mut self,
        subject: &Subject,
        transport: Transport,
        action: Action,
        now_ms: u64,
    ) -> Verdict {
        let key = subject.key();
        if self.exempt.contains(&key) {
            return Verdict::Allowed;
        }
        let own = self.overrides.get(&key).and_then(|tiers| tiers.get(&action.tier()));
        let Some(quota) = own.or(self.defaults.get(&action)).copied() else {
            return Verdict::Allowed;
        };
        let place = (subject.clone(), transport, action);
        if self.buckets.len() >= self.buckets_max && !self.buckets.contains_key(&place) {
            self.forget(now_ms);
        }
        let full = Bucket::full(quota, now_ms);
        let verdict = self.buckets.entry(place).or_insert(full).take(now_ms);
        if let Verdict::Denied { .. } = verdict {
            self.note_violation(subject, now_ms);
        }
        verdict
    }

    fn note_violation(&mut self, subject: &Subject, now_ms: u64) {
        if self.violations.len() >= VIOLATORS_MAX && !self.violations.contains_key(subject) {
            self.violations.retain(|_, found| found.of_hour.total(now_ms) > 0);
            if self.violations.len() >= VIOLATORS_MAX {
                return;
            }
        }
        let found = self.violations.entry(subject.clone()).or_default();
        if found.in_window == 0 || now_ms >= found.since_ms + WINDOW_MS {
            (found.since_ms, found.in_window) = (now_ms, 0);
        }
        found.in_window += 1;
        found.of_hour.add(now_ms, 1);
    }

    /// Make room.
    fn forget(&mut self, now_ms: u64) {
        self.buckets.retain(|_, bucket| {
            bucket.fill(now_ms);
            !bucket.is_full()
        });
        if self.buckets.len() < self.buckets_max {
            return;
        }
        let mut uses: Vec<u64> = self.buckets.values().map(|bucket| bucket.at_ms).collect();
        let place = uses.len() / 10;
        let (_, oldest, _) = uses.select_nth_unstable(place);
        let oldest = *oldest;
        self.buckets.retain(|_, bucket| bucket.at_ms > oldest);
        if self.buckets.len() >= self.buckets_max {
            self.buckets.clear();
        }
    }

    /// Whoever used something up to now, and what is left; at most `most`.
    #[must_use]
    pub fn usage(&self, most: usize, now_ms: u64) -> Vec<Usage> {
        let mut by_subject: BTreeMap<&Subject, Usage> = BTreeMap::new();
        for ((subject, transport, action), bucket) in &self.buckets {
            if by_subject.len() >= most && !by_subject.contains_key(subject) {
                continue;
            }
            let mut bucket = *bucket;
            bucket.fill(now_ms);
            let usage = by_subject.entry(subject).or_insert_with(|| Usage {
                subject: subject.clone(),
                buckets: Vec::new(),
                violations: self.violations_of(subject, now_ms),
            });
            let left = bucket.level / ACT;
            usage.buckets.push((*transport, *action, left, bucket.quota.capacity));
        }
        by_subject.into_values().collect()
    }

    /// Denials of the last hour.
    #[must_use]
    pub fn violations_of_hour(&self, now_ms: u64) -> u64 {
        self.violations.values().map(|found| found.of_hour.total(now_ms)).sum()
    }

    fn violations_of(&self, subject: &Subject, now_ms: u64) -> u64 {
        let open = self.violations.get(subject);
        let open = open.filter(|found| now_ms < found.since_ms + WINDOW_MS);
        open.map_or(0, |found| found.in_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS_MAX: usize = 1_000;

    fn agent(name: &str) -> Subject {
        Subject::Agent(Name::parse(name).unwrap())
    }

    fn limiter() -> Limiter {
        let quota = |acts| Quota::a_minute(acts).unwrap();
        Limiter::new(
            BTreeMap::from([
                (Action::Other(Tier::Heavy), quota(10)),
                (Action::Other(Tier::Normal), quota(60)),
                (Action::Message, quota(100)),
            ]),
            BUCKETS_MAX,
        )
    }

    const NORMAL: Action = Action::Other(Tier::Normal);
    const HEAVY: Action = Action::Other(Tier::Heavy);

    fn check(limiter: &mut Limiter, who: &str, action: Action, now_ms: u64) -> Verdict {
        limiter.check(&agent(who), Transport::Http, action, now_ms)
    }

    #[test]
    fn a_burst_is_warned_and_then_denied_until_a_token_is_there() {
        let mut limiter = limiter();
        for number in 1..=60 {
            // The contract's example: a burst is warned from the 49th on, with 11 left.
            let expected = match number {
                ..49 => Verdict::Allowed,
                _ => Verdict::Warned { remaining: 60 - number, capacity: 60 },
            };
            assert_eq!(check(&mut limiter, "a", NORMAL, 0), expected, "{number}");
        }
        let denied = |retry_after_ms| Verdict::Denied { retry_after_ms };
        let last = |capacity| Verdict::Warned { remaining: 0, capacity };
        assert_eq!(check(&mut limiter, "a", NORMAL, 0), denied(1_000));
        assert_eq!(check(&mut limiter, "a", NORMAL, 999), denied(1_000));
        assert_eq!(check(&mut limiter, "a", NORMAL, 1_000), last(60));
        assert_eq!(check(&mut limiter, "b", NORMAL, 0), Verdict::Allowed);
        for _ in 0..10 {
            check(&mut limiter, "a", HEAVY, 1_000);
        }
        assert_eq!(check(&mut limiter, "a", HEAVY, 1_000), denied(6_000));
        assert_eq!(check(&mut limiter, "a", HEAVY, 4_000), denied(3_000));
        // Whoever hammers is filled all the same.
        for now_ms in 4_001..7_000 {
            assert!(matches!(check(&mut limiter, "a", HEAVY, now_ms), Verdict::Denied { .. }));
        }
        assert_eq!(check(&mut limiter, "a", HEAVY, 7_000), last(10));
        // What has no quota is not limited, and a clock that goes back fills nothing.
        assert_eq!(check(&mut limiter, "a", Action::Onboard, 0), Verdict::Allowed);
        assert_eq!(check(&mut limiter, "a", HEAVY, 0), denied(6_000));
    }

    #[test]
    fn doors_are_limited_apart_and_addresses_are_not_agents() {
        let mut limiter = limiter();
        let home = Subject::Address("127.0.0.1".parse().unwrap());
        assert_eq!(home.key(), "ip:127.0.0.1");
        for _ in 0..10 {
            limiter.check(&home, Transport::Http, HEAVY, 0);
        }
        let denied = limiter.check(&home, Transport::Http, HEAVY, 0);
        assert!(matches!(denied, Verdict::Denied { .. }), "{denied:?}");
        let allowed = limiter.check(&home, Transport::Ws, HEAVY, 0);
        assert!(matches!(allowed, Verdict::Allowed), "{allowed:?}");
        assert_eq!(limiter.usage(9, 0)[0].violations, 1);
        assert_eq!(limiter.usage(9, WINDOW_MS)[0].violations, 0);
        let hours = [WINDOW_MS, 3_900_000].map(|now_ms| limiter.violations_of_hour(now_ms));
        assert_eq!(hours, [1, 0]);
        assert_eq!(limiter.usage(0, 0), []);
    }

    #[test]
    fn an_override_counts_for_the_whole_tier_and_who_is_exempt_is_never_denied() {
        let mut limiter = limiter();
        let quota = Quota { capacity: 2.0, per_minute: 0.0 };
        let tiers = BTreeMap::from([(Tier::Normal, quota)]);
        limiter.set_overrides(BTreeMap::from([("a".to_owned(), tiers)]));
        for action in [NORMAL, Action::Message] {
            check(&mut limiter, "a", action, 0);
            check(&mut limiter, "a", action, 0);
            let denied = check(&mut limiter, "a", action, 1_000_000);
            assert_eq!(denied, Verdict::Denied { retry_after_ms: NEVER_MS });
        }
        assert_eq!(check(&mut limiter, "a", HEAVY, 0), Verdict::Allowed);
        limiter.set_exempt(BTreeSet::from(["a".to_owned()]));
        assert_eq!(check(&mut limiter, "a", NORMAL, 0), Verdict::Allowed);
    }

    #[test]
    fn however_many_come_the_memory_is_bounded() {
        let mut limiter = limiter();
        for number in 0..BUCKETS_MAX + 100 {
            check(&mut limiter, &format!("a{number}"), HEAVY, number as u64 / 100);
        }
        assert!(limiter.buckets.len() <= BUCKETS_MAX);
        let before = limiter.buckets.len();
        // After a minute all are full again.
        for number in 0..BUCKETS_MAX - before + 1 {
            check(&mut limiter, &format!("b{number}"), HEAVY, 1_000_000);
        }
        assert_eq!(limiter.buckets.len(), BUCKETS_MAX - before + 1);
    }
}
