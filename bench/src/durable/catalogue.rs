//! The table of reach in code: what is measured, against whom, and how much is wanted.

use anyhow::{Context, Result};

use super::backlog;
use super::chore::{self, Chore};
use super::churn;
use super::crew::{Course, Size};
use super::goal::{Goal, Measure};
use super::peer::{Peer, Programs};
use super::steady::{self, Steady};
use crate::figure::Figure;
use crate::program::Durability;
use crate::scenario::Plan;
use crate::server::{Place, Server};

/// What a scenario does.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// A constant number of rounds on their way.
    Steady(Steady),
    /// Submits one by one, in turns with the disk.
    OneAtATime,
    /// Cycles beside a backlog and without.
    BesideBacklog,
    /// A backlog put in, restarted, and taken out.
    Backlog,
    /// Tasks that come and go for a long time.
    Churn,
    /// Cycles while a chore is done and while it is not.
    Beside(Chore),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// One line for the reader of a report.
    pub about: &'static str,
    /// What it does.
    pub work: Work,
    /// Who does it, our broker last.
    pub peers: &'static [Peer],
    /// What is wanted.
    pub goals: &'static [Goal],
    /// Rounds beyond this are not run: a run is long, and its figures are long sums.
    pub rounds_max: u32,
}

impl Scenario {
    /// Run it once with a fresh server of `peer`; the version of the server, and the figures.
    pub fn run(
        &self,
        peer: Peer,
        programs: &Programs,
        place: &Place,
        plan: &Plan,
    ) -> Result<(String, Vec<Figure>)> {
        let root = peer.root().unwrap_or(&place.root);
        let program = programs.of(peer).map_err(anyhow::Error::msg)?;
        let language = peer.language();
        let place = Place { root: root.to_owned(), ..place.clone() };
        let start = || -> Result<Server> {
            let server = Server::start(&program, &place)?;
            language.prepare(&server).context("making the queue")?;
            Ok(server)
        };
        let mut server = start()?;
        let figures = match self.work {
            Work::Steady(steady) => steady.run(&server, language, plan)?,
            Work::OneAtATime => steady::run_one_at_a_time(&server, language, plan)?,
            Work::BesideBacklog => {
                backlog::run_beside([&server, &start()?, &start()?], language, plan)?
            }
            Work::Backlog => backlog::run(&mut server, language, plan)?,
            Work::Churn => churn::run(&server, language, plan)?,
            Work::Beside(chore) => chore::run(chore, &server, language, plan)?,
        };
        Ok((server.version().to_owned(), figures))
    }
}

const JETSTREAM: Peer = Peer::JetStream(Durability::Always);
const JETSTREAM_UNSYNCED: Peer = Peer::JetStream(Durability::Later);
const REDIS: Peer = Peer::Redis(Durability::Always);
const REDIS_UNSYNCED: Peer = Peer::Redis(Durability::Later);
const BEANSTALKD: Peer = Peer::Beanstalkd(Durability::Always);
const BEANSTALKD_UNSYNCED: Peer = Peer::Beanstalkd(Durability::Later);
const BEANSTALKD_NO_LOG: Peer = Peer::Beanstalkd(Durability::Never);

const fn submit(
    name: &'static str,
    about: &'static str,
    size: Size,
    peers: &'static [Peer],
    goals: &'static [Goal],
) -> Scenario {
    let work = Work::Steady(Steady { course: Course::Submit, size });
    Scenario { name, about, work, peers, goals, rounds_max: u32::MAX }
}

const fn cycle(
    name: &'static str,
    about: &'static str,
    peers: &'static [Peer],
    goals: &'static [Goal],
) -> Scenario {
    let size = Size { connections: 16, rounds: 1 };
    let work = Work::Steady(Steady { course: Course::Cycle, size });
    Scenario { name, about, work, peers, goals, rounds_max: u32::MAX }
}

/// So many times better than `peer`.
const fn times(figure: &'static str, peer: Peer, now: f64, end: f64) -> Goal {
    Goal { side: Peer::AgentCom, figure, measure: Measure::TimesBetterThan(peer), now, end }
}

const fn at_least(figure: &'static str, now: f64, end: f64) -> Goal {
    Goal { side: Peer::AgentCom, figure, measure: Measure::AtLeast, now, end }
}

const fn at_most(figure: &'static str, now: f64, end: f64) -> Goal {
    Goal { side: Peer::AgentCom, figure, measure: Measure::AtMost, now, end }
}

const SUBMIT_RATE: &str = steady::SUBMITS.rate;
const CYCLE_RATE: &str = steady::CYCLES.rate;
const CYCLE_CPU: &str = steady::CYCLES.cpu;

/// Microseconds. 50 ms: nobody who waits for a task notices.
const P99_US_MAX: f64 = 50_000.0;

/// 130 B and the payload.
const DISK_MAX: f64 = 130.0 + backlog::BODY_BYTES as f64;

/// What counts as no growth: a tenth of a small task. The teeth of logs and tables that come and
/// go leave a few bytes of slope even where nothing is kept.
const GROWTH_MAX: f64 = 10.0;

