//! What a backup costs those who go on working meanwhile: cycles beside very many tasks that wait,
//! in turns while a backup of them is made and while none is.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::backlog::{BODY_BYTES, WORKERS, await_rest, fill};
use super::crew::{Course, Crew};
use super::dialect::Language;
use crate::figure::{Figure, quantile};
use crate::scenario::Plan;
use crate::server::Server;

/// Backups that are made.
const BACKUPS: u32 = 5;
/// Between two looks whether it is made.
const LOOK: Duration = Duration::from_millis(20);

/// 99th of 100 cycles, while no backup is made and while one is.
pub const P99_ALONE: &str = "cycle p99 with no backup, us";
/// The same while one is made.
pub const P99_BESIDE: &str = "cycle p99 beside a backup, us";

/// Fill the server, and let 16 workers go on while backups are made.
pub fn run(server: &Server, language: Language, plan: &Plan) -> Result<Vec<Figure>> {
    ensure!(language == Language::AgentCom, "only our broker makes backups");
    fill(server, language, plan.tasks)?;
    await_rest(server)?;
    let mut crew = Crew::open(server.address(), language, WORKERS, Course::Cycle, BODY_BYTES)?;
    let mut operator = Operator::open(server)?;
    crew.begin(u64::MAX)?;
    crew.run_for(plan.warmup)?;
    crew.take_latencies();
    let (mut alone, mut beside, mut took) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..BACKUPS {
        let started = Instant::now();
        operator.begin_backup()?;
        while !operator.has_answer()? {
            crew.run_for(LOOK)?;
        }
        beside.append(&mut crew.take_latencies());
        let length = started.elapsed();
        crew.run_for(length)?;
        alone.append(&mut crew.take_latencies());
        took += length;
    }
    let seconds = took.as_secs_f64();
    let rates = [alone.len() as f64 / seconds, beside.len() as f64 / seconds];
    let mut at = |share| -> Result<[f64; 2]> {
        let of = |latencies: &mut [f64]| quantile(latencies, share).context("no cycle ended");
        Ok([of(&mut alone)?, of(&mut beside)?])
    };
    let ([p50_alone, p50_beside], [p99_alone, p99_beside]) = (at(0.5)?, at(0.99)?);
    Ok(vec![
        Figure::cost(P99_ALONE, p99_alone),
        Figure::cost(P99_BESIDE, p99_beside),
        Figure::cost("cycle median with no backup, us", p50_alone),
        Figure::cost("cycle median beside a backup, us", p50_beside),
        Figure::gain("cycles/s with no backup", rates[0]),
        Figure::gain("cycles/s beside a backup", rates[1]),
        Figure::cost("a backup beside the cycles, s", seconds / f64::from(BACKUPS)),
    ])
}

/// Somebody who asks for backups.
struct Operator {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Operator {
    fn open(server: &Server) -> Result<Operator> {
        let socket = TcpStream::connect(server.address())?;
        let mut operator = Operator { socket, answer: Vec::new() };
        operator.socket.write_all(b"CONNECT {\"verbose\":false}\r\n")?;
        operator.socket.set_nonblocking(true)?;
        Ok(operator)
    }

    fn begin_backup(&mut self) -> Result<()> {
        self.answer.clear();
        Ok(self.socket.write_all(b"BACKUP CREATE b\r\n")?)
    }

    /// Whether the backup is made.
    fn has_answer(&mut self) -> Result<bool> {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            Ok(0) => bail!("the broker hung up"),
            Ok(count) => self.answer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let text = String::from_utf8_lossy(&self.answer).into_owned();
        if text.contains("PING\r\n") {
            self.answer.clear();
            self.socket.write_all(b"PONG\r\n")?;
        }
        let declined = text.lines().find(|line| line.starts_with("ERR b"));
        ensure!(declined.is_none(), "no backup: {declined:?}");
        Ok(text.lines().any(|line| line.starts_with("OK b")))
    }
}
