//! `[traces]`: spans for a tracing system.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::setting::{Raw, Value, settings};

/// Upper edge: a collector takes no larger requests.
const SPANS: u64 = 10_000;
/// Upper edge: ten minutes. Spans that are older help nobody.
const TEN_MINUTES: u64 = 600_000;

settings! {
    config => config.traces, keys "traces.";
    /// What a tracing system is told of tasks that belong to a trace.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Traces {
        /// Where a collector takes OTLP over HTTP, such as "http://127.0.0.1:4318". None: nothing is
        /// sent, and nothing is done for it. Needs a broker built with `--features otlp`.
        "otlp_endpoint" otlp_endpoint: Option<Endpoint> = None;
        /// Spans that are sent at once. 512, as tracing systems have it.
        "batch_max" batch_max: usize = 512, in 1..=SPANS;
        /// For a collector to take them. 10 s, as tracing systems have it; what happens meanwhile
        /// waits, up to 16,384 steps of tasks.
        "timeout_ms" timeout: Duration = Duration::from_millis(10_000), in 1..=TEN_MINUTES;
    }
}

/// The address of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Where it takes spans.
    #[must_use]
    pub fn spans(&self) -> String {
        format!("{}/v1/traces", self.0.trim_end_matches('/'))
    }
}

impl Value for Endpoint {
    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        let is_one = |text: &&str| {
            let uri = text.parse::<axum::http::Uri>();
            uri.is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some())
        };
        let text = raw.text().filter(is_one);
        text.map(|text| Endpoint(text.to_owned()))
            .ok_or_else(|| r#"a URL such as "http://127.0.0.1:4318"; a collector on the same machine takes it further over TLS"#.to_owned())
    }

    fn to_toml(&self) -> Option<String> {
        self.0.to_toml()
    }
}
