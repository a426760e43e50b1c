//! A server with none of a broker's duties: what the system calls and the bytes alone cost.
//!
//! It parses `SUB` and publications, finds the subscriptions of exactly that subject, and copies.
//! No wildcards, permissions, statistics or timeouts, and it trusts its clients. One thread: read
//! once from every readable connection, then write once to every connection that has output. A
//! broker that comes near it has little left to gain.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use hashbrown::HashMap;
use memchr::memchr;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

/// Bytes of one read: hundreds of small messages, still inside the cache.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Output after which a connection that does not read is cut: the limit of nats-server.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events taken from one poll.
const EVENTS_MAX: usize = 1024;
const LISTENER: Token = Token(usize::MAX);

/// Serve on `listen` until the process is killed.
pub fn serve(listen: SocketAddr) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut listener = TcpListener::bind(listen).with_context(|| format!("binding {listen}"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let info = format!(
        "INFO {{\"server_id\":\"yardstick\",\"server_name\":\"yardstick\",\"version\":\"{}\",\
         \"host\":\"{}\",\"port\":{},\"headers\":true,\"max_payload\":1048576}}\r\n",
        env!("CARGO_PKG_VERSION"),
        listen.ip(),
        listener.local_addr()?.port(),
    );
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut yardstick = Yardstick::default();
    let mut readable = Vec::new();
    loop {
        // Connections that filled the scratch buffer are read again without waiting.
        let patience = (!readable.is_empty()).then_some(Duration::ZERO);
        poll.poll(&mut events, patience)?;
        for event in &events {
            if event.token() == LISTENER {
                yardstick.accept(&listener, poll.registry(), &info)?;
                continue;
            }
            let id = event.token().0;
            if event.is_writable() {
                yardstick.touch(id);
            }
            if (event.is_readable() || event.is_read_closed()) && !readable.contains(&id) {
                readable.push(id);
            }
        }
        readable.retain(|&id| yardstick.read(id, &mut scratch));
        yardstick.write();
    }
}

/// One subscription, with the start of its deliveries laid out.
#[derive(Debug)]
struct Subscription {
    connection: usize,
    /// `HMSG subject sid ` with the space; without its first byte it starts a plain delivery.
    start: Vec<u8>,
}

/// Members of a queue group of one subject, who take turns.
#[derive(Debug)]
struct Group {
    name: Vec<u8>,
    members: Vec<Subscription>,
    next: usize,
}

/// Who wants a subject.
#[derive(Debug, Default)]
struct Audience {
    all: Vec<Subscription>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// The start of a frame that has not come whole.
    partial: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` has been written.
    written: usize,
    /// Whether it is in the list of connections to write to.
    touched: bool,
}

impl Connection {
    /// Write once. `Ok(true)` if nothing is left.
    fn write(&mut self) -> io::Result<bool> {
        match self.socket.write(&self.output[self.written..]) {
            Ok(taken) => self.written += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_done = self.written == self.output.len();
        if is_done || self.written > self.output.len() / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
        if self.output.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("it does not read"));
        }
        Ok(is_done)
    }
}

#[derive(Debug, Default)]
struct Yardstick {
    /// By token. A place is not used again: the process lives for one run.
    connections: Vec<Option<Connection>>,
    audiences: HashMap<Vec<u8>, Audience>,
    touched: Vec<usize>,
}

impl Yardstick {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry, info: &str) -> Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting"),
            };
            socket.set_nodelay(true)?;
            // A fresh socket has room for one line.
            socket.write_all(info.as_bytes())?;
            let token = Token(self.connections.len());
            registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            let (partial, output) = (Vec::new(), Vec::new());
            let connection = Connection { socket, partial, output, written: 0, touched: false };
            self.connections.push(Some(connection));
        }
    }

    /// Have connection `id` written to at the end of the turn.
    fn touch(&mut self, id: usize) {
        if let Some(connection) = &mut self.connections[id] {
            touch(connection, id, &mut self.touched);
        }
    }

    /// Read once from connection `id`. Whether there may be more.
    fn read(&mut self, id: usize, scratch: &mut [u8]) -> bool {
        let Some(connection) = &mut self.connections[id] else { return false };
        let kept = connection.partial.len();
        if scratch.len() < kept + SCRATCH_BYTES / 2 {
            // A frame larger than half the buffer: its payload is over a broker's usual limit.
            self.close(id);
            return false;
        }
        scratch[..kept].copy_from_slice(&connection.partial);
        connection.partial.clear();
        let length = match connection.socket.read(&mut scratch[kept..]) {
            Ok(0) => {
                self.close(id);
                return false;
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.close(id);
                return false;
            }
        };
        let is_full = kept + length == scratch.len();
        let input = &scratch[..kept + length];
        let taken = self.handle_input(id, input);
        if let Some(connection) = &mut self.connections[id] {
            connection.partial.extend_from_slice(&input[taken..]);
        }
        is_full
    }

    /// Act on every whole frame of `input`; the bytes they take.
    fn handle_input(&mut self, id: usize, input: &[u8]) -> usize {
        let mut at = 0;
        while let Some(length) = memchr(b'\n', &input[at..]) {
            let line = input[at..at + length].trim_ascii_end();
            let after = at + length + 1;
            match line {
                [b'P', b'U', b'B', b' ', ..] => match self.publish(input, at + 4, line, after, 1) {
                    Some(end) => at = end,
                    None => return at,
                },
                [b'H', b'P', b'U', b'B', b' ', ..] => {
                    match self.publish(input, at + 5, line, after, 0) {
                        Some(end) => at = end,
                        None => return at,
                    }
                }
                [b'S', b'U', b'B', b' ', words @ ..] => {
                    self.subscribe(id, words);
                    at = after;
                }
                b"PING" => {
                    self.answer(id, b"PONG\r\n");
                    at = after;
                }
                _ => at = after,
            }
        }
        at
    }

    /// Deliver the publication whose subject starts at `subject_at` and whose payload starts at
    /// `payload_at`; where it ends, or `None` if it has not come whole. `skip` is where in the
    /// start of a delivery its verb begins.
    fn publish(
        &mut self,
        input: &[u8],
        subject_at: usize,
        line: &[u8],
        payload_at: usize,
        skip: usize,
    ) -> Option<usize> {
        let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = &line[line.len() - digits..];
        let size = digits.iter().fold(0, |size, digit| size * 10 + usize::from(digit - b'0'));
        let end = payload_at + size + 2;
        if end > input.len() {
            return None;
        }
        let subject_length = memchr(b' ', &input[subject_at..payload_at])?;
        let subject = &input[subject_at..subject_at + subject_length];
        // Reply subject, sizes and payload are the same in publication and delivery.
        let rest = &input[subject_at + subject_length + 1..end];
        let Some(audience) = self.audiences.get_mut(subject) else { return Some(end) };
        let chosen = audience.groups.iter_mut().filter_map(|group| {
            group.next = (group.next + 1) % group.members.len().max(1);
            group.members.get(group.next)
        });
        for subscription in audience.all.iter().chain(chosen) {
            let place = subscription.connection;
            let Some(connection) = &mut self.connections[place] else { continue };
            connection.output.extend_from_slice(&subscription.start[skip..]);
            connection.output.extend_from_slice(rest);
            touch(connection, place, &mut self.touched);
        }
        Some(end)
    }

    /// `words` are subject, group if there is one, and sid.
    fn subscribe(&mut self, id: usize, words: &[u8]) {
        let words: Vec<&[u8]> = words.split(|&byte| byte == b' ').collect();
        let (subject, group, sid) = match words[..] {
            [subject, sid] => (subject, None, sid),
            [subject, group, sid] => (subject, Some(group), sid),
            _ => return,
        };
        let start = [b"HMSG ", subject, b" ", sid, b" "].concat();
        let subscription = Subscription { connection: id, start };
        let audience = self.audiences.entry(subject.to_vec()).or_default();
        let Some(name) = group else { return audience.all.push(subscription) };
        match audience.groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.members.push(subscription),
            None => {
                let members = vec![subscription];
                audience.groups.push(Group { name: name.to_vec(), members, next: 0 });
            }
        }
    }

    fn answer(&mut self, id: usize, line: &[u8]) {
        if let Some(connection) = &mut self.connections[id] {
            connection.output.extend_from_slice(line);
            touch(connection, id, &mut self.touched);
        }
    }

    /// Write once to every connection with output.
    fn write(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(connection) = &mut self.connections[id] else { continue };
            connection.touched = false;
            if !connection.output.is_empty() && connection.write().is_err() {
                self.close(id);
            }
        }
    }

    fn close(&mut self, id: usize) {
        self.connections[id] = None;
        for audience in self.audiences.values_mut() {
            audience.all.retain(|subscription| subscription.connection != id);
            for group in &mut audience.groups {
                group.members.retain(|subscription| subscription.connection != id);
            }
        }
    }
}

fn touch(connection: &mut Connection, id: usize, touched: &mut Vec<usize>) {
    if !connection.touched {
        connection.touched = true;
        touched.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_they_should_however_much_has_come() {
        let whole = b"PUB bench.a 5\r\nhello\r\nPING\r\n";
        for length in 0..=whole.len() {
            let mut yardstick = Yardstick { connections: vec![None], ..Yardstick::default() };
            let taken = yardstick.handle_input(0, &whole[..length]);
            let expected = match length {
                0..22 => 0,
                22..28 => 22,
                _ => 28,
            };
            assert_eq!(taken, expected, "length {length}");
        }
    }
}
