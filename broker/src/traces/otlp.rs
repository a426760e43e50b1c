//! Sends spans to a collector: OTLP over HTTP, in protobuf.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::{Part, Span};

/// The way to a collector.
#[derive(Clone, Debug)]
pub struct Exporter {
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
}

impl Exporter {
    /// An exporter to the URL `endpoint`, which gives up after `timeout`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(endpoint: String, timeout: Duration) -> Result<Exporter, ExporterBuildError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(timeout);
        let mut exporter = exporter.build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("agentcom").with_attribute(version);
        exporter.set_resource(&resource.build());
        Ok(Exporter { exporter: Arc::new(exporter) })
    }

    /// Send spans. Returns when the collector has taken them.
    ///
    /// # Errors
    /// Why it did not, in its words or those of the system.
    pub async fn send(&self, spans: Vec<Span>) -> Result<(), String> {
        let spans = spans.into_iter().map(data).collect();
        self.exporter.export(spans).await.map_err(|error| error.to_string())
    }
}

fn data(span: Span) -> SpanData {
    let flags = TraceFlags::SAMPLED;
    let (trace, id) = (TraceId::from(span.trace), SpanId::from(span.id));
    let attributes = span.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
    SpanData {
        span_context: SpanContext::new(trace, id, flags, false, TraceState::default()),
        parent_span_id: SpanId::from(span.parent),
        parent_span_is_remote: span.part == Part::Task,
        span_kind: match span.part {
            Part::Task => SpanKind::Producer,
            Part::Attempt => SpanKind::Consumer,
        },
        name: Cow::Owned(span.name),
        start_time: at(span.start_ms),
        end_time: at(span.end_ms),
        attributes: attributes.collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: span.failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("agentcom").build(),
    }
}

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A collector that answers `status` to one request, and what it was sent.
    async fn collect(listener: TcpListener, status: &str) -> Vec<u8> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let length = loop {
            stream.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).to_lowercase();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let (_, length) = head.split_once("content-length: ").unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                break head.len() + 4 + length;
            }
        };
        while request.len() < length {
            stream.read_buf(&mut request).await.unwrap();
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    }

    #[tokio::test]
    async fn a_collector_is_sent_spans_and_may_decline() {
        for (status, is_taken) in [("200 OK", true), ("400 Bad Request", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
            let exporter = Exporter::new(endpoint, Duration::from_secs(20)).unwrap();
            let span = Span {
                trace: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
                id: 0x1112_1314_1516_1718,
                parent: 0x2122_2324_2526_2728,
                part: Part::Task,
                name: "task jobs".to_owned(),
                start_ms: 1_000,
                end_ms: 2_000,
                attributes: vec![("messaging.message.id", "the id".to_owned())],
                failure: Some("the attempt failed"),
            };
            let (request, sent) =
                tokio::join!(collect(listener, status), exporter.send(vec![span]));
            assert_eq!(sent.is_ok(), is_taken, "{sent:?}");
            let holds = |part: &[u8]| request.windows(part.len()).any(|found| found == part);
            let trace: Vec<u8> = (0x01..=0x10).collect();
            let ids = [&trace[..], &[0x11, 0x12, 0x13], &[0x21, 0x22, 0x23]];
            for part in ids.into_iter().chain([
                &b"POST /v1/traces "[..],
                b"application/x-protobuf",
                b"service.name",
                b"task jobs",
                b"the id",
                b"the attempt failed",
            ]) {
                assert!(holds(part), "{} is missing", String::from_utf8_lossy(part));
            }
        }
    }
}
