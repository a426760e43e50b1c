//! Everything an operator can set: one [`Config`] for file, environment and flags.
//!
//! ```text
//! defaults  <  TOML file  <  AGENTCOM_* environment  <  flags
//! ```
//!
//! [`Config::load`] reads all four, notes where each value came from, and either returns a
//! configuration that makes sense as a whole or every complaint at once. Sections are defined by
//! the `settings!` macro: the doc comment of a field is the text that `--print-config` shows.
//! How log lines look is no setting: complaints about settings must already be able to appear.

mod args;
mod auth;
mod check;
mod error;
mod file;
mod legacy;
mod limits;
mod nearest;
mod origin;
mod print;
mod push;
mod quotas;
mod rates;
mod setting;
mod tasks;
mod timeouts;
mod traces;
mod upkeep;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use args::ServeArgs;
pub use auth::{Auth, Permissions, Secret, User};
pub use error::{ConfigError, Fault};
pub use legacy::Legacy;
pub use limits::Limits;
pub use origin::Origin;
pub use push::Push;
pub use quotas::Quotas;
pub use rates::Rates;
pub use tasks::Tasks;
pub use timeouts::Timeouts;
pub use traces::Traces;
pub use upkeep::{Backup, Compaction, Disk, TimeOfDay};

use setting::{Raw, Setting, settings};

settings! {
    config => config, keys "";
    /// Everything an operator can set. Valid as a whole: see [`Config::load`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config {
        /// Where agents connect, over TCP: the port that NATS clients know. Loopback, because a
        /// broker that nobody has given credentials to must not be reachable from elsewhere.
        "listen" listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4222));
        /// Where HTTP is served: the port that legacy agents know.
        "http_listen" http_listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        /// The folder that holds everything the broker keeps; made if it is not there. In the
        /// current folder: it needs no rights, is easy to find and easy to throw away. A service
        /// names one of its own, such as /var/lib/agentcom.
        "data_dir" data_dir: PathBuf = PathBuf::from(".agentcom");
        /// A file to write the addresses in use to, as JSON, once clients can connect. None: only
        /// who asks for port 0 needs it.
        "ports_file" ports_file: Option<PathBuf> = None;
        /// Worker threads. 0 is one per core: they never wait, so more would only get in each
        /// other's way.
        "threads" threads: usize = 0, in 0..=1024;
        then {
            /// `[limits]`
            limits: Limits,
            /// `[timeouts]`
            timeouts: Timeouts,
            /// `[tasks]`
            tasks: Tasks,
            /// `[auth]`
            auth: Auth,
            /// `[legacy]`
            legacy: Legacy,
            /// `[rates]`
            rates: Rates,
            /// `[quotas]`
            quotas: Quotas,
            /// `[backup]`
            backup: Backup,
            /// `[compaction]`
            compaction: Compaction,
            /// `[disk]`
            disk: Disk,
            /// `[push]`
            push: Push,
            /// `[traces]`
            traces: Traces,
        }
    }
}

/// The variables of this process. One that is not UTF-8 cannot be one of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The tables that a file may have.
const SECTIONS: [&str; 12] = [
    "limits",
    "timeouts",
    "tasks",
    "auth",
    "legacy",
    "rates",
    "quotas",
    "backup",
    "compaction",
    "disk",
    "push",
    "traces",
];

/// Variables of the hub, and what they set.
const HUB_VARIABLES: [(&str, &str); 3] = [
    ("ADMIN_AGENTS", "legacy.admin_agents"),
    ("VAPID_PUBLIC_KEY", "push.vapid_public_key"),
    ("VAPID_PRIVATE_KEY", "push.vapid_private_key"),
];

/// A configuration, and where each of its values came from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// Read the file that `args` names, if any, then `environment`, then `args`.
    ///
    /// # Errors
    /// [`ConfigError`], whose text is meant for the operator: it names every fault with its place.
    /// The broker must not start, and exits with code 2.
    pub fn load(
        args: &ServeArgs,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        let mut loading = Loading::default();
        if let Some(path) = &args.config {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            file::read(path, &text, &mut loading)?;
        }
        loading.read_environment(environment);
        loading.read_flags(args);
        loading.finish()
    }

    /// Read `text` as if it stood in the file `path`, with no environment and no flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_toml(path: &Path, text: &str) -> Result<Loaded, ConfigError> {
        let mut loading = Loading::default();
        file::read(path, text, &mut loading)?;
        loading.finish()
    }
}

