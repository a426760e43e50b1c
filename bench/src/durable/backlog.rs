//! A million tasks that wait: what each costs in memory and on disk, how long a start takes
//! beside them, how fast they go in and out, and whether they slow down the others.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::crew::{Course, Crew, Size};
use super::dialect::Language;
use super::disk;
use crate::figure::{Figure, Spread};
use crate::process::CpuReading;
use crate::scenario::Plan;
use crate::server::Server;

/// Payload of a task that waits. Small, so that what the server adds is seen.
pub const BODY_BYTES: usize = 64;

/// Who puts the tasks in and takes them out.
const SIZE: Size = Size { connections: 4, rounds: 64 };
/// Who works beside a backlog.
pub const WORKERS: Size = Size { connections: 16, rounds: 1 };
/// Length of one look at either server: short beside the moods of a shared disk, and far below
/// the 10 s after which an offer is withdrawn.
const TURN: Duration = Duration::from_millis(100);
/// How often each is looked at.
const TURNS: u32 = 40;
/// Length of one look at whether a server is at rest.
const SPAN: Duration = Duration::from_millis(250);
/// Processor time in one span below which a server is at rest: 2 %, more than its timers take.
const REST: Duration = Duration::from_millis(5);
/// Spans after which a server that never rests is taken as it is: 15 s.
const RESTLESS_SPANS_MAX: u32 = 60;

/// Memory of a task that waits.
pub const MEMORY: &str = "server memory, B/task";
/// The same after a start, when nothing is left of what was used to take it in.
pub const MEMORY_RESTARTED: &str = "server memory after a restart, B/task";
/// Disk of a task that waits, its payload included.
pub const DISK: &str = "disk, B/task";
/// Time from the start of a process that was killed to the first task given out.
pub const RESTART: &str = "restart to first task, s";
/// Cycles beside very many tasks for each where none waits.
pub const RATE_KEPT: &str = "cycle rate kept, % of that with none waiting";
/// Cycles beside very many tasks for each beside a few.
pub const RATE_KEPT_OF_FEW: &str = "cycle rate kept, % of that with few waiting";

/// Put the tasks in, look, kill the server, start it, take them all out.
pub fn run(server: &mut Server, language: Language, plan: &Plan) -> Result<Vec<Figure>> {
    let tasks = plan.tasks as f64;
    let before = (server.memory()?.resident_bytes, disk::occupied_bytes(server.folder())?);
    let grown = |server: &Server| -> Result<(f64, f64)> {
        let memory = server.memory()?.resident_bytes.saturating_sub(before.0);
        let disk = disk::occupied_bytes(server.folder())?.saturating_sub(before.1);
        Ok((memory as f64, disk as f64))
    };

    let filling = fill(server, language, plan.tasks)?;
    await_rest(server)?;
    let full = grown(server)?;

    server.kill()?;
    let started = Instant::now();
    server.start_again()?;
    let mut takers = Crew::open(server.address(), language, SIZE, Course::Drain, BODY_BYTES)?;
    takers.begin(plan.tasks)?;
    takers.run_until(|counts| counts.taken > 0)?;
    let restart_s = started.elapsed().as_secs_f64();
    // Not when it has come to rest: tasks that were given out want to be completed.
    let restarted = grown(server)?;
    let restart_cpu = server.cpu()?.since(&CpuReading::default());

    let draining = drive(server, &mut takers, plan.tasks)?;
    await_rest(server)?;
    let drained = grown(server)?;
    Ok(vec![
        Figure::cost(MEMORY, full.0 / tasks),
        Figure::cost(MEMORY_RESTARTED, restarted.0 / tasks),
        Figure::cost(DISK, full.1 / tasks),
        Figure::cost(RESTART, restart_s),
        Figure::cost("restart, server cpu, s", restart_cpu.as_secs_f64()),
        Figure::gain("put in, tasks/s", tasks / filling.seconds),
        Figure::cost("put in, server cpu, us/task", filling.cpu_us / tasks),
        Figure::gain("taken out, tasks/s", tasks / draining.seconds),
        Figure::cost("taken out, server cpu, us/task", draining.cpu_us / tasks),
        Figure::cost("disk when all are out, MiB", drained.1 / f64::from(1 << 20)),
        Figure::cost("memory when all are out, MiB", drained.0 / f64::from(1 << 20)),
    ])
}

