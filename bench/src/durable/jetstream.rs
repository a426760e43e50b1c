//! JetStream over the NATS wire: a work-queue stream, its file store, and a durable pull consumer.
//!
//! A task is a publication with a reply subject, where its acknowledgement comes. Tasks are asked
//! for from the consumer; each carries the subject on which it is completed, and the server
//! confirms that there, as it does for a client that asks for a double acknowledgement.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::body::Bodies;
use super::dialect::{Client, Dialect, Reply, excerpt, last_word, line, number};
use crate::frame::CONNECT;
use crate::link;
use crate::server::Server;

/// Subscriptions of each connection, told apart by their ids.
const SUBMITTED: &[u8] = b"1";
const TASKS: &[u8] = b"2";
const COMPLETED: &[u8] = b"3";

const STREAM: &str = r#"{"name":"BENCH","subjects":["bench.q"],"retention":"workqueue",
    "storage":"file","discard":"old","num_replicas":1,"max_msgs":-1,"max_bytes":-1,"max_age":0,
    "max_consumers":-1,"max_msg_size":-1}"#;
/// Unlimited in what may be out at once; a task that is not completed comes again after 30 s, as
/// ours does.
const CONSUMER: &str = r#"{"stream_name":"BENCH","config":{"name":"work","durable_name":"work",
    "ack_policy":"explicit","deliver_policy":"all","replay_policy":"instant",
    "ack_wait":30000000000,"max_ack_pending":-1,"max_waiting":4096}}"#;

/// Make the stream and the consumer.
pub fn prepare(server: &Server) -> Result<()> {
    request(server, "$JS.API.STREAM.CREATE.BENCH", STREAM)?;
    request(server, "$JS.API.CONSUMER.CREATE.BENCH.work", CONSUMER)
}

/// Send one request of the JetStream API on a connection of its own. Fails if it is refused.
fn request(server: &Server, subject: &str, body: &str) -> Result<()> {
    let mut socket = link::connect(server.address())?;
    let size = body.len();
    let request = format!("{CONNECT}SUB _INBOX.a 1\r\nPUB {subject} _INBOX.a {size}\r\n{body}\r\n");
    socket.write_all(request.as_bytes())?;
    let answer = link::await_message(&mut socket)?;
    ensure!(!answer.contains("\"error\""), "{subject} is answered {answer}");
    Ok(())
}

/// What is said on one connection.
#[derive(Debug)]
pub struct JetStream {
    greeting: Vec<u8>,
    submit_start: String,
    take_start: String,
    completed_inbox: String,
    bodies: Arc<Bodies>,
}

impl JetStream {
    /// The words of `client`. Its inboxes are called by its number.
    pub fn new(client: Client) -> Self {
        let Client { number, bodies, .. } = client;
        let greeting = format!(
            "{CONNECT}SUB _INBOX.{number}.s 1\r\nSUB _INBOX.{number}.t 2\r\n\
             SUB _INBOX.{number}.c 3\r\n"
        );
        Self {
            greeting: greeting.into_bytes(),
            submit_start: format!("PUB bench.q _INBOX.{number}.s {}\r\n", bodies.bytes()),
            take_start: format!("PUB $JS.API.CONSUMER.MSG.NEXT.BENCH.work _INBOX.{number}.t "),
            completed_inbox: format!(" _INBOX.{number}.c 0\r\n\r\n"),
            bodies,
        }
    }
}

impl Dialect for JetStream {
    fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    fn submit(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.submit_start.as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }

    fn take(&self, count: u64, out: &mut Vec<u8>) {
        let batch = format!("{{\"batch\":{count}}}");
        out.extend_from_slice(self.take_start.as_bytes());
        out.extend_from_slice(format!("{}\r\n{batch}\r\n", batch.len()).as_bytes());
    }

    fn complete(&self, handle: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"PUB ");
        out.extend_from_slice(handle);
        out.extend_from_slice(self.completed_inbox.as_bytes());
    }

    fn reply<'a>(&self, input: &'a [u8]) -> Result<Option<(usize, Reply<'a>)>> {
        let Some((line, next)) = line(input) else { return Ok(None) };
        let words = match line {
            [b'M', b'S', b'G', b' ', rest @ ..] => rest,
            b"PING" => return Ok(Some((next, Reply::Ping))),
            b"PONG" | [b'I', b'N', b'F', b'O', b' ', ..] => return Ok(Some((next, Reply::Other))),
            _ => bail!("JetStream said {:?}", excerpt(line)),
        };
        let mut words = words.split(|&byte| byte == b' ');
        let (_, sid, third) = (words.next(), words.next(), words.next());
        let size = number(last_word(line));
        let end = next + size + 2;
        if input.len() < end {
            return Ok(None);
        }
        let payload = &input[next..next + size];
        let reply = match sid {
            Some(SUBMITTED) => {
                let is_taken = payload.starts_with(b"{\"stream\":") && !contains_error(payload);
                ensure!(is_taken, "a task is answered {:?}", excerpt(payload));
                Reply::Submitted
            }
            Some(TASKS) => {
                self.bodies.has_come(input, next, size)?;
                Reply::Task(third.with_context(|| format!("a task is {:?}", excerpt(line)))?)
            }
            Some(COMPLETED) => {
                ensure!(size == 0, "a completion is answered {:?}", excerpt(payload));
                Reply::Completed
            }
            _ => bail!("JetStream said {:?}", excerpt(line)),
        };
        Ok(Some((end, reply)))
    }
}

fn contains_error(payload: &[u8]) -> bool {
    memchr::memmem::find(payload, b"\"error\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::super::dialect;
    use super::*;

    #[test]
    fn replies_are_told_apart_by_their_subscription() {
        let client = JetStream::new(dialect::client(7, 1));
        let text =
            b"INFO {\"port\":1}\r\nMSG _INBOX.7.s 1 27\r\n{\"stream\":\"BENCH\",\"seq\":12}\r\n\
            MSG bench.q 2 $JS.ACK.BENCH.work.1.12.12.17.0 3\r\nAA3\r\n\
            PING\r\nMSG _INBOX.7.c 3 0\r\n\r\n";
        let expected = [
            Reply::Other,
            Reply::Submitted,
            Reply::Task(b"$JS.ACK.BENCH.work.1.12.12.17.0"),
            Reply::Ping,
            Reply::Completed,
        ];
        dialect::check(&client, text, &expected);
        let mut out = Vec::new();
        client.complete(b"$JS.ACK.x", &mut out);
        client.take(12, &mut out);
        let expected = "PUB $JS.ACK.x _INBOX.7.c 0\r\n\r\n\
            PUB $JS.API.CONSUMER.MSG.NEXT.BENCH.work _INBOX.7.t 12\r\n{\"batch\":12}\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn errors_and_statuses_are_faults() {
        let client = JetStream::new(dialect::client(7, 1));
        let refused = br#"{"stream":"BENCH","error":{"code":503}}"#;
        let refused = [b"MSG _INBOX.7.s 1 39\r\n", &refused[..], b"\r\n"].concat();
        assert!(client.reply(&refused).is_err());
        assert!(client.reply(b"HMSG _INBOX.7.t 2 28 28\r\n").is_err());
        assert!(client.reply(b"-ERR 'Slow Consumer'\r\n").is_err());
    }
}
