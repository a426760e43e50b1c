//! The trace that a task belongs to (W3C Trace Context): it comes in the headers of the request that
//! submits the task, is kept among the headers of the task, and goes on to whoever works on it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::headers::VALUE_CHARS_MAX;
use crate::core::command::{Command, Submit};

/// Which span asked.
pub const PARENT: &str = "traceparent";
/// What tracing systems add for themselves.
pub const STATE: &str = "tracestate";

/// The headers of a request that tell of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    parent: String,
    state: Option<String>,
}

impl Trace {
    /// The trace in the headers of a request. One that cannot be understood is none, as the standard
    /// has it: a task is worth more than its trace.
    #[must_use]
    pub fn of<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Trace> {
        let (mut parent, mut state) = (None, None);
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(PARENT) {
                parent = is_parent(value).then(|| value.to_owned());
            } else if name.eq_ignore_ascii_case(STATE) {
                let is_kept = value.len() <= VALUE_CHARS_MAX && value.is_ascii();
                state = is_kept.then(|| value.to_owned());
            }
        }
        parent.map(|parent| Trace { parent, state })
    }

    /// Have the tasks of a command belong to the trace, unless they name one themselves.
    pub fn mark(&self, command: &mut Command) {
        match command {
            Command::Submit(submit) => self.mark_task(submit),
            Command::SubmitBatch(batch) => {
                batch.iter_mut().for_each(|submit| self.mark_task(submit))
            }
            _ => {}
        }
    }

    /// Have a task belong to the trace, unless it names one itself.
    pub fn mark_task(&self, submit: &mut Submit) {
        let mut headers: Map<String, Value> = match &submit.headers {
            Some(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
            None => Map::new(),
        };
        if headers.keys().any(|name| name.eq_ignore_ascii_case(PARENT)) {
            return;
        }
        headers.insert(PARENT.to_owned(), self.parent.as_str().into());
        if let Some(state) = &self.state {
            headers.insert(STATE.to_owned(), state.as_str().into());
        }
        submit.headers = Some(Arc::from(Value::Object(headers).to_string().into_bytes()));
        Arc::make_mut(&mut submit.spec).has_headers = true;
    }
}

/// The trace of a task, by its headers.
#[must_use]
pub fn parent(headers: Option<&[u8]>) -> Option<String> {
    let headers: Map<String, Value> = serde_json::from_slice(headers?).ok()?;
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(PARENT))?;
    value.as_str().map(str::to_owned)
}

/// Version, trace, span and flags, in hexadecimal digits: `00-...32...-...16...-01`. Neither the trace
/// nor the span is all zeros, and no version is `ff`; a later version may have more behind it.
fn is_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |part: &str| part.bytes().any(|c| c != b'0');
    let [version, trace, span, flags, rest @ ..] = &parts[..] else { return false };
    is_hex(version, 2)
        && *version != "ff"
        && is_hex(trace, 32)
        && is_some(trace)
        && is_hex(span, 16)
        && is_some(span)
        && is_hex(flags, 2)
        && (rest.is_empty() || *version != "00")
        && text.len() <= VALUE_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_no_trace_is_none() {
        let of = |value: &str| Trace::of([("Traceparent", value)].into_iter());
        assert_eq!(of(GOOD).unwrap().parent, GOOD);
        assert!(of(&GOOD.replacen("00", "cc", 1)).is_some(), "a later version");
        assert!(of(&format!("cc{}-more", &GOOD[2..])).is_some());
        for bad in [
            "",
            "00",
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &GOOD.to_uppercase(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_state_comes_along_and_never_alone() {
        let state = Trace::of([(PARENT, GOOD), (STATE, "a=b")].into_iter()).unwrap().state;
        assert_eq!(state.as_deref(), Some("a=b"));
        assert_eq!(Trace::of([(STATE, "a=b")].into_iter()), None);
        let long = "x".repeat(VALUE_CHARS_MAX + 1);
        assert_eq!(Trace::of([(PARENT, GOOD), (STATE, &long)].into_iter()).unwrap().state, None);
    }

    #[test]
    fn a_task_that_names_its_trace_keeps_it() {
        let own = br#"{"Traceparent":"mine","other":"x"}"#;
        assert_eq!(parent(Some(own)).as_deref(), Some("mine"));
        assert_eq!(parent(Some(b"nonsense")), None);
        assert_eq!(parent(None), None);
    }
}