/// The cycles of 16 workers on three servers, in turns: on one no task waits, on one a few do, on
/// one very many. A few, because a server that pushes gives a worker its next task together with
/// the acknowledgement of the last one as soon as any task waits.
pub fn run_beside(servers: [&Server; 3], language: Language, plan: &Plan) -> Result<Vec<Figure>> {
    fill(servers[1], language, plan.live)?;
    fill(servers[2], language, plan.tasks)?;
    await_rest(servers[2])?;
    let open = |server: &Server| {
        Crew::open(server.address(), language, WORKERS, Course::Cycle, BODY_BYTES)
    };
    let mut crews = servers.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    for crew in &mut crews {
        crew.begin(u64::MAX)?;
        crew.run_for(plan.warmup)?;
    }
    let mut cycles = vec![Vec::new(); crews.len()];
    let mut cpu_us = vec![0.0; crews.len()];
    for _ in 0..TURNS {
        // The others rest, with their rounds under way.
        for (place, crew) in crews.iter_mut().enumerate() {
            let (cpu, ended) = (servers[place].cpu()?, crew.ended());
            crew.run_for(TURN)?;
            cpu_us[place] += servers[place].cpu()?.since(&cpu).as_secs_f64() * 1e6;
            cycles[place].push((crew.ended() - ended) as f64);
        }
    }
    let kept = |of: usize| {
        let turns = cycles[2].iter().zip(&cycles[of]);
        let kept = Spread::over(turns.map(|(many, other)| 100.0 * many / other).collect());
        kept.context("no turn was taken")
    };
    let sums: Vec<f64> = cycles.iter().map(|turns| turns.iter().sum()).collect();
    let seconds = TURN.as_secs_f64() * f64::from(TURNS);
    Ok(vec![
        Figure::gain(RATE_KEPT, kept(0)?.median),
        Figure::gain(RATE_KEPT_OF_FEW, kept(1)?.median),
        Figure::remark("cycles/s, nothing waits", sums[0] / seconds),
        Figure::remark("cycles/s, a few wait", sums[1] / seconds),
        Figure::remark("cycles/s, very many wait", sums[2] / seconds),
        Figure::remark("server cpu, us/cycle, nothing waits", cpu_us[0] / sums[0]),
        Figure::remark("server cpu, us/cycle, a few wait", cpu_us[1] / sums[1]),
        Figure::remark("server cpu, us/cycle, very many wait", cpu_us[2] / sums[2]),
    ])
}

/// What it took to put all tasks in, or out.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    seconds: f64,
    cpu_us: f64,
}

/// Submit `tasks`, as fast as the server goes.
pub fn fill(server: &Server, language: Language, tasks: u64) -> Result<Driven> {
    let mut crew = Crew::open(server.address(), language, SIZE, Course::Submit, BODY_BYTES)?;
    crew.begin(tasks)?;
    drive(server, &mut crew, tasks)
}

/// Serve `crew` until it has ended `rounds`.
fn drive(server: &Server, crew: &mut Crew, rounds: u64) -> Result<Driven> {
    let (cpu, started) = (server.cpu()?, Instant::now());
    let course = crew.course();
    crew.run_until(|counts| counts.ended(course) >= rounds)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_us = server.cpu()?.since(&cpu).as_secs_f64() * 1e6;
    ensure!(crew.ended() == rounds, "{:?} instead of {rounds} tasks", crew.counts());
    Ok(Driven { seconds, cpu_us })
}

/// Wait until the server does nothing of its own any more, such as putting its files in order.
pub fn await_rest(server: &Server) -> Result<()> {
    for _ in 0..RESTLESS_SPANS_MAX {
        let cpu = server.cpu()?;
        std::thread::sleep(SPAN);
        if server.cpu()?.since(&cpu) < REST {
            break;
        }
    }
    Ok(())
}
