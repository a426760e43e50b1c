//! What one identity may have and do over TCP, through however many connections: a user, an agent by
//! its token, or whoever comes from an address without saying who.
//!
//! ```text
//! Accounts   all identities, and what is set for them      (one lock, taken when somebody comes)
//! Account    one identity, shared by its connections       (no lock: every number is an atomic)
//!   Meter    so much a minute                               Places   so many at once
//! ```
//!
//! An account outlives its connections until its meters are idle again, so that coming anew gains
//! nothing. Like the limiter of the legacy doors, this reads no clock. Nothing is limited unless
//! somebody sets it; the operator only by name.

mod meter;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use self::meter::Meter;
use crate::core::command::{Command, Tick};
use crate::translate::message::OPERATOR;

/// What an identity may have and do. 0: as much as it likes.
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
        self.requests.set(quota.requests);
        self.messages.set(quota.messages);
        self.bytes.set(quota.bytes);
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
        self.requests.take(now)
    }

    /// What it has now, in the order of [`Thing`].
    #[must_use]
    pub fn usage(&self) -> [u64; 3] {
        [self.connections.used(), self.subscriptions.used(), self.in_flight.used()]
    }

    fn is_idle(&self, now: Tick) -> bool {
        [&self.requests, &self.messages, &self.bytes].iter().all(|meter| meter.is_idle(now))
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
    )
}

/// All identities.
#[derive(Debug)]
pub struct Accounts(Mutex<Book>, tokio::sync::Mutex<()>);

#[derive(Debug)]
struct Book {
    defaults: Quota,
    /// So many are remembered.
    max: usize,
    own: BTreeMap<String, Quota>,
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

    fn make_room(&mut self, now: Tick) {
        let is_used = |account: &Arc<Account>| Arc::strong_count(account) > 1;
        self.accounts.retain(|_, account| is_used(account) || !account.is_idle(now));
        if self.accounts.len() >= self.max {
            self.accounts.retain(|_, account| is_used(account));
        }
    }
}

impl Accounts {
    /// Held by whoever sets quotas, or reads what is set, until that is taken over: what was read first
    /// must not be taken over last.
    pub async fn changing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.1.lock().await
    }

    /// Whoever has nothing of their own may have and do that much; `max` identities are remembered.
    #[must_use]
    pub fn new(defaults: Quota, max: usize) -> Accounts {
        let (own, accounts) = (BTreeMap::new(), HashMap::new());
        Accounts(Mutex::new(Book { defaults, max, own, accounts }), tokio::sync::Mutex::default())
    }

    /// Identities that are remembered now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().accounts.len()
    }

    /// What is allowed to whoever has nothing of their own.
    #[must_use]
    pub fn defaults(&self) -> Quota {
        self.0.lock().defaults
    }

    /// Allow these something else, and everybody else the defaults. What they did so far counts.
    pub fn set_own(&self, own: BTreeMap<String, Quota>) {
        let mut book = self.0.lock();
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
        let mut book = self.0.lock();
        if let Some(account) = book.accounts.get(identity) {
            return Arc::clone(account);
        }
        if book.accounts.len() >= book.max {
            book.make_room(now);
        }
        let account = Arc::<Account>::default();
        account.set(&book.quota(identity));
        book.accounts.insert(identity.into(), Arc::clone(&account));
        account
    }

    /// Those who have anything now, or did anything lately, by name; at most `limit`.
    #[must_use]
    pub fn usage(&self, limit: usize) -> BTreeMap<String, (Quota, [u64; 3])> {
        let book = self.0.lock();
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

    #[test]
    fn all_connections_of_an_identity_share_what_it_may_have() {
        let accounts = Accounts::new(Quota { connections: 2, ..Quota::default() }, MANY);
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
        let accounts = Accounts::new(Quota { subscriptions: 3, ..Quota::default() }, MANY);
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
        let accounts = Accounts::new(Quota { requests: 1, ..Quota::default() }, MANY);
        let ask = |now| accounts.of("user:a", now).take_request(now);
        assert_eq!(ask(NOW), Ok(()));
        assert_eq!(ask(NOW), Err(60_000));
        assert_eq!(ask(Tick(NOW.0 + 60_000)), Ok(()));
    }

    #[test]
    fn what_is_set_later_counts_at_once_for_whoever_is_there() {
        let accounts = Accounts::new(Quota::default(), MANY);
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
    fn those_that_are_idle_are_forgotten_first() {
        let accounts = Accounts::new(Quota { requests: 1, ..Quota::default() }, MANY);
        let kept = accounts.of("kept", NOW);
        accounts.of("busy", NOW).take_request(NOW).unwrap();
        for number in 0..MANY {
            let _ = accounts.of(&number.to_string(), NOW);
        }
        assert!(accounts.0.lock().accounts.len() <= MANY);
        assert!(Arc::ptr_eq(&kept, &accounts.of("kept", NOW)));
        assert!(accounts.of("busy", NOW).take_request(NOW).is_err());
    }

    #[test]
    fn a_task_does_not_suffer() {
        assert!(is_request(&Command::ListTokens));
        let session = crate::core::command::SessionId(1);
        assert!(!is_request(&Command::Heartbeat { session }));
    }
}
