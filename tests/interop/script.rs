//! Runs a client's script beside its brokers, and restarts the broker when the script asks.
//!
//! The script finds three brokers in its environment, each as `host:port`: `AGENTCOM_OPEN` (no
//! credentials), `AGENTCOM_TOKEN` (the token `secret`) and `AGENTCOM_USERS` (the user `alice` with
//! the password `pw`). `AGENTCOM_OPEN_HTTP` is the HTTP door of the first one, and
//! `AGENTCOM_OPEN_OPERATOR` its operator's token. It prints `ok CASE`
//! after each case. When it prints `RESTART`, the open broker is stopped and started again on its
//! port, and then a line on its stdin says so, and where the HTTP door is now.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, User};

/// For all cases of one script. They take about 3 s on two cores.
const DEADLINE: Duration = Duration::from_secs(60);

/// A script and what it needs.
pub(crate) struct Script {
    /// The program whose absence means that this machine does not have the language.
    pub(crate) interpreter: &'static str,
    /// What `make interop-deps` has put below `interop` in the target folder.
    pub(crate) installed: &'static str,
    /// The script, below this folder.
    pub(crate) file: &'static str,
    /// The client's package, where one script serves several.
    pub(crate) package: &'static str,
}

impl Script {
    /// The command that runs it, or what is missing.
    pub(crate) fn command(&self) -> Result<Command, String> {
        let there = Command::new(self.interpreter).arg("--version").output();
        if !there.is_ok_and(|output| output.status.success()) {
            return Err(format!("{} is missing", self.interpreter));
        }
        let Some(installed) = installed(self.installed) else {
            return Err(format!("{} is missing, run `make interop-deps`", self.installed));
        };
        // A folder is where the interpreter looks for packages; a file is the interpreter.
        let mut command = if installed.is_dir() {
            let mut command = Command::new(self.interpreter);
            command.env("NODE_PATH", installed);
            command
        } else {
            Command::new(installed)
        };
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(self.file));
        command.arg(self.package);
        Ok(command)
    }
}

/// Run `command` with brokers beside it; the cases that it reported.
#[track_caller]
pub(crate) fn cases_of(command: Command) -> Vec<String> {
    cases_with(command, Options::default())
}

/// [`cases_of`], with these options of the open broker.
#[track_caller]
pub(crate) fn cases_with(mut command: Command, options: Options) -> Vec<String> {
    let mut open = Broker::start(options);
    let token = Broker::start(Options::default().token("secret"));
    let users = Broker::start(Options::default().user(User::new("alice", "pw")));
    command.env("AGENTCOM_OPEN", open.tcp().to_string());
    command.env("AGENTCOM_OPEN_HTTP", http_of(&open));
    if !agentcom_tests::oracle::skips("it has no operator") {
        command.env("AGENTCOM_OPEN_OPERATOR", open.operator_token());
    }
    command.env("AGENTCOM_TOKEN", token.tcp().to_string());
    command.env("AGENTCOM_USERS", users.tcp().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));

    // The thread ends with the script: when its stdout is closed.
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let deadline = Instant::now() + DEADLINE;
    let mut cases = Vec::new();
    let in_time = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line == "RESTART" => {
                open.terminate();
                open.start_again();
                let line = format!("RESTARTED {}\n", http_of(&open));
                stdin.write_all(line.as_bytes()).expect("the script waits for the restart");
            }
            Ok(line) => match line.strip_prefix("ok ") {
                Some(case) => cases.push(case.to_owned()),
                None => eprintln!("{line}"),
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().expect("wait for the script");
    assert!(in_time, "not done after {DEADLINE:?}; it did {cases:?}");
    assert!(status.success(), "{status} after {cases:?}; its own words are above");
    cases
}

/// Where the HTTP door of `broker` is; nowhere if nats-server stands in for it.
fn http_of(broker: &Broker) -> String {
    broker.http().map(|http| http.to_string()).unwrap_or_default()
}

/// Say that something is missing; where everything must be tried, fail.
#[track_caller]
pub(crate) fn skip(missing: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{missing}, and CI skips nothing");
    // Straight to stderr: the test runner would hide what a passing test prints.
    let _ = writeln!(io::stderr(), "SKIPPED: {missing}");
}

/// Where the first of these programs is that is there.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.into_iter().find(|place| place.is_file())
}

/// `path` below `interop` in the target folder, which is above the test's own executable.
fn installed(path: &str) -> Option<PathBuf> {
    let test = env::current_exe().expect("the path of this test");
    test.ancestors().map(|folder| folder.join("interop").join(path)).find(|path| path.exists())
}
