//! Our own verbs on a raw connection: the few moves that every test of tasks makes.

use serde_json::Value;

use crate::Wire;

/// An `OFFER` or `ITEM`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which task.
    pub task: u64,
    /// The generation to name in every operation.
    pub generation: u64,
    /// `key=value` words, as they came.
    pub fields: String,
    /// The submitter's bytes, behind the checkpoint if there is one.
    pub payload: Vec<u8>,
}

impl Offer {
    /// `operation`, if it is an `OFFER`.
    pub fn parse(operation: &[u8]) -> Option<Self> {
        Self::parse_behind("OFFER ", operation)
    }

    /// `operation`, if it is an `ITEM` of the request with this tag.
    pub fn parse_item(operation: &[u8], tag: &str) -> Option<Self> {
        Self::parse_behind(&format!("ITEM {tag} "), operation)
    }

    fn parse_behind(front: &str, operation: &[u8]) -> Option<Self> {
        let line_end = operation.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&operation[..line_end]).ok()?;
        let (task, rest) = line.strip_prefix(front)?.split_once(' ')?;
        let (generation, rest) = rest.split_once(' ')?;
        let (fields, _size) = rest.rsplit_once(' ')?;
        Some(Self {
            task: task.parse().ok()?,
            generation: generation.parse().ok()?,
            fields: fields.to_owned(),
            payload: operation[line_end..].strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?.to_vec(),
        })
    }

    /// The value of the field `key`.
    #[track_caller]
    pub fn field(&self, key: &str) -> &str {
        let mut fields = self.fields.split(' ').filter_map(|field| field.split_once('='));
        let found = fields.find(|(name, _)| *name == key);
        found.unwrap_or_else(|| panic!("no field {key} in {self:?}")).1
    }

    /// The two numbers that every operation on it begins with, behind the tag.
    pub fn lease(&self) -> String {
        format!("{} {}", self.task, self.generation)
    }
}

impl Wire {
    /// Send one request and give the answer, without its last CRLF. Nothing else may arrive first.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.expect_line()
    }

    /// `TASK SUBMIT` to the queue and with the options in `words`; the number of the task.
    #[track_caller]
    pub fn submit(&mut self, words: &str, payload: &str) -> u64 {
        let size = payload.len();
        let answer = self.ask(format!("TASK SUBMIT submit {words} {size}\r\n{payload}\r\n"));
        let task = answer
            .strip_prefix("OK submit task=")
            .and_then(|answer| answer.split(' ').next()?.parse().ok());
        task.unwrap_or_else(|| panic!("submitting to {words:?}: {answer:?}"))
    }

    /// `TASK SHOW`; the view.
    #[track_caller]
    pub fn show(&mut self, task: u64) -> Value {
        self.ask_json(&format!("TASK SHOW show {task}"))
    }

    /// Send one request whose answer has a body; the JSON of that.
    #[track_caller]
    pub fn ask_json(&mut self, request: &str) -> Value {
        let answer = self.ask(format!("{request}\r\n"));
        let (_, json) = answer.split_once("\r\n").unwrap_or_else(|| panic!("no body: {answer:?}"));
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json:?}: {error}"))
    }

    /// `WORKER START` with the agent and the options in `words`.
    #[track_caller]
    pub fn start_worker(&mut self, words: &str) {
        let answer = self.ask(format!("WORKER START start {words}\r\n"));
        assert!(answer.starts_with("OK start"), "starting {words:?}: {answer:?}");
    }

    /// `QUEUE TAKE` with the queue and the options in `words`; the items.
    #[track_caller]
    pub fn take(&mut self, words: &str) -> Vec<Offer> {
        self.send(format!("QUEUE TAKE take {words}\r\n"));
        self.items("take")
    }

    /// The items that answer a take.
    #[track_caller]
    pub fn items(&mut self, tag: &str) -> Vec<Offer> {
        let mut items = Vec::new();
        loop {
            let operation = self.next_operation().expect("items, not the end of the connection");
            if let Some(item) = Offer::parse_item(&operation, tag) {
                items.push(item);
                continue;
            }
            let end = format!("OK {tag} count={}\r\n", items.len());
            assert!(operation == end.as_bytes(), "{end:?}, not \"{}\"", operation.escape_ascii());
            return items;
        }
    }

    /// The next operation is an `OFFER`.
    #[track_caller]
    pub fn offer(&mut self) -> Offer {
        let operation = self.next_operation().expect("an offer, not the end of the connection");
        let found = Offer::parse(&operation);
        found.unwrap_or_else(|| panic!("an offer, not \"{}\"", operation.escape_ascii()))
    }

    /// `request` is declined with `code`; the sentence for people, without its quotes.
    #[track_caller]
    pub fn expect_declined(&mut self, request: &str, code: &str) -> String {
        let answer = self.ask(request);
        let tag = request.split_ascii_whitespace().nth(2).expect("a tag");
        let sentence = answer
            .strip_prefix(&format!("ERR {tag} {code} '"))
            .and_then(|sentence| sentence.strip_suffix('\''));
        let sentence = sentence.unwrap_or_else(|| panic!("{request:?}: {code}, not {answer:?}"));
        assert!(!sentence.is_empty(), "{request:?}: {answer:?}");
        sentence.to_owned()
    }
}
