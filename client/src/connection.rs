//! The task that owns the socket. It moves bytes, waits, and gets the connection back.
//!
//! ```text
//!            +--> serve --lost--> reconnect --+
//! connect ---+      |                ^        |--attempts used up--> close
//!            |      +--closing--> linger --> close
//!            +--------------------------------+
//! ```
//!
//! One task both reads and writes, so that a server that stops reading cannot keep this client
//! from reading, and nothing is handed from task to task.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use agentcom_protocol::ServerFrame;
use agentcom_protocol::binary::{self, Named};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::answer::{Declined, Granted};
use crate::error::ConnectError;
use crate::event::Event;
use crate::handshake::{self, Established, server_info};
use crate::inbound::{Frame, Inbound};
use crate::message::Message;
use crate::outbound::Pong;
use crate::server_addr::ServerAddr;
use crate::shared::Shared;
use crate::statistics::Statistics;
use crate::subject::Subject;
use crate::subscriptions::{Delivery, INBOX_SID, Subscriptions};
use crate::wire::Wire;

/// PINGs without an answer before the connection counts as lost, as in all NATS clients.
const KEEPALIVES_UNANSWERED_MAX: usize = 2;

/// When the last handle is dropped, what was published before is still written, for this long.
const LINGER: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    servers: Vec<ServerAddr>,
    /// Index of the server to try next.
    server_next: usize,
    /// Connections that came up so far.
    links: u64,
}

/// Why serving a connection ended.
enum End {
    /// The handles are gone or somebody drained.
    Closing,
    /// For the log.
    Lost(String),
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, servers: Vec<ServerAddr>) -> Connection {
        Connection { shared, servers, server_next: 0, links: 0 }
    }

    /// Try each server once, in order.
    pub(crate) async fn connect_once(&mut self) -> Result<Established, ConnectError> {
        let mut last = None;
        for _ in 0..self.servers.len() {
            match self.attempt().await {
                Ok(established) => return Ok(established),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("the list of servers is not empty"))
    }

    /// Serve until the client is closed.
    pub(crate) async fn run(mut self, mut established: Option<Established>) {
        loop {
            let current = match established.take() {
                Some(current) => current,
                None => match self.reconnect().await {
                    Some(current) => current,
                    None => break,
                },
            };
            self.discover(&current.discovered);
            self.links += 1;
            self.shared.link_up(self.links, current.info, current.wire);
            match self.serve(current.stream, current.inbound).await {
                End::Closing => break,
                End::Lost(reason) => tracing::info!(reason, "connection lost"),
            }
        }
        self.shared.close();
    }

    /// Attempts until one succeeds; `None` when there are to be no more.
    async fn reconnect(&mut self) -> Option<Established> {
        let options = self.shared.options.clone();
        let closing = self.shared.closing.clone();
        let attempts = async {
            let mut attempt = 0;
            loop {
                attempt += 1;
                if options.reconnects_max.is_some_and(|max| attempt > max) {
                    let used_up = crate::error::ConnectErrorKind::MaxReconnects;
                    self.shared.events.raise(Event::ClientError(used_up.to_string()));
                    return None;
                }
                tokio::time::sleep((options.reconnect_delay)(attempt)).await;
                match self.attempt().await {
                    Ok(established) => return Some(established),
                    Err(error) => {
                        let text = Chain(&error).to_string();
                        self.shared.events.raise(Event::ClientError(text));
                    }
                }
            }
        };
        closing.run_until_cancelled(attempts).await?
    }

    async fn attempt(&mut self) -> Result<Established, ConnectError> {
        let server = self.servers[self.server_next].clone();
        self.server_next = (self.server_next + 1) % self.servers.len();
        handshake::establish(&self.shared.options, &server).await
    }

    fn discover(&mut self, discovered: &[ServerAddr]) {
        for server in discovered {
            let is_known = |known: &ServerAddr| known.to_string() == server.to_string();
            if !self.servers.iter().any(is_known) {
                self.servers.push(server.clone());
            }
        }
    }

    async fn serve(&mut self, mut stream: tokio::net::TcpStream, mut inbound: Inbound) -> End {
        let shared = Arc::clone(&self.shared);
        let mut writing = Vec::new();
        let mut written = 0;
        let serving = serve(&shared, &mut stream, &mut inbound, &mut writing, &mut written);
        let end = tokio::select! {
            end = serving => end,
            () = shared.closing.cancelled() => End::Closing,
            () = shared.reconnect.notified() => End::Lost("a reconnect was asked for".to_owned()),
        };
        match end {
            End::Closing => {
                let writing_out = async {
                    stream.write_all(&writing[written..]).await?;
                    while shared.outbound.swap(&mut writing) {
                        stream.write_all(&writing).await?;
                    }
                    stream.shutdown().await
                };
                let _ = tokio::time::timeout(LINGER, writing_out).await;
                End::Closing
            }
            End::Lost(reason) => {
                shared.link_down(&writing, written);
                End::Lost(reason)
            }
        }
    }
}

