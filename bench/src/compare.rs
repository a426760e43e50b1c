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
use clap::Args;
use clap::builder::PossibleValuesParser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::figure::Figure;
use crate::report::{Report, SideRuns};
use crate::scenario::{CATALOGUE, Plan, Scenario};
use crate::server::{Program, Server};

/// Arguments of `agentcom-bench compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Our broker: the `agentcom` program.
    #[arg(long, value_name = "PATH")]
    pub broker: Option<PathBuf>,
    /// A further argument for `agentcom serve`; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub broker_arg: Vec<OsString>,
    /// The `nats-server` program: the baseline of the ratios.
    #[arg(long, value_name = "PATH")]
    pub nats_server: Option<PathBuf>,
    /// Run the baseline a second time as a side of its own, to see the noise.
    #[arg(long)]
    pub noise: bool,
    /// Run the yardstick too.
    #[arg(long)]
    pub yardstick: bool,
    /// Only this scenario; may be repeated.
    #[arg(long, value_parser = PossibleValuesParser::new(CATALOGUE.iter().map(|entry| entry.name)))]
    pub scenario: Vec<String>,
    /// Rounds of each scenario; those of memory and slow consumers stop at 3.
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
        }
    }

    /// The servers by name, the baseline first.
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

    fn scenarios(&self) -> impl Iterator<Item = &'static Scenario> {
        let named = |entry: &&Scenario| self.scenario.iter().any(|name| name == entry.name);
        CATALOGUE.iter().filter(move |entry| {
            if self.scenario.is_empty() { entry.by_default } else { named(entry) }
        })
    }
}

/// Run everything asked for and print it. `Ok(false)` if some run was invalid.
pub fn run(args: &CompareArgs) -> Result<bool> {
    let sides = args.sides()?;
    let plan = args.plan();
    let mut out = io::stdout().lock();
    raise_descriptors()?;
    if !args.unpinned {
        let mut cpus = CpuSet::new();
        cpus.set(args.generator_cpu);
        sched_setaffinity(None, &cpus).context("pinning the generator")?;
    }
    let server_cpu = (!args.unpinned).then_some(args.server_cpu);
    for (name, program) in &sides {
        // A server that cannot be started at all is found out before the first round.
        Server::start(program, server_cpu).with_context(|| format!("trying out {name}"))?;
    }
    let mut reports = Vec::new();
    for scenario in args.scenarios() {
        let mut report = Report {
            scenario: *scenario,
            sides: sides.iter().map(|(name, _)| SideRuns::new(name)).collect(),
        };
        for round in 0..args.rounds.min(scenario.rounds_max) as usize {
            // The first of a round changes, so that no side always runs after the same one.
            for turn in 0..sides.len() {
                let place = (turn + round) % sides.len();
                let outcome = run_once(scenario, &sides[place].1, server_cpu, &plan);
                report.sides[place].push(outcome);
            }
        }
        report.print(&mut out)?;
        out.flush()?;
        reports.push(report);
    }
    if let Some(path) = &args.json {
        let pinned = server_cpu.map(|cpu| [cpu, args.generator_cpu]);
        let document = serde_json::json!({
            "server_and_generator_cpu": pinned,
            "seconds": args.seconds,
            "messages": args.messages,
            "window_bytes": args.window_bytes,
            "scenarios": reports.iter().map(Report::to_json).collect::<Vec<_>>(),
        });
        let text = serde_json::to_string_pretty(&document)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(reports.iter().all(Report::is_valid))
}

/// One run against a server started for it; the figures, and the version of the server.
fn run_once(
    scenario: &Scenario,
    program: &Program,
    cpu: Option<usize>,
    plan: &Plan,
) -> Result<(String, Vec<Figure>)> {
    let server = Server::start(program, cpu)?;
    let figures = scenario.run(&server, plan)?;
    Ok((server.version().to_owned(), figures))
}

/// As many descriptors as the system allows, for this process and the servers it starts.
fn raise_descriptors() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, limit).context("raising the limit of descriptors")
}
