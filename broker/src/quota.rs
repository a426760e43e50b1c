//! What one identity may have and do, through however many connections: a user, an agent by its
//! token, or whoever comes from an address without saying who.
//!
//! ```text
//! Accounts   all identities, and what is set for them      (one lock, taken when somebody comes)
//! Account    one identity, shared by its connections       (no lock: every number is an atomic)
//!   Meter    so much a minute                               Places   so many at once
//! Visitor    an account at a door of the legacy hub: a meter more for each action
//! ```
//!
//! An account outlives its connections until its meters are full again, so that coming anew gains
//! nothing. This reads no clock. Over TCP nothing is limited unless somebody sets it, and the operator
//! only by name; the doors of the hub have the hub's own numbers, and never limit the operator.

mod meter;
mod rates;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use parking_lot::Mutex;

use self::meter::{Meter, Pace};
use self::rates::{Denials, DoorMeters, RateTable, VIOLATIONS_MS, Violations};
use crate::core::command::{Command, Tick};
use crate::translate::message::OPERATOR;

pub use rates::{Action, Allowance, Denial, Rate, Remainder, Tier, Transport};

/// What an identity may have and do over TCP. 0: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Connections at once.
    pub connections: u64,
    /// Subscriptions of all of them.
    pub subscriptions: u64,
    /// Requests that are not answered yet.
    pub in_flight: u64,
    /// Requests a minute, and in a row.
    pub requests: u64,
    /// Messages a minute, and in a row.
    pub messages: u64,
    /// Bytes of messages a minute, and in a row.
    pub bytes: u64,
}

impl Quota {
    /// The name of each number, and the number.
    pub fn fields(&mut self) -> [(&'static str, &mut u64); 6] {
        [
            ("connections", &mut self.connections),
            ("subscriptions", &mut self.subscriptions),
            ("in_flight", &mut self.in_flight),
            ("requests", &mut self.requests),
            ("messages", &mut self.messages),
            ("bytes", &mut self.bytes),
        ]
    }
}

/// Of what there are only so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A connection.
    Connection,
    /// A subscription.
    Subscription,
    /// A request that is not answered yet.
    Request,
}

/// So many at once.
#[derive(Debug, Default)]
struct Places {
    used: AtomicU64,
    /// 0: as many as there are.
    max: AtomicU64,
}

impl Places {
    fn enter(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let before = self.used.fetch_add(1, Ordering::Relaxed);
        let has_room = max == 0 || before < max;
        if !has_room {
            self.leave(1);
        }
        has_room
    }

    fn leave(&self, count: u64) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one identity has and did.
#[derive(Debug, Default)]
pub struct Account {
    connections: Places,
    subscriptions: Places,
    in_flight: Places,
    requests: Meter,
    messages: Meter,
    bytes: Meter,
    /// By door; there once somebody came through it.
    doors: [OnceLock<Box<DoorMeters>>; Transport::ALL.len()],
    violations: Mutex<Violations>,
}

impl Account {
    fn set(&self, quota: &Quota) {
        for (places, max) in [
            (&self.connections, quota.connections),
            (&self.subscriptions, quota.subscriptions),
            (&self.in_flight, quota.in_flight),
        ] {
            places.max.store(max, Ordering::Relaxed);
        }
        self.requests.set(Pace::a_minute(quota.requests));
        self.messages.set(Pace::a_minute(quota.messages));
        self.bytes.set(Pace::a_minute(quota.bytes));
    }

    fn set_rates(&self, table: &RateTable, identity: &str) {
        let key = rates_key(identity);
        for meters in self.doors.iter().filter_map(OnceLock::get) {
            meters.set(table, &key);
        }
    }

    fn places(&self, thing: Thing) -> &Places {
        match thing {
            Thing::Connection => &self.connections,
            Thing::Subscription => &self.subscriptions,
            Thing::Request => &self.in_flight,
        }
    }

    /// Have one thing more; `None` if there are as many as allowed.
    #[must_use]
    pub fn enter(self: &Arc<Account>, thing: Thing) -> Option<Ticket> {
        // Not made unless there is room: a ticket gives back what it stands for.
        self.places(thing).enter().then(|| Ticket { account: Arc::clone(self), thing, count: 1 })
    }

    /// Whether messages are counted at all.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        self.messages.is_set() || self.bytes.is_set()
    }

    /// A message of so many bytes was sent.
    pub fn charge(&self, bytes: u64, now: Tick) {
        self.messages.charge(1, now);
        self.bytes.charge(bytes, now);
    }

