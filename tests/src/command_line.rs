//! The command line as a user has it: `agentcom` with a broker to talk to.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use crate::Broker;
use crate::broker::agentcom;

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// On stdout.
    pub out: String,
    /// On stderr.
    pub err: String,
}

impl Broker {
    /// Run `agentcom` with these arguments to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with_input(arguments, "")
    }

    /// Run `agentcom` with these arguments and this on stdin to its end.
    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self.spawn(arguments);
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A command that does not read its input is no failure.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("wait for the command");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Run `agentcom` with these arguments; a command that must succeed gives what it printed.
    #[track_caller]
    pub fn run_well(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    }

    /// Start `agentcom` with these arguments.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(agentcom());
        command.env("AGENTCOM_SERVER", self.tcp().to_string()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}
