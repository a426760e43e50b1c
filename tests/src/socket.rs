//! The WebSocket of an agent, as far as tests of single frames need one. Whole flows are tried with
//! other people's clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Broker;

/// How long an answer may take before a test gives up. Reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(15);

/// A connection that has said who it is.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Socket {
    /// Connect as the agent with this token.
    #[track_caller]
    pub fn identify(broker: &Broker, agent: &str, token: &str) -> Socket {
        let stream = TcpStream::connect(broker.http().expect("an address")).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("set the read timeout");
        let mut socket = Socket { stream, unread: Vec::new() };
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let request = format!("GET /ws HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n");
        socket.stream.write_all(request.as_bytes()).expect("send");
        let head = loop {
            if let Some(at) = socket.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            socket.read();
        };
        assert!(socket.unread.starts_with(b"HTTP/1.1 101"), "no WebSocket");
        socket.unread.drain(..head);
        socket.send(&json!({"type": "identify", "agent_id": agent, "token": token}));
        socket.expect("identified");
        socket
    }

    /// Send a frame.
    #[track_caller]
    pub fn send(&mut self, frame: &Value) {
        let text = frame.to_string();
        let mut bytes = vec![0x81];
        match text.len() {
            short @ 0..126 => bytes.push(0x80 | u8::try_from(short).expect("it is short")),
            long => {
                bytes.push(0x80 | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        bytes.extend([0; 4]);
        bytes.extend(text.as_bytes());
        self.stream.write_all(&bytes).expect("send");
    }

    /// The next frame of one of these kinds; others are passed over.
    #[track_caller]
    pub fn expect_one(&mut self, kinds: &[&str]) -> Value {
        loop {
            let frame = self.next();
            if kinds.iter().any(|kind| frame["type"] == *kind) {
                return frame;
            }
        }
    }

    /// The next frame of this kind; others are passed over.
    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> Value {
        self.expect_one(&[kind])
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        loop {
            if let Some((opcode, payload)) = self.take() {
                match opcode {
                    1 => return serde_json::from_slice(&payload).expect("JSON"),
                    8 => panic!("closed: {}", String::from_utf8_lossy(&payload)),
                    _ => continue,
                }
            }
            self.read();
        }
    }

    /// A whole frame, if one has arrived: its opcode and what is in it.
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let (opcode, short) = (self.unread.first()? & 0x0f, *self.unread.get(1)?);
        let (at, length) = match short {
            126 => (4, u64::from(u16::from_be_bytes(self.unread.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(self.unread.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let end = at + usize::try_from(length).expect("it fits into memory");
        let payload = self.unread.get(at..end)?.to_vec();
        self.unread.drain(..end);
        Some((opcode, payload))
    }

    #[track_caller]
    fn read(&mut self) {
        let mut bytes = [0; 4_096];
        let read = self.stream.read(&mut bytes).expect("an answer in time");
        assert!(read > 0, "the broker hung up");
        self.unread.extend_from_slice(&bytes[..read]);
    }
}
