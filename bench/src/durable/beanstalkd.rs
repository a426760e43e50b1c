//! beanstalkd's text protocol, in its default tube.
//!
//! A task is put, reserved, and completed by deleting it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::body::Bodies;
use super::dialect::{Client, Dialect, Reply, excerpt, line, number};

/// Seconds after which a reserved task would come again: that of our leases.
const TIME_TO_RUN_S: u32 = 30;

/// What is said on one connection.
#[derive(Debug)]
pub struct Beanstalkd {
    submit_start: String,
    bodies: Arc<Bodies>,
}

impl Beanstalkd {
    /// The words of `client`.
    pub fn new(client: Client) -> Self {
        let bodies = client.bodies;
        let submit_start = format!("put 0 0 {TIME_TO_RUN_S} {}\r\n", bodies.bytes());
        Self { submit_start, bodies }
    }
}

impl Dialect for Beanstalkd {
    fn greeting(&self) -> &[u8] {
        b""
    }

    fn submit(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.submit_start.as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }

    fn take(&self, count: u64, out: &mut Vec<u8>) {
        for _ in 0..count {
            out.extend_from_slice(b"reserve\r\n");
        }
    }

    fn complete(&self, handle: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"delete ");
        out.extend_from_slice(handle);
        out.extend_from_slice(b"\r\n");
    }

    fn reply<'a>(&self, input: &'a [u8]) -> Result<Option<(usize, Reply<'a>)>> {
        let Some((line, next)) = line(input) else { return Ok(None) };
        let mut words = line.split(|&byte| byte == b' ');
        let reply = match words.next() {
            Some(b"INSERTED") => Reply::Submitted,
            Some(b"DELETED") => Reply::Completed,
            Some(b"RESERVED") => {
                let (id, size) = words
                    .next()
                    .zip(words.next())
                    .with_context(|| format!("a task is {:?}", excerpt(line)))?;
                let size = number(size);
                let is_whole = self.bodies.has_come(input, next, size)?;
                return Ok(is_whole.then_some((next + size + 2, Reply::Task(id))));
            }
            _ => bail!("beanstalkd said {:?}", excerpt(line)),
        };
        Ok(Some((next, reply)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect;
    use super::*;

    #[test]
    fn replies_are_told_apart_by_their_first_word() {
        let client = Beanstalkd::new(dialect::client(0, 1));
        let text = b"INSERTED 12\r\nRESERVED 12 3\r\nAA3\r\nDELETED\r\n";
        dialect::check(&client, text, &[Reply::Submitted, Reply::Task(b"12"), Reply::Completed]);
        let mut out = Vec::new();
        client.submit(b"AA3", &mut out);
        client.take(2, &mut out);
        client.complete(b"12", &mut out);
        assert_eq!(out, b"put 0 0 30 3\r\nAA3\r\nreserve\r\nreserve\r\ndelete 12\r\n");
    }

    #[test]
    fn refusals_are_faults() {
        let client = Beanstalkd::new(dialect::client(0, 1));
        for refusal in ["NOT_FOUND", "BURIED 3", "OUT_OF_MEMORY", "DEADLINE_SOON", "DRAINING"] {
            assert!(client.reply(format!("{refusal}\r\n").as_bytes()).is_err(), "{refusal}");
        }
        assert!(client.reply(b"RESERVED 12 3\r\nAAX\r\n").is_err());
    }
}
