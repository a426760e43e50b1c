//! What must hold between values: each may be right by itself and wrong beside another.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Config;
use super::error::Fault;
use super::origin::Origin;

/// Everything in `config` that does not fit together.
pub(super) fn contradictions(
    config: &Config,
    origins: &BTreeMap<&'static str, Origin>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut contradict = |key: &str, sentence: String| {
        let origin = origins.get(key).cloned().unwrap_or_default();
        faults.push(Fault::Contradiction { origin, sentence });
    };
    let limits = &config.limits;
    for (key, value, bound_key, bound, reason) in [
        (
            "limits.payload_bytes_max",
            limits.payload_bytes_max,
            "limits.pending_bytes_max",
            limits.pending_bytes_max,
            "no client could ever receive the largest message",
        ),
        (
            "limits.pending_bytes_max",
            limits.pending_bytes_max,
            "limits.memory_bytes_max",
            limits.memory_bytes_max,
            "the budget of all connections could not hold what one may use",
        ),
    ] {
        if value > bound {
            let sentence = format!(
                "`{key}` is {value}; accepted is at most `{bound_key}`, which is {bound}: {reason}"
            );
            contradict(key, sentence);
        }
    }
    if config.listen == config.http_listen && config.listen.port() != 0 {
        let sentence = format!(
            "`http_listen` is {}, and so is `listen`; accepted are two different addresses",
            config.http_listen
        );
        contradict("http_listen", sentence);
    }
    for (key, address) in [("listen", config.listen), ("http_listen", config.http_listen)] {
        if !is_loopback(address) && !config.auth.is_required() {
            let sentence = format!(
                "`{key}` is {address}, which other machines can reach, and nobody has to log in; \
                 set `auth.token` or [[auth.users]], or use a loopback address such as 127.0.0.1"
            );
            contradict(key, sentence);
        }
    }
    if !config.push.has_pair_or_none() {
        let key = "push.vapid_public_key";
        let sentence = format!(
            "`{key}` and `push.vapid_private_key` are no pair; set both halves of one, or neither \
             and the broker makes its own"
        );
        contradict(key, sentence);
    }
    if cfg!(not(feature = "otlp")) && config.traces.otlp_endpoint.is_some() {
        let key = "traces.otlp_endpoint";
        let sentence = format!(
            "`{key}` is set, but this broker was built without OTLP; build it with \
             `cargo build --release --features otlp`, or leave `{key}` out"
        );
        contradict(key, sentence);
    }
    faults
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
