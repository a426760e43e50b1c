//! What a task queue is asked and what it answers, whichever server it is.
//!
//! A dialect belongs to one connection. Everything it sends again and again is laid out when the
//! connection is opened, so that a request costs the generator a copy of its bytes, and the same
//! for every server. Replies are read where they lie; a task's handle is a slice of what was read.

use std::fmt::Debug;
use std::sync::Arc;

use anyhow::Result;

use super::agentcom::AgentCom;
use super::beanstalkd::Beanstalkd;
use super::body::Bodies;
use super::jetstream::{self, JetStream};
use super::redis::{self, Redis};
use crate::server::Server;

/// What one reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A task was taken in.
    Submitted,
    /// Here is a task; this is what completes it.
    Task(&'a [u8]),
    /// A task is over, and will not come again.
    Completed,
    /// There was no task to take.
    Nothing,
    /// The server wants an answer to its `PING`.
    Ping,
    /// Nothing that matters here.
    Other,
}

/// The words of one connection.
pub trait Dialect: Debug {
    /// What is sent first, without waiting for an answer.
    fn greeting(&self) -> &[u8];

    /// Hand in a task with this payload, into `out`.
    fn submit(&self, body: &[u8], out: &mut Vec<u8>);

    /// Ask for `count` tasks, into `out`. Nothing if the server gives them without being asked.
    fn take(&self, count: u64, out: &mut Vec<u8>);

    /// Complete the task that came with `handle`, into `out`.
    fn complete(&self, handle: &[u8], out: &mut Vec<u8>);

    /// The first reply of `input` and the bytes it has; `None` if it has not come whole. Fails if
    /// it is a refusal, or not what this server may say: the run is then worth nothing.
    fn reply<'a>(&self, input: &'a [u8]) -> Result<Option<(usize, Reply<'a>)>>;
}

/// Who is at our end of a connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// No other connection of the server has it.
    pub number: usize,
    /// Tasks it holds at once; 0 if it only submits.
    pub credit: u64,
    /// The payloads of all tasks.
    pub bodies: Arc<Bodies>,
}

/// The servers that can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Our text verbs.
    AgentCom,
    /// A work-queue stream with one durable pull consumer.
    JetStream,
    /// A stream with one consumer group.
    Redis,
    /// The default tube.
    Beanstalkd,
}

impl Language {
    /// Make the queue on a fresh server.
    pub fn prepare(self, server: &Server) -> Result<()> {
        match self {
            Self::AgentCom | Self::Beanstalkd => Ok(()),
            Self::JetStream => jetstream::prepare(server),
            Self::Redis => redis::prepare(server),
        }
    }

    /// The words of `client`.
    pub fn dialect(self, client: Client) -> Box<dyn Dialect> {
        match self {
            Self::AgentCom => Box::new(AgentCom::new(client)),
            Self::JetStream => Box::new(JetStream::new(client)),
            Self::Redis => Box::new(Redis::new(client)),
            Self::Beanstalkd => Box::new(Beanstalkd::new(client)),
        }
    }
}

/// The first line of `input` without its CRLF, and where the next one starts.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', input)?;
    Some((input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1))
}

/// The number that `digits` are, or 0: what is too small is then found wrong by its length.
pub(super) fn number(digits: &[u8]) -> usize {
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// The last word of `line`.
pub(super) fn last_word(line: &[u8]) -> &[u8] {
    line.rsplit(|&byte| byte == b' ').next().unwrap_or_default()
}

/// Enough of `bytes` to recognise them in a message.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned()
}

/// A client whose payloads have three bytes; the first one is `AA3`.
#[cfg(test)]
pub(super) fn client(number: usize, credit: u64) -> Client {
    Client { number, credit, bodies: Arc::new(Bodies::of(3)) }
}

/// The replies in `input`, whole and then cut at every byte, for the tests of the dialects.
#[cfg(test)]
pub(super) fn check(dialect: &dyn Dialect, input: &[u8], expected: &[Reply<'_>]) {
    let mut at = 0;
    for reply in expected {
        for end in at..input.len() {
            // A cut reply is waited for, or it was whole already.
            if let Some((taken, found)) = dialect.reply(&input[at..end]).expect("a right reply") {
                assert_eq!((&found, at + taken <= end), (reply, true), "cut at {end}");
            }
        }
        let whole = dialect.reply(&input[at..]).expect("a right reply");
        let (taken, found) = whole.expect("a whole reply");
        assert_eq!(found, *reply);
        at += taken;
    }
    assert_eq!(at, input.len(), "every byte belongs to a reply");
}
