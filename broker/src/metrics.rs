//! Everything that is counted, in one list. Counters only grow; a rate is two readings. `GET
//! /metrics` shows them in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

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

            /// All counters, and `readings`, in the text format of Prometheus.
            #[must_use]
            pub fn to_text(&self, readings: &[Reading]) -> String {
                let mut text = String::new();
                for (name, meaning, value) in self.all() {
                    let name = format!("agentcom_{name}_total");
                    let _ = write!(text, "# HELP {name}{meaning}\n# TYPE {name} counter\n{name} {value}\n");
                }
                for Reading { kind, name, meaning, value } in readings {
                    let name = format!("agentcom_{name}");
                    let _ = write!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {value}\n");
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
        let text = metrics.to_text(&[gauge]);
        assert!(text.contains("\nagentcom_denials_total 2\n"), "{text}");
        assert!(text.contains("# HELP agentcom_denials_total publishes and sub"), "{text}");
        assert!(text.ends_with("# TYPE agentcom_connections gauge\nagentcom_connections 7\n"));
        assert_eq!(text.lines().count(), 3 * (metrics.all().count() + 1));
    }
}
