//! Many of one thing: what each costs the server in memory and processor time.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit};

use crate::figure::Figure;
use crate::link;
use crate::process::CpuReading;
use crate::scenario::Plan;
use crate::server::Server;

/// Connections opened before the first of them is waited for: below the backlog of any server.
const CONNECTIONS_AT_ONCE: u32 = 64;
/// Connections that share the subscriptions.
const SUBSCRIBERS: u32 = 4;
/// Descriptors left for everything else.
const DESCRIPTORS_SPARE: u64 = 100;
/// Time for memory that a server frees late, before it is counted.
const SETTLING: Duration = Duration::from_millis(300);

/// Open connections that say `CONNECT` and `PING` and nothing more.
pub fn run_connections(server: &Server, plan: &Plan) -> Result<Vec<Figure>> {
    if let Some(most) = getrlimit(Resource::Nofile).current {
        let wanted = u64::from(plan.connections) + DESCRIPTORS_SPARE;
        ensure!(wanted <= most, "{} connections, but {most} descriptors", plan.connections);
    }
    let growth = Growth::starting(server)?;
    let mut sockets: Vec<TcpStream> = Vec::new();
    while (sockets.len() as u32) < plan.connections {
        let opened = sockets.len();
        for _ in 0..CONNECTIONS_AT_ONCE.min(plan.connections - opened as u32) {
            let mut socket = link::connect(server.address())?;
            link::greet(&mut socket, "")?;
            sockets.push(socket);
        }
        for socket in &mut sockets[opened..] {
            link::await_pong(socket)?;
        }
    }
    growth.per(&CONNECTION, plan.connections)
}

/// Subscribe to as many subjects of three tokens on a few connections.
pub fn run_subscriptions(server: &Server, plan: &Plan) -> Result<Vec<Figure>> {
    let each = plan.subscriptions.div_ceil(SUBSCRIBERS);
    let mut subscribers = Vec::new();
    for place in 0..SUBSCRIBERS {
        let mut socket = link::connect(server.address())?;
        link::greet(&mut socket, "")?;
        link::await_pong(&mut socket)?;
        let mut lines = String::new();
        for number in place * each..plan.subscriptions.min((place + 1) * each) {
            let sid = number - place * each + 1;
            write!(lines, "SUB bench.{}.{number} {sid}\r\n", number % 100)?;
        }
        lines.push_str("PING\r\n");
        subscribers.push((socket, lines));
    }
    let growth = Growth::starting(server)?;
    for (socket, lines) in &mut subscribers {
        socket.write_all(lines.as_bytes()).context("subscribing")?;
    }
    for (socket, _) in &mut subscribers {
        link::await_pong(socket)?;
    }
    growth.per(&SUBSCRIPTION, plan.subscriptions)
}

/// What a server has grown by since a moment.
struct Growth<'a> {
    server: &'a Server,
    cpu: CpuReading,
    resident_bytes: u64,
    started: Instant,
}

impl<'a> Growth<'a> {
    fn starting(server: &'a Server) -> Result<Self> {
        let resident_bytes = server.memory()?.resident_bytes;
        Ok(Self { server, cpu: server.cpu()?, resident_bytes, started: Instant::now() })
    }

    /// The figures of `count` things added since, under the names of `unit`.
    fn per(&self, unit: &Unit, count: u32) -> Result<Vec<Figure>> {
        let seconds = self.started.elapsed().as_secs_f64();
        std::thread::sleep(SETTLING);
        let cpu_ns = self.server.cpu()?.since(&self.cpu).as_nanos() as f64;
        let resident_bytes = self.server.memory()?.resident_bytes;
        let grown_bytes = resident_bytes.saturating_sub(self.resident_bytes) as f64;
        let count = f64::from(count);
        Ok(vec![
            Figure::cost(unit.memory, grown_bytes / count),
            Figure::cost(unit.cpu, cpu_ns / count),
            Figure::gain(unit.rate, count / seconds),
        ])
    }
}

/// The names of the figures of one kind of thing.
struct Unit {
    memory: &'static str,
    cpu: &'static str,
    rate: &'static str,
}

const CONNECTION: Unit = Unit {
    memory: "server memory, B/connection",
    cpu: "server cpu, ns/connection",
    rate: "connections/s",
};

const SUBSCRIPTION: Unit = Unit {
    memory: "server memory, B/subscription",
    cpu: "server cpu, ns/subscription",
    rate: "subscriptions/s",
};
