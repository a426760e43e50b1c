//! A shell command with bytes in and bytes out.
//!
//! Each pipe has a thread of its own, so that a command may read and write in any order and size.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::{JoinHandle, spawn_blocking};

/// A command for `sh -c`.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    command: String,
}

/// A command that came to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that it printed.
    pub(crate) stdout: Vec<u8>,
    /// The end of what it complained about.
    pub(crate) stderr: Vec<u8>,
}

/// Enough for the message and the stack trace that explain a failure.
const STDERR_BYTES_MAX: usize = 16 * 1024;

impl Shell {
    pub(crate) fn new(command: String) -> Shell {
        Shell { command }
    }

    /// Run with `input` on stdin. When `cancelled` is ready first, the command is killed, with
    /// whatever it started, and the answer is `None`. Dropping the call kills it too.
    pub(crate) async fn run(
        &self,
        input: Bytes,
        environment: &[(&str, String)],
        cancelled: impl Future<Output = ()>,
    ) -> io::Result<Option<Ran>> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // A Ctrl-C is meant for us; we let what runs come to its end.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut running = Running { child, is_over: false };
        let child = &mut running.child;
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A command that does not read its input is no failure.
        let writing = spawn_blocking(move || drop(stdin.write_all(&input)));
        let stdout = read_all(child.stdout.take().expect("stdout is a pipe"));
        let stderr = read_all(child.stderr.take().expect("stderr is a pipe"));
        let reading = async { (finished(stdout).await, finished(stderr).await) };
        tokio::select! {
            (stdout, stderr) = reading => {
                let status = finished(spawn_blocking(move || running.wait())).await?;
                let mut stderr = stderr?;
                stderr.drain(..stderr.len().saturating_sub(STDERR_BYTES_MAX));
                drop(writing);
                Ok(Some(Ran { code: status.code(), stdout: stdout?, stderr }))
            }
            () = cancelled => Ok(None),
        }
    }
}

/// A command that has not come to its end. Dropping it kills the command, with whatever it started:
/// that would keep the pipes open, and nobody is there any more to read them.
struct Running {
    child: Child,
    is_over: bool,
}

impl Running {
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.is_over = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Until it is waited for, the number is its own. It may be gone all the same.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        // A killed process is gone at once; this only clears it away.
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Why it did not succeed, for people.
    pub(crate) fn reason(&self) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr);
        match (stderr.trim(), self.code) {
            ("", Some(code)) => format!("the command ended with exit code {code}"),
            ("", None) => "the command was ended by a signal".to_owned(),
            (stderr, _) => stderr.to_owned(),
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<io::Result<Vec<u8>>> {
    spawn_blocking(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

async fn finished<T>(task: JoinHandle<io::Result<T>>) -> io::Result<T> {
    task.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    async fn run(command: &str, input: &'static str) -> Ran {
        let shell = Shell::new(command.to_owned());
        let environment = [("NAME", "ann".to_owned())];
        let ran = shell.run(input.into(), &environment, pending()).await;
        ran.expect("a shell").expect("not cancelled")
    }

    #[tokio::test]
    async fn input_output_and_exit_code_are_the_commands_own() {
        let ran = run("cat; echo $NAME; echo no >&2; exit 65", "hi ").await;
        assert_eq!((ran.code, &ran.stdout[..]), (Some(65), &b"hi ann\n"[..]));
        assert_eq!(ran.reason(), "no");
        assert_eq!(run("exit 3", "not read").await.reason(), "the command ended with exit code 3");
    }

    #[tokio::test]
    async fn a_cancelled_command_is_killed() {
        let shell = Shell::new("exec sleep 1000".to_owned());
        let ran = shell.run(Bytes::new(), &[], std::future::ready(())).await;
        assert!(ran.expect("killed").is_none());
    }

    #[tokio::test]
    async fn a_dropped_run_kills_what_the_command_started() {
        let shell = Shell::new("sleep 1000 & wait".to_owned());
        let running = shell.run(Bytes::new(), &[], pending());
        // The runtime ends only when nobody reads from the pipes any more.
        tokio::select! {
            biased;
            _ = running => panic!("it sleeps"),
            () = tokio::task::yield_now() => {}
        }
    }
}
