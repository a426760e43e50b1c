//! What goes to stdout: text for people or JSON for programs, and colour where it is welcome.

use std::io::{self, Write};

use agentcom_client::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::connect::stdout_is_terminal;
use super::table::Table;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Prints results. Every result is flushed, so that a pipe sees it at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    has_colour: bool,
}

impl Output {
    /// Colour only for a terminal, and not against <https://no-color.org>.
    pub(crate) fn new(format: Format) -> Output {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output { format, has_colour: stdout_is_terminal() && !is_refused }
    }

    /// Print one result: `text` for people, `json` for programs.
    pub(crate) fn result(&self, text: &str, json: &Value) -> io::Result<()> {
        match self.format {
            Format::Text => self.line(text.as_bytes()),
            Format::Json => self.line(json.to_string().as_bytes()),
        }
    }

    /// Print a message. As text, its body stands alone where `is_bare`, and under a line with its
    /// subject otherwise.
    pub(crate) fn message(&self, message: &Message, is_bare: bool) -> io::Result<()> {
        if self.format == Format::Json {
            return self.line(message_json(message).to_string().as_bytes());
        }
        let mut text = Vec::new();
        if !is_bare {
            let reply = message.reply.as_ref().map(|reply| format!(" reply={reply}"));
            let title = format!("{}{}", message.subject, reply.unwrap_or_default());
            text.extend_from_slice(self.title(&title).as_bytes());
            text.push(b'\n');
            for (name, value) in message.headers.iter().flat_map(|headers| headers.iter()) {
                text.extend_from_slice(format!("{name}: {value}\n").as_bytes());
            }
        }
        text.extend_from_slice(&message.payload);
        self.line(&text)
    }

    /// Print bytes as they are; `json` for programs.
    pub(crate) fn bytes(&self, bytes: &[u8], json: &Value) -> io::Result<()> {
        match self.format {
            Format::Text => self.line(bytes),
            Format::Json => self.line(json.to_string().as_bytes()),
        }
    }

    /// Print a table, its headings in colour where that is welcome.
    pub(crate) fn table(&self, table: &Table) -> io::Result<()> {
        let lines = table.lines();
        let headings = lines.iter().take(1).map(|line| self.title(line));
        let text: Vec<String> = headings.chain(lines.iter().skip(1).cloned()).collect();
        self.line(text.join("\n").as_bytes())
    }

    /// Whether a program reads the output.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A heading, in colour where that is welcome.
    pub(crate) fn title(&self, text: &str) -> String {
        // Cyan is readable on light and dark grounds.
        if self.has_colour { format!("\x1b[36m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, line: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(line)?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }
}

fn message_json(message: &Message) -> Value {
    let mut object = Map::new();
    object.insert("subject".to_owned(), json!(message.subject.as_str()));
    if let Some(reply) = &message.reply {
        object.insert("reply".to_owned(), json!(reply.as_str()));
    }
    if let Some(headers) = &message.headers {
        let pairs: Vec<_> = headers.iter().map(|(name, value)| json!([name, value])).collect();
        object.insert("headers".to_owned(), Value::Array(pairs));
    }
    insert_bytes(&mut object, "payload", &message.payload);
    Value::Object(object)
}

/// Bytes as the broker's own JSON has them: under `key` if they are text, and in base64 under
/// `key_base64` if not.
pub(crate) fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{key}_base64"), json!(STANDARD.encode(bytes))),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_base64_under_another_key() {
        let mut object = Map::new();
        insert_bytes(&mut object, "a", b"text");
        insert_bytes(&mut object, "b", b"\xff");
        assert_eq!(Value::Object(object), json!({"a": "text", "b_base64": "/w=="}));
    }
}
