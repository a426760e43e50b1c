//! What one connection submits is mostly of one kind.
//!
//! So the spec of its newest task is kept with the words that asked for it. Where they come again,
//! nothing has to be read and checked, and the core, which knows that spec already, has nothing to
//! compare.

use std::sync::Arc;

use agentcom_protocol::Request;

use super::fields::Fields;
use super::{Invalid, submit};
use crate::core::command::Spec;

/// The spec of the newest task of a connection.
#[derive(Debug, Default)]
pub struct Usual(Option<Box<Kept>>);

#[derive(Debug)]
struct Kept {
    queue: Box<str>,
    /// Those of the options that a spec is made of, as they were given.
    options: Vec<(Box<str>, Box<str>)>,
    spec: Arc<Spec>,
}

/// Options of a task that its spec has no part in.
const OF_ONE_TASK: [&str; 8] =
    ["delay_ms", "at_ms", "dedup", "dedup_mode", "dedup_ms", "debounce_max_ms", "after", "headers"];

/// Bytes of words that are kept. 512: most requests have fewer; longer ones are read each time.
const WORDS_BYTES_MAX: usize = 512;

impl Usual {
    /// The spec that a request to submit a task asks for, as if it had no headers.
    pub(super) fn spec(&mut self, request: &Request<'_>) -> Result<Arc<Spec>, Invalid> {
        if let Some(kept) = &self.0
            && kept.is_for(request)
        {
            return Ok(Arc::clone(&kept.spec));
        }
        let spec = Arc::new(submit::spec(Fields::Words(request))?);
        let bytes: usize = options(request).map(|(key, value)| key.len() + value.len()).sum();
        self.0 = (bytes <= WORDS_BYTES_MAX).then(|| Box::new(Kept::new(request, &spec)));
        Ok(spec)
    }
}

impl Kept {
    fn new(request: &Request<'_>, spec: &Arc<Spec>) -> Kept {
        Kept {
            queue: request.arguments.first().copied().unwrap_or_default().into(),
            options: options(request).map(|(key, value)| (key.into(), value.into())).collect(),
            spec: Arc::clone(spec),
        }
    }

    fn is_for(&self, request: &Request<'_>) -> bool {
        let known = self.options.iter().map(|(key, value)| (&**key, &**value));
        request.arguments == [&*self.queue] && options(request).eq(known)
    }
}

fn options<'a>(request: &Request<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    request.options.iter().copied().filter(|(key, _)| !OF_ONE_TASK.contains(key))
}

#[cfg(test)]
mod tests {
    use agentcom_protocol::Verb;

    use super::*;

    fn request<'a>(queue: &'a str, options: &[(&'a str, &'a str)]) -> Request<'a> {
        let (arguments, options) = (vec![queue], options.to_vec());
        Request { verb: Verb::TaskSubmit, tag: "1", arguments, options, body: b"" }
    }

    fn spec(request: &Request<'_>) -> Spec {
        submit::spec(Fields::Words(request)).unwrap()
    }

    #[test]
    fn the_same_words_give_the_same_copy() {
        let mut usual = Usual::default();
        let one = usual.spec(&request("q", &[("needs", "gpu"), ("dedup", "1")])).unwrap();
        let other = usual.spec(&request("q", &[("dedup", "2"), ("needs", "gpu")])).unwrap();
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn other_words_give_what_they_ask_for() {
        let mut usual = Usual::default();
        let requests = [
            request("q", &[("needs", "gpu")]),
            request("r", &[("needs", "gpu")]),
            request("r", &[("needs", "cpu")]),
            request("r", &[("needs", "cpu"), ("priority", "high")]),
            request("r", &[("priority", "high"), ("priority", "low")]),
            request("r", &[("priority", "low"), ("priority", "high")]),
            request("r", &[]),
        ];
        for request in &requests {
            assert_eq!(*usual.spec(request).unwrap(), spec(request), "{request:?}");
        }
    }

    #[test]
    fn words_that_are_wrong_are_wrong_again() {
        let mut usual = Usual::default();
        let good = request("q", &[("priority", "high")]);
        let wrong = request("q", &[("priority", "very")]);
        for _ in 0..2 {
            usual.spec(&good).unwrap();
            assert!(usual.spec(&wrong).is_err());
        }
    }

    #[test]
    fn long_requests_are_not_kept() {
        let mut usual = Usual::default();
        let needs = vec!["x".repeat(60); 20].join(",");
        let long = request("q", &[("needs", &needs)]);
        let (one, other) = (usual.spec(&long).unwrap(), usual.spec(&long).unwrap());
        assert!(one == other && !Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn no_spec_depends_on_what_is_left_out() {
        for key in OF_ONE_TASK {
            assert!(Verb::TaskSubmit.options().contains(&key), "{key}");
            assert_eq!(spec(&request("q", &[(key, "1")])), spec(&request("q", &[])), "{key}");
        }
    }
}
