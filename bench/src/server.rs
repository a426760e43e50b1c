//! A server process: started fresh for one run, identified, measured, and ended by its own pid.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::link;
use crate::process::{self, CpuReading, Memory};

/// How long a server may take to answer its first connection. Opening an empty store takes well
/// under a second; a machine that compiles at the same time is slow.
const STARTUP_MAX: Duration = Duration::from_secs(20);

/// A program that can be started as a server.
#[derive(Clone, Debug)]
pub enum Program {
    /// `agentcom serve`, with further arguments.
    Broker(PathBuf, Vec<OsString>),
    /// `nats-server` with its defaults.
    Nats(PathBuf),
    /// This program's own yardstick.
    Yardstick,
}

impl Program {
    /// The command that listens on `port` of the loopback and keeps its files in `folder`,
    /// pinned to `cpu` if there is one.
    fn command(&self, port: u16, folder: &TempDir, cpu: Option<usize>) -> Result<Command> {
        let listen = format!("127.0.0.1:{port}");
        // Both tools become the server, so the pid stays the same; and the server ends with the
        // generator, should that be killed.
        let mut line: Vec<OsString> = vec!["setpriv".into(), "--pdeathsig".into(), "KILL".into()];
        if let Some(cpu) = cpu {
            line.extend(["taskset".into(), "-c".into(), cpu.to_string().into()]);
        }
        match self {
            Self::Broker(path, more) => {
                line.extend([path.into(), "serve".into(), "--listen".into(), listen.into()]);
                line.extend(["--http-listen".into(), "127.0.0.1:0".into()]);
                line.extend(["--data-dir".into(), folder.path().join("data").into()]);
                line.extend(more.iter().cloned());
            }
            Self::Nats(path) => {
                line.extend([path.into(), "-a".into(), "127.0.0.1".into()]);
                line.extend(["-p".into(), port.to_string().into()]);
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
}

/// A running server. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    version: String,
    folder: TempDir,
}

impl Server {
    /// Start `program` on a free port and wait until it answers. Fails if it does not, or if
    /// what answers is not the process that was started.
    pub fn start(program: &Program, cpu: Option<usize>) -> Result<Self> {
        let folder = tempfile::tempdir().context("creating a folder for the server")?;
        let port = free_port()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = program.command(port, &folder, cpu)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self { child, address, version: String::new(), folder };
        server.await_readiness().with_context(|| {
            let log = fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            format!("{command:?} did not become ready; its last lines, newest first: {last:?}")
        })?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The version it states in its `INFO`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its processor time up to now.
    pub fn cpu(&self) -> Result<CpuReading> {
        CpuReading::of(self.child.id()).context("the server has ended")
    }

    /// Its memory now.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.child.id()).context("the server has ended")
    }

    fn await_readiness(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut socket = loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if let Ok(socket) = link::connect(self.address) {
                break socket;
            }
            ensure!(started.elapsed() < STARTUP_MAX, "nothing answers on {}", self.address);
            std::thread::sleep(Duration::from_millis(5));
        };
        link::greet(&mut socket, "")?;
        let info = link::await_pong(&mut socket)?.info;
        ensure!(
            process::listens_on(self.child.id(), self.address.port())?,
            "another process answers on {}",
            self.address
        );
        let info: serde_json::Value = serde_json::from_str(&info).context("INFO is not JSON")?;
        let stated = info["port"].as_u64();
        ensure!(
            stated.is_none_or(|port| port == u64::from(self.address.port())),
            "INFO states port {stated:?} on {}",
            self.address
        );
        self.version = info["version"].as_str().unwrap_or("of unknown version").to_owned();
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if the process has ended, and then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port nobody listens on now. Another process could take it before the server does; the check
/// of the listening process would find that out.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a port")?;
    Ok(listener.local_addr()?.port())
}
