//! The programs that can be started as a server: their command lines, and how each says that it
//! is there.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::link;

/// What a peer does with the disk before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything is synced, then acknowledged.
    Always,
    /// Everything is written, and synced some time later.
    Later,
    /// Nothing is written.
    Never,
}

/// A program that can be started as a server.
#[derive(Clone, Debug)]
pub enum Program {
    /// `agentcom serve`, with further arguments.
    Broker(PathBuf, Vec<OsString>),
    /// `nats-server` with its defaults.
    Nats(PathBuf),
    /// `nats-server` with JetStream.
    JetStream(PathBuf, Durability),
    /// `redis-server` with an append-only file, or none.
    Redis(PathBuf, Durability),
    /// `beanstalkd` with a log, or none.
    Beanstalkd(PathBuf, Durability),
    /// This program's own yardstick.
    Yardstick,
}

impl Program {
    /// The command that listens on `port` of the loopback and keeps its files in `folder`,
    /// pinned to `cpu` if there is one.
    pub(crate) fn command(&self, port: u16, folder: &Path, cpu: Option<usize>) -> Result<Command> {
        let listen = format!("127.0.0.1:{port}");
        // Both tools become the server, so the pid stays the same; and the server ends with the
        // generator, should that be killed.
        let mut line: Vec<OsString> = vec!["setpriv".into(), "--pdeathsig".into(), "KILL".into()];
        if let Some(cpu) = cpu {
            line.extend(["taskset".into(), "-c".into(), cpu.to_string().into()]);
        }
        let data = data_folder(folder);
        match self {
            Self::Broker(path, more) => {
                line.extend([path.into(), "serve".into(), "--listen".into(), listen.into()]);
                line.extend(["--http-listen".into(), "127.0.0.1:0".into()]);
                line.extend(["--ports-file".into(), ports_file(folder).into()]);
                line.extend(["--data-dir".into(), data.into()]);
                line.extend(more.iter().cloned());
            }
            Self::Nats(path) => {
                line.extend([path.into(), "-a".into(), "127.0.0.1".into()]);
                line.extend(["-p".into(), port.to_string().into()]);
            }
            Self::JetStream(path, durability) => {
                let file = folder.join("nats.conf");
                fs::write(&file, jetstream_settings(&listen, &data, *durability))?;
                line.extend([path.into(), "-c".into(), file.into()]);
            }
            Self::Redis(path, durability) => {
                fs::create_dir_all(&data)?;
                line.extend([path.into(), "--bind".into(), "127.0.0.1".into()]);
                line.extend(["--port".into(), port.to_string().into()]);
                // No snapshots: the append-only file is the log.
                line.extend(["--save".into(), "".into(), "--dir".into(), data.into()]);
                let (append, sync) = match durability {
                    Durability::Always => ("yes", "always"),
                    Durability::Later => ("yes", "everysec"),
                    Durability::Never => ("no", "no"),
                };
                line.extend(["--appendonly".into(), append.into()]);
                line.extend(["--appendfsync".into(), sync.into()]);
            }
            Self::Beanstalkd(path, durability) => {
                fs::create_dir_all(&data)?;
                line.extend([path.into(), "-l".into(), "127.0.0.1".into()]);
                line.extend(["-p".into(), port.to_string().into()]);
                let sync_ms = match durability {
                    Durability::Always => Some("0"),
                    Durability::Later => Some("50"),
                    Durability::Never => None,
                };
                if let Some(sync_ms) = sync_ms {
                    line.extend(["-b".into(), data.into(), "-f".into(), sync_ms.into()]);
                }
            }
            Self::Yardstick => {
                line.extend([std::env::current_exe()?.into(), "yardstick".into()]);
                line.extend(["--listen".into(), listen.into()]);
            }
        }
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        Ok(command)
    }

    /// Have a first conversation on a fresh connection; the version that the server states.
    /// Fails if it states another port than `port`.
    pub(crate) fn greet(&self, socket: &mut TcpStream, port: u16) -> Result<String> {
        match self {
            Self::Redis(..) => {
                loop {
                    // It listens before it has read its log, and says so.
                    socket.write_all(b"INFO persistence\r\n")?;
                    if field(&read_sized(socket)?, "loading:") == "0" {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                socket.write_all(b"INFO server\r\n")?;
                Ok(field(&read_sized(socket)?, "redis_version:"))
            }
            Self::Beanstalkd(..) => {
                socket.write_all(b"stats\r\n")?;
                Ok(field(&read_sized(socket)?, "version: "))
            }
            Self::Broker(..) | Self::Nats(_) | Self::JetStream(..) | Self::Yardstick => {
                link::greet(socket, "")?;
                let info = link::await_pong(socket)?.info;
                let info: serde_json::Value =
                    serde_json::from_str(&info).context("INFO is not JSON")?;
                let stated = info["port"].as_u64();
                ensure!(
                    stated.is_none_or(|stated| stated == u64::from(port)),
                    "INFO states port {stated:?} on port {port}"
                );
                Ok(info["version"].as_str().unwrap_or("of unknown version").to_owned())
            }
        }
    }
}

/// Where a server that was given `folder` keeps what it must not lose.
pub(crate) fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Where our broker that was given `folder` says on which ports it listens.
pub(crate) fn ports_file(folder: &Path) -> PathBuf {
    folder.join("ports.json")
}

fn jetstream_settings(listen: &str, data: &Path, durability: Durability) -> String {
    let sync = match durability {
        Durability::Always => "sync_interval: always",
        Durability::Later | Durability::Never => "",
    };
    format!("listen: \"{listen}\"\njetstream {{ store_dir: {data:?}, {sync} }}\n")
}

/// Read a line that ends with a size, as in `$12` and `OK 12`, and the text of that size behind it.
fn read_sized(socket: &mut impl Read) -> Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        socket.read_exact(&mut byte).context("waiting for the first answer")?;
        line.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&line);
    let digits = line.trim_end().rsplit(|byte: char| !byte.is_ascii_digit()).next();
    let size: usize = digits
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("the first answer is {line:?}, without a size"))?;
    let mut text = vec![0; size + b"\r\n".len()];
    socket.read_exact(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What stands behind `name` on a line of `text` of its own, without quotes.
fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map_or("of unknown version", |value| value.trim_matches(['"', ' '])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_answers_are_read_by_their_size() {
        let redis = b"$38\r\n# Server\r\nredis_version:7.0.15\r\nos:x\r\n\r\n";
        let text = read_sized(&mut &redis[..]).expect("a whole answer");
        assert_eq!(field(&text, "redis_version:"), "7.0.15");
        let beanstalkd = b"OK 35\r\n---\ncurrent-jobs: 0\nversion: \"1.12\"\n\r\n";
        let text = read_sized(&mut &beanstalkd[..]).expect("a whole answer");
        assert_eq!(field(&text, "version: "), "1.12");
        assert!(read_sized(&mut &b"-ERR unknown command\r\n"[..]).is_err());
        assert!(read_sized(&mut &b"$9\r\nshort"[..]).is_err());
    }
}
