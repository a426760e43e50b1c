//! Tasks come and go many times over, while about as many wait all the time: does the work stay
//! as fast as it began, and does the folder stay as small?

use anyhow::{Result, ensure};

use super::backlog::{self, BODY_BYTES};
use super::crew::{Course, Crew, Size};
use super::dialect::Language;
use super::disk;
use crate::figure::{Figure, slope};
use crate::scenario::Plan;
use crate::server::Server;

/// Who keeps the tasks coming and going.
const SIZE: Size = Size { connections: 16, rounds: 8 };

/// Cycles in the last fifth of the time for each in the first.
pub const RATE_KEPT: &str = "cycle rate at the end, % of the beginning";
/// The same of the processor time of a cycle, which no noise of the disk touches.
pub const CPU_GROWN: &str = "server cpu at the end, % of the beginning";
/// How much the folder grows by a cycle once it has been filled: the slope of the line that lies
/// closest, because logs and tables come and go like the teeth of a saw.
pub const GROWTH: &str = "data folder growth, B/cycle";

/// Parts of the time that are looked at one by one.
const PARTS: usize = 5;
/// The first part that counts for the growth of the folder: before, it is being filled.
const FILLED: usize = 1;
/// How often the folder is looked at in each part.
const LOOKS: u32 = 10;

/// What is looked at in each part.
const RATES: [&str; PARTS] = [
    "cycles/s, 1st fifth",
    "cycles/s, 2nd fifth",
    "cycles/s, 3rd fifth",
    "cycles/s, 4th fifth",
    "cycles/s, 5th fifth",
];
const CPU: [&str; PARTS] = [
    "server cpu, us/cycle, 1st fifth",
    "server cpu, us/cycle, 2nd fifth",
    "server cpu, us/cycle, 3rd fifth",
    "server cpu, us/cycle, 4th fifth",
    "server cpu, us/cycle, 5th fifth",
];
const FOLDERS: [&str; PARTS] = [
    "data folder, MiB, after the 1st fifth",
    "data folder, MiB, after the 2nd fifth",
    "data folder, MiB, after the 3rd fifth",
    "data folder, MiB, after the 4th fifth",
    "data folder, MiB, after the 5th fifth",
];

/// Run it against a fresh `server`.
pub fn run(server: &Server, language: Language, plan: &Plan) -> Result<Vec<Figure>> {
    backlog::fill(server, language, plan.live)?;
    let mut crew = Crew::open(server.address(), language, SIZE, Course::Cycle, BODY_BYTES)?;
    crew.begin(u64::MAX)?;
    let span = plan.churn / PARTS as u32;
    // Cycles so far, and bytes of the folder.
    let mut looks = Vec::new();
    let mut cycles = [0.0; PARTS];
    let mut cpu_us = [0.0; PARTS];
    let mut folder_bytes = [0.0; PARTS];
    for part in 0..PARTS {
        let (cpu, ended) = (server.cpu()?, crew.ended());
        for _ in 0..LOOKS {
            crew.run_for(span / LOOKS)?;
            folder_bytes[part] = disk::occupied_bytes(server.folder())? as f64;
            if part >= FILLED {
                looks.push((crew.ended() as f64, folder_bytes[part]));
            }
        }
        cycles[part] = (crew.ended() - ended) as f64;
        ensure!(cycles[part] > 0.0, "nothing ended in {span:?}");
        cpu_us[part] = server.cpu()?.since(&cpu).as_secs_f64() * 1e6 / cycles[part];
    }
    let (first, last) = (0, PARTS - 1);
    let turnover = cycles.iter().sum::<f64>() / plan.live as f64;
    let mut figures = vec![
        Figure::gain(RATE_KEPT, 100.0 * cycles[last] / cycles[first]),
        Figure::cost(CPU_GROWN, 100.0 * cpu_us[last] / cpu_us[first]),
        Figure::cost(GROWTH, slope(&looks)),
        Figure::remark("cycles, times the live size", turnover),
    ];
    for part in 0..PARTS {
        figures.push(Figure::remark(RATES[part], cycles[part] / span.as_secs_f64()));
    }
    for part in 0..PARTS {
        figures.push(Figure::remark(CPU[part], cpu_us[part]));
    }
    for part in 0..PARTS {
        figures.push(Figure::remark(FOLDERS[part], folder_bytes[part] / f64::from(1 << 20)));
    }
    Ok(figures)
}
