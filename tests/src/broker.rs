//! One broker process: started on free ports in a folder of its own, killed when dropped.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::options::Options;
use crate::wait::{DEADLINE, until};
use crate::{Wire, oracle};

/// A running broker. Its folder, with everything it stored, lives as long as this value.
#[derive(Debug)]
pub struct Broker {
    options: Options,
    folder: TempDir,
    child: Child,
    tcp: SocketAddr,
    http: Option<SocketAddr>,
}

/// How a broker that would not start took its leave.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Everything it said on stderr.
    pub stderr: String,
}

impl Broker {
    /// Start a broker and return once it accepts connections.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (child, tcp, http) = launch(&options, folder.path(), anywhere);
        Self { options, folder, child, tcp, http }
    }

    /// Run `agentcom serve` on `data_dir` with `arguments` (and a file `agentcom.toml` of `config`,
    /// if any) where it must refuse to start.
    #[track_caller]
    pub fn refusal(data_dir: &Path, arguments: &[&str], config: Option<&str>) -> Refusal {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(agentcom());
        command.arg("serve").args(arguments).arg("--data-dir").arg(data_dir);
        if let Some(text) = config {
            command.arg("--config").arg(write_config(folder.path(), text));
        }
        let mut child = spawn(command, folder.path());
        let status = exit_of(&mut child);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let stderr = said(folder.path());
        let status = status.unwrap_or_else(|| panic!("it started instead; stderr:\n{stderr}"));
        Refusal { code: status.code(), stderr }
    }

    /// Where it speaks the text protocol.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it speaks HTTP. nats-server does not.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The folder that holds `data/`, `ports.json`, `agentcom.toml` and `stderr.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The broker's own folder.
    pub fn data(&self) -> PathBuf {
        let folder = self.options.small_disk.as_ref().map(|disk| disk.path());
        folder.unwrap_or_else(|| self.folder().to_owned()).join("data")
    }

    /// A connection that has sent nothing and read the INFO.
    #[track_caller]
    pub fn connect_raw(&self) -> Wire {
        Wire::open(self.tcp)
    }

    /// A connection that has sent `CONNECT` with `json` and waited for it to be accepted.
    #[track_caller]
    pub fn connect(&self, json: &str) -> Wire {
        let mut wire = self.connect_raw();
        wire.handshake(json);
        wire
    }

    /// The token that opens the HTTP door where no credentials are configured.
    #[track_caller]
    pub fn operator_token(&self) -> String {
        let file = self.data().join("operator.token");
        let token = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        token.trim_end().to_owned()
    }

    /// Processor time it has used so far; `None` where there is no /proc to ask.
    pub fn processor_time(&self) -> Option<Duration> {
        // Linux counts it in hundredths of a second, whatever the machine.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let [user, system]: [u32; 2] =
            [fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?];
        Some(TICK * (user + system))
    }

    /// Physical memory it holds now; `None` where there is no /proc to ask.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    }

    /// End it without warning, like `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the broker");
        self.child.wait().expect("wait for the broker");
    }

    /// Ask it to stop (SIGTERM) and wait until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Send it the signal called `name`, without SIG.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("run kill");
        assert!(sent.success(), "kill -s {name} {pid}: {sent}");
    }

    /// Wait until it has stopped.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        exit_of(&mut self.child).expect("the broker stops when asked to")
    }

    /// There is room on the disk again, from the next start on.
    pub fn lift_file_limit(&mut self) {
        self.options.file_blocks = None;
    }

    /// Start again, after `kill` or `terminate`, on the same data and the same TCP port.
    #[track_caller]
    pub fn start_again(&mut self) {
        let (child, tcp, http) = launch(&self.options, self.folder.path(), self.tcp);
        (self.child, self.tcp, self.http) = (child, tcp, http);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail harmlessly when the test has ended the process itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the broker's stderr\n{}---", said(self.folder.path()));
        }
    }
}

