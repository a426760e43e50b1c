//! The binary framing beside the text framing, on the same broker: what does a message cost?
//!
//! The same flows as in `compare`, in rounds in which both framings run once, each with a fresh
//! broker. Frames are written down here by the layouts of docs/protocol.md, so that a mistake of
//! the broker's own crates cannot hide.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::figure::{Figure, Spread};
use crate::flow::{self, Flow};
use crate::frame::{CONNECT, Message, SUBJECT};
use crate::inbound::Inbound;
use crate::link::{self, Link};
use crate::outbound::Outbound;
use crate::program::Program;
use crate::scenario::{CATALOGUE, Plan, Shape, Sharing, Work};
use crate::server::{Place, Server};

/// Arguments of `agentcom-bench framings`.
#[derive(Args, Clone, Debug)]
pub struct FramingsArgs {
    /// Our broker: the `agentcom` program.
    #[arg(long, value_name = "PATH")]
    pub broker: PathBuf,
    /// Only this scenario of `compare`, if it is a flow; may be repeated.
    #[arg(long)]
    pub scenario: Vec<String>,
    /// Rounds of each scenario.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Length of the measured interval, in seconds; a third of it is run before as a warm-up.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
}

/// Core of the servers, and core of the generator, as in `compare`.
const CPUS: [usize; 2] = [0, 1];
/// The number that publishers give to the subject.
const ALIAS: u16 = 1;
/// The number of every subscription.
const SID: u32 = 1;

/// What a connection says of its own, between messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Lines.
    Text,
    /// Frames with their size in front.
    Binary,
}

