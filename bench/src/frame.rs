//! The frames of a scenario: what a publisher writes, and what its receivers must then read.
//!
//! Every message of a scenario is the same, so both are known beforehand to the byte, and
//! receiving is arithmetic instead of parsing.

/// Subject of all traffic: as long as a short real one.
pub const SUBJECT: &str = "bench.a";
/// Where replies go. One fixed inbox, so that replies are of one length too.
pub const INBOX: &str = "_INBOX.b";
/// Subscription id of every subscription: as short as those real clients start with.
pub const SID: &str = "1";
/// What every client says first. Quiet, so that bytes received are deliveries only.
pub const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\
    \"version\":\"1\",\"protocol\":1,\"headers\":true,\"no_responders\":false}\r\n";

/// A header block of one field, 30 bytes.
const HEADERS: &str = "NATS/1.0\r\nX-Id: 0123456789\r\n\r\n";

/// One kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is published.
    pub subject: &'static str,
    /// Where the answer goes, if one is wanted.
    pub reply: Option<&'static str>,
    /// Length of the payload, without headers.
    pub payload_bytes: usize,
    /// Whether it carries a header block.
    pub headers: bool,
}

impl Message {
    /// A message to [`SUBJECT`] without reply subject and without headers.
    pub fn plain(payload_bytes: usize) -> Self {
        Self { subject: SUBJECT, reply: None, payload_bytes, headers: false }
    }

    /// The bytes a client sends to publish it.
    pub fn published(&self) -> Vec<u8> {
        let verb = if self.headers { "HPUB" } else { "PUB" };
        self.frame(&format!("{verb} {}", self.subject))
    }

    /// The bytes a server sends to deliver it to subscription [`SID`].
    pub fn delivered(&self) -> Vec<u8> {
        let verb = if self.headers { "HMSG" } else { "MSG" };
        self.frame(&format!("{verb} {} {SID}", self.subject))
    }

    /// `start`, then what publication and delivery have in common.
    fn frame(&self, start: &str) -> Vec<u8> {
        let mut frame = start.to_owned();
        if let Some(reply) = self.reply {
            frame.push(' ');
            frame.push_str(reply);
        }
        if self.headers {
            let total = HEADERS.len() + self.payload_bytes;
            frame.push_str(&format!(" {} {total}\r\n{HEADERS}", HEADERS.len()));
        } else {
            frame.push_str(&format!(" {}\r\n", self.payload_bytes));
        }
        // Letters in turn: a shifted stream cannot look like one in place.
        frame.extend((b'a'..=b'z').cycle().map(char::from).take(self.payload_bytes));
        frame.push_str("\r\n");
        frame.into_bytes()
    }
}

/// The line that subscribes to `subject`, as a member of `group` if there is one.
pub fn subscribe(subject: &str, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("SUB {subject} {group} {SID}\r\n"),
        None => format!("SUB {subject} {SID}\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_and_delivered_frames_follow_the_protocol() {
        let plain = Message::plain(4);
        assert_eq!(plain.published(), b"PUB bench.a 4\r\nabcd\r\n");
        assert_eq!(plain.delivered(), b"MSG bench.a 1 4\r\nabcd\r\n");
        let request = Message { reply: Some(INBOX), ..plain };
        assert_eq!(request.delivered(), b"MSG bench.a 1 _INBOX.b 4\r\nabcd\r\n");
        let headers = Message { headers: true, ..plain };
        assert_eq!(
            headers.published(),
            format!("HPUB bench.a 30 34\r\n{HEADERS}abcd\r\n").as_bytes()
        );
    }
}
