//! What a backup or a compaction costs those who go on working meanwhile: cycles beside very many
//! tasks that wait, in turns while it is done and while it is not.

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

/// How often it is done.
const TIMES: u32 = 5;
/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// 99th of 100 cycles while it is done, in microseconds.
pub const P99_BESIDE: &str = "cycle p99 beside it, us";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// A backup is made, and read back.
    Backup,
    /// All tables are compacted.
    Compaction,
}

impl Chore {
    fn request(self) -> &'static [u8] {
        match self {
            Chore::Backup => b"BACKUP CREATE b\r\n",
            Chore::Compaction => b"STORE COMPACT b\r\n",
        }
    }
}

/// Fill the server, and let 16 workers go on while it does its chores.
pub fn run(chore: Chore, server: &Server, language: Language, plan: &Plan) -> Result<Vec<Figure>> {
    ensure!(language == Language::AgentCom, "only our broker has such chores");
    fill(server, language, plan.tasks)?;
    await_rest(server)?;
    let mut crew = Crew::open(server.address(), language, WORKERS, Course::Cycle, BODY_BYTES)?;
    let mut operator = Operator::open(server)?;
    crew.begin(u64::MAX)?;
    crew.run_for(plan.warmup)?;
    crew.take_latencies();
    let (mut alone, mut beside, mut took) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..TIMES {
        let started = Instant::now();
        operator.begin(chore)?;
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
        Figure::cost("cycle p99 without it, us", p99_alone),
        Figure::cost(P99_BESIDE, p99_beside),
        Figure::cost("cycle median without it, us", p50_alone),
        Figure::cost("cycle median beside it, us", p50_beside),
        Figure::gain("cycles/s without it", rates[0]),
        Figure::gain("cycles/s beside it", rates[1]),
        Figure::cost("how long it takes beside the cycles, s", seconds / f64::from(TIMES)),
    ])
}

/// Somebody who asks for chores.
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

    fn begin(&mut self, chore: Chore) -> Result<()> {
        self.answer.clear();
        Ok(self.socket.write_all(chore.request())?)
    }

    /// Whether it is done.
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
        ensure!(declined.is_none(), "it is not done: {declined:?}");
        Ok(text.lines().any(|line| line.starts_with("OK b")))
    }
}
