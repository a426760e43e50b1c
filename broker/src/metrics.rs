//! Everything that is counted, in one list. Counters only grow; a rate is two readings. `GET
//! /metrics` shows them in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Count `more`.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is kept elsewhere, read at the moment it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `counter` if it only grows, `gauge` otherwise.
    pub kind: &'static str,
    /// Without the common prefix; with its unit.
    pub name: &'static str,
    /// For people.
    pub meaning: &'static str,
    /// Now.
    pub value: u64,
}

/// How often something took how long. Written by many, read by whoever asks; a reading is exact up
/// to what happens meanwhile.
#[derive(Debug)]
pub struct Histogram {
    /// Upper edges, in microseconds.
    edges_us: &'static [u64],
    /// One for each edge, and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// For what the broker does itself: 10 µs to 10 s.
const QUICK_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000,
    2_000_000, 10_000_000,
];

/// For what tasks take: 10 ms to a day.
const SLOW_US: [u64; 14] = [
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
];

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::quick()
    }
}

impl Histogram {
    /// For what the broker does itself.
    #[must_use]
    pub fn quick() -> Histogram {
        Histogram::with(&QUICK_US)
    }

    /// For what takes as long as people and programs take.
    #[must_use]
    pub fn slow() -> Histogram {
        Histogram::with(&SLOW_US)
    }

    fn with(edges_us: &'static [u64]) -> Histogram {
        let counts = (0..=edges_us.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { edges_us, counts, sum_us: AtomicU64::new(0) }
    }

    /// It took `time`, once more.
    pub fn note(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = self.edges_us.partition_point(|&edge| edge < us);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// In the text format of Prometheus, in seconds.
    fn write(&self, text: &mut String, name: &str, meaning: &str) {
        let _ = write!(text, "# HELP {name} {meaning}\n# TYPE {name} histogram\n");
        let mut count = 0;
        for (place, here) in self.counts.iter().enumerate() {
            count += here.load(Ordering::Relaxed);
            let edge = self.edges_us.get(place).map(|&edge| edge as f64 / 1e6);
            let edge = edge.map_or("+Inf".to_owned(), |edge| edge.to_string());
            let _ = writeln!(text, "{name}_bucket{{le=\"{edge}\"}} {count}");
        }
        let sum = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = write!(text, "{name}_sum {sum}\n{name}_count {count}\n");
    }
}

/// A histogram that is kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// Without the common prefix; ends with `_seconds`.
    pub name: &'static str,
    /// For people.
    pub meaning: &'static str,
    /// Until now.
    pub histogram: &'a Histogram,
}

macro_rules! metrics {
    ($($(#[doc = $meaning:literal])* $name:ident,)*) => {
        /// The broker's counters.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $meaning])* pub $name: Counter,)*
        }

        impl Metrics {
            /// Name, meaning and value of every counter.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($meaning),*), self.$name.value())),*].into_iter()
            }

            /// All counters, `readings` and `times`, in the text format of Prometheus.
            #[must_use]
            pub fn to_text(&self, readings: &[Reading], times: &[Times<'_>]) -> String {
                let mut text = String::new();
                for (name, meaning, value) in self.all() {
                    let name = format!("agentcom_{name}_total");
                    let _ = write!(text, "# HELP {name}{meaning}\n# TYPE {name} counter\n{name} {value}\n");
                }
                for Reading { kind, name, meaning, value } in readings {
                    let name = format!("agentcom_{name}");
                    let _ = write!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {value}\n");
                }
                for Times { name, meaning, histogram } in times {
                    histogram.write(&mut text, &format!("agentcom_{name}"), meaning);
                }
                text
            }
        }
    };
}

metrics! {
    /// connections accepted
    connections_opened,
    /// connections that are over
    connections_closed,
    /// connections turned away because connections_max was reached
    connections_refused,
    /// CONNECTs without valid credentials
    logins_refused,
    /// messages published by clients
    messages_in,
    /// bytes of whole frames read from clients
    bytes_in,
    /// publishes and subscriptions refused by permissions
    denials,
    /// durable requests refused because too many waited, or the broker was stopping
    requests_refused,
    /// connections, subscriptions and requests refused because an identity had as many as it may have
    quota_refusals,
    /// times that a client was not read from for a while because its identity sent too much
    quota_pauses,
    /// receivers cut off because they did not keep up
    slow_consumers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_shown_with_its_meaning() {
        let metrics = Metrics::default();
        metrics.denials.add(2);
        let gauge = Reading { kind: "gauge", name: "connections", meaning: "open now", value: 7 };
        let text = metrics.to_text(&[gauge], &[]);
        assert!(text.contains("\nagentcom_denials_total 2\n"), "{text}");
        assert!(text.contains("# HELP agentcom_denials_total publishes and sub"), "{text}");
        assert!(text.ends_with("# TYPE agentcom_connections gauge\nagentcom_connections 7\n"));
        assert_eq!(text.lines().count(), 3 * (metrics.all().count() + 1));
    }

    #[test]
    fn a_histogram_counts_up_to_each_edge_and_that_included() {
        let histogram = Histogram::quick();
        for us in [0, 10, 11, 1_000, 20_000_000] {
            histogram.note(Duration::from_micros(us));
        }
        let mut text = String::new();
        histogram.write(&mut text, "agentcom_sync_seconds", "as long as it takes");
        for line in [
            "# HELP agentcom_sync_seconds as long as it takes",
            "# TYPE agentcom_sync_seconds histogram",
            "agentcom_sync_seconds_bucket{le=\"0.00001\"} 2",
            "agentcom_sync_seconds_bucket{le=\"0.000025\"} 3",
            "agentcom_sync_seconds_bucket{le=\"0.0005\"} 3",
            "agentcom_sync_seconds_bucket{le=\"0.001\"} 4",
            "agentcom_sync_seconds_bucket{le=\"10\"} 4",
            "agentcom_sync_seconds_bucket{le=\"+Inf\"} 5",
            "agentcom_sync_seconds_sum 20.001021",
            "agentcom_sync_seconds_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
        for edges in [&QUICK_US[..], &SLOW_US] {
            assert!(edges.is_sorted_by(|lower, upper| lower < upper));
        }
    }
}
