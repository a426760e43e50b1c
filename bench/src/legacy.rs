//! The doors of the AgentCom v2 hub under load: agents on their WebSockets send messages to each
//! other, one in flight each, and work off tasks that wait. Everything is as the hub's clients do it;
//! only the limits are off, which allow an agent a hundred messages a minute.

mod agent;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};

use self::agent::{Crowd, Outgoing, Script};
use crate::figure::Spread;
use crate::program::Program;
use crate::rest::{self, Rest};
use crate::server::{Place, Server};

/// Arguments of `agentcom-bench legacy`.
#[derive(Args, Clone, Debug)]
pub struct LegacyArgs {
    /// Our broker: the `agentcom` program.
    #[arg(long, value_name = "PATH")]
    pub broker: PathBuf,
    /// Agents, each on a WebSocket of its own.
    #[arg(long, default_value_t = 64)]
    pub agents: usize,
    /// Messages that are sent before the measured interval. The broker remembers 10,000.
    #[arg(long, default_value_t = 10_000)]
    pub stored: u64,
    /// Tasks that wait when the agents come.
    #[arg(long, default_value_t = 10_000)]
    pub tasks: u64,
    /// Rounds, each with a fresh broker.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Length of the measured interval of messages, in seconds.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Where the brokers get their folders; it should be on the disk that is meant. The system's
    /// temporary folder unless given.
    #[arg(long, value_name = "PATH")]
    pub folder: Option<PathBuf>,
}

/// Core of the broker, and core of the generator, as in `compare`.
const CPUS: [usize; 2] = [0, 1];
/// Direct messages a second that the hub was measured with.
const HUB_MESSAGES: f64 = 103.0;
/// Connections that hand in tasks, so that they share flushes of the disk.
const SUBMITTERS: u64 = 16;
/// What agents can do that send messages, and that do tasks: the broker may not have noticed yet that
/// the former are gone, and must not give them any.
const TALK: &str = "talk";
const LABOUR: &str = "labour";
/// What a message says.
const TEXT_BYTES: usize = 128;

/// Run all rounds and print what the broker did. A run that is worth nothing is an error.
pub fn run(args: &LegacyArgs) -> Result<bool> {
    ensure!(args.agents > 1, "messages need two agents at least");
    let mut cpus = CpuSet::new();
    cpus.set(CPUS[1]);
    sched_setaffinity(None, &cpus).context("pinning the generator")?;
    let unlimited = ["--set", "rates.enabled=false"].map(Into::into).to_vec();
    let program = Program::Broker(args.broker.clone(), unlimited);
    let root = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let place = Place { cpu: Some(CPUS[0]), root };
    let (mut messages, mut tasks) = (Runs::default(), Runs::default());
    for _ in 0..args.rounds {
        let server = Server::start(&program, &place)?;
        let tokens = onboard(&server, args.agents)?;
        messages.push(send(&server, &tokens, args).context("messages")?);
        tasks.push(work(&server, &tokens, args.tasks).context("tasks")?);
    }
    let mut out = std::io::stdout().lock();
    let LegacyArgs { agents, stored, tasks: waiting, rounds, .. } = args;
    writeln!(out, "{agents} agents on WebSockets, {rounds} rounds; medians, least and greatest")?;
    let hub = messages.show(&mut out, &format!("direct messages/s behind {stored} others"))?;
    writeln!(out, "    {:.0} times as many as the hub's {HUB_MESSAGES}", hub / HUB_MESSAGES)?;
    tasks.show(&mut out, &format!("tasks/s, assigned and completed, of {waiting}"))?;
    Ok(true)
}

/// How many were done in a second, and the broker's processor time for each, by round.
#[derive(Debug, Default)]
struct Runs {
    rates: Vec<f64>,
    costs_us: Vec<f64>,
}

impl Runs {
    fn push(&mut self, run: Run) {
        let count = run.count as f64;
        self.rates.push(count / run.length.as_secs_f64());
        self.costs_us.push(run.cpu.as_nanos() as f64 / count / 1e3);
    }

    /// Print them; gives the rate.
    fn show(self, out: &mut impl Write, name: &str) -> Result<f64> {
        let spread = |values| Spread::over(values).context("no rounds were run");
        let (rate, cost) = (spread(self.rates)?, spread(self.costs_us)?);
        writeln!(
            out,
            "  {name:<46}{:>8.0} ({:.0}..{:.0}), {:.1} us of the broker's processor each",
            rate.median, rate.min, rate.max, cost.median
        )?;
        Ok(rate.median)
    }
}

/// What was done in one round.
struct Run {
    count: u64,
    length: Duration,
    cpu: Duration,
}

