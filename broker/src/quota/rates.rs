//! How often somebody may do something through the doors of the legacy hub: a meter for each door and
//! action. The numbers are those of the contract's 8.2 and of the seed.

use std::collections::{BTreeMap, BTreeSet};

use super::meter::{Left, Meter, Pace};
use crate::board::Hour;
use crate::core::command::Tick;

/// Said to wait if nothing is ever filled in.
const NEVER_MS: u64 = 60_000;
/// How long violations count together.
pub(super) const VIOLATIONS_MS: u64 = 60_000;

/// What is limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// To look.
    Light,
    /// To do.
    Normal,
    /// To do what costs much.
    Heavy,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Where: the doors are limited apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// REST.
    Http,
    /// A WebSocket.
    Ws,
}

/// How much fits into a bucket, and how much is filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Acts in a row.
    pub capacity: f64,
    /// Acts a minute.
    pub per_minute: f64,
}

/// It may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// And again.
    Plenty,
    /// But soon not any more.
    Low {
        /// So many times more.
        remaining: u64,
        /// Out of so many in a row.
        capacity: u64,
    },
}

/// It may not be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// In so many milliseconds, whole seconds, it may.
    pub retry_after_ms: u64,
    /// So long an agent is to be given no work: said with the first denial in a while.
    pub withhold_ms: Option<u64>,
}

/// What somebody has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// Where.
    pub transport: Transport,
    /// Of what.
    pub action: Action,
    /// Whole acts.
    pub remaining: u64,
    /// How many in a row.
    pub capacity: u64,
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

    /// Its place in [`Action::ALL`].
    fn place(self) -> usize {
        Action::ALL.iter().position(|action| *action == self).expect("all actions are there")
    }
}

impl Transport {
    /// Every door.
    pub const ALL: [Transport; 2] = [Transport::Http, Transport::Ws];
}

impl Rate {
    /// So many a minute, and as many in a row; none means no limit.
    #[must_use]
    pub fn a_minute(acts: u64) -> Option<Rate> {
        Rate::of(acts, 1)
    }

    /// So many in so many minutes, and as many in a row; none means no limit.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "settings are small")]
    pub fn of(acts: u64, minutes: u64) -> Option<Rate> {
        let capacity = acts as f64;
        (acts > 0).then(|| Rate { capacity, per_minute: capacity / minutes as f64 })
    }

    fn pace(self) -> Pace {
        Pace::new(self.capacity, self.per_minute)
    }
}

/// What is set: who may do what how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RateTable {
    /// As configured; empty if nobody is limited at all.
    configured: BTreeMap<Action, Rate>,
    pub(super) defaults: BTreeMap<Action, Rate>,
    /// By the names of agents, and `ip:` and an address.
    pub(super) overrides: BTreeMap<String, BTreeMap<Tier, Rate>>,
    /// By the same.
    pub(super) exempt: BTreeSet<String>,
}

impl RateTable {
    pub(super) fn new(configured: BTreeMap<Action, Rate>) -> RateTable {
        let (overrides, exempt) = Default::default();
        RateTable { defaults: configured.clone(), configured, overrides, exempt }
    }

    /// Have these in place of those configured, unless nobody is limited at all.
    pub(super) fn set_defaults(&mut self, own: BTreeMap<Action, Rate>) {
        if self.configured.is_empty() {
            return;
        }
        self.defaults.clone_from(&self.configured);
        self.defaults.extend(own);
    }

    fn rate(&self, key: &str, action: Action) -> Option<Rate> {
        if self.exempt.contains(key) {
            return None;
        }
        let own = self.overrides.get(key).and_then(|tiers| tiers.get(&action.tier()));
        own.or(self.defaults.get(&action)).copied()
    }
}

/// What somebody did through one door.
#[derive(Debug, Default)]
pub(super) struct DoorMeters([Meter; Action::ALL.len()]);

impl DoorMeters {
    /// Go by what is set for `key`. Where that changes anything, the bucket is full.
    pub(super) fn set(&self, table: &RateTable, key: &str) {
        for (action, meter) in Action::ALL.into_iter().zip(&self.0) {
            if meter.set(table.rate(key, action).map(Rate::pace)) {
                meter.refill();
            }
        }
    }

    /// Do something.
    ///
    /// # Errors
    /// In how many milliseconds, whole seconds, it may be done.
    pub(super) fn take(&self, action: Action, now: Tick) -> Result<Allowance, u64> {
        match self.0[action.place()].take(now) {
            Ok(Some(left)) if left.is_low() => {
                Ok(Allowance::Low { remaining: left.units(), capacity: left.capacity() })
            }
            Ok(_) => Ok(Allowance::Plenty),
            Err(wait_ms) => Err(wait_ms.unwrap_or(NEVER_MS).div_ceil(1_000).max(1) * 1_000),
        }
    }

    /// What is left of what was ever done.
    pub(super) fn remainders(
        &self,
        transport: Transport,
        now: Tick,
    ) -> impl Iterator<Item = Remainder> {
        Action::ALL.into_iter().zip(&self.0).filter_map(move |(action, meter)| {
            let left: Left = meter.left(now)?;
            let (remaining, capacity) = (left.units(), left.capacity());
            Some(Remainder { transport, action, remaining, capacity })
        })
    }

    /// When all of it is full.
    pub(super) fn full_at(&self) -> Tick {
        self.0.iter().map(Meter::full_at).max().unwrap_or_default()
    }
}

/// Denials that count together: of a minute, from the first one on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Violations {
    since: Tick,
    count: u64,
}

impl Violations {
    /// One more. Gives whether it is the first of a window.
    pub(super) fn note(&mut self, now: Tick) -> bool {
        if self.count(now) == 0 {
            *self = Violations { since: now, count: 0 };
        }
        self.count += 1;
        self.count == 1
    }

