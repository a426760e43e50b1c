//! One raw connection in the binary framing: bytes out, whole frames in, every wait with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Ends every CONNECT that asks for the binary framing.
const FRAME: &str = "\"frame\":\"binary1\"}\r\n";
/// How long an answer may take before a test gives up. Reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(15);
const PING: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
const PONG: [u8; 8] = [2, 0, 0, 0, 0, 0, 0, 0];

/// A raw connection to a broker that speaks frames. It answers the broker's own PINGs behind the
/// test's back.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Frames {
    /// Connect, send CONNECT with the fields of `json` and, in the same write, a binary PING; read
    /// up to the PONG and the INFO that follows it where the client speaks protocol 1.
    #[track_caller]
    pub fn open(address: SocketAddr, json: &str) -> Frames {
        let mut frames = Frames::open_raw(address);
        frames.send([&connect(json)[..], &PING].concat());
        frames.expect_line("+OK\r\n");
        frames.expect(PONG);
        if json.contains("\"protocol\":1") {
            let info = frames.next_frame().expect("an INFO behind the first PONG");
            assert_eq!(info[0], 0x80, "{}", hex(&info));
        }
        frames
    }

    /// Connect and send CONNECT as [`open`](Frames::open) does, or say why the broker lets nobody
    /// in.
    ///
    /// # Errors
    /// There is no broker, or it hung up before all of it was said.
    pub fn try_open(address: SocketAddr, json: &str) -> io::Result<Frames> {
        let mut frames = Frames::on(TcpStream::connect(address)?);
        frames.next_line()?;
        frames.stream.write_all(&connect(json))?;
        let answer = frames.next_line()?;
        assert_eq!(String::from_utf8_lossy(&answer), "+OK\r\n");
        Ok(frames)
    }

    /// Connect and read the INFO.
    #[track_caller]
    pub fn open_raw(address: SocketAddr) -> Frames {
        let mut frames = Frames::on(TcpStream::connect(address).expect("connect to the broker"));
        let line = frames.next_line().expect("the first line");
        assert!(line.starts_with(b"INFO "), "the first line is no INFO");
        frames
    }

    fn on(stream: TcpStream) -> Frames {
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream.set_write_timeout(Some(DEADLINE)).expect("set the write timeout");
        stream.set_read_timeout(Some(DEADLINE)).expect("set the read timeout");
        Frames { stream, unread: Vec::new() }
    }

    /// Send `bytes` as they are. That the broker has hung up is for the next `expect` to find.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                panic!("sending: {error}")
            }
            _ => {}
        }
    }

    /// The next bytes are the line `expected`, with its line end.
    #[track_caller]
    pub fn expect_line(&mut self, expected: &str) {
        let line = self.next_line().expect("a line, not the end of the connection");
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    /// The next frames are exactly `expected`.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut found = Vec::new();
        while found.len() < expected.len() {
            let frame = self.next_frame();
            found.extend(frame.unwrap_or_else(|| panic!("closed after {}", hex(&found))));
        }
        assert_eq!(hex(&found), hex(expected));
    }

    /// The connection is open and nothing waits in it: the broker answers a PING at once.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.send(PING);
        self.expect(PONG);
    }

    /// Wait until the broker has dealt with everything sent so far.
    #[track_caller]
    pub fn flush(&mut self) {
        self.expect_nothing();
    }

    /// The broker says exactly `last`, and closes.
    #[track_caller]
    pub fn expect_end(&mut self, last: impl AsRef<[u8]>) {
        self.expect(last);
        let more = self.next_frame();
        assert!(more.is_none(), "before the end: {}", hex(&more.unwrap_or_default()));
    }

    /// The next frame; `None` once the broker has hung up, which it does between two frames.
    #[track_caller]
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let frame = self.next_whole();
        assert!(frame.is_some() || self.unread.is_empty(), "cut off: {}", hex(&self.unread));
        frame
    }

    /// The next whole frame; `None` once the broker is gone, wherever it was.
    #[track_caller]
    pub fn next_whole(&mut self) -> Option<Vec<u8>> {
        loop {
            let length = self.unread.get(4..8).map(|length| {
                8 + u32::from_le_bytes(length.try_into().expect("four bytes")) as usize
            });
            match length {
                Some(length) if self.unread.len() >= length => {
                    let frame: Vec<u8> = self.unread.drain(..length).collect();
                    if frame == PING {
                        self.send(PONG);
                        continue;
                    }
                    return Some(frame);
                }
                _ if !self.read() => return None,
                _ => {}
            }
        }
    }

    fn next_line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                return Ok(self.unread.drain(..=end).collect());
            }
            if !self.read() {
                return Err(ErrorKind::ConnectionReset.into());
            }
        }
    }

    /// Whether there is more.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(length) => {
                self.unread.extend_from_slice(&chunk[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading, after {}: {error}", hex(&self.unread)),
        }
    }
}

/// The line that asks for the binary framing, with the fields of `json` besides.
#[must_use]
pub fn connect(json: &str) -> Vec<u8> {
    let fields = json.trim_end_matches('}');
    let comma = if fields.ends_with('{') { "" } else { "," };
    format!("CONNECT {fields}{comma}{FRAME}").into_bytes()
}

/// Bytes as they stand in docs/protocol.md.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