    /// In how many milliseconds the next message may be sent.
    #[must_use]
    pub fn wait_ms(&self, now: Tick) -> u64 {
        self.messages.wait_ms(now).max(self.bytes.wait_ms(now))
    }

    /// Ask for something.
    ///
    /// # Errors
    /// In how many milliseconds it may be asked for.
    pub fn take_request(&self, now: Tick) -> Result<(), u64> {
        let taken = self.requests.take(now);
        taken.map(drop).map_err(|wait_ms| wait_ms.unwrap_or(u64::MAX))
    }

    /// What it has now, in the order of [`Thing`].
    #[must_use]
    pub fn usage(&self) -> [u64; 3] {
        [self.connections.used(), self.subscriptions.used(), self.in_flight.used()]
    }

    /// When nothing that it did counts any more.
    fn idle_at(&self) -> Tick {
        let meters = [&self.requests, &self.messages, &self.bytes].map(Meter::full_at);
        let doors = self.doors.iter().filter_map(OnceLock::get).map(|meters| meters.full_at());
        let last = meters.into_iter().chain(doors).max().unwrap_or_default();
        last.max(self.violations.lock().end())
    }
}

/// Some of what there are only so many of; given back when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    account: Arc<Account>,
    thing: Thing,
    count: u64,
}

impl Ticket {
    /// None yet.
    #[must_use]
    pub fn none_of(account: &Arc<Account>, thing: Thing) -> Ticket {
        Ticket { account: Arc::clone(account), thing, count: 0 }
    }

    /// One more, if it is allowed. Gives whether it is.
    pub fn add(&mut self) -> bool {
        let has_room = self.account.places(self.thing).enter();
        self.count += u64::from(has_room);
        has_room
    }

    /// There are only so many left.
    pub fn lower_to(&mut self, count: usize) {
        let over = self.count.saturating_sub(count as u64);
        self.account.places(self.thing).leave(over);
        self.count -= over;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lower_to(0);
    }
}

/// Somebody at a door of the legacy hub.
#[derive(Clone, Debug)]
pub struct Visitor {
    account: Arc<Account>,
    transport: Transport,
    denials: Arc<Denials>,
}

impl Visitor {
    /// Do something.
    ///
    /// # Errors
    /// [`Denial`], which counts as a violation.
    pub fn take(&self, action: Action, now: Tick) -> Result<Allowance, Denial> {
        let taken = self.meters().take(action, now);
        taken.map_err(|retry_after_ms| {
            self.denials.lock().add(now.0, 1);
            let is_first = self.account.violations.lock().note(now);
            Denial { retry_after_ms, withhold_ms: is_first.then_some(VIOLATIONS_MS) }
        })
    }

    /// Do what is counted and never denied.
    pub fn count(&self, action: Action, now: Tick) -> Allowance {
        self.meters().take(action, now).unwrap_or(Allowance::Plenty)
    }

    fn meters(&self) -> &DoorMeters {
        let meters = self.account.doors[self.transport as usize].get();
        meters.expect("whoever lets visitors in makes them")
    }
}

/// What somebody did through the doors of the legacy hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The agent, or `ip:` and the address.
    pub key: String,
    /// What is left, by door and action.
    pub remainders: Vec<Remainder>,
    /// Denials in the window that is open; 0 if none is.
    pub violations: u64,
}

/// The identity of an agent.
#[must_use]
pub fn agent(name: &str) -> String {
    format!("agent:{name}")
}

/// The identity of whoever comes from an address and does not say who it is.
#[must_use]
pub fn address(address: IpAddr) -> String {
    format!("address:{address}")
}

/// What the rates of the hub call an identity.
fn rates_key(identity: &str) -> String {
    match (identity.strip_prefix("agent:"), identity.strip_prefix("address:")) {
        (Some(agent), _) => agent.to_owned(),
        (_, Some(address)) => format!("ip:{address}"),
        _ => identity.to_owned(),
    }
}

/// Whether a command counts as a request. What whoever holds a task says of it does not: a task must
/// not suffer because its agent asks too much.
#[must_use]
pub fn is_request(command: &Command) -> bool {
    !matches!(
        command,
        Command::Lease(_)
            | Command::Attach(_)
            | Command::Leave { .. }
            | Command::Detach { .. }
            | Command::Heartbeat { .. }
            | Command::Holds { .. }
            | Command::Withhold { .. }
    )
}

/// All identities.
#[derive(Debug)]
pub struct Accounts {
    book: Mutex<Book>,
    changing: tokio::sync::Mutex<()>,
    denials: Arc<Denials>,
}

