//! A Redis stream with one consumer group, over RESP.
//!
//! A task is an entry of one field. Reading it for the group makes it pending; it is completed by
//! acknowledging and deleting it, two commands in one write, whose answers are taken together.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use super::body::Bodies;
use super::dialect::{Client, Dialect, Reply, excerpt, line, number};
use crate::link;
use crate::server::Server;

/// Make the stream and the group.
pub fn prepare(server: &Server) -> Result<()> {
    let mut socket = link::connect(server.address())?;
    socket.write_all(b"XGROUP CREATE bench work $ MKSTREAM\r\n")?;
    let mut answer = [0; 5];
    socket.read_exact(&mut answer)?;
    ensure!(answer == *b"+OK\r\n", "XGROUP is answered {:?}", excerpt(&answer));
    Ok(())
}

/// What is said on one connection.
#[derive(Debug)]
pub struct Redis {
    submit_start: Vec<u8>,
    take_start: Vec<u8>,
    bodies: Arc<Bodies>,
}

impl Redis {
    /// The words of `client`, a consumer called by its number.
    pub fn new(client: Client) -> Self {
        let Client { number, bodies, .. } = client;
        let consumer = format!("c{number}");
        Self {
            submit_start: start(5, &[b"XADD", b"bench", b"*", b"b"]),
            take_start: start(
                9,
                &[b"XREADGROUP", b"GROUP", b"work", consumer.as_bytes(), b"COUNT"],
            ),
            bodies,
        }
    }
}

impl Dialect for Redis {
    fn greeting(&self) -> &[u8] {
        b""
    }

    fn submit(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.submit_start);
        push_word(body, out);
    }

    fn take(&self, count: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.take_start);
        push_word(count.to_string().as_bytes(), out);
        out.extend_from_slice(b"$7\r\nSTREAMS\r\n$5\r\nbench\r\n$1\r\n>\r\n");
    }

    fn complete(&self, handle: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"*4\r\n$4\r\nXACK\r\n$5\r\nbench\r\n$4\r\nwork\r\n");
        push_word(handle, out);
        out.extend_from_slice(b"*3\r\n$4\r\nXDEL\r\n$5\r\nbench\r\n");
        push_word(handle, out);
    }

    fn reply<'a>(&self, input: &'a [u8]) -> Result<Option<(usize, Reply<'a>)>> {
        let Some((head, next)) = line(input) else { return Ok(None) };
        let found = match head {
            [b'$', ..] => word(input, 0).map(|(_, end)| (end, Reply::Submitted)),
            b"*-1" => Some((next, Reply::Nothing)),
            // One stream, its name, and how many entries follow.
            b"*1" => self.head(input, next).map(|end| (end, Reply::Other)),
            b"*2" => return self.entry(input, next),
            b":1" => match line(&input[next..]) {
                None => None,
                Some((b":1", more)) => Some((next + more, Reply::Completed)),
                Some((other, _)) => bail!("XDEL is answered {:?}", excerpt(other)),
            },
            _ => bail!("Redis said {:?}", excerpt(head)),
        };
        Ok(found)
    }
}

impl Redis {
    /// Where the entries begin, of the stream that is described from `at` on.
    fn head(&self, input: &[u8], at: usize) -> Option<usize> {
        let (_, name_at) = sized(input, at)?;
        let (_, entries_at) = word(input, name_at)?;
        Some(sized(input, entries_at)?.1)
    }

    /// An entry of the stream, whose id is at `at`.
    fn entry<'a>(&self, input: &'a [u8], at: usize) -> Result<Option<(usize, Reply<'a>)>> {
        let value = || {
            let (id, fields_at) = word(input, at)?;
            let (_, name_at) = sized(input, fields_at)?;
            let (_, value_at) = word(input, name_at)?;
            Some((id, sized(input, value_at)?))
        };
        let Some((id, (size, value_at))) = value() else { return Ok(None) };
        let is_whole = self.bodies.has_come(input, value_at, size)?;
        Ok(is_whole.then_some((value_at + size + 2, Reply::Task(id))))
    }
}

/// The number on the line at `at`, behind its `$` or `*`, and where the next line starts.
fn sized(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let (head, next) = line(&input[at..])?;
    Some((number(head.get(1..)?), at + next))
}

/// The bulk string at `at`, and what is behind it.
fn word(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (size, start) = sized(input, at)?;
    let end = start + size + 2;
    (input.len() >= end).then(|| (&input[start..start + size], end))
}

fn push_word(word: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// The start of a command of `count` words: those that are given.
fn start(count: usize, words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{count}\r\n").into_bytes();
    for word in words {
        push_word(word, &mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::dialect;
    use super::*;

    #[test]
    fn replies_are_told_apart_by_their_types() {
        let client = Redis::new(dialect::client(1, 1));
        let text = b"$3\r\n1-0\r\n*1\r\n*2\r\n$5\r\nbench\r\n*2\r\n\
            *2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nb\r\n$3\r\nAA3\r\n\
            *2\r\n$4\r\n12-0\r\n*2\r\n$1\r\nb\r\n$3\r\nAA3\r\n\
            :1\r\n:1\r\n*-1\r\n";
        let expected = [
            Reply::Submitted,
            Reply::Other,
            Reply::Task(b"1-0"),
            Reply::Task(b"12-0"),
            Reply::Completed,
            Reply::Nothing,
        ];
        dialect::check(&client, text, &expected);
    }

    #[test]
    fn commands_are_arrays_of_words() {
        let client = Redis::new(dialect::client(1, 1));
        let submit = "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nb\r\n$3\r\nAA3\r\n";
        let mut out = Vec::new();
        client.submit(b"AA3", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), submit);
        out.clear();
        client.take(64, &mut out);
        let take = "*9\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$4\r\nwork\r\n$2\r\nc1\r\n\
            $5\r\nCOUNT\r\n$2\r\n64\r\n$7\r\nSTREAMS\r\n$5\r\nbench\r\n$1\r\n>\r\n";
        assert_eq!(String::from_utf8_lossy(&out), take);
    }

    #[test]
    fn what_was_completed_twice_and_errors_are_faults() {
        let client = Redis::new(dialect::client(1, 1));
        assert!(client.reply(b":0\r\n").is_err());
        assert!(client.reply(b":1\r\n:0\r\n").is_err());
        assert!(client.reply(b"-ERR unknown command\r\n").is_err());
        let foreign = b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nb\r\n$3\r\nAAX\r\n";
        assert!(client.reply(foreign).is_err());
    }
}
