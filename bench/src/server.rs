//! A server process: started fresh for one run, identified, measured, and ended by its own pid.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::link;
use crate::process::{self, CpuReading, Memory};
use crate::program::Program;

/// How long a server may take to answer its first connection. Opening an empty store takes well
/// under a second and one with a million tasks some seconds; a machine that compiles at the same
/// time is slow.
const STARTUP_MAX: Duration = Duration::from_secs(60);

/// Where servers run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The core they are pinned to, if to any.
    pub cpu: Option<usize>,
    /// The folder in which each gets one of its own.
    pub root: PathBuf,
}

/// A running server. Dropping it kills the process, waits for its end and deletes its folder.
#[derive(Debug)]
pub struct Server {
    program: Program,
    cpu: Option<usize>,
    child: Child,
    address: SocketAddr,
    version: String,
    folder: TempDir,
}

impl Server {
    /// Start `program` on a free port and wait until it answers. Fails if it does not, or if
    /// what answers is not the process that was started.
    pub fn start(program: &Program, place: &Place) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("agentcom-bench-").tempdir_in(&place.root);
        let folder = folder.context("creating a folder for the server")?;
        let port = free_port()?;
        let child = spawn(program, port, folder.path(), place.cpu)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (program, cpu, version) = (program.clone(), place.cpu, String::new());
        let mut server = Self { program, cpu, child, address, version, folder };
        server.await_readiness()?;
        Ok(server)
    }

    /// Kill it without a word, and wait for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("killing the server")?;
        self.child.wait().context("waiting for the server's end")?;
        Ok(())
    }

    /// After [`Server::kill`]: start it once more, with the same folder and the same port, and
    /// wait until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        let port = self.address.port();
        self.child = spawn(&self.program, port, self.folder.path(), self.cpu)?;
        self.await_readiness()
    }

    /// Its folder: the log, and whatever it was told to put there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The core it is pinned to, if to any.
    pub fn pinned_to(&self) -> Option<usize> {
        self.cpu
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
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
        let outcome = self.first_conversation();
        self.version = outcome.with_context(|| {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            let program = &self.program;
            format!("{program:?} did not become ready; its last lines, newest first: {last:?}")
        })?;
        Ok(())
    }

    fn first_conversation(&mut self) -> Result<String> {
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
        let version = self.program.greet(&mut socket, self.address.port())?;
        ensure!(
            process::listens_on(self.child.id(), self.address.port())?,
            "another process answers on {}",
            self.address
        );
        Ok(version)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if the process has ended, and then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Program, port: u16, folder: &Path, cpu: Option<usize>) -> Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut command = program.command(port, folder, cpu)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("starting {command:?}"))
}

/// A port nobody listens on now. Another process could take it before the server does; the check
/// of the listening process would find that out.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a port")?;
    Ok(listener.local_addr()?.port())
}