    /// Those in the window that is open; 0 if none is.
    pub(super) fn count(&self, now: Tick) -> u64 {
        if now < self.end() { self.count } else { 0 }
    }

    /// When the window closes.
    pub(super) fn end(&self) -> Tick {
        if self.count == 0 { Tick(0) } else { self.since.after(VIOLATIONS_MS) }
    }
}

/// Denials of the last hour, of everybody.
pub(super) type Denials = parking_lot::Mutex<Hour>;

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: Action = Action::Other(Tier::Normal);
    const HEAVY: Action = Action::Other(Tier::Heavy);

    fn table() -> RateTable {
        let rate = |acts| Rate::a_minute(acts).unwrap();
        RateTable::new(BTreeMap::from([
            (HEAVY, rate(10)),
            (NORMAL, rate(60)),
            (Action::Message, rate(100)),
        ]))
    }

    fn meters(table: &RateTable, key: &str) -> DoorMeters {
        let meters = DoorMeters::default();
        meters.set(table, key);
        meters
    }

    fn denied(retry_after_ms: u64) -> Result<Allowance, u64> {
        Err(retry_after_ms)
    }

    const NOW: Tick = Tick(1_000);

    #[test]
    fn a_burst_is_warned_and_then_denied_until_a_token_is_there() {
        let meters = meters(&table(), "a");
        for number in 1..=60 {
            // The contract's example: a burst is warned from the 49th on, with 11 left.
            let expected = match number {
                ..49 => Allowance::Plenty,
                _ => Allowance::Low { remaining: 60 - number, capacity: 60 },
            };
            assert_eq!(meters.take(NORMAL, NOW), Ok(expected), "{number}");
        }
        let last = |capacity| Ok(Allowance::Low { remaining: 0, capacity });
        assert_eq!(meters.take(NORMAL, NOW), denied(1_000));
        assert_eq!(meters.take(NORMAL, NOW.after(999)), denied(1_000));
        assert_eq!(meters.take(NORMAL, NOW.after(1_000)), last(60));
        for _ in 0..10 {
            meters.take(HEAVY, NOW).unwrap();
        }
        assert_eq!(meters.take(HEAVY, NOW), denied(6_000));
        assert_eq!(meters.take(HEAVY, NOW.after(3_000)), denied(3_000));
        assert_eq!(meters.take(HEAVY, NOW.after(6_000)), last(10));
        // What has no rate is not limited.
        assert!((0..1_000).all(|_| meters.take(Action::Onboard, NOW) == Ok(Allowance::Plenty)));
        let shown: Vec<Remainder> = meters.remainders(Transport::Ws, NOW.after(12_000)).collect();
        let remainder = |action, remaining, capacity| {
            let transport = Transport::Ws;
            Remainder { transport, action, remaining, capacity }
        };
        assert_eq!(shown, [remainder(NORMAL, 11, 60), remainder(HEAVY, 1, 10)]);
        assert_eq!(meters.full_at(), NOW.after(66_000));
    }

    #[test]
    fn an_override_counts_for_the_whole_tier_and_begins_full() {
        let mut table = table();
        let meters = meters(&table, "a");
        for _ in 0..11 {
            let _ = (meters.take(NORMAL, NOW), meters.take(HEAVY, NOW));
        }
        let tiers = BTreeMap::from([(Tier::Normal, Rate { capacity: 2.0, per_minute: 0.0 })]);
        table.overrides = BTreeMap::from([("a".to_owned(), tiers)]);
        meters.set(&table, "a");
        for action in [NORMAL, Action::Message] {
            assert_ne!(meters.take(action, NOW), denied(NEVER_MS));
            assert_ne!(meters.take(action, NOW), denied(NEVER_MS));
            assert_eq!(meters.take(action, NOW.after(1_000_000)), denied(NEVER_MS));
        }
        assert_eq!(meters.take(HEAVY, NOW), denied(6_000), "another tier goes on");
        assert_eq!(self::meters(&table, "b").take(NORMAL, NOW), Ok(Allowance::Plenty));
        table.exempt = BTreeSet::from(["a".to_owned()]);
        meters.set(&table, "a");
        assert!((0..1_000).all(|_| meters.take(NORMAL, NOW) == Ok(Allowance::Plenty)));
    }

    #[test]
    fn where_nobody_is_limited_nothing_that_is_set_limits_everybody() {
        let own = || BTreeMap::from([(NORMAL, Rate { capacity: 1.0, per_minute: 1.0 })]);
        let mut nobody = RateTable::new(BTreeMap::new());
        nobody.set_defaults(own());
        assert_eq!(nobody.defaults, BTreeMap::new());
        let mut table = table();
        table.set_defaults(own());
        assert_eq!(table.defaults[&NORMAL].capacity, 1.0);
        assert_eq!(table.defaults[&HEAVY].capacity, 10.0, "as configured");
        table.set_defaults(BTreeMap::new());
        assert_eq!(table.defaults[&NORMAL].capacity, 60.0);
    }

    #[test]
    fn violations_count_for_a_minute_from_the_first_one() {
        let mut violations = Violations::default();
        assert_eq!((violations.count(NOW), violations.end()), (0, Tick(0)));
        assert!(violations.note(NOW) && !violations.note(NOW.after(59_999)));
        assert_eq!(violations.count(NOW.after(59_999)), 2);
        assert_eq!((violations.count(NOW.after(60_000)), violations.end()), (0, NOW.after(60_000)));
        assert!(violations.note(NOW.after(60_000)), "the first of another window");
        assert_eq!(violations.count(NOW.after(60_000)), 1);
    }
}
