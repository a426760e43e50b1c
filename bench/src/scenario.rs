//! The catalogue of the routing plane: what is measured, under which name.
//!
//! Names and shapes follow the table of targets, so that a figure can be laid beside its target.

use std::time::Duration;

use anyhow::Result;

use crate::figure::Figure;
use crate::server::Server;
use crate::{exchange, flow, scale, slow};

/// How much work a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long messages are published before the measured interval and then within it.
    pub warmup: Duration,
    /// Length of the measured interval.
    pub measured: Duration,
    /// Messages to publish in the measured interval, in place of its length.
    pub messages: Option<u64>,
    /// Bytes that may be on their way to one receiver.
    pub window_bytes: u64,
    /// Connections of `connect-idle`.
    pub connections: u32,
    /// Subscriptions of `subs-100k`.
    pub subscriptions: u32,
    /// How long `slow-consumer` watches after the stalled subscriber has joined.
    pub stalled: Duration,
    /// Tasks that wait in `backlog` and `cycle-backlog`.
    pub tasks: u64,
    /// Tasks that wait in `churn`.
    pub live: u64,
    /// How long `churn` lasts.
    pub churn: Duration,
}

/// Who receives a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Every receiver.
    All,
    /// One member of a queue group.
    One,
}

/// Publishers that write as fast as the window allows, and their receivers.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections that publish.
    pub publishers: usize,
    /// Connections with one subscription each.
    pub receivers: usize,
    /// Who of them receives a message.
    pub sharing: Sharing,
    /// Payload of a message.
    pub payload_bytes: usize,
    /// Whether messages carry headers.
    pub headers: bool,
}

/// What a scenario does.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Publish, and receive whatever is delivered.
    Flow(Shape),
    /// Publish at a fixed rate to one receiver; the generator spins, so latency is the server's.
    Paced {
        /// Messages a second.
        rate: u32,
    },
    /// Requests and their replies.
    Exchange {
        /// Requests without a reply yet.
        in_flight: u64,
    },
    /// Connections that do nothing.
    IdleConnections,
    /// Subscriptions that receive nothing.
    Subscriptions,
    /// One subscriber that never reads, among healthy ones.
    SlowConsumer,
}

/// One entry of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// One line for the reader of a report.
    pub about: &'static str,
    /// What it does.
    pub work: Work,
    /// Rounds beyond this are not run: its figures are steady, or a run is long.
    pub rounds_max: u32,
    /// Whether it runs when no scenario is named.
    pub by_default: bool,
}

impl Scenario {
    /// Run it once against a fresh `server`.
    pub fn run(&self, server: &Server, plan: &Plan) -> Result<Vec<Figure>> {
        match self.work {
            Work::Flow(shape) => flow::run(server, shape, plan),
            Work::Paced { rate } => exchange::run_paced(server, rate, plan),
            Work::Exchange { in_flight } => exchange::run(server, in_flight, plan),
            Work::IdleConnections => scale::run_connections(server, plan),
            Work::Subscriptions => scale::run_subscriptions(server, plan),
            Work::SlowConsumer => slow::run(server, plan),
        }
    }
}

const fn flow(name: &'static str, about: &'static str, shape: Shape) -> Scenario {
    Scenario { name, about, work: Work::Flow(shape), rounds_max: u32::MAX, by_default: true }
}

const fn exchange(name: &'static str, about: &'static str, in_flight: u64) -> Scenario {
    let work = Work::Exchange { in_flight };
    Scenario { name, about, work, rounds_max: u32::MAX, by_default: true }
}

/// Three rounds: the figures are bytes and long sums, which hardly differ from run to run.
const fn scale(name: &'static str, about: &'static str, work: Work) -> Scenario {
    Scenario { name, about, work, rounds_max: 3, by_default: true }
}

const fn one_to_one(payload_bytes: usize) -> Shape {
    Shape { publishers: 1, receivers: 1, sharing: Sharing::All, payload_bytes, headers: false }
}

const fn publish_only(payload_bytes: usize) -> Shape {
    Shape { receivers: 0, ..one_to_one(payload_bytes) }
}

const fn fan_out(receivers: usize) -> Shape {
    Shape { receivers, ..one_to_one(128) }
}

/// Every scenario, in the order of a report.
pub const CATALOGUE: &[Scenario] = &[
    flow("pub-16", "publish 16 B, nobody subscribed", publish_only(16)),
    flow("pub-128", "publish 128 B, nobody subscribed", publish_only(128)),
    flow("pub-1k", "publish 1 KiB, nobody subscribed", publish_only(1024)),
    flow("1to1-16", "one publisher, one subscriber, 16 B", one_to_one(16)),
    flow(
        "1to1-16-headers",
        "one publisher, one subscriber, 16 B and a header",
        Shape { headers: true, ..one_to_one(16) },
    ),
    flow("1to1-128", "one publisher, one subscriber, 128 B", one_to_one(128)),
    flow("1to1-1k", "one publisher, one subscriber, 1 KiB", one_to_one(1024)),
    flow("1to1-16k", "one publisher, one subscriber, 16 KiB", one_to_one(16 * 1024)),
    flow("fan-10-128", "one publisher, 10 subscribers, 128 B", fan_out(10)),
    flow("fan-100-128", "one publisher, 100 subscribers, 128 B", fan_out(100)),
    flow("fan-1000-128", "one publisher, 1000 subscribers, 128 B", fan_out(1000)),
    flow(
        "fanin-16-16",
        "16 publishers, one subscriber, 16 B",
        Shape { publishers: 16, ..one_to_one(16) },
    ),
    flow(
        "queue-8-16",
        "one publisher, a queue group of 8, 16 B",
        Shape { receivers: 8, sharing: Sharing::One, ..one_to_one(16) },
    ),
    exchange("reqrep-1", "request and reply, 16 B, 1 in flight", 1),
    exchange("reqrep-64", "request and reply, 16 B, 64 in flight", 64),
    Scenario {
        name: "paced-10k",
        about: "10 000 messages of 16 B a second, one subscriber, generator spins",
        work: Work::Paced { rate: 10_000 },
        rounds_max: u32::MAX,
        by_default: false,
    },
    scale("connect-idle", "connections that do nothing", Work::IdleConnections),
    scale("subs-100k", "subscriptions to distinct subjects", Work::Subscriptions),
    scale("slow-consumer", "3 healthy subscribers, 1 that never reads, 1 KiB", Work::SlowConsumer),
];
