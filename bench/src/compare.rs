//! Rounds of the same work against each server in turn.
//!
//! Noise of a shared machine comes and goes in seconds. So the servers take turns within each
//! round, each in a fresh process, and only runs of the same round are compared with each other.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::durable::peer::{self, Peer, Programs};
use crate::durable::{self, disk, goal};
use crate::figure::Figure;
use crate::program::Program;
use crate::report::{Report, SideRuns};
use crate::scenario::{CATALOGUE, Plan, Scenario};
use crate::server::{Place, Server};

/// How long the disk is flushed to see what it is like: a thousand times if it is fast.
const FLUSHING: Duration = Duration::from_millis(200);

/// Arguments of `agentcom-bench compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Our broker: the `agentcom` program.
    #[arg(long, value_name = "PATH")]
    pub broker: Option<PathBuf>,
    /// A further argument for `agentcom serve`; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub broker_arg: Vec<OsString>,
    /// The `nats-server` program: the baseline of the ratios in the routing plane, and JetStream.
    #[arg(long, value_name = "PATH")]
    pub nats_server: Option<PathBuf>,
    /// The `redis-server` program, a peer in the durable plane.
    #[arg(long, value_name = "PATH", default_value = "redis-server")]
    pub redis_server: PathBuf,
    /// The `beanstalkd` program, a peer in the durable plane.
    #[arg(long, value_name = "PATH", default_value = "beanstalkd")]
    pub beanstalkd: PathBuf,
    /// Run the baseline a second time as a side of its own, to see the noise.
    #[arg(long)]
    pub noise: bool,
    /// Run the yardstick too.
    #[arg(long)]
    pub yardstick: bool,
    /// Only this scenario; may be repeated.
    #[arg(long, value_parser = PossibleValuesParser::new(names()))]
    pub scenario: Vec<String>,
    /// Only the scenarios of this plane.
    #[arg(long)]
    pub plane: Option<Plane>,
    /// Rounds of each scenario; those of memory, slow consumers and backlogs stop at 3.
    #[arg(long, default_value_t = 7)]
    pub rounds: u32,
    /// Length of the measured interval, in seconds; a third of it is run before as a warm-up.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Publish this many messages in the measured interval, however long it takes.
    #[arg(long)]
    pub messages: Option<u64>,
    /// Bytes that may be on their way to one receiver.
    #[arg(long, default_value_t = 2 * 1024 * 1024)]
    pub window_bytes: u64,
    /// Connections of connect-idle.
    #[arg(long, default_value_t = 5000)]
    pub connections: u32,
    /// Subscriptions of subs-100k.
    #[arg(long, default_value_t = 100_000)]
    pub subscriptions: u32,
    /// How long slow-consumer watches after the stalled subscriber has joined, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub stalled_seconds: f64,
    /// Tasks that wait in backlog and cycle-backlog.
    #[arg(long, default_value_t = 1_000_000)]
    pub tasks: u64,
    /// Tasks that wait in churn.
    #[arg(long, default_value_t = 1000)]
    pub live: u64,
    /// How long churn lasts, in seconds.
    #[arg(long, default_value_t = 20.0)]
    pub churn_seconds: f64,
    /// Where the servers get their folders; it should be on the disk that is meant. The system's
    /// temporary folder unless given.
    #[arg(long, value_name = "PATH")]
    pub folder: Option<PathBuf>,
    /// Let servers and generator run on any core.
    #[arg(long)]
    pub unpinned: bool,
    /// Core of the servers.
    #[arg(long, default_value_t = 0)]
    pub server_cpu: usize,
    /// Core of the generator.
    #[arg(long, default_value_t = 1)]
    pub generator_cpu: usize,
    /// Write every figure of every run here, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A part of the broker with scenarios of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plane {
    /// Messages, beside nats-server.
    Routing,
    /// Tasks, beside JetStream, Redis and beanstalkd.
    Durable,
}

