//! One attempt to connect: TCP, then INFO, CONNECT + PING, PONG; where INFO lists the binary framing,
//! the PING is binary, and a `+OK` stands before the PONG.
//!
//! The server answers PONG or an error before anything else, so that either settles the attempt.

use std::ops::ControlFlow;

use agentcom_protocol::{DecodeError, ServerFrame, ServerInfo, binary, encode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::{ConnectError, ConnectErrorKind};
use crate::inbound::{Frame, Inbound};
use crate::options::ConnectOptions;
use crate::server_addr::ServerAddr;
use crate::wire::Wire;

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) stream: TcpStream,
    /// It may hold frames from behind the PONG already.
    pub(crate) inbound: Inbound,
    pub(crate) info: ServerInfo,
    /// How it speaks.
    pub(crate) wire: Wire,
    /// Other servers of the same cluster.
    pub(crate) discovered: Vec<ServerAddr>,
}

/// What INFO says about how to connect, here and elsewhere.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reach {
    tls_required: bool,
    connect_urls: Vec<String>,
}

/// Connect to `server` within [`ConnectOptions::connection_timeout`].
pub(crate) async fn establish(
    options: &ConnectOptions,
    server: &ServerAddr,
) -> Result<Established, ConnectError> {
    tokio::time::timeout(options.connection_timeout, establish_untimed(options, server))
        .await
        .map_err(|_| ConnectError::new(ConnectErrorKind::TimedOut))?
}

async fn establish_untimed(
    options: &ConnectOptions,
    server: &ServerAddr,
) -> Result<Established, ConnectError> {
    let address = (server.host(), server.port());
    let addresses = tokio::net::lookup_host(address)
        .await
        .map_err(|error| ConnectError::with_source(ConnectErrorKind::Dns, error))?;
    let addresses: Vec<_> = addresses.collect();
    let mut stream = TcpStream::connect(addresses.as_slice()).await.map_err(io_error)?;
    stream.set_nodelay(true).map_err(io_error)?;

    let mut inbound = Inbound::new();
    let Opening::Info(json) = next(&mut stream, &mut inbound).await? else {
        return Err(protocol_error("expected INFO first"));
    };
    let mut info = server_info(&json)?;
    let reach: Reach = serde_json::from_slice(&json).unwrap_or_default();
    if reach.tls_required {
        return Err(ConnectErrorKind::Tls.into());
    }

    let mut wire = wire(options, &info);
    let mut connect = options.to_connect(server);
    connect.frame = wire.is_binary().then(|| binary::NAME.to_owned());
    let json = serde_json::to_vec(&connect).expect("CONNECT is plain JSON");
    encode::connect(&mut wire.bytes, &json);
    wire.ping();
    stream.write_all(&wire.bytes).await.map_err(io_error)?;
    wire.bytes.clear();
    loop {
        match next(&mut stream, &mut inbound).await? {
            Opening::Pong => break,
            Opening::Ok if wire.is_binary() => inbound.change_over(),
            Opening::Info(json) => info = server_info(&json)?,
            Opening::Error(text) => return Err(refused(text)),
            Opening::Ok | Opening::Other => {}
        }
    }
    let discovered = reach.connect_urls.iter().filter_map(|url| url.parse().ok()).collect();
    Ok(Established { stream, inbound, info, wire, discovered })
}

/// The best framing that the server offers and the options allow.
fn wire(options: &ConnectOptions, info: &ServerInfo) -> Wire {
    match &info.x {
        Some(x) if !options.text_framing && x.frames.iter().any(|name| name == binary::NAME) => {
            Wire::binary(Vec::new(), x.aliases_max)
        }
        _ => Wire::text(Vec::new()),
    }
}

/// What can come before the handshake is over.
enum Opening {
    Info(Vec<u8>),
    Pong,
    Ok,
    Error(String),
    Other,
}

async fn next(stream: &mut TcpStream, inbound: &mut Inbound) -> Result<Opening, ConnectError> {
    loop {
        let mut found = None;
        let decoded = inbound.frames(|frame, _| {
            found = Some(match frame {
                Frame::Common(ServerFrame::Info(json)) => Opening::Info(json.to_vec()),
                Frame::Common(ServerFrame::Pong) => Opening::Pong,
                Frame::Common(ServerFrame::Ok) => Opening::Ok,
                Frame::Common(ServerFrame::Error(text)) => Opening::Error(text.to_owned()),
                _ => Opening::Other,
            });
            ControlFlow::Break(())
        });
        decoded.map_err(|error: DecodeError| {
            ConnectError::with_source(ConnectErrorKind::Protocol, error)
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
        if stream.read_buf(inbound.room()).await.map_err(io_error)? == 0 {
            let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(io_error(closed));
        }
    }
}

/// The JSON of an INFO.
pub(crate) fn server_info(json: &[u8]) -> Result<ServerInfo, ConnectError> {
    serde_json::from_slice(json)
        .map_err(|error| ConnectError::with_source(ConnectErrorKind::Protocol, error))
}

fn refused(text: String) -> ConnectError {
    let lower = text.to_ascii_lowercase();
    let kind = match () {
        () if lower.contains("authorization violation") || lower.contains("authentication") => {
            ConnectErrorKind::AuthorizationViolation
        }
        () if lower.contains("tls required") => ConnectErrorKind::Tls,
        () => ConnectErrorKind::Protocol,
    };
    ConnectError::with_source(kind, format!("the server said: {text}"))
}

fn io_error(error: std::io::Error) -> ConnectError {
    ConnectError::with_source(ConnectErrorKind::Io, error)
}

fn protocol_error(text: &str) -> ConnectError {
    ConnectError::with_source(ConnectErrorKind::Protocol, text)
}
