//! Who is compared: each server with what it promises about the disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::dialect::Language;
use crate::program::{Durability, Program};

/// Memory that is a folder, where a flush costs nothing.
const MEMORY_FOLDER: &str = "/dev/shm";

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Our broker.
    AgentCom,
    /// Our broker with its folder in memory: what it costs when the disk costs nothing. It has no
    /// setting that gives up durability.
    AgentComInMemory,
    /// `nats-server` with JetStream.
    JetStream(Durability),
    /// A Redis stream.
    Redis(Durability),
    /// beanstalkd.
    Beanstalkd(Durability),
}

impl Peer {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        use Durability::{Always, Later, Never};
        match self {
            Self::AgentCom => "agentcom",
            Self::AgentComInMemory => "agentcom-shm",
            Self::JetStream(Always) => "js-always",
            Self::JetStream(Later | Never) => "js-default",
            Self::Redis(Always) => "redis-always",
            Self::Redis(Later) => "redis-everysec",
            Self::Redis(Never) => "redis-no-log",
            Self::Beanstalkd(Always) => "beanstalkd-f0",
            Self::Beanstalkd(Later) => "beanstalkd-f50",
            Self::Beanstalkd(Never) => "beanstalkd-no-log",
        }
    }

    /// How it is spoken to.
    pub fn language(self) -> Language {
        match self {
            Self::AgentCom | Self::AgentComInMemory => Language::AgentCom,
            Self::JetStream(_) => Language::JetStream,
            Self::Redis(_) => Language::Redis,
            Self::Beanstalkd(_) => Language::Beanstalkd,
        }
    }

    /// The folder in which it must get its own, if it matters.
    pub fn root(self) -> Option<&'static Path> {
        (self == Self::AgentComInMemory).then_some(Path::new(MEMORY_FOLDER))
    }
}

/// The programs that were found.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// `agentcom`, with further arguments for `serve`.
    pub broker: Option<(PathBuf, Vec<OsString>)>,
    /// `nats-server`.
    pub nats_server: Option<PathBuf>,
    /// `redis-server`.
    pub redis_server: Option<PathBuf>,
    /// `beanstalkd`.
    pub beanstalkd: Option<PathBuf>,
}

impl Programs {
    /// The server that `peer` is, or a sentence about what is missing.
    pub fn of(&self, peer: Peer) -> Result<Program, String> {
        let missing = |what: &str| format!("{} is left out: {what}", peer.name());
        let program = match peer {
            Peer::AgentCom | Peer::AgentComInMemory => {
                if peer.root().is_some_and(|root| !root.is_dir()) {
                    return Err(missing("there is no /dev/shm"));
                }
                let (path, more) = self.broker.clone().ok_or_else(|| missing("no --broker"))?;
                // A run submits for seconds without taking anything; that is not what is measured.
                let set = ["--set".into(), "tasks.open_tasks_max=100000000".into()];
                Program::Broker(path, more.into_iter().chain(set).collect())
            }
            Peer::JetStream(durability) => {
                let path = self.nats_server.clone().ok_or_else(|| missing("no --nats-server"))?;
                Program::JetStream(path, durability)
            }
            Peer::Redis(durability) => {
                let path = self.redis_server.clone();
                let hint = "no redis-server (apt-get install redis-server)";
                Program::Redis(path.ok_or_else(|| missing(hint))?, durability)
            }
            Peer::Beanstalkd(durability) => {
                let path = self.beanstalkd.clone();
                let hint = "no beanstalkd (apt-get install beanstalkd)";
                Program::Beanstalkd(path.ok_or_else(|| missing(hint))?, durability)
            }
        };
        Ok(program)
    }
}

/// Where `program` is: a path if it names one, or else the first folder of `PATH` that has it.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_way_to_get_it() {
        let programs = Programs::default();
        let sentence = programs.of(Peer::Redis(Durability::Always)).expect_err("no redis");
        assert!(sentence.contains("redis-always") && sentence.contains("apt-get"), "{sentence}");
    }

    #[test]
    fn programs_are_found_by_path_and_by_name() {
        assert!(find(Path::new("sh")).is_some_and(|path| path.is_absolute()));
        assert_eq!(find(Path::new("/no/such/program")), None);
        assert_eq!(find(Path::new("no-such-program")), None);
    }
}