#[derive(Debug)]
struct Book {
    defaults: Quota,
    /// So many are remembered.
    max: usize,
    own: BTreeMap<String, Quota>,
    rates: RateTable,
    accounts: HashMap<Box<str>, Arc<Account>>,
}

impl Book {
    fn quota(&self, identity: &str) -> Quota {
        match self.own.get(identity) {
            Some(quota) => *quota,
            None if identity == OPERATOR => Quota::default(),
            None => self.defaults,
        }
    }

    /// Forget whoever is idle; if there is nobody, a tenth of those that nobody uses: whoever is
    /// idle first, so that being forgotten gains the least.
    fn make_room(&mut self, now: Tick) {
        let is_used = |account: &Arc<Account>| Arc::strong_count(account) > 1;
        self.accounts.retain(|_, account| is_used(account) || account.idle_at() > now);
        if self.accounts.len() < self.max {
            return;
        }
        let unused = self.accounts.values().filter(|account| !is_used(account));
        let mut idle_at: Vec<Tick> = unused.map(|account| account.idle_at()).collect();
        if idle_at.is_empty() {
            return;
        }
        let place = idle_at.len() / 10;
        let (_, last, _) = idle_at.select_nth_unstable(place);
        let (last, mut to_forget) = (*last, place + 1);
        self.accounts.retain(|_, account| {
            let is_kept = to_forget == 0 || is_used(account) || account.idle_at() > last;
            to_forget -= usize::from(!is_kept);
            is_kept
        });
    }

    fn account(&mut self, identity: &str, now: Tick) -> Arc<Account> {
        if let Some(account) = self.accounts.get(identity) {
            return Arc::clone(account);
        }
        if self.accounts.len() >= self.max {
            self.make_room(now);
        }
        let account = Arc::<Account>::default();
        account.set(&self.quota(identity));
        self.accounts.insert(identity.into(), Arc::clone(&account));
        account
    }

    fn set_rates(&mut self, change: impl FnOnce(&mut RateTable)) {
        let before = self.rates.clone();
        change(&mut self.rates);
        if before == self.rates {
            return;
        }
        for (identity, account) in &self.accounts {
            account.set_rates(&self.rates, identity);
        }
    }
}

impl Accounts {
    /// Held by whoever sets quotas, or reads what is set, until that is taken over: what was read first
    /// must not be taken over last.
    pub async fn changing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Whoever has nothing of their own may have and do that much: over TCP, and through the doors of
    /// the hub, where nobody is limited if there are no `rates` at all. `max` identities are
    /// remembered.
    #[must_use]
    pub fn new(defaults: Quota, rates: BTreeMap<Action, Rate>, max: usize) -> Accounts {
        let (own, accounts) = (BTreeMap::new(), HashMap::new());
        let book = Book { defaults, max, own, rates: RateTable::new(rates), accounts };
        let (changing, denials) = Default::default();
        Accounts { book: Mutex::new(book), changing, denials }
    }

