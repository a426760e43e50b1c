//! An agent of the AgentCom v2 hub on its WebSocket, and many of them on one thread.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::link::SILENCE_MAX;

/// Bytes of one read.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Events taken from one poll.
const EVENTS_MAX: usize = 1024;
/// How long to sleep for an event.
const PATIENCE: Duration = Duration::from_millis(100);
/// The greatest length that stands in the first two bytes of a frame.
const SHORT_MAX: usize = 125;

/// Who says what, and what is said back.
pub(super) trait Script {
    /// Agent `number` was told `frame`; what it says is put into `out`.
    fn hear(&mut self, number: usize, frame: &Value, out: &mut Outgoing) -> Result<()>;
}

/// Frames that are to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing(Vec<u8>);

impl Outgoing {
    /// Say `frame`.
    pub(super) fn say(&mut self, frame: &Value) {
        let text = frame.to_string();
        self.0.push(0x81);
        match text.len() {
            short @ 0..=SHORT_MAX => self.0.push(0x80 | short as u8),
            long => {
                self.0.push(0x80 | 127);
                self.0.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// One connection.
#[derive(Debug)]
struct Agent {
    socket: TcpStream,
    input: Vec<u8>,
    out: Outgoing,
}

/// Agents that are served together.
#[derive(Debug)]
pub(super) struct Crowd {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    agents: Vec<Agent>,
    last_heard: Instant,
}

impl Crowd {
    /// Connect as everybody in `tokens`, whose names and tokens they are; all are able to do `skill`.
    pub(super) fn open(
        address: SocketAddr,
        tokens: &[(String, String)],
        skill: &str,
    ) -> Result<Crowd> {
        let poll = Poll::new()?;
        let agents = tokens.iter().enumerate().map(|(number, (name, token))| {
            let mut agent = Agent::open(address)?;
            agent.out.say(&json!({"type": "identify", "agent_id": name, "token": token,
                "name": name, "capabilities": [skill]}));
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut agent.socket, Token(number), interest)?;
            Ok(agent)
        });
        let agents = agents.collect::<Result<_>>()?;
        let (events, scratch) = (Events::with_capacity(EVENTS_MAX), vec![0; SCRATCH_BYTES]);
        Ok(Crowd { poll, events, scratch, agents, last_heard: Instant::now() })
    }

    /// Let agent `number` say `frame`.
    pub(super) fn say(&mut self, number: usize, frame: &Value) -> Result<()> {
        self.agents[number].out.say(frame);
        self.agents[number].write()
    }

    /// Serve all until `done`. Fails when nothing was heard for [`SILENCE_MAX`].
    pub(super) fn run<S: Script>(
        &mut self,
        script: &mut S,
        mut done: impl FnMut(&S) -> bool,
    ) -> Result<()> {
        self.last_heard = Instant::now();
        while !done(script) {
            self.poll.poll(&mut self.events, Some(PATIENCE)).context("polling")?;
            for event in &self.events {
                let number = event.token().0;
                let agent = &mut self.agents[number];
                if event.is_readable() && agent.read(&mut self.scratch, number, script)? {
                    self.last_heard = Instant::now();
                }
                agent.write()?;
            }
            ensure!(self.last_heard.elapsed() < SILENCE_MAX, "nothing was heard for too long");
        }
        Ok(())
    }
}

impl Agent {
    fn open(address: SocketAddr) -> Result<Agent> {
        let mut socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        let request = "GET /ws HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        socket.write_all(request.as_bytes())?;
        // Nothing follows the head before the agent has said who it is.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).context("reading the answer to the upgrade")?;
            head.push(byte[0]);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101"), "no WebSocket: {}", head.escape_ascii());
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(Agent { socket, input: Vec::new(), out: Outgoing::default() })
    }

    /// Read all that is there. Gives whether it was anything.
    fn read<S: Script>(
        &mut self,
        scratch: &mut [u8],
        number: usize,
        script: &mut S,
    ) -> Result<bool> {
        let mut heard = false;
        loop {
            match self.socket.read(scratch) {
                Ok(0) => bail!("the broker hung up on agent {number}"),
                Ok(bytes) => self.input.extend_from_slice(&scratch[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
                Err(error) => return Err(error.into()),
            }
            heard = true;
            let mut at = 0;
            while let Some((frame, end)) = frame(&self.input[at..])? {
                script.hear(number, &frame, &mut self.out)?;
                at += end;
            }
            self.input.drain(..at);
        }
    }

    fn write(&mut self) -> Result<()> {
        while !self.out.0.is_empty() {
            match self.socket.write(&self.out.0) {
                Ok(bytes) => drop(self.out.0.drain(..bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The first frame of `input` and where it ends; `None` if it has not come whole.
fn frame(input: &[u8]) -> Result<Option<(Value, usize)>> {
    let Some((&[first, short], rest)) = input.split_first_chunk() else { return Ok(None) };
    let (start, length) = match (short, rest.first_chunk(), rest.first_chunk()) {
        (126, Some(length), _) => (4, usize::from(u16::from_be_bytes(*length))),
        (127, _, Some(length)) => (10, usize::try_from(u64::from_be_bytes(*length))?),
        (126 | 127, ..) => return Ok(None),
        _ => (2, usize::from(short)),
    };
    let Some(text) = input.get(start..start + length) else { return Ok(None) };
    ensure!(first == 0x81, "a frame begins with {first:#x}; only whole texts are expected");
    Ok(Some((serde_json::from_slice(text).context("a frame is no JSON")?, start + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_it_has_come_whole() {
        for size in [1, 100, 125, 126, 70_000] {
            let text = json!("x".repeat(size)).to_string();
            let mut input = vec![0x81];
            match text.len() {
                short @ 0..=125 => input.push(short as u8),
                middle @ 126..=0xffff => {
                    input.push(126);
                    input.extend_from_slice(&(middle as u16).to_be_bytes());
                }
                long => {
                    input.push(127);
                    input.extend_from_slice(&(long as u64).to_be_bytes());
                }
            }
            input.extend_from_slice(text.as_bytes());
            for cut in [0, 1, 2, 3, 5, 9, usize::MAX].map(|cut| cut.min(input.len() - 1)) {
                assert!(frame(&input[..cut]).unwrap().is_none(), "{size} cut at {cut}");
            }
            let whole = input.len();
            input.extend_from_slice(b"more");
            let (found, end) = frame(&input).unwrap().expect("it is whole");
            assert_eq!((found, end), (json!("x".repeat(size)), whole));
        }
        frame(&[0x88, 0]).expect_err("it hangs up");
    }
}
