//! One raw connection: bytes out, whole operations in, every wait with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// CONNECT of a client that wants no `+OK`.
pub const QUIET: &str = r#"{"verbose":false,"pedantic":false}"#;

/// CONNECT of a client that also takes headers, the no-responders reply and INFO at any time.
pub const MODERN: &str =
    r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}"#;

/// How long an answer may take before a test gives up. Reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(15);

/// A raw connection to a broker.
///
/// It reads whole operations and answers the broker's own PINGs behind the test's back (they come
/// when the clock says so, between any two operations), until [`Wire::show_pings`].
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    info: String,
    case: String,
    shows_pings: bool,
}

/// What a read brought.
enum Inbound {
    Operation(Vec<u8>),
    Closed,
    Late,
}

impl Wire {
    /// Connect and read the INFO.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("connect to the broker")
    }

    /// Connect and read the INFO, or say why the broker does not let anybody in.
    ///
    /// # Errors
    /// There is no broker, it hung up without a word, or it said nothing in time.
    #[track_caller]
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut wire = Self {
            stream,
            unread: Vec::new(),
            info: String::new(),
            case: String::new(),
            shows_pings: false,
        };
        wire.info = match wire.read() {
            Inbound::Operation(line) => text_of(line),
            Inbound::Closed => return Err(ErrorKind::ConnectionReset.into()),
            Inbound::Late => return Err(ErrorKind::TimedOut.into()),
        };
        assert!(wire.info.starts_with("INFO "), "the first line is no INFO: {:?}", wire.info);
        Ok(wire)
    }

    /// Name the case of a table; failures then start with it.
    pub fn case(mut self, name: &str) -> Self {
        self.case = format!("[{name}] ");
        self
    }

    /// From now on the broker's PINGs are operations like any other, for the test to answer.
    pub fn show_pings(&mut self) {
        self.shows_pings = true;
    }

    /// The first line it sent, without CRLF.
    pub fn info_line(&self) -> &str {
        &self.info
    }

    /// The JSON of its first line.
    #[track_caller]
    pub fn info(&self) -> Value {
        json_of(&self.info)
    }

    /// Send `CONNECT` with `json` and a PING, and read up to the PONG and the INFO that follows it
    /// where the client speaks protocol 1.
    #[track_caller]
    pub fn handshake(&mut self, json: &str) {
        let fields: Value = serde_json::from_str(json).expect("CONNECT takes JSON");
        self.send(format!("CONNECT {json}\r\nPING\r\n"));
        if fields["verbose"] != false {
            self.expect("+OK\r\n");
        }
        self.expect("PONG\r\n");
        if fields["protocol"] == 1 {
            let line = self.expect_line();
            assert!(line.starts_with("INFO "), "no INFO after the first PONG: {line:?}");
        }
    }

    /// Send `bytes` as they are. That the broker has hung up is for the next `expect` to find.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.try_send(bytes) {
            Ok(()) => {}
            Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(kind) => panic!("{}sending: {kind}", self.case),
        }
    }

    /// Send `bytes` as they are, or say why not all of them went.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), ErrorKind> {
        self.stream.write_all(bytes.as_ref()).map_err(|error| error.kind())
    }

    /// How long `send` waits for a broker that does not read.
    pub fn set_write_timeout(&self, timeout: Duration) {
        self.stream.set_write_timeout(Some(timeout)).expect("set the write timeout");
    }

    /// Say that nothing more will be sent; reading goes on.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shut down the writing half");
    }

    /// The next operations are exactly `expected`.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut found = Vec::new();
        while found.len() < expected.len() {
            match self.read() {
                Inbound::Operation(bytes) => found.extend(bytes),
                Inbound::Closed => {
                    panic!("{}closed\n{}", self.case, difference(expected, &found))
                }
                Inbound::Late => panic!("{}late\n{}", self.case, difference(expected, &found)),
            }
        }
        assert!(found == expected, "{}differs\n{}", self.case, difference(expected, &found));
    }

    /// The next operation is an error with this text.
    #[track_caller]
    pub fn expect_error(&mut self, text: &str) {
        self.expect(format!("-ERR '{text}'\r\n"));
    }

    /// The next operation, without its last CRLF.
    #[track_caller]
    pub fn expect_line(&mut self) -> String {
        match self.read() {
            Inbound::Operation(bytes) => text_of(bytes),
            Inbound::Closed => panic!("{}closed where a line was expected", self.case),
            Inbound::Late => panic!("{}no line in {DEADLINE:?}", self.case),
        }
    }

    /// The next operation, whole; `None` once the broker has hung up.
    #[track_caller]
    pub fn next_operation(&mut self) -> Option<Vec<u8>> {
        match self.read() {
            Inbound::Operation(bytes) => Some(bytes),
            Inbound::Closed => None,
            Inbound::Late => panic!("{}nothing in {DEADLINE:?}", self.case),
        }
    }

    /// The broker closes, and says nothing more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        self.expect_end("");
    }

    /// The broker says exactly `last`, and closes.
    #[track_caller]
    pub fn expect_end(&mut self, last: impl AsRef<[u8]>) {
        let (last, found) = (last.as_ref(), self.read_to_end());
        assert!(found == last, "{}before the end\n{}", self.case, difference(last, &found));
    }

    /// Everything the broker says until it closes.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut found = Vec::new();
        loop {
            match self.read() {
                Inbound::Operation(bytes) => found.extend(bytes),
                Inbound::Closed => {
                    found.append(&mut self.unread);
                    return found;
                }
                Inbound::Late => {
                    panic!("{}still open\n{}", self.case, difference(b"", &found))
                }
            }
        }
    }

    /// Everything the broker has to say up to its answer to a PING that is sent now.
    #[track_caller]
    pub fn read_to_pong(&mut self) -> Vec<u8> {
        self.send("PING\r\n");
        let mut found = Vec::new();
        loop {
            match self.read() {
                Inbound::Operation(bytes) if bytes == b"PONG\r\n" => return found,
                Inbound::Operation(bytes) => found.extend(bytes),
                Inbound::Closed => panic!("{}closed\n{}", self.case, difference(b"PONG", &found)),
                Inbound::Late => panic!("{}late\n{}", self.case, difference(b"PONG", &found)),
            }
        }
    }

    /// The connection is open and nothing waits in it: the broker answers a PING at once.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        let found = self.read_to_pong();
        assert!(found.is_empty(), "{}not silent\n{}", self.case, difference(b"", &found));
    }

    /// Wait until the broker has dealt with everything sent so far.
    #[track_caller]
    pub fn flush(&mut self) {
        self.expect_nothing();
    }

    /// The next operation of the broker, with its own PINGs answered and left out.
    fn read(&mut self) -> Inbound {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(length) = operation_length(&self.unread) {
                let operation: Vec<u8> = self.unread.drain(..length).collect();
                if operation == b"PING\r\n" && !self.shows_pings {
                    // A broker that has hung up by now is for the next read to find.
                    let _ = self.stream.write_all(b"PONG\r\n");
                    continue;
                }
                return Inbound::Operation(operation);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Inbound::Late;
            }
            self.stream.set_read_timeout(Some(left)).expect("set the read timeout");
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Inbound::Closed,
                Ok(length) => self.unread.extend_from_slice(&chunk[..length]),
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Inbound::Closed,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    kind => panic!("{}reading: {kind}", self.case),
                },
            }
        }
    }
}

