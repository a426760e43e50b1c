//! A constant number of rounds on their way: how many end in a second, and what each costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crew::{Course, Crew, Size};
use super::dialect::Language;
use super::disk;
use super::flushes::Flushes;
use crate::figure::{Figure, Spread};
use crate::process::CpuReading;
use crate::scenario::Plan;
use crate::server::Server;

/// Payload of a task: a small document.
pub const BODY_BYTES: usize = 128;

/// The names of the figures of one kind of round.
#[derive(Debug)]
pub struct Names {
    /// Rounds that ended in a second.
    pub rate: &'static str,
    /// Processor time of the server for each.
    pub cpu: &'static str,
    /// Rounds for each flush of the disk.
    pub per_flush: &'static str,
    /// How long the one in the middle took.
    pub latency: &'static str,
}

/// Of tasks that are only handed in.
pub const SUBMITS: Names = Names {
    rate: "submits/s",
    cpu: "server cpu, us/submit",
    per_flush: "submits/flush",
    latency: "latency p50, us",
};

/// Of tasks that are done.
pub const CYCLES: Names = Names {
    rate: "cycles/s",
    cpu: "server cpu, us/cycle",
    per_flush: "cycles/flush",
    latency: "latency p50, us",
};

/// How much longer one submit takes than one flush of the disk.
pub const ABOVE_FLUSH: &str = "latency above one flush, p50, us";
/// What one flush of the disk takes, at the time of the run.
pub const FLUSH: &str = "one flush of the disk, p50, us";

/// Length of a turn of the disk, and of a server, where they take turns: some ten flushes of a
/// slow disk.
const TURN: Duration = Duration::from_millis(50);

/// Who does what, in a scenario of this kind.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// A round.
    pub course: Course,
    /// How many.
    pub size: Size,
}

impl Steady {
    /// Run it against a fresh `server`.
    pub fn run(&self, server: &Server, language: Language, plan: &Plan) -> Result<Vec<Figure>> {
        let names = if self.course == Course::Submit { &SUBMITS } else { &CYCLES };
        let mut crew = Crew::open(server.address(), language, self.size, self.course, BODY_BYTES)?;
        let flush = disk::flush_us(server.folder(), TURN, server.pinned_to())?;
        let mut flushes = Flushes::watch(server, language);
        crew.begin(u64::MAX)?;
        crew.run_for(plan.warmup)?;
        crew.take_latencies();

        let generator = std::process::id();
        flushes.begin()?;
        let before = (server.cpu()?, CpuReading::of(generator)?, crew.ended());
        let started = Instant::now();
        crew.run_for(plan.measured)?;
        let seconds = started.elapsed().as_secs_f64();
        let rounds = (crew.ended() - before.2) as f64;
        let cpu_ns = server.cpu()?.since(&before.0).as_nanos() as f64;
        let generator_ns = CpuReading::of(generator)?.since(&before.1).as_nanos() as f64;
        let flushes = flushes.end()?;

        crew.finish()?;
        // The acknowledgement of a task may come behind that of its completion.
        crew.run_until(|counts| self.course == Course::Submit || counts.is_settled())?;
        let counts = crew.counts();
        ensure!(rounds > 0.0, "nothing ended in {seconds} s: {counts:?}");

        let mut figures = vec![
            Figure::gain(names.rate, rounds / seconds),
            Figure::cost(names.cpu, cpu_ns / rounds / 1e3),
        ];
        if let Some(flushes) = flushes.filter(|&flushes| flushes > 0.0) {
            figures.push(Figure::gain(names.per_flush, rounds / flushes));
        }
        if let Some(latency) = Spread::over(crew.take_latencies()) {
            figures.push(Figure::cost(names.latency, latency.median));
        }
        figures.extend([
            Figure::remark(FLUSH, flush.median),
            Figure::remark("server busy, % of a core", cpu_ns / seconds / 1e7),
            Figure::remark("generator busy, % of a core", generator_ns / seconds / 1e7),
        ]);
        Ok(figures)
    }
}

/// How much longer one submit takes than one flush of the disk, on a fresh `server`. The disk of a
/// shared machine changes its mood within seconds, so the two take turns.
pub fn run_one_at_a_time(server: &Server, language: Language, plan: &Plan) -> Result<Vec<Figure>> {
    let one = Size { connections: 1, rounds: 1 };
    let mut crew = Crew::open(server.address(), language, one, Course::Submit, BODY_BYTES)?;
    crew.spin();
    crew.begin(u64::MAX)?;
    crew.run_for(TURN)?;
    let (mut submits, mut flushes, mut above) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.measured.div_duration_f64(TURN).ceil() as u32 {
        let flush = disk::flush_us(server.folder(), TURN, server.pinned_to())?.median;
        // The round that was under way meanwhile took longer than it should.
        crew.run_until_next()?;
        crew.take_latencies();
        crew.run_for(TURN)?;
        // A crowded machine may give nobody a processor for as long as a turn.
        let Some(submit) = Spread::over(crew.take_latencies()) else { continue };
        above.push(submit.median - flush);
        submits.push(submit.median);
        flushes.push(flush);
    }
    ensure!(!above.is_empty(), "no submit in any turn");
    let median = |values| Spread::over(values).map_or(f64::NAN, |spread| spread.median);
    Ok(vec![
        Figure::cost(ABOVE_FLUSH, median(above)),
        Figure::cost(SUBMITS.latency, median(submits)),
        Figure::remark(FLUSH, median(flushes)),
    ])
}
