//! A log line as a JSON object, with the keys that the hub had: `time`, `severity`, `message`, and
//! everything else in `metadata`.

use std::fmt::{self, Debug};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry;

/// Values under these names are not shown. Nothing of ours has one; this is for the day on which
/// somebody errs.
const SECRETS: [&str; 4] = ["token", "auth_token", "secret", "password"];

/// One object a line.
#[derive(Debug)]
pub(super) struct Json;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    severity: &'static str,
    message: Value,
    metadata: &'a Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            fields.put_span(span.extensions().get::<FormattedFields<N>>());
        }
        event.record(&mut fields);
        let mut metadata = fields.0;
        let message = match metadata.remove(telemetry::FIELD) {
            // The hub has an object there.
            Some(Value::String(event)) => serde_json::from_str(&event).unwrap_or_default(),
            _ => metadata.remove("message").unwrap_or_default(),
        };
        metadata.insert("module".to_owned(), event.metadata().target().into());
        metadata.insert("line".to_owned(), event.metadata().line().into());
        let severity = severity(*event.metadata().level());
        let line = Line { time, severity, message, metadata: &metadata };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// The word of the hub for it, which has none for `trace`.
fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.put_named(field.name(), value.into());
    }

    fn put_named(&mut self, name: &str, value: Value) {
        let is_secret = SECRETS.contains(&name);
        let value = if is_secret { "[REDACTED]".into() } else { value };
        self.0.insert(name.to_owned(), value);
    }

    /// What a line belongs to, such as a request; kept as a JSON object ([`super::start`]).
    fn put_span<N>(&mut self, fields: Option<&FormattedFields<N>>) {
        let fields = fields.and_then(|fields| serde_json::from_str(fields.as_str()).ok());
        let fields: Map<String, Value> = fields.unwrap_or_default();
        fields.into_iter().for_each(|(name, value)| self.put_named(&name, value));
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::format::JsonFields;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `log` makes.
    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let (lines, writer) = (Lines::default(), Lines::default());
        let shared = Lines(Arc::clone(&lines.0));
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Json)
            .fmt_fields(JsonFields::new())
            .with_writer(move || shared.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        drop(writer);
        let bytes = lines.0.lock().clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
    }

    #[test]
    fn a_line_has_the_keys_of_the_hub() {
        let lines = lines(|| {
            tracing::warn!(task_id = 7, agent_id = %"ann", odd = ?Some(1), part = 0.5, "it is late");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["severity"], "warning");
        assert_eq!(line["message"], "it is late");
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        let metadata = &line["metadata"];
        assert_eq!(metadata["task_id"], 7);
        assert_eq!(metadata["agent_id"], "ann");
        assert_eq!(metadata["odd"], "Some(1)");
        assert_eq!(metadata["part"], 0.5);
        assert!(metadata["line"].is_u64() && metadata["module"].is_string(), "{line}");
    }

    #[test]
    fn a_line_says_what_it_belongs_to() {
        let lines = lines(|| {
            let agent = Some("a\"b\n");
            let outer = tracing::info_span!("request", request_id = %"1f", agent_id = agent);
            let _outer = outer.enter();
            let _inner = tracing::info_span!("inner", token = "a9f3", part = 2).entered();
            tracing::info!(part = 3, "hello");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let metadata = &line["metadata"];
        assert_eq!(metadata["request_id"], "1f");
        assert_eq!(metadata["agent_id"], "a\"b\n");
        assert_eq!(metadata["part"], 3, "the line itself knows best");
        assert_eq!(metadata["token"], "[REDACTED]");
    }

    #[test]
    fn nobody_forges_a_line_and_no_secret_is_in_one() {
        let name = "x\"}\n{\"severity\":\"error\"\u{1b}[31m\r\u{0}";
        let lines = lines(|| tracing::info!(agent_id = name, token = "a9f3", "hello {name}"));
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["severity"], "info");
        assert_eq!(line["metadata"]["agent_id"], name);
        assert_eq!(line["message"], format!("hello {name}"));
        assert_eq!(line["metadata"]["token"], "[REDACTED]");
    }
}
