//! One connection to the server under test.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::frame::CONNECT;
use crate::framings::Framing;
use crate::inbound::Inbound;
use crate::outbound::Outbound;

/// How long a server may be silent before a run is given up. Longer than any pause seen of a
/// healthy server on a crowded machine.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A connection that does not block, past its handshake.
#[derive(Debug)]
pub struct Link {
    /// The socket, for registration with a poll.
    pub(crate) socket: mio::net::TcpStream,
    /// How it speaks.
    pub(crate) framing: Framing,
    /// What it receives.
    pub inbound: Inbound,
    /// What it sends.
    pub outbound: Outbound,
    /// The last read filled the buffer, or the socket has become readable since.
    pub(crate) readable: bool,
    /// The last write was taken whole, or the socket has become writable since.
    pub(crate) writable: bool,
}

impl Link {
    /// Connect, send `lines` after `CONNECT`, and wait until the server has taken them in.
    /// Then expect `delivered` and send `published`; either may be empty.
    pub fn open(
        address: SocketAddr,
        lines: &str,
        delivered: &[u8],
        published: &[u8],
    ) -> Result<Self> {
        let mut socket = connect(address)?;
        greet(&mut socket, lines)?;
        let welcome = await_pong(&mut socket)?;
        let mut inbound = Inbound::expecting(delivered);
        inbound.handle_chunk(&welcome.rest)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: mio::net::TcpStream::from_std(socket),
            framing: Framing::Text,
            inbound,
            outbound: Outbound::repeating(published),
            readable: true,
            writable: true,
        })
    }

    /// Whether a turn could move bytes without waiting for the server.
    pub fn is_ready(&self) -> bool {
        self.readable || (self.writable && self.outbound.is_pending())
    }

    /// Read once into `scratch` and take it in. The bytes read.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> Result<usize> {
        let length = match self.socket.read(scratch) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error).context("reading from the server"),
        };
        // A short read has emptied the socket: asking again would be a wasted call.
        self.readable = length == scratch.len();
        self.inbound.handle_chunk(&scratch[..length])?;
        for _ in 0..self.inbound.take_pings() {
            self.outbound.push_line(self.framing.pong());
        }
        Ok(length)
    }

    /// Write once.
    pub(crate) fn write(&mut self) -> Result<()> {
        self.writable = match self.outbound.write(&mut self.socket) {
            Ok(whole) => whole,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(error).context("writing to the server"),
        };
        Ok(())
    }
}

/// A blocking connection that gives up after [`SILENCE_MAX`].
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address).context("connecting to the server")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    socket.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(socket)
}

/// Say `CONNECT`, then `lines`, then `PING`. Does not wait for anything.
pub fn greet(socket: &mut TcpStream, lines: &str) -> Result<()> {
    Ok(socket.write_all(format!("{CONNECT}{lines}PING\r\n").as_bytes())?)
}

/// What a server said in answer to a greeting.
#[derive(Debug, Default)]
pub struct Welcome {
    /// The body of its `INFO`, empty if there was none.
    pub info: String,
    /// What was read after its `PONG`, possibly the start of a line: nats-server sends a second
    /// `INFO` there.
    pub rest: Vec<u8>,
}

/// Read up to the next `PONG`. Fails if the server says anything but `INFO` and `PING` before it.
pub fn await_pong(socket: &mut TcpStream) -> Result<Welcome> {
    let mut welcome = Welcome::default();
    let mut chunk = [0; 4096];
    loop {
        let length = socket.read(&mut chunk).context("waiting for PONG")?;
        ensure!(length > 0, "the server closed a connection before its PONG");
        welcome.rest.extend_from_slice(&chunk[..length]);
        while let Some(end) = memchr::memchr(b'\n', &welcome.rest) {
            let line: Vec<u8> = welcome.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(line.trim_ascii_end());
            match line.split_once(' ') {
                Some(("INFO", body)) => body.clone_into(&mut welcome.info),
                _ if line == "PONG" => return Ok(welcome),
                // It needs no answer within the life of a run.
                _ if line == "PING" => {}
                _ => bail!("the server said {line:?} instead of PONG"),
            }
        }
    }
}

/// Read up to the next message, on any subscription; its payload. Fails if the server says
/// anything but `INFO` and `PING` before it.
pub fn await_message(socket: &mut TcpStream) -> Result<String> {
    let mut reader = io::BufReader::new(socket);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).context("waiting for a message")?;
        match line.split_ascii_whitespace().next() {
            Some("MSG") => {
                let size = line.split_ascii_whitespace().next_back().unwrap_or_default();
                let mut payload = vec![0; size.parse().context("a message without its size")?];
                reader.read_exact(&mut payload)?;
                return Ok(String::from_utf8_lossy(&payload).into_owned());
            }
            Some("INFO" | "PING") => {}
            _ => bail!("the server said {line:?} instead of a message"),
        }
    }
}