impl CompareArgs {
    fn plan(&self) -> Plan {
        Plan {
            warmup: Duration::from_secs_f64(self.seconds / 3.0),
            measured: Duration::from_secs_f64(self.seconds),
            messages: self.messages,
            window_bytes: self.window_bytes,
            connections: self.connections,
            subscriptions: self.subscriptions,
            stalled: Duration::from_secs_f64(self.stalled_seconds),
            tasks: self.tasks,
            live: self.live,
            churn: Duration::from_secs_f64(self.churn_seconds),
        }
    }

    fn place(&self) -> Place {
        let root = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        Place { cpu: (!self.unpinned).then_some(self.server_cpu), root }
    }

    /// The servers of the routing plane by name, the baseline first.
    fn sides(&self) -> Result<Vec<(&'static str, Program)>> {
        let broker = |path: &PathBuf| Program::Broker(path.clone(), self.broker_arg.clone());
        let mut sides = Vec::new();
        sides.extend(self.nats_server.clone().map(|path| ("nats-server", Program::Nats(path))));
        sides.extend(self.broker.as_ref().map(|path| ("agentcom", broker(path))));
        ensure!(!sides.is_empty(), "name a server: --nats-server PATH, --broker PATH or both");
        if self.noise {
            sides.push(("noise", sides[0].1.clone()));
        }
        if self.yardstick {
            sides.push(("yardstick", Program::Yardstick));
        }
        Ok(sides)
    }

    /// What there is of the servers of the durable plane.
    fn programs(&self) -> Programs {
        Programs {
            broker: self.broker.clone().map(|path| (path, self.broker_arg.clone())),
            nats_server: self.nats_server.clone(),
            redis_server: peer::find(&self.redis_server),
            beanstalkd: peer::find(&self.beanstalkd),
        }
    }

    fn is_wanted(&self, plane: Plane, name: &str, by_default: bool) -> bool {
        let is_named = self.scenario.iter().any(|wanted| wanted == name);
        let is_in = self.plane.is_none_or(|wanted| wanted == plane);
        if self.scenario.is_empty() { by_default && is_in } else { is_named && is_in }
    }

    fn routing_scenarios(&self) -> Vec<&'static Scenario> {
        let entries = CATALOGUE.iter();
        entries.filter(|row| self.is_wanted(Plane::Routing, row.name, row.by_default)).collect()
    }

    fn durable_scenarios(&self) -> Vec<&'static durable::catalogue::Scenario> {
        let entries = durable::catalogue::CATALOGUE.iter();
        entries.filter(|row| self.is_wanted(Plane::Durable, row.name, true)).collect()
    }
}

/// Every scenario of both planes.
fn names() -> impl Iterator<Item = &'static str> {
    let durable = durable::catalogue::CATALOGUE.iter().map(|row| row.name);
    CATALOGUE.iter().map(|row| row.name).chain(durable)
}