/// Start a broker on `listen` and wait for its ports file.
#[track_caller]
fn launch(
    options: &Options,
    folder: &Path,
    listen: SocketAddr,
) -> (Child, SocketAddr, Option<SocketAddr>) {
    let ports_file = folder.join("ports.json");
    // The file of the last run would name ports that nobody listens on yet.
    let _ = fs::remove_file(&ports_file);
    let command = match oracle::binary() {
        Some(binary) => oracle::command(&binary, options, folder, listen),
        None => serve(options, folder, listen, &ports_file),
    };
    let mut child = spawn(command, folder);
    let ready = until(|| match child.try_wait().expect("ask after the broker") {
        Some(status) => Some(Err(format!("{status}"))),
        None if oracle::binary().is_some() => {
            oracle::address(folder, child.id()).map(|tcp| Ok((tcp, None)))
        }
        None => addresses(&ports_file).map(Ok),
    });
    let failure = match ready {
        Some(Ok((tcp, http))) => return (child, tcp, http),
        Some(Err(status)) => format!("the broker ended with {status}"),
        None => format!("no ports file after {DEADLINE:?}"),
    };
    let _ = child.kill();
    let _ = child.wait();
    panic!("{failure}; its stderr:\n{}", said(folder));
}

fn serve(options: &Options, folder: &Path, listen: SocketAddr, ports_file: &Path) -> Command {
    let mut limits = Vec::new();
    if let Some(descriptors) = options.descriptors {
        limits.push(format!("ulimit -n {descriptors}"));
    }
    if let Some(blocks) = options.file_blocks {
        // Who ignores the signal gets an error from the write instead.
        limits.push(format!("trap '' XFSZ && ulimit -f {blocks}"));
    }
    let mut command = if let Some(disk) = &options.small_disk {
        let [program, arguments @ ..] = disk.enter();
        let mut command = Command::new(program);
        command.args(arguments).arg(agentcom());
        command
    } else if limits.is_empty() {
        Command::new(agentcom())
    } else {
        let script = format!("{} && exec \"$0\" \"$@\"", limits.join(" && "));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(agentcom());
        shell
    };
    if let Some(fault) = &options.sync_fault {
        fault.apply(&mut command);
    }
    command.arg("serve");
    command.arg("--listen").arg(listen.to_string());
    command.args(["--http-listen", "127.0.0.1:0"]);
    let disk = options.small_disk.as_ref().map(|disk| disk.inner());
    command.arg("--data-dir").arg(disk.as_deref().unwrap_or(folder).join("data"));
    command.arg("--ports-file").arg(ports_file);
    let config = options.to_toml();
    if !config.is_empty() {
        command.arg("--config").arg(write_config(folder, &config));
    }
    command
}

fn addresses(ports_file: &Path) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let ports: Value = serde_json::from_str(&fs::read_to_string(ports_file).ok()?).ok()?;
    Some((ports["tcp"].as_str()?.parse().ok()?, ports["http"].as_str()?.parse().ok()))
}

/// The binary under test.
#[track_caller]
pub(crate) fn agentcom() -> PathBuf {
    if let Some(path) = env::var_os("AGENTCOM_BIN") {
        return PathBuf::from(path);
    }
    let test = env::current_exe().expect("the path of this test");
    let beside = test.ancestors().map(|folder| folder.join("agentcom")).find(|path| path.is_file());
    beside.expect("no `agentcom` above this test; build it, or set AGENTCOM_BIN")
}

fn write_config(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("agentcom.toml");
    fs::write(&file, text).expect("write the configuration");
    file
}

fn spawn(mut command: Command, folder: &Path) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true).open(stderr_file(folder)).expect("a file for stderr");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn exit_of(child: &mut Child) -> Option<ExitStatus> {
    until(|| child.try_wait().expect("ask after the broker"))
}

fn stderr_file(folder: &Path) -> PathBuf {
    folder.join("stderr.log")
}

fn said(folder: &Path) -> String {
    let bytes = fs::read(stderr_file(folder)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