/// How often `part` stands in `text`.
pub fn occurrences(text: &[u8], part: &str) -> usize {
    text.windows(part.len()).filter(|window| *window == part.as_bytes()).count()
}

/// The length of the operation at the front of `bytes`, once all of it is there.
fn operation_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let Some(size) = payload_size(&String::from_utf8_lossy(&bytes[..line])) else {
        return Some(line);
    };
    let length = line + size + "\r\n".len();
    (bytes.len() >= length).then_some(length)
}

/// The size of what follows `line`, if anything does.
fn payload_size(line: &str) -> Option<usize> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let is_sized = match words.first()? {
        &"MSG" | &"HMSG" | &"OFFER" | &"ITEM" | &"CANCEL" | &"ANSWERED" | &"EVENT" => true,
        // Its other words are a tag and fields, and a tag alone is no size.
        &"OK" => words.len() > 2,
        _ => false,
    };
    if is_sized { words.last()?.parse().ok() } else { None }
}

/// An operation as text, without its last CRLF.
#[track_caller]
fn text_of(mut operation: Vec<u8>) -> String {
    if operation.ends_with(b"\r\n") {
        operation.truncate(operation.len() - 2);
    }
    String::from_utf8(operation).expect("the broker speaks UTF-8 here")
}

fn json_of(info: &str) -> Value {
    let json = info.strip_prefix("INFO ").expect("an INFO line");
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{info:?}: {error}"))
}

/// Both sides, from a little before the place where they part.
fn difference(expected: &[u8], found: &[u8]) -> String {
    let same = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    let [expected, found] = [expected, found].map(|bytes| {
        let (start, end) = (same.saturating_sub(200), bytes.len().min(same + 400));
        format!("\"{}\"", bytes[start..end].escape_ascii())
    });
    format!("from byte {same} on\nexpected: {expected}\n   found: {found}")
}
