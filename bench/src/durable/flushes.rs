//! How often a server flushed the disk, which no noise of a crowded machine touches.
//!
//! Our broker counts its commits. Of the others the kernel counts the calls, through the tracing
//! points that `perf stat` reads: it costs the server nothing that can be measured. Where perf is
//! missing or not allowed, there is no figure.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::agentcom;
use super::dialect::Language;
use crate::server::Server;

/// The calls that flush a file.
const EVENTS: &str = "syscalls:sys_enter_fsync,syscalls:sys_enter_fdatasync";

/// How long perf may take to obey. It answers within milliseconds, when it gets a processor.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts the flushes of one server during one interval.
#[derive(Debug)]
pub enum Flushes<'a> {
    /// Our broker's own count.
    Commits {
        /// The broker.
        server: &'a Server,
        /// Its count when the interval began.
        before: f64,
    },
    /// The kernel's count.
    Calls(Tracer),
    /// Nobody counts.
    Unknown,
}

impl<'a> Flushes<'a> {
    /// Get ready to count what `server` does.
    pub fn watch(server: &'a Server, language: Language) -> Self {
        if language == Language::AgentCom {
            return Self::Commits { server, before: 0.0 };
        }
        // Whatever prevents it, the other figures are worth having.
        Tracer::attach(server.pid()).map_or(Self::Unknown, Self::Calls)
    }

    /// The interval begins.
    pub fn begin(&mut self) -> Result<()> {
        match self {
            Self::Commits { server, before } => *before = agentcom::commits(server)?,
            Self::Calls(tracer) => tracer.say("enable")?,
            Self::Unknown => {}
        }
        Ok(())
    }

    /// The interval ends; the flushes in it, if they were counted.
    pub fn end(self) -> Result<Option<f64>> {
        match self {
            Self::Commits { server, before } => Ok(Some(agentcom::commits(server)? - before)),
            Self::Calls(tracer) => tracer.finish().map(Some),
            Self::Unknown => Ok(None),
        }
    }
}

/// `perf stat`, attached to a process and told when to count.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    control: File,
    answers: File,
    _folder: TempDir,
}

impl Tracer {
    /// Attach to `pid`; nothing is counted yet.
    fn attach(pid: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (control, answers) = (folder.path().join("control"), folder.path().join("answers"));
        for path in [&control, &answers] {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let child = Command::new("perf")
            .args(["stat", "-x", ",", "--delay", "-1", "-e", EVENTS, "-p", &pid.to_string()])
            .arg(format!("--control=fifo:{},{}", control.display(), answers.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // Open at both ends, so that neither open waits for perf, which may have failed.
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let (control, answers) = (options.open(control)?, options.open(answers)?);
        let mut tracer = Self { child, control, answers, _folder: folder };
        tracer.say("disable")?;
        Ok(tracer)
    }

    /// Give perf a command and wait until it has obeyed.
    fn say(&mut self, command: &str) -> Result<()> {
        writeln!(self.control, "{command}")?;
        let started = Instant::now();
        let mut answer = Vec::new();
        // perf sends a line, and the zero byte of a string behind it.
        while !answer.contains(&b'\n') {
            let mut chunk = [0; 16];
            match self.answers.read(&mut chunk) {
                Ok(length) => answer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ensure!(self.child.try_wait()?.is_none(), "perf has ended");
                    ensure!(started.elapsed() < PATIENCE, "perf does not answer");
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Stop counting; the calls counted.
    fn finish(mut self) -> Result<f64> {
        self.say("disable")?;
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).context("ending perf")?;
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().context("perf without its output")?;
        stderr.read_to_string(&mut text)?;
        calls(&text).with_context(|| format!("perf said {text:?}"))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Fails only if it has ended, and then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of all counts in the output of `perf stat -x ,`, whose lines begin with the count;
/// `None` if something was not counted.
fn calls(text: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| line.contains("syscalls:"));
    let counts: Vec<f64> =
        lines.map(|line| line.split(',').next()?.parse().ok()).collect::<Option<_>>()?;
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_calls_are_added() {
        let text = "Events disabled\n12,,syscalls:sys_enter_fsync,100,100.00,,\n\
            30,,syscalls:sys_enter_fdatasync,100,100.00,,\n";
        assert_eq!(calls(text), Some(42.0));
        assert_eq!(calls("<not counted>,,syscalls:sys_enter_fsync,0,0.00,,\n"), None);
        assert_eq!(calls("Error: no permission\n"), None);
    }
}