/// Run everything asked for and print it. `Ok(false)` if some run was invalid.
pub fn run(args: &CompareArgs) -> Result<bool> {
    let mut out = io::stdout().lock();
    raise_descriptors()?;
    if !args.unpinned {
        let mut cpus = CpuSet::new();
        cpus.set(args.generator_cpu);
        sched_setaffinity(None, &cpus).context("pinning the generator")?;
    }
    let mut scenarios = Vec::new();
    let mut is_valid = compare_routing(args, &mut out, &mut scenarios)?;
    is_valid &= compare_durable(args, &mut out, &mut scenarios)?;
    if let Some(path) = &args.json {
        let pinned = (!args.unpinned).then_some([args.server_cpu, args.generator_cpu]);
        let document = serde_json::json!({
            "server_and_generator_cpu": pinned,
            "seconds": args.seconds,
            "messages": args.messages,
            "window_bytes": args.window_bytes,
            "tasks": args.tasks,
            "scenarios": scenarios,
        });
        let text = serde_json::to_string_pretty(&document)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(is_valid)
}

/// The routing plane: every server in every scenario, compared with the first. The figures go to
/// `out` and `json`; `Ok(false)` if some run was invalid.
fn compare_routing(
    args: &CompareArgs,
    out: &mut impl Write,
    json: &mut Vec<serde_json::Value>,
) -> Result<bool> {
    let scenarios = args.routing_scenarios();
    if scenarios.is_empty() {
        return Ok(true);
    }
    let (sides, plan, place) = (args.sides()?, args.plan(), args.place());
    for (name, program) in &sides {
        // A server that cannot be started at all is found out before the first round.
        Server::start(program, &place).with_context(|| format!("trying out {name}"))?;
    }
    let names: Vec<&'static str> = sides.iter().map(|(name, _)| *name).collect();
    let mut is_valid = true;
    for scenario in scenarios {
        let rounds = args.rounds.min(scenario.rounds_max);
        let runs = take_turns(&names, rounds, |side| {
            let server = Server::start(&sides[side].1, &place)?;
            let figures = scenario.run(&server, &plan)?;
            Ok((server.version().to_owned(), figures))
        });
        let report = Report::to_first(scenario.name, scenario.about, runs);
        report.print(out)?;
        writeln!(out)?;
        out.flush()?;
        is_valid &= report.is_valid();
        json.push(report.to_json());
    }
    Ok(is_valid)
}

/// The durable plane: each scenario with its own peers, our broker compared with every one.
fn compare_durable(
    args: &CompareArgs,
    out: &mut impl Write,
    json: &mut Vec<serde_json::Value>,
) -> Result<bool> {
    let scenarios = args.durable_scenarios();
    if scenarios.is_empty() {
        return Ok(true);
    }
    let (programs, plan, place) = (args.programs(), args.plan(), args.place());
    let flush = disk::flush_us(&place.root, FLUSHING, place.cpu)?;
    let root = place.root.display();
    let (median, best) = (flush.median, flush.min);
    writeln!(out, "One append and flush in {root}: {median:.0} us, {best:.0} us at best")?;
    let mut mentioned = Vec::new();
    let mut is_valid = true;
    for scenario in scenarios {
        let mut peers: Vec<Peer> = Vec::new();
        for &peer in scenario.peers {
            match programs.of(peer) {
                Ok(_) => peers.push(peer),
                Err(sentence) if mentioned.contains(&sentence) => {}
                Err(sentence) => {
                    writeln!(out, "{sentence}")?;
                    mentioned.push(sentence);
                }
            }
        }
        writeln!(out)?;
        let names: Vec<&'static str> = peers.iter().map(|peer| peer.name()).collect();
        let rounds = args.rounds.min(scenario.rounds_max);
        let runs =
            take_turns(&names, rounds, |side| scenario.run(peers[side], &programs, &place, &plan));
        let report = Report::of_last(scenario.name, scenario.about, runs);
        report.print(out)?;
        goal::print(scenario.goals, &report, out)?;
        out.flush()?;
        is_valid &= report.is_valid();
        let mut entry = report.to_json();
        entry["goals"] = goal::to_json(scenario.goals, &report);
        json.push(entry);
    }
    Ok(is_valid)
}

/// Have every side `run` once in each of `rounds`.
fn take_turns(
    names: &[&'static str],
    rounds: u32,
    run: impl Fn(usize) -> Result<(String, Vec<Figure>)>,
) -> Vec<SideRuns> {
    let mut sides: Vec<SideRuns> = names.iter().map(|name| SideRuns::new(name)).collect();
    for round in 0..rounds as usize {
        // The first of a round changes, so that no side always runs after the same one.
        for turn in 0..sides.len() {
            let side = (turn + round) % sides.len();
            sides[side].push(run(side));
        }
    }
    sides
}

/// As many descriptors as the system allows, for this process and the servers it starts.
fn raise_descriptors() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, limit).context("raising the limit of descriptors")
}