/// The names and tokens of new agents.
fn onboard(server: &Server, count: usize) -> Result<Vec<(String, String)>> {
    let mut rest = Rest::connect(server)?;
    let register = |number| {
        let name = format!("agent-{number}");
        let body = json!({ "agent_id": name }).to_string();
        let answer: Value = serde_json::from_str(&rest.post("/api/onboard/register", &body)?)?;
        let token = answer["token"].as_str().context("a registration without a token")?;
        Ok((name, token.to_owned()))
    };
    (0..count).map(register).collect()
}

/// Everybody sends to the next one, again and again.
fn send(server: &Server, tokens: &[(String, String)], args: &LegacyArgs) -> Result<Run> {
    let mut crowd = Crowd::open(rest::address(server)?, tokens, TALK)?;
    let mut talk = Talk::to(tokens);
    crowd.run(&mut talk, |talk| talk.identified == tokens.len())?;
    for number in 0..tokens.len() {
        crowd.say(number, &talk.frames[number])?;
    }
    talk.begun = tokens.len() as u64;
    crowd.run(&mut talk, |talk| talk.sent >= args.stored)?;
    let (cpu, started, before) = (server.cpu()?, Instant::now(), talk.sent);
    let length = Duration::from_secs_f64(args.seconds);
    crowd.run(&mut talk, |_| started.elapsed() >= length)?;
    let (length, cpu) = (started.elapsed(), server.cpu()?.since(&cpu));
    let count = talk.sent - before;
    talk.is_over = true;
    crowd.run(&mut talk, |talk| talk.sent == talk.begun && talk.heard >= talk.begun)?;
    ensure!(talk.heard == talk.begun, "{} messages came twice", talk.heard - talk.begun);
    Ok(Run { count, length, cpu })
}

#[derive(Debug)]
struct Talk {
    /// What each of them says.
    frames: Vec<Value>,
    identified: usize,
    begun: u64,
    sent: u64,
    heard: u64,
    is_over: bool,
}

impl Talk {
    fn to(tokens: &[(String, String)]) -> Talk {
        let text = "x".repeat(TEXT_BYTES);
        let next = tokens.iter().cycle().skip(1).take(tokens.len());
        let frames = next.map(|(name, _)| {
            json!({"type": "message", "to": name, "message_type": "chat",
                "payload": {"text": text}})
        });
        let frames = frames.collect();
        Talk { frames, identified: 0, begun: 0, sent: 0, heard: 0, is_over: false }
    }
}

impl Script for Talk {
    fn hear(&mut self, number: usize, frame: &Value, out: &mut Outgoing) -> Result<()> {
        match frame["type"].as_str() {
            Some("identified") => self.identified += 1,
            Some("message") => self.heard += 1,
            Some("message_sent") => {
                self.sent += 1;
                if !self.is_over {
                    self.begun += 1;
                    out.say(&self.frames[number]);
                }
            }
            Some("error" | "rate_limited") | None => bail!("the broker said {frame}"),
            Some(_) => {}
        }
        Ok(())
    }
}

/// Tasks wait; then agents come, and do them all.
fn work(server: &Server, tokens: &[(String, String)], count: u64) -> Result<Run> {
    let submit = |tasks: u64| -> Result<()> {
        let mut rest = Rest::connect(server)?;
        let task = json!({"description": "bench", "needed_capabilities": [LABOUR]}).to_string();
        (0..tasks).try_for_each(|_| rest.post("/api/tasks", &task).map(drop))
    };
    std::thread::scope(|scope| {
        let shares = (0..SUBMITTERS)
            .map(|number| count / SUBMITTERS + u64::from(number < count % SUBMITTERS));
        let submitters: Vec<_> = shares.map(|share| scope.spawn(move || submit(share))).collect();
        submitters.into_iter().try_for_each(|submitter| submitter.join().expect("no panic"))
    })?;
    let (cpu, started) = (server.cpu()?, Instant::now());
    let mut crowd = Crowd::open(rest::address(server)?, tokens, LABOUR)?;
    let mut labour = Labour::default();
    crowd.run(&mut labour, |labour| labour.completed == count)?;
    let run = Run { count, length: started.elapsed(), cpu: server.cpu()?.since(&cpu) };
    ensure!(labour.assigned == count, "{} tasks were assigned for {count}", labour.assigned);
    Ok(run)
}

#[derive(Debug, Default)]
struct Labour {
    assigned: u64,
    completed: u64,
}

impl Script for Labour {
    fn hear(&mut self, _: usize, frame: &Value, out: &mut Outgoing) -> Result<()> {
        match frame["type"].as_str() {
            Some("task_assign") => {
                self.assigned += 1;
                let (task, generation) = (&frame["task_id"], &frame["generation"]);
                out.say(&json!({"type": "task_accepted", "task_id": task}));
                out.say(&json!({"type": "task_complete", "task_id": task,
                    "generation": generation, "result": {"ok": true}}));
            }
            Some("task_ack") => self.completed += u64::from(frame["status"] == "complete"),
            Some("error" | "rate_limited") | None => bail!("the broker said {frame}"),
            Some(_) => {}
        }
        Ok(())
    }
}