    /// Identities that are remembered now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.book.lock().accounts.len()
    }

    /// What is allowed to whoever has nothing of their own.
    #[must_use]
    pub fn defaults(&self) -> Quota {
        self.book.lock().defaults
    }

    /// Allow these something else, and everybody else the defaults. What they did so far counts.
    pub fn set_own(&self, own: BTreeMap<String, Quota>) {
        let mut book = self.book.lock();
        if book.own == own {
            return;
        }
        book.own = own;
        for (identity, account) in &book.accounts {
            account.set(&book.quota(identity));
        }
    }

    /// The account of an identity.
    #[must_use]
    pub fn of(&self, identity: &str, now: Tick) -> Arc<Account> {
        self.book.lock().account(identity, now)
    }

    /// An identity that comes through a door of the hub.
    #[must_use]
    pub fn visitor(&self, identity: &str, transport: Transport, now: Tick) -> Visitor {
        let mut book = self.book.lock();
        let account = book.account(identity, now);
        // Under the lock: what is set meanwhile must not pass it by.
        account.doors[transport as usize].get_or_init(|| {
            let meters = Box::<DoorMeters>::default();
            meters.set(&book.rates, &rates_key(identity));
            meters
        });
        Visitor { account, transport, denials: Arc::clone(&self.denials) }
    }

    /// Allow everybody these, in place of those configured, unless nobody is limited at all.
    /// Everybody begins anew where that changes anything.
    pub fn set_rates(&self, own: BTreeMap<Action, Rate>) {
        self.book.lock().set_rates(|table| table.set_defaults(own));
    }

    /// Allow these something else. Those for whom that changes anything begin anew.
    pub fn set_overrides(&self, overrides: BTreeMap<String, BTreeMap<Tier, Rate>>) {
        self.book.lock().set_rates(|table| table.overrides = overrides);
    }

    /// Limit these never at the doors of the hub.
    pub fn set_exempt(&self, exempt: BTreeSet<String>) {
        self.book.lock().set_rates(|table| table.exempt = exempt);
    }

    /// What is allowed at the doors of the hub to whoever has nothing of their own.
    #[must_use]
    pub fn rates(&self) -> BTreeMap<Action, Rate> {
        self.book.lock().rates.defaults.clone()
    }

    /// Who is allowed something else there: agents, and `ip:` and an address.
    #[must_use]
    pub fn overrides(&self) -> BTreeMap<String, BTreeMap<Tier, Rate>> {
        self.book.lock().rates.overrides.clone()
    }

    /// Who is never limited there.
    #[must_use]
    pub fn exempt(&self) -> BTreeSet<String> {
        self.book.lock().rates.exempt.clone()
    }

    /// Whoever did anything through the doors of the hub that is remembered; at most `limit`.
    #[must_use]
    pub fn visitors(&self, limit: usize, now: Tick) -> Vec<Usage> {
        let book = self.book.lock();
        let usage = book.accounts.iter().filter_map(|(identity, account)| {
            let doors = Transport::ALL.into_iter().zip(&account.doors);
            let doors = doors.filter_map(|(transport, door)| Some((transport, door.get()?)));
            let remainders: Vec<Remainder> =
                doors.flat_map(|(transport, meters)| meters.remainders(transport, now)).collect();
            let violations = account.violations.lock().count(now);
            let key = || rates_key(identity);
            (!remainders.is_empty()).then(|| Usage { key: key(), remainders, violations })
        });
        usage.take(limit).collect()
    }

    /// Denials at the doors of the hub in the last hour.
    #[must_use]
    pub fn denials(&self, now: Tick) -> u64 {
        self.denials.lock().total(now.0)
    }

    /// Those who have anything now, or did anything lately, by name; at most `limit`.
    #[must_use]
    pub fn usage(&self, limit: usize) -> BTreeMap<String, (Quota, [u64; 3])> {
        let book = self.book.lock();
        let in_use = book.accounts.iter().filter(|(_, account)| account.usage() != [0; 3]);
        let shown = in_use.map(|(identity, account)| {
            (identity.to_string(), (book.quota(identity), account.usage()))
        });
        shown.take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 100;

    const NOW: Tick = Tick(1_000_000);
    const HEAVY: Action = Action::Other(Tier::Heavy);

    fn accounts(defaults: Quota) -> Accounts {
        let rates = BTreeMap::from([(HEAVY, Rate::a_minute(10).unwrap())]);
        Accounts::new(defaults, rates, MANY)
    }

    #[test]
    fn all_connections_of_an_identity_share_what_it_may_have() {
        let accounts = accounts(Quota { connections: 2, ..Quota::default() });
        let enter = |identity: &str| accounts.of(identity, NOW).enter(Thing::Connection);
        let (first, second) = (enter("user:a"), enter("user:a"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("user:a").is_none() && enter("user:a").is_none());
        assert!(enter("user:b").is_some());
        drop(first);
        assert!(enter("user:a").is_some());
        for _ in 0..3 {
            std::mem::forget(enter(OPERATOR).expect("the operator is not limited"));
        }
    }

    #[test]
    fn subscriptions_are_given_back_as_they_end() {
        let accounts = accounts(Quota { subscriptions: 3, ..Quota::default() });
        let account = accounts.of("user:a", NOW);
        let mut mine = Ticket::none_of(&account, Thing::Subscription);
        let mut others = Ticket::none_of(&account, Thing::Subscription);
        assert!(mine.add() && mine.add() && others.add() && !others.add());
        mine.lower_to(1);
        assert!(others.add() && !mine.add());
        drop(others);
        assert_eq!(account.usage(), [0, 1, 0]);
    }

    #[test]
    fn who_comes_anew_has_no_more_than_before() {
        let accounts = accounts(Quota { requests: 1, ..Quota::default() });
        let ask = |now| accounts.of("user:a", now).take_request(now);
        assert_eq!(ask(NOW), Ok(()));
        assert_eq!(ask(NOW), Err(60_000));
        assert_eq!(ask(Tick(NOW.0 + 60_000)), Ok(()));
    }

    #[test]
    fn what_is_set_later_counts_at_once_for_whoever_is_there() {
        let accounts = accounts(Quota::default());
        let account = accounts.of("user:a", NOW);
        assert!(!account.is_metered());
        let quota = Quota { messages: 60, ..Quota::default() };
        accounts.set_own([("user:a".to_owned(), quota)].into());
        assert!(account.is_metered());
        let charge = |_| {
            account.charge(1, NOW);
            account.wait_ms(NOW)
        };
        let waits: Vec<u64> = (0..61).map(charge).collect();
        assert_eq!((waits[58], waits[59], waits[60]), (0, 1_000, 2_000));
        accounts.set_own(BTreeMap::new());
        assert_eq!(account.wait_ms(NOW), 0);
    }

    #[test]
    fn those_that_are_idle_are_forgotten_first_and_then_those_that_soon_are() {
        let accounts = accounts(Quota { requests: 2, ..Quota::default() });
        let kept = accounts.of("kept", NOW);
        let ask = |identity: &str, now| accounts.of(identity, now).take_request(now);
        assert_eq!([ask("busy", NOW), ask("busy", NOW)], [Ok(()), Ok(())]);
        for number in 0..MANY {
            let _ = accounts.of(&number.to_string(), NOW);
        }
        assert!(accounts.count() <= MANY);
        for number in 0..2 * MANY {
            assert_eq!(ask(&format!("other{number}"), NOW), Ok(()));
        }
        assert!((MANY * 8 / 10..=MANY).contains(&accounts.count()), "{}", accounts.count());
        assert!(Arc::ptr_eq(&kept, &accounts.of("kept", NOW)));
        assert!(ask("busy", NOW).is_err(), "the others are idle before it");
    }

    #[test]
    fn doors_are_limited_apart_and_addresses_are_not_agents() {
        let accounts = accounts(Quota::default());
        let home = "127.0.0.1".parse().unwrap();
        let check = |identity: &str, transport, now| {
            accounts.visitor(identity, transport, now).take(HEAVY, now)
        };
        for _ in 0..10 {
            let _ = check(&address(home), Transport::Http, NOW);
        }
        let denied = |withhold_ms| Err(Denial { retry_after_ms: 6_000, withhold_ms });
        assert_eq!(check(&address(home), Transport::Http, NOW), denied(Some(60_000)));
        assert_eq!(check(&address(home), Transport::Http, NOW), denied(None));
        assert_eq!(check(&address(home), Transport::Ws, NOW), Ok(Allowance::Plenty));
        assert_eq!(check(&agent("127.0.0.1"), Transport::Http, NOW), Ok(Allowance::Plenty));
        let shown = |now| {
            let usage = accounts.visitors(9, now).into_iter().map(|one| (one.key, one.violations));
            usage.collect::<BTreeMap<String, u64>>()
        };
        let keys = |violations| {
            BTreeMap::from([("ip:127.0.0.1".to_owned(), violations), ("127.0.0.1".to_owned(), 0)])
        };
        assert_eq!((shown(NOW), shown(NOW.after(60_000))), (keys(2), keys(0)));
        assert_eq!([NOW, NOW.after(3_900_000)].map(|now| accounts.denials(now)), [2, 0]);
        assert_eq!(accounts.visitors(0, NOW), []);
    }

    #[test]
    fn what_is_set_for_the_doors_counts_for_whoever_is_there() {
        let accounts = accounts(Quota::default());
        let ann = accounts.visitor(&agent("ann"), Transport::Ws, NOW);
        let allowed = || (0..20).filter(|_| ann.take(HEAVY, NOW).is_ok()).count();
        assert_eq!(allowed(), 10);
        let three = Rate { capacity: 3.0, per_minute: 3.0 };
        accounts.set_overrides([("ann".to_owned(), [(Tier::Heavy, three)].into())].into());
        assert_eq!((allowed(), allowed()), (3, 0));
        accounts.set_exempt(["ann".to_owned()].into());
        assert_eq!(allowed(), 20);
        accounts.set_exempt(BTreeSet::new());
        accounts.set_overrides(BTreeMap::new());
        accounts.set_rates([(HEAVY, three)].into());
        assert_eq!((allowed(), allowed()), (3, 0));
        let again = accounts.visitor(&agent("ann"), Transport::Ws, NOW);
        assert!(again.take(HEAVY, NOW).is_err(), "through another connection");
        let violations = accounts.denials(NOW);
        assert_eq!(again.count(HEAVY, NOW), Allowance::Plenty, "what is never denied");
        assert_eq!(accounts.denials(NOW), violations);
    }

    #[test]
    fn a_task_does_not_suffer() {
        assert!(is_request(&Command::ListTokens));
        let session = crate::core::command::SessionId(1);
        assert!(!is_request(&Command::Heartbeat { session }));
    }
}