/// Move bytes both ways until the connection is lost. On return (or when dropped), `writing` holds
/// frames of which `written` bytes are out.
async fn serve(
    shared: &Shared,
    stream: &mut tokio::net::TcpStream,
    inbound: &mut Inbound,
    writing: &mut Vec<u8>,
    written: &mut usize,
) -> End {
    let (mut reader, mut writer) = stream.split();
    let ping_interval = shared.options.ping_interval;
    let ping = tokio::time::sleep(ping_interval);
    tokio::pin!(ping);
    // Frames may have come in behind the PONG of the handshake.
    if let Err(end) = dispatch(shared, inbound) {
        return end;
    }
    loop {
        if *written == writing.len() {
            *written = 0;
            shared.outbound.swap(writing);
        }
        tokio::select! {
            read = reader.read_buf(inbound.room()) => {
                match read {
                    Ok(0) => return End::Lost("the server closed the connection".to_owned()),
                    Ok(_) => {}
                    Err(error) => return End::Lost(error.to_string()),
                }
                if let Err(end) = dispatch(shared, inbound) {
                    return end;
                }
            }
            wrote = writer.write(&writing[*written..]), if *written < writing.len() => match wrote {
                Ok(bytes) => *written += bytes,
                Err(error) => return End::Lost(error.to_string()),
            },
            () = shared.outbound.ready(), if writing.is_empty() => {}
            () = &mut ping => {
                if shared.outbound.keepalives_unanswered() >= KEEPALIVES_UNANSWERED_MAX {
                    return End::Lost("the server does not answer".to_owned());
                }
                // A closed outbound ends the task through `closing`.
                let _ = shared.outbound.ping(Pong::Keepalive);
                ping.as_mut().reset(Instant::now() + ping_interval);
            }
        }
    }
}

/// Handle every whole frame that was read.
fn dispatch(shared: &Shared, inbound: &mut Inbound) -> Result<(), End> {
    let mut lost = None;
    let mut messages = 0;
    let mut bytes = 0;
    // One lock for all messages of a read.
    let mut subscriptions = shared.subscriptions();
    let decoded = inbound.frames(|frame, chunk| {
        match frame {
            Frame::Message(message) => {
                messages += 1;
                bytes += message.payload.len() as u64;
                deliver(shared, &mut subscriptions, chunk, &message);
            }
            Frame::Granted { tag, fields, body } => {
                let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
                let fields = fields.iter().map(own).collect();
                shared.answers.answer(tag, Ok(Granted { fields, body: chunk.slice_ref(body) }));
            }
            Frame::Declined { tag, code, sentence } => {
                let declined = Declined { code: code.to_owned(), sentence: sentence.to_owned() };
                shared.answers.answer(tag, Err(declined));
            }
            Frame::Common(frame) => lost = common(shared, &mut subscriptions, chunk, &frame),
        }
        if lost.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(subscriptions);
    if messages > 0 {
        Statistics::add(&shared.statistics.in_messages, messages);
        Statistics::add(&shared.statistics.in_bytes, bytes);
    }
    match (decoded, lost) {
        (Err(error), _) => Err(End::Lost(error.to_string())),
        (Ok(()), Some(reason)) => Err(End::Lost(reason)),
        (Ok(()), None) => Ok(()),
    }
}

/// Handle a frame that is the same in both framings. A reason if the connection is of no use any
/// more.
fn common(
    shared: &Shared,
    subscriptions: &mut Subscriptions,
    chunk: &Bytes,
    frame: &ServerFrame<'_>,
) -> Option<String> {
    match frame {
        ServerFrame::Ping => shared.outbound.append_if_up(Wire::pong),
        ServerFrame::Pong => match shared.outbound.pop_pong() {
            Some(Pong::Flush(waiter)) => {
                // Whoever flushed may be gone.
                let _ = waiter.send(());
            }
            Some(Pong::Drained(sids)) => {
                sids.into_iter().for_each(|sid| {
                    subscriptions.remove(sid);
                });
            }
            Some(Pong::Keepalive | Pong::Heartbeat) | None => {}
        },
        ServerFrame::Ok => {}
        ServerFrame::Info(json) => match server_info(json) {
            Ok(info) => {
                if info.ldm {
                    shared.events.raise(Event::LameDuckMode);
                }
                shared.set_info(info);
            }
            Err(error) => return Some(Chain(&error).to_string()),
        },
        ServerFrame::Error(text) => {
            shared.events.raise(Event::ServerError((*text).to_owned()));
        }
        ServerFrame::Message(_) => {}
        ServerFrame::Granted { tag, .. } | ServerFrame::Declined { tag, .. } => {
            tracing::warn!(tag, "an answer to no question of this client's");
        }
        pushed => shared.hear(chunk, pushed),
    }
    None
}

fn deliver(
    shared: &Shared,
    subscriptions: &mut Subscriptions,
    chunk: &Bytes,
    message: &binary::Message<'_>,
) {
    let &binary::Message { sid, subject, reply, header_bytes, payload } = message;
    let subject = match subject {
        Some(Named::Full(subject)) => Some(Subject::slice(chunk, subject)),
        Some(Named::Alias(number)) => shared.outbound.numbered(number),
        None => subscriptions.filter(sid).cloned(),
    };
    // Without one, the subscription has just ended.
    let Some(subject) = subject else { return };
    let message = Message::slice(chunk, subject, reply, header_bytes, payload);
    if sid == INBOX_SID {
        if let Some(key) = shared.request_key(&message.subject) {
            shared.requests.answer(key, message);
        }
        return;
    }
    match subscriptions.deliver(sid, message) {
        Delivery::Done | Delivery::Unknown => {}
        Delivery::Dropped => Statistics::add(&shared.statistics.dropped_messages, 1),
        Delivery::DroppedFirst => {
            Statistics::add(&shared.statistics.dropped_messages, 1);
            shared.events.raise(Event::SlowConsumer(u64::from(sid)));
        }
    }
}

/// An error and its causes in one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