impl Framing {
    /// Ask the server whether it is there.
    pub fn ping(self) -> &'static [u8] {
        match self {
            Framing::Text => b"PING\r\n",
            Framing::Binary => &[1, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// Answer the same question.
    pub fn pong(self) -> &'static [u8] {
        match self {
            Framing::Text => b"PONG\r\n",
            Framing::Binary => &[2, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// Run both framings and print what a message costs the broker. A run that is worth nothing is an
/// error.
pub fn run(args: &FramingsArgs) -> Result<bool> {
    let plan = Plan {
        warmup: Duration::from_secs_f64(args.seconds / 3.0),
        measured: Duration::from_secs_f64(args.seconds),
        messages: None,
        window_bytes: 2 * 1024 * 1024,
        connections: 0,
        subscriptions: 0,
        stalled: Duration::ZERO,
        tasks: 0,
        live: 0,
        churn: Duration::ZERO,
    };
    let mut cpus = CpuSet::new();
    cpus.set(CPUS[1]);
    sched_setaffinity(None, &cpus).context("pinning the generator")?;
    let program = Program::Broker(args.broker.clone(), Vec::new());
    let place = Place { cpu: Some(CPUS[0]), root: std::env::temp_dir() };
    let mut out = std::io::stdout().lock();
    writeln!(out, "server cpu, ns/message (busy, % of a core); text / binary, least and greatest")?;
    writeln!(out, "{:<18}{:>18}{:>18}", "", "text", "binary")?;
    for scenario in CATALOGUE {
        let Work::Flow(shape) = scenario.work else { continue };
        if !args.scenario.is_empty() && !args.scenario.iter().any(|name| name == scenario.name) {
            continue;
        }
        let (mut text, mut binary, mut ratios) = (Runs::default(), Runs::default(), Vec::new());
        for round in 0..args.rounds {
            // Who begins changes, so that neither always runs after the other.
            let mut order = [Framing::Text, Framing::Binary];
            order.rotate_left(round % 2);
            let mut costs = [0.0; 2];
            for framing in order {
                let server = Server::start(&program, &place)?;
                let figures = figures(&server, framing, shape, &plan)
                    .with_context(|| format!("{} in {framing:?}", scenario.name))?;
                let runs = if framing == Framing::Text { &mut text } else { &mut binary };
                costs[framing as usize] = runs.push(&figures)?;
            }
            ratios.push(costs[0] / costs[1]);
        }
        let ratio = Spread::over(ratios).context("no rounds were run")?;
        writeln!(
            out,
            "{:<18}{:>18}{:>18}  {:.2} [{:.2} .. {:.2}]",
            scenario.name,
            text.middle()?,
            binary.middle()?,
            ratio.median,
            ratio.min,
            ratio.max
        )?;
        out.flush()?;
    }
    Ok(true)
}

/// What one framing cost, by round.
#[derive(Debug, Default)]
struct Runs {
    cost: Vec<f64>,
    busy: Vec<f64>,
}

impl Runs {
    /// Note a round; what a message cost in it.
    fn push(&mut self, figures: &[Figure]) -> Result<f64> {
        let value = |name: &str| {
            let found = figures.iter().find(|figure| figure.name.starts_with(name));
            found.map(|figure| figure.value).with_context(|| format!("a flow tells its {name}"))
        };
        let cost = value("server cpu, ns/message")?;
        self.cost.push(cost);
        self.busy.push(value("server busy")?);
        Ok(cost)
    }

    fn middle(&self) -> Result<String> {
        let middle = |values: &[f64]| Spread::over(values.to_vec()).context("no rounds were run");
        let (cost, busy) = (middle(&self.cost)?, middle(&self.busy)?);
        Ok(format!("{:.1} ({:.0} %)", cost.median, busy.median))
    }
}

fn figures(server: &Server, framing: Framing, shape: Shape, plan: &Plan) -> Result<Vec<Figure>> {
    match framing {
        Framing::Text => flow::run(server, shape, plan),
        Framing::Binary => flow::measure(server, open(server, shape, plan)?, plan),
    }
}

/// The connections of `shape`, in the binary framing.
fn open(server: &Server, shape: Shape, plan: &Plan) -> Result<Flow> {
    let message = Message { headers: shape.headers, ..Message::plain(shape.payload_bytes) };
    let (header, payload) = parts(&message);
    let (published, delivered) = if header.is_empty() {
        (frame(0x11, ALIAS, &[&payload]), frame(0x81, 0, &[&SID.to_le_bytes(), &payload]))
    } else {
        let sizes = [&[0; 8][..], &(header.len() as u32).to_le_bytes()].concat();
        (
            frame(0x12, ALIAS, &[&sizes, &header, &payload]),
            frame(0x82, 0, &[&SID.to_le_bytes(), &sizes, &header, &payload]),
        )
    };
    let group: &[u8] = if shape.sharing == Sharing::One { b"workers" } else { b"" };
    let group_bytes = (group.len() as u32).to_le_bytes();
    let alias = frame(0x15, ALIAS, &[SUBJECT.as_bytes()]);
    let subscription =
        frame(0x13, 0, &[&SID.to_le_bytes(), &group_bytes, group, SUBJECT.as_bytes()]);
    let mut links = Vec::new();
    for _ in 0..shape.publishers {
        links.push(link(server, &alias, &[], &published)?);
    }
    for _ in 0..shape.receivers {
        links.push(link(server, &subscription, &delivered, &[])?);
    }
    Flow::of(links, shape, plan.window_bytes, delivered.len())
}

/// Connect, change over, say `frames`, and wait until the broker has taken them in.
fn link(server: &Server, frames: &[u8], delivered: &[u8], published: &[u8]) -> Result<Link> {
    let mut socket = link::connect(server.address())?;
    let line = CONNECT.replace('{', "{\"frame\":\"binary1\",");
    socket.write_all(&[line.as_bytes(), frames, Framing::Binary.ping()].concat())?;
    let rest = await_pong(&mut socket)?;
    let mut inbound = Inbound::expecting(delivered);
    inbound.handle_chunk(&rest)?;
    socket.set_nonblocking(true)?;
    Ok(Link {
        socket: mio::net::TcpStream::from_std(socket),
        framing: Framing::Binary,
        inbound,
        outbound: Outbound::repeating(published),
        readable: true,
        writable: true,
    })
}

/// Read up to the first `PONG`, which stands behind the line `+OK`. What was read behind it.
fn await_pong(socket: &mut TcpStream) -> Result<Vec<u8>> {
    let expected = [b"\r\n+OK\r\n", Framing::Binary.pong()].concat();
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = socket.read(&mut chunk).context("waiting for PONG")?;
        ensure!(length > 0, "the broker closed: {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&chunk[..length]);
        let found = heard.windows(expected.len()).position(|window| window == expected);
        if let Some(at) = found {
            return Ok(heard.split_off(at + expected.len()));
        }
    }
}

/// A header block, empty if there is none, and a payload.
fn parts(message: &Message) -> (Vec<u8>, Vec<u8>) {
    let line = message.published();
    let start = memchr::memchr(b'\n', &line).expect("a line ends") + 1;
    let both = &line[start..line.len() - 2];
    let (header, payload) = both.split_at(both.len() - message.payload_bytes);
    (header.to_vec(), payload.to_vec())
}

fn frame(kind: u8, number: u16, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let mut frame = vec![kind, 0];
    frame.extend(number.to_le_bytes());
    frame.extend((rest.len() as u32).to_le_bytes());
    frame.extend(rest);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_document() {
        let hello = frame(0x11, 1, &[b"hello"]);
        assert_eq!(hello, [0x11, 0, 1, 0, 5, 0, 0, 0, b'h', b'e', b'l', b'l', b'o']);
        let headers = Message { headers: true, ..Message::plain(4) };
        let (header, payload) = parts(&headers);
        assert_eq!((header.len(), &payload[..]), (30, &b"abcd"[..]));
        assert_eq!(parts(&Message::plain(4)), (Vec::new(), b"abcd".to_vec()));
    }
}
