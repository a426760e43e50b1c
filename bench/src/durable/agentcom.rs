//! Our own text verbs, as `docs/protocol.md` has them.
//!
//! An agent is given tasks as long as it has credit; it takes an offer by acknowledging it,
//! after which nobody can ask for the task any more: the same is true of the peers. Tags are the
//! same for all requests of a kind: replies are counted, and need not be told apart.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::body::Bodies;
use super::dialect::{Client, Dialect, Reply, excerpt, last_word, line, number};
use crate::frame::CONNECT;
use crate::rest::Rest;
use crate::server::Server;

/// What is said on one connection.
#[derive(Debug)]
pub struct AgentCom {
    greeting: Vec<u8>,
    submit_start: String,
    bodies: Arc<Bodies>,
}

impl AgentCom {
    /// The words of `client`. An agent is called by its number.
    pub fn new(client: Client) -> Self {
        let Client { number, credit, bodies } = client;
        let mut greeting = CONNECT.to_owned();
        if credit > 0 {
            greeting.push_str(&format!("WORKER START w agent-{number} credit={credit}\r\n"));
        }
        let submit_start = format!("TASK SUBMIT s bench {}\r\n", bodies.bytes());
        Self { greeting: greeting.into_bytes(), submit_start, bodies }
    }
}

impl Dialect for AgentCom {
    fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    fn submit(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.submit_start.as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }

    fn take(&self, _: u64, _: &mut Vec<u8>) {}

    fn complete(&self, handle: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"QUEUE ACK c ");
        out.extend_from_slice(handle);
        out.extend_from_slice(b"\r\n");
    }

    fn reply<'a>(&self, input: &'a [u8]) -> Result<Option<(usize, Reply<'a>)>> {
        let Some((line, next)) = line(input) else { return Ok(None) };
        let reply = match line {
            [b'O', b'K', b' ', b's', b' ', ..] => Reply::Submitted,
            [b'O', b'K', b' ', b'c', b' ', ..] => Reply::Completed,
            [b'O', b'F', b'F', b'E', b'R', b' ', rest @ ..] => {
                let size = number(last_word(line));
                if !self.bodies.has_come(input, next, size)? {
                    return Ok(None);
                }
                // Task and generation: the first two words.
                let mut blanks = memchr::memchr_iter(b' ', rest);
                let (_, end) = (blanks.next(), blanks.next());
                let end = end.with_context(|| format!("an offer is {:?}", excerpt(line)))?;
                return Ok(Some((next + size + 2, Reply::Task(&rest[..end]))));
            }
            b"PING" => Reply::Ping,
            b"PONG" | [b'I', b'N', b'F', b'O', b' ', ..] | [b'O', b'K', b' ', b'w', ..] => {
                Reply::Other
            }
            _ => bail!("the broker said {:?}", excerpt(line)),
        };
        Ok(Some((next, reply)))
    }
}

/// Batches that the broker has synced so far, from its `/metrics`.
pub fn commits(server: &Server) -> Result<f64> {
    let text = Rest::connect(server)?.get("/metrics")?;
    counter(&text, "agentcom_commits_total")
        .with_context(|| format!("/metrics answered {:?}", excerpt(text.as_bytes())))
}

/// The value of the counter `name` in the text format of Prometheus.
fn counter(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::dialect::{check, client};
    use super::*;

    #[test]
    fn replies_are_told_apart_and_an_offer_names_its_lease() {
        let agent = AgentCom::new(client(3, 2));
        let text = b"INFO {}\r\nOK w agent=agent-3\r\nOK s task=17\r\n\
            OFFER 17 1 queue=bench attempt=1 offer_ms=10000 lease_ms=30000 3\r\nAA3\r\n\
            PING\r\nOK c task=17 state=completed\r\n";
        let expected = [
            Reply::Other,
            Reply::Other,
            Reply::Submitted,
            Reply::Task(b"17 1"),
            Reply::Ping,
            Reply::Completed,
        ];
        check(&agent, text, &expected);
        let mut out = Vec::new();
        agent.complete(b"17 1", &mut out);
        agent.submit(b"AA3", &mut out);
        assert_eq!(out, b"QUEUE ACK c 17 1\r\nTASK SUBMIT s bench 3\r\nAA3\r\n");
    }

    #[test]
    fn refusals_and_foreign_payloads_are_faults() {
        let agent = AgentCom::new(client(0, 1));
        assert!(agent.reply(b"ERR s busy 'too many requests wait'\r\n").is_err());
        assert!(agent.reply(b"REVOKED 17 1 state=ready\r\n").is_err());
        assert!(agent.reply(b"OFFER 17 1 queue=bench 3\r\nAAX\r\n").is_err());
        assert!(agent.reply(b"OFFER 17 1 queue=bench 4\r\nAA3d\r\n").is_err());
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text = "# TYPE agentcom_commits_total counter\nagentcom_commits_total 42\n";
        assert_eq!(counter(text, "agentcom_commits_total"), Some(42.0));
        assert_eq!(counter(text, "agentcom_commits"), None);
    }
}
