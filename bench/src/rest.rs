//! Requests to the HTTP listener of our broker, as the operator.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::link::SILENCE_MAX;
use crate::program;
use crate::server::Server;

/// Where the HTTP listener of `server` is.
pub fn address(server: &Server) -> Result<SocketAddr> {
    let ports = fs::read_to_string(program::ports_file(server.folder()));
    let ports: serde_json::Value = serde_json::from_str(&ports.context("reading the ports")?)?;
    Ok(ports["http"].as_str().context("ports without http")?.parse()?)
}

/// A connection, used for one request after the other.
#[derive(Debug)]
pub struct Rest {
    socket: BufReader<TcpStream>,
    token: String,
}

impl Rest {
    /// Connect to `server`.
    pub fn connect(server: &Server) -> Result<Rest> {
        let token = program::data_folder(server.folder()).join("operator.token");
        let token = fs::read_to_string(token).context("reading the operator's token")?;
        let socket = TcpStream::connect(address(server)?)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Rest { socket: BufReader::new(socket), token: token.trim().to_owned() })
    }

    /// What is answered to a `GET`.
    pub fn get(&mut self, path: &str) -> Result<String> {
        self.ask("GET", path, "")
    }

    /// What is answered to a `POST` of a JSON object.
    pub fn post(&mut self, path: &str, body: &str) -> Result<String> {
        self.ask("POST", path, body)
    }

    /// Fails unless the answer says that it was done.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<String> {
        let (token, bytes) = (&self.token, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: broker\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n{body}"
        );
        self.socket.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut size) = (String::new(), None);
        self.socket.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            ensure!(self.socket.read_line(&mut line)? > 0, "{path}: the connection ended");
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    size = Some(value.trim().parse::<usize>()?);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = vec![0; size.context("an answer without a length")?];
        self.socket.read_exact(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(status.starts_with("HTTP/1.1 2"), "{method} {path}: {status}{answer}");
        Ok(answer)
    }
}