/// Every row, in the order of the table.
pub const CATALOGUE: &[Scenario] = &[
    submit(
        "submit-64",
        "submit 128 B, 64 connections, one in flight each",
        Size { connections: 64, rounds: 1 },
        &[JETSTREAM, REDIS, Peer::AgentCom],
        &[
            times(SUBMIT_RATE, JETSTREAM, 10.0, 25.0),
            times(SUBMIT_RATE, REDIS, 1.0, 2.0),
            at_least(steady::SUBMITS.per_flush, 30.0, 50.0),
        ],
    ),
    submit(
        "submit-256",
        "submit 128 B, 256 connections, one in flight each",
        Size { connections: 256, rounds: 1 },
        &[JETSTREAM, REDIS, Peer::AgentCom],
        &[times(SUBMIT_RATE, JETSTREAM, 10.0, 25.0), times(SUBMIT_RATE, REDIS, 1.0, 2.0)],
    ),
    submit(
        "submit-1x256",
        "submit 128 B, one connection, 256 in flight; js-default does not sync",
        Size { connections: 1, rounds: 256 },
        &[JETSTREAM, JETSTREAM_UNSYNCED, REDIS, Peer::AgentCom],
        &[
            times(SUBMIT_RATE, JETSTREAM, 40.0, 80.0),
            times(SUBMIT_RATE, JETSTREAM_UNSYNCED, 1.0, 2.0),
        ],
    ),
    Scenario {
        name: "submit-1",
        about: "submit 128 B, one at a time, in turns with a flush of the disk",
        work: Work::OneAtATime,
        peers: &[JETSTREAM, REDIS, BEANSTALKD, Peer::AgentCom],
        goals: &[at_most(steady::ABOVE_FLUSH, 100.0, 30.0)],
        rounds_max: u32::MAX,
    },
    cycle(
        "cycle-16",
        "submit, take, complete, 128 B, 16 workers",
        &[JETSTREAM, REDIS, BEANSTALKD, Peer::AgentCom],
        &[
            times(CYCLE_RATE, JETSTREAM, 5.0, 12.0),
            times(CYCLE_RATE, REDIS, 1.5, 4.0),
            times(CYCLE_RATE, BEANSTALKD, 8.0, 20.0),
            at_least(steady::CYCLES.per_flush, 3.0, 6.0),
        ],
    ),
    // Our broker has no setting that gives up durability, so the one beside it has its folder in
    // memory, where everything is written but a flush costs nothing.
    cycle(
        "cycle-cpu",
        "the same with nothing synced: what a cycle costs the server alone",
        &[BEANSTALKD_NO_LOG, Peer::AgentComInMemory, Peer::AgentCom],
        &[
            Goal {
                side: Peer::AgentComInMemory,
                figure: CYCLE_CPU,
                measure: Measure::TimesBetterThan(BEANSTALKD_NO_LOG),
                now: 3.0,
                end: 10.0,
            },
            times(CYCLE_CPU, BEANSTALKD_NO_LOG, 3.0, 10.0),
        ],
    ),
    Scenario {
        name: "cycle-backlog",
        about: "submit, take, complete, 64 B, 16 workers, beside tasks that wait",
        work: Work::BesideBacklog,
        peers: &[Peer::AgentCom],
        goals: &[
            at_least(backlog::RATE_KEPT, 85.0, 95.0),
            at_least(backlog::RATE_KEPT_OF_FEW, 85.0, 95.0),
        ],
        rounds_max: 3,
    },
    Scenario {
        name: "backlog",
        about: "tasks of 64 B that wait: put in, killed and started, taken out",
        work: Work::Backlog,
        peers: &[BEANSTALKD_UNSYNCED, JETSTREAM_UNSYNCED, REDIS_UNSYNCED, Peer::AgentCom],
        goals: &[
            at_most(backlog::MEMORY, 128.0, 64.0),
            at_most(backlog::DISK, DISK_MAX, DISK_MAX),
            at_most(backlog::RESTART, 3.0, 3.0),
        ],
        rounds_max: 3,
    },
    Scenario {
        name: "churn",
        about: "tasks of 64 B that come and go for a long time beside a few that wait",
        work: Work::Churn,
        peers: &[JETSTREAM_UNSYNCED, REDIS_UNSYNCED, Peer::AgentCom],
        goals: &[at_most(churn::GROWTH, GROWTH_MAX, GROWTH_MAX)],
        rounds_max: 3,
    },
    Scenario {
        name: "cycle-backup",
        about: "submit, take, complete, 64 B, 16 workers, while a backup is made of tasks that wait",
        work: Work::Beside(Chore::Backup),
        peers: &[Peer::AgentCom],
        goals: &[at_most(chore::P99_BESIDE, P99_US_MAX, P99_US_MAX)],
        rounds_max: 3,
    },
    Scenario {
        name: "cycle-compact",
        about: "submit, take, complete, 64 B, 16 workers, while all tables are compacted",
        work: Work::Beside(Chore::Compaction),
        peers: &[Peer::AgentCom],
        goals: &[at_most(chore::P99_BESIDE, P99_US_MAX, P99_US_MAX)],
        rounds_max: 3,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_broker_is_last_and_every_goal_names_who_takes_part() {
        for scenario in CATALOGUE {
            assert_eq!(scenario.peers.last(), Some(&Peer::AgentCom), "{}", scenario.name);
            for goal in scenario.goals {
                assert!(scenario.peers.contains(&goal.side), "{}", scenario.name);
                if let Measure::TimesBetterThan(peer) = goal.measure {
                    assert!(scenario.peers.contains(&peer), "{}", scenario.name);
                }
            }
        }
    }
}