/// A configuration under construction.
#[derive(Default)]
struct Loading {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
    faults: Vec<Fault>,
}

impl Loading {
    fn set(&mut self, setting: &'static Setting, raw: &Raw, origin: Origin) {
        match (setting.write)(&mut self.config, raw) {
            Ok(()) => {
                self.origins.insert(setting.key, origin);
            }
            Err(accepted) => {
                let found = if setting.secret { "not usable".to_owned() } else { raw.found() };
                let key = setting.key.to_owned();
                self.faults.push(Fault::Value { origin, key, found, accepted });
            }
        }
    }

    fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        for (variable, value) in environment {
            let of_hub = HUB_VARIABLES.iter().find(|(theirs, _)| *theirs == variable);
            if let Some((_, key)) = of_hub {
                // Ours wins, whichever comes first.
                if !self.origins.contains_key(key) {
                    let setting = find(key).expect("a setting");
                    let origin = Origin::Environment { variable };
                    self.set(setting, &Raw::Text(value), origin);
                }
                continue;
            }
            let Some(name) = variable.strip_prefix("AGENTCOM_") else { continue };
            let setting = all().find(|setting| setting.variable() == variable);
            let origin = Origin::Environment { variable: variable.clone() };
            if let Some(setting) = setting {
                self.set(setting, &Raw::Text(value), origin);
            } else if SECTIONS.iter().any(|section| in_section(name, section)) {
                // Outside the sections, variables belong to the tools around the broker.
                let known: Vec<String> = all().map(Setting::variable).collect();
                let instead = nearest::instead(&variable, known.iter().map(String::as_str));
                self.faults.push(Fault::Unknown { origin, key: variable, instead });
            }
        }
    }

    fn read_flags(&mut self, args: &ServeArgs) {
        for (flag, key, value) in args.overrides() {
            let origin = Origin::Flag { flag };
            match find(key) {
                Ok(setting) if setting.secret => self.faults.push(Fault::Value {
                    origin,
                    key: key.to_owned(),
                    found: "on the command line, which everybody on this machine can read".into(),
                    accepted: format!("the file, or the variable {}", setting.variable()),
                }),
                Ok(setting) => self.set(setting, &Raw::Text(value.to_owned()), origin),
                Err(instead) => {
                    self.faults.push(Fault::Unknown { origin, key: key.to_owned(), instead });
                }
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        // Values that are missing or wrong would only contradict each other needlessly.
        if self.faults.is_empty() {
            self.faults = check::contradictions(&self.config, &self.origins);
        }
        if self.faults.is_empty() {
            Ok(Loaded { config: self.config, origins: self.origins })
        } else {
            Err(ConfigError::Faults(self.faults))
        }
    }
}

/// Every key, in the order of the file.
fn all() -> impl Iterator<Item = &'static Setting> + Clone {
    [
        Config::SETTINGS,
        Limits::SETTINGS,
        Timeouts::SETTINGS,
        Tasks::SETTINGS,
        Auth::SETTINGS,
        Legacy::SETTINGS,
        Rates::SETTINGS,
        Quotas::SETTINGS,
        Backup::SETTINGS,
        Compaction::SETTINGS,
        Disk::SETTINGS,
        Push::SETTINGS,
        Traces::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

/// The setting called `key`, or what to say instead.
fn find(key: &str) -> Result<&'static Setting, String> {
    if let Some(setting) = all().find(|setting| setting.key == key) {
        return Ok(setting);
    }
    // The right name in the wrong section is the likeliest mistake of all.
    let name = key.rsplit('.').next().unwrap_or(key);
    if let Some(setting) = all().find(|setting| setting.section_and_name().1 == name) {
        return Err(match setting.section_and_name().0 {
            "" => format!("`{name}` stands above the first section"),
            section => format!("`{name}` stands in the section [{section}]"),
        });
    }
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let siblings = all().filter(move |other| other.section_and_name().0 == section);
    let tables = SECTIONS.iter().copied().filter(move |_| section.is_empty());
    Err(nearest::instead(key, siblings.map(|other| other.key).chain(tables)))
}

fn in_section(name: &str, section: &str) -> bool {
    name.strip_prefix(&section.to_uppercase()).is_some_and(|rest| rest.starts_with('_'))
}

#[cfg(test)]
mod tests;
