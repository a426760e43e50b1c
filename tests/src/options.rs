//! What a test may configure. `to_toml` writes it for our broker, `oracle.rs` for nats-server.

use std::fmt::Write;
use std::sync::Arc;

use crate::disk::SmallDisk;
use crate::faults::SyncFault;

/// Settings that differ from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) limits: Vec<(&'static str, u64)>,
    pub(crate) timeouts: Vec<(&'static str, u64)>,
    pub(crate) tasks: Vec<(&'static str, u64)>,
    pub(crate) quotas: Vec<(&'static str, u64)>,
    pub(crate) backups: Vec<(&'static str, u64)>,
    pub(crate) disk: Vec<(&'static str, u64)>,
    pub(crate) small_disk: Option<Arc<SmallDisk>>,
    pub(crate) sync_fault: Option<Arc<SyncFault>>,
    pub(crate) descriptors: Option<u32>,
    pub(crate) file_blocks: Option<u32>,
    pub(crate) token: Option<&'static str>,
    pub(crate) agents: bool,
    pub(crate) local_push: bool,
    pub(crate) is_rated: bool,
    pub(crate) users: Vec<User>,
}

/// One entry of `[[auth.users]]`. Empty lists are left out: no `allow` allows everything.
#[derive(Clone, Debug)]
pub struct User {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    pub(crate) publish: Reach,
    pub(crate) subscribe: Reach,
}

/// Subject patterns that are allowed, and those that are denied in spite of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) allow: &'static [&'static str],
    pub(crate) deny: &'static [&'static str],
}

impl Options {
    /// Set `key` of the section `[limits]`.
    pub fn limit(mut self, key: &'static str, value: u64) -> Self {
        self.limits.push((key, value));
        self
    }

    /// Set `key` of the section `[quotas]`.
    pub fn quota(mut self, key: &'static str, value: u64) -> Self {
        self.quotas.push((key, value));
        self
    }

    /// Set `key` of the section `[timeouts]`.
    pub fn timeout(mut self, key: &'static str, value: u64) -> Self {
        self.timeouts.push((key, value));
        self
    }

    /// Set `key` of the section `[tasks]`.
    pub fn task(mut self, key: &'static str, value: u64) -> Self {
        self.tasks.push((key, value));
        self
    }

    /// Set `key` of the section `[backup]`.
    pub fn backup(mut self, key: &'static str, value: u64) -> Self {
        self.backups.push((key, value));
        self
    }

    /// Set `key` of the section `[disk]`. Unless something is set there, no room is held in reserve:
    /// it would be for every test.
    pub fn disk(mut self, key: &'static str, value: u64) -> Self {
        self.disk.push((key, value));
        self
    }

    /// Keep the data on `disk`.
    pub fn on(mut self, disk: &Arc<SmallDisk>) -> Self {
        self.small_disk = Some(Arc::clone(disk));
        self
    }

    /// Let the process open at most `descriptors` files and sockets.
    pub fn descriptors(mut self, descriptors: u32) -> Self {
        self.descriptors = Some(descriptors);
        self
    }

    /// Let no file of the process grow beyond so many blocks of 512 bytes, as a full disk would.
    pub fn file_blocks(mut self, blocks: u32) -> Self {
        self.file_blocks = Some(blocks);
        self
    }

    /// Let in only who knows `token`.
    pub fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    /// Let syncs fail when `fault` says so.
    pub fn sync_fault(mut self, fault: &Arc<SyncFault>) -> Self {
        self.sync_fault = Some(Arc::clone(fault));
        self
    }

    /// Limit how often agents may ask, as by default. Elsewhere they may ask as often as they like:
    /// a test asks oftener than an agent.
    pub fn rated(mut self) -> Self {
        self.is_rated = true;
        self
    }

    /// Let in whoever has the token of an agent.
    pub fn agents(mut self) -> Self {
        self.agents = true;
        self
    }

    /// Let push services be on this machine.
    pub fn local_push(mut self) -> Self {
        self.local_push = true;
        self
    }

    /// Let in `user` (and any other user named so).
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        let no_reserve = vec![("reserve_bytes", 0)];
        let sections = [
            ("limits", &self.limits),
            ("timeouts", &self.timeouts),
            ("tasks", &self.tasks),
            ("quotas", &self.quotas),
            ("backup", &self.backups),
            ("disk", if self.disk.is_empty() { &no_reserve } else { &self.disk }),
        ];
        for (section, settings) in sections {
            if !settings.is_empty() {
                writeln!(text, "[{section}]").unwrap();
            }
            for (key, value) in settings {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        if !self.is_rated {
            writeln!(text, "[rates]\nenabled = false").unwrap();
        }
        if self.local_push {
            writeln!(text, "[push]\nallow_loopback = true").unwrap();
        }
        if let Some(token) = self.token {
            writeln!(text, "[auth]\ntoken = {token:?}").unwrap();
        }
        if self.agents {
            let section = if self.token.is_none() { "[auth]\n" } else { "" };
            writeln!(text, "{section}agents = true").unwrap();
        }
        for User { name, password, publish, subscribe } in &self.users {
            writeln!(text, "[[auth.users]]\nuser = {name:?}\npassword = {password:?}").unwrap();
            for (verb, reach) in [("publish", publish), ("subscribe", subscribe)] {
                let lists = reach.lists().map(|(key, list)| format!("{key} = {list:?}"));
                writeln!(text, "{verb} = {{ {} }}", lists.collect::<Vec<_>>().join(", ")).unwrap();
            }
        }
        text
    }
}

impl User {
    /// A user who may do everything.
    pub fn new(name: &'static str, password: &'static str) -> Self {
        Self { name, password, publish: Reach::default(), subscribe: Reach::default() }
    }

    /// May publish to `allow`, but not to `deny`.
    pub fn publish(
        mut self,
        allow: &'static [&'static str],
        deny: &'static [&'static str],
    ) -> Self {
        self.publish = Reach { allow, deny };
        self
    }

    /// May subscribe to `allow`, but not to `deny`.
    pub fn subscribe(
        mut self,
        allow: &'static [&'static str],
        deny: &'static [&'static str],
    ) -> Self {
        self.subscribe = Reach { allow, deny };
        self
    }
}

impl Reach {
    /// The lists that say anything, with their names in either configuration language.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        [("allow", self.allow), ("deny", self.deny)]
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
    }
}
