//! What the broker says of itself to whoever watches over it: its metrics, and what people who know
//! NATS look for under `/varz`, `/connz` and `/subsz`, with the keys that they know.

use std::sync::Arc;

use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::commit::Health;
use crate::core::calendar::Civil;
use crate::core::command::Tick;
use crate::metrics::{Reading, Times};
use crate::net::{Clock, Outlet, Registry};
use crate::ports_file::Ports;
use crate::push::Push;
use crate::routing::Subscription;
use crate::session::Context;
use crate::traces::Traces;

/// What a door for operators asks.
pub trait Monitoring: Send + Sync {
    /// Everything that is counted, in the text format of Prometheus.
    fn metrics(&self) -> String;
    /// The broker as a whole.
    fn server(&self) -> Value;
    /// Its connections over TCP.
    fn connections(&self, wanted: Wanted) -> Value;
    /// What is subscribed to.
    fn subscriptions(&self) -> Value;
    /// Why durable requests or new connections are not taken in, if so.
    fn unready(&self) -> Option<Arc<str>>;
}

/// Which connections, and how closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Only the one with this number.
    pub id: Option<u64>,
    /// So many are left out.
    pub offset: usize,
    /// So many are shown.
    pub limit: usize,
    /// With the subjects that they are subscribed to.
    pub with_subscriptions: bool,
}

/// Connections shown at most. 1,024, as in NATS.
pub const CONNECTIONS_SHOWN_MAX: usize = 1_024;

/// A broker that runs.
pub struct Monitor {
    context: Arc<Context>,
    registry: Arc<Registry>,
    ports: Ports,
    connections_max: usize,
    push: Arc<Push>,
    traces: Arc<Traces>,
    /// That of the workers.
    clock: Clock,
    started_ms: u64,
}

impl Monitor {
    /// A monitor of the broker that listens on `ports`.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        registry: Arc<Registry>,
        ports: Ports,
        connections_max: usize,
        (push, traces): (Arc<Push>, Arc<Traces>),
        clock: Clock,
    ) -> Monitor {
        let started_ms = clock.now().wall_ms;
        Monitor { context, registry, ports, connections_max, push, traces, clock, started_ms }
    }

    fn connection(&self, outlet: &Outlet, now: Tick, wall_ms: u64) -> Value {
        let (card, traffic) = (outlet.card(), outlet.card().traffic());
        let client = card.client().unwrap_or_default();
        let mut shown = json!({
            "cid": outlet.id(),
            "kind": "Client",
            "type": "nats",
            "pending_bytes": outlet.pending_bytes(),
            "in_msgs": traffic.messages_in,
            "in_bytes": traffic.bytes_in,
            "out_bytes": traffic.bytes_out,
            "subscriptions": traffic.subscriptions,
            "last_activity": time(wall_ms.saturating_sub(now.0.saturating_sub(traffic.heard.0))),
            "idle": span(now.0.saturating_sub(traffic.heard.0)),
            "name": client.name,
            "lang": client.lang,
            "version": client.version,
            "authorized_user": client.identity,
        });
        if let Some(arrival) = card.arrival() {
            let age_ms = now.0.saturating_sub(arrival.at.0);
            shown["ip"] = arrival.peer.ip().to_string().into();
            shown["port"] = arrival.peer.port().into();
            shown["start"] = time(wall_ms.saturating_sub(age_ms)).into();
            shown["uptime"] = span(age_ms).into();
        }
        shown
    }

    /// Filters by the number of the connection that has them.
    fn filters(&self) -> HashMap<u64, Vec<String>> {
        let mut filters: HashMap<u64, Vec<String>> = HashMap::new();
        for subscription in self.context.router.all() {
            let filter = described(&subscription);
            filters.entry(subscription.outlet.id()).or_default().push(filter);
        }
        filters
    }
}

impl Monitoring for Monitor {
    fn metrics(&self) -> String {
        let (context, registry) = (&self.context, &self.registry);
        let mut readings = readings(context, registry);
        readings.extend(self.push.readings());
        readings.extend(self.traces.readings());
        context.metrics.to_text(&readings, &times(context))
    }

    fn server(&self) -> Value {
        let (metrics, info) = (&self.context.metrics, &self.context.info);
        let now = self.clock.now();
        json!({
            "server_id": info.server_id,
            "server_name": info.server_name,
            "version": info.version,
            "proto": info.proto,
            "host": self.ports.tcp.ip().to_string(),
            "port": self.ports.tcp.port(),
            "http_host": self.ports.http.ip().to_string(),
            "http_port": self.ports.http.port(),
            "auth_required": self.context.auth.is_required(),
            "max_connections": self.connections_max,
            "max_subscriptions": self.context.subscriptions_max,
            "max_payload": self.context.limits.payload_bytes_max,
            "max_control_line": self.context.limits.control_line_bytes_max,
            "ping_interval": self.context.timeouts.ping_interval_ms * 1_000_000,
            "ping_max": self.context.timeouts.ping_max,
            "start": time(self.started_ms),
            "now": time(now.wall_ms),
            "uptime": span(now.wall_ms.saturating_sub(self.started_ms)),
            "mem": resident_bytes(),
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "connections": self.registry.len(),
            "total_connections": metrics.connections_opened.value(),
            "subscriptions": self.context.router.len(),
            "slow_consumers": metrics.slow_consumers.value(),
            "in_msgs": metrics.messages_in.value(),
            "in_bytes": metrics.bytes_in.value(),
        })
    }

    fn connections(&self, wanted: Wanted) -> Value {
        let now = self.clock.now();
        let mut outlets = self.registry.all();
        outlets.retain(|outlet| wanted.id.is_none_or(|id| outlet.id() == id));
        outlets.sort_by_key(|outlet| outlet.id());
        let (total, limit) = (outlets.len(), wanted.limit.min(CONNECTIONS_SHOWN_MAX));
        let mut filters = if wanted.with_subscriptions { self.filters() } else { HashMap::new() };
        let shown = outlets.iter().skip(wanted.offset).take(limit).map(|outlet| {
            let mut shown = self.connection(outlet, now.tick, now.wall_ms);
            if wanted.with_subscriptions {
                let mut filters = filters.remove(&outlet.id()).unwrap_or_default();
                filters.sort();
                shown["subscriptions_list"] = filters.into();
            }
            shown
        });
        let shown: Vec<Value> = shown.collect();
        json!({
            "server_id": self.context.info.server_id,
            "now": time(now.wall_ms),
            "num_connections": shown.len(),
            "total": total,
            "offset": wanted.offset,
            "limit": limit,
            "connections": shown,
        })
    }

    fn subscriptions(&self) -> Value {
        json!({
            "server_id": self.context.info.server_id,
            "now": time(self.clock.now().wall_ms),
            "num_subscriptions": self.context.router.len(),
        })
    }

    fn unready(&self) -> Option<Arc<str>> {
        match self.context.durable.health() {
            Health::Refusing { reason } => Some(reason),
            Health::Stopped => Some("the broker is stopping".into()),
            Health::Healthy if self.context.lame_duck.is_raised() => {
                Some("the broker is about to stop and takes no new connections".into())
            }
            Health::Healthy => None,
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// A filter, and behind a blank its queue group if it has one.
fn described(subscription: &Subscription) -> String {
    let filter = subscription.filter().as_str().to_owned();
    match subscription.queue() {
        Some(queue) => format!("{filter} {queue}"),
        None => filter,
    }
}

/// Milliseconds since 1970 as people read them: RFC 3339, in UTC.
fn time(wall_ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(wall_ms);
    let ms = wall_ms % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A time as NATS writes it, such as `1d2h3m4s`.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let parts = [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm')];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len());
    let mut text: String =
        parts[first..].iter().map(|(count, unit)| format!("{count}{unit}")).collect();
    text.push_str(&format!("{}s", seconds % 60));
    text
}

/// Memory of the process that is in use; 0 where there is no /proc to ask.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

fn readings(context: &Context, registry: &Registry) -> Vec<Reading> {
    let figures = context.durable.figures();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let gauge = |name, meaning, value| Reading { kind: "gauge", name, meaning, value };
    let counter = |name, meaning, value| Reading { kind: "counter", name, meaning, value };
    let pending = registry.all().iter().map(|outlet| outlet.pending_bytes()).sum();
    let disk = context.durable.disk();
    let free_bytes = disk.map_or(0, |disk| disk.free_bytes);
    let is_scarce = disk.is_some_and(|disk| disk.is_scarce);
    let mut readings = vec![
        gauge("disk_free_bytes", "bytes that are free on the disk of the data folder", free_bytes),
        gauge(
            "backup_timestamp_seconds",
            "when the newest backup was made, in seconds since 1970; 0: there is none",
            context.durable.backup_ms().unwrap_or(0) / 1_000,
        ),
        gauge("disk_scarce", "1 while new work is refused because of that", is_scarce.into()),
        gauge("connections", "clients connected over TCP", count(registry.len())),
        gauge("subscriptions", "subscriptions of all clients", count(context.router.len())),
        gauge("pending_bytes", "bytes that wait for slow receivers", count(pending)),
        gauge("agents", "agents that take work", count(context.durable.sessions())),
        counter("commits_total", "batches synced", figures.commits),
        counter("records_total", "records synced", figures.records),
        counter("requests_total", "durable requests handled", figures.requests),
        counter("damaged_total", "rows or bodies that could not be read", figures.damaged),
        gauge("damaged_rows", "open tasks that nobody is offered: damaged", figures.damaged_rows),
        gauge("messages", "messages that have a place somewhere", figures.messages),
        gauge("mailboxes", "mailboxes in which something waits", figures.mailboxes),
        counter(
            "agents_cut_off_total",
            "agents that did not keep up with what was pushed to them",
            context.durable.agents_cut_off(),
        ),
        gauge("tasks_open", "tasks that are not over", figures.tasks_open),
        gauge("tasks_dead", "tasks in the dead letters", figures.tasks_dead),
        gauge("leases", "tasks that somebody holds", figures.leases),
        gauge(
            "requests_waiting",
            "requests that wait for work or for the end of a task",
            figures.waiting,
        ),
    ];
    readings.push(gauge(
        "quota_identities",
        "identities whose use of their limits is remembered",
        count(context.accounts.count()),
    ));
    readings.extend(context.durable.lookout().tally().readings());
    readings
}

fn times(context: &Context) -> Vec<Times<'_>> {
    let reads = Times {
        name: "read_seconds",
        meaning: "to work off what one read of a client brought; one read in 16 is looked at",
        histogram: &context.reads,
    };
    let mut times = vec![reads];
    times.extend(context.durable.times());
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_as_people_read_them() {
        assert_eq!(time(1_795_670_520_007), "2026-11-26T05:22:00.007Z");
        for (ms, text) in
            [(999, "0s"), (61_000, "1m1s"), (3_600_000, "1h0m0s"), (93_784_000, "1d2h3m4s")]
        {
            assert_eq!(span(ms), text);
        }
    }
}
