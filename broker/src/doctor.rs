//! Looks at everything that a broker needs before it can start and do its work, and changes nothing.
//! What it finds is a sentence, and what to do about it another one. No rule is made here: each is
//! asked of whoever goes by it.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};

use crate::board::StoreHealth;
use crate::config::Config;
use crate::core::command::StoreView;
use crate::net::descriptors_for_connections;
use crate::operator;
use crate::store::{StoreError, folder, rocks};
use crate::upkeep::{Archive, free_bytes};

/// How long whoever listens on our port may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Problem,
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which thing.
    pub subject: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; `None` if nothing.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, found: impl Into<String>) -> Finding {
        Finding { subject, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn bad(
        subject: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding { subject, verdict, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Look at everything that a broker with this configuration needs.
#[must_use]
pub fn examine(config: &Config, now_ms: u64) -> Vec<Finding> {
    let data_dir = &config.data_dir;
    let store = data_dir.join("store");
    let mut findings = data_folder(data_dir);
    findings.extend(token(data_dir));
    findings.push(room(config));
    let lock = if store.is_dir() { Some(folder::enter(&store)) } else { None };
    let is_running = matches!(lock, Some(Err(StoreError::Locked { .. })));
    // Let go of: the examination takes it itself.
    drop(lock);
    findings.push(store_folder(&store, is_running));
    findings.push(backups(config, now_ms));
    findings.extend(ports(config, is_running));
    findings.push(descriptors(config));
    findings
}

/// Whether nobody else may look into it.
fn is_private(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 == 0
}

fn data_folder(data_dir: &Path) -> Vec<Finding> {
    const SUBJECT: &str = "data folder";
    let shown = data_dir.display();
    let metadata = match fs::metadata(data_dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let found = format!("{shown} is not there yet; the first start makes it");
            return vec![Finding::ok(SUBJECT, found)];
        }
        Err(error) => {
            let advice = "let the user of the broker into it, or name another one with --data-dir";
            let found = format!("{shown} cannot be looked into: {error}");
            return vec![Finding::bad(SUBJECT, Verdict::Problem, found, advice)];
        }
    };
    if !metadata.is_dir() {
        let advice = "name a folder with --data-dir";
        let found = format!("{shown} is no folder");
        return vec![Finding::bad(SUBJECT, Verdict::Problem, found, advice)];
    }
    let mut findings = Vec::new();
    if access(data_dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let found =
            format!("{shown} cannot be written by this user; its owner is {}", metadata.uid());
        let advice = format!("run as its owner, or chown -R it to the user of the broker: {shown}");
        findings.push(Finding::bad(SUBJECT, Verdict::Problem, found, advice));
    }
    if !is_private(&metadata) {
        let found = format!("others may look into {shown} (mode {:o})", metadata.mode() & 0o777);
        findings.push(Finding::bad(SUBJECT, Verdict::Warning, found, format!("chmod 700 {shown}")));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, shown.to_string()));
    }
    findings
}

fn token(data_dir: &Path) -> Option<Finding> {
    const SUBJECT: &str = "operator's token";
    let path = data_dir.join(operator::FILE);
    let shown = path.display();
    match fs::metadata(&path) {
        Ok(metadata) if is_private(&metadata) => Some(Finding::ok(SUBJECT, shown.to_string())),
        Ok(metadata) => {
            let found = format!("others may read {shown} (mode {:o})", metadata.mode() & 0o777);
            Some(Finding::bad(SUBJECT, Verdict::Warning, found, format!("chmod 600 {shown}")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            let found = format!("{shown} cannot be looked at: {error}");
            let advice = "run as the user of the broker";
            Some(Finding::bad(SUBJECT, Verdict::Problem, found, advice))
        }
    }
}

fn room(config: &Config) -> Finding {
    const SUBJECT: &str = "room";
    let settings = config.disk();
    // Of a folder that is not there yet, the one above it tells.
    let folder = config.data_dir.ancestors().find(|folder| folder.is_dir());
    let folder = folder.unwrap_or(Path::new("."));
    match free_bytes(folder) {
        Ok(free) if !settings.is_scarce(false, free) => {
            Finding::ok(SUBJECT, format!("{free} bytes are free"))
        }
        Ok(free) => {
            let line = settings.free_bytes_min;
            let found = format!("{free} bytes are free, and new work is taken in from {line} on");
            let advice = "make room on the disk, or lower disk.free_bytes_min";
            Finding::bad(SUBJECT, Verdict::Problem, found, advice)
        }
        Err(error) => {
            let found = format!("nobody can tell how much is free: {error}");
            let advice = "look at the file system of the data folder";
            Finding::bad(SUBJECT, Verdict::Warning, found, advice)
        }
    }
}

fn store_folder(store: &Path, is_running: bool) -> Finding {
    const SUBJECT: &str = "store";
    if !store.is_dir() {
        return Finding::ok(SUBJECT, "there is none yet; the first start makes it");
    }
    if is_running {
        let found = "a broker has it open, so its records were not read";
        return Finding::ok(SUBJECT, found);
    }
    match rocks::audit_closed(store, &mut |_| true) {
        Ok(audit) if audit.damaged == 0 => {
            let records: u64 = audit.tables.iter().map(|table| table.records).sum();
            Finding::ok(SUBJECT, format!("all of its {records} records can be read"))
        }
        Ok(audit) => {
            let found = format!("{} of its records are damaged", audit.damaged);
            let advice = "`agentcom store check` names them; `agentcom backup restore latest` goes back to the newest backup, `agentcom store repair` keeps what can be read";
            Finding::bad(SUBJECT, Verdict::Problem, found, advice)
        }
        Err(error) => {
            let advice = "`agentcom backup restore latest` goes back to the newest backup, `agentcom store repair` keeps what can be read";
            Finding::bad(SUBJECT, Verdict::Problem, error.to_string(), advice)
        }
    }
}

fn backups(config: &Config, now_ms: u64) -> Finding {
    const SUBJECT: &str = "backups";
    let archive = Archive::new(config.upkeep().backups);
    let backups = match archive.list() {
        Ok(backups) => backups,
        Err(error) => {
            let advice =
                "let the user of the broker into it, or name another folder with backup.dir";
            return Finding::bad(SUBJECT, Verdict::Problem, error.to_string(), advice);
        }
    };
    let backup_ms = backups.first().map(|backup| backup.made_ms);
    let view = StoreView { tables: Vec::new(), backup_ms, compactions: Vec::new() };
    let health = StoreHealth::of(&view, now_ms);
    let found = match health.backup_hours {
        None => format!("there is none in {}", archive.folder().display()),
        Some(hours) => format!("{}; the newest was made {hours} hours ago", backups.len()),
    };
    if !health.is_stale {
        return Finding::ok(SUBJECT, found);
    }
    let advice = "`agentcom backup create` makes one while the broker runs";
    Finding::bad(SUBJECT, Verdict::Warning, found, advice)
}

fn ports(config: &Config, is_running: bool) -> Vec<Finding> {
    let tcp = ("port of agents", config.listen, "--listen", "INFO ");
    let http = ("port of HTTP", config.http_listen, "--http-listen", "HTTP/1.1 200");
    let ports = [tcp, http].into_iter().filter(|(_, address, ..)| address.port() != 0);
    ports
        .map(|(subject, address, flag, wanted)| {
            let is_free = TcpListener::bind(address).map(drop);
            let kind = is_free.as_ref().err().map(io::Error::kind);
            match kind {
                None if is_running => {
                    let found =
                        format!("nobody listens on {address}, and a broker uses the data folder");
                    let advice =
                        "start it with the same configuration as this command, or name its address";
                    Finding::bad(subject, Verdict::Warning, found, advice)
                }
                None => Finding::ok(subject, format!("{address} is free")),
                Some(ErrorKind::AddrInUse) => match first_words(address, subject == http.0) {
                    Ok(words) if words.starts_with(wanted) && is_running => {
                        Finding::ok(subject, format!("a broker answers on {address}"))
                    }
                    _ => {
                        let found = format!("somebody else listens on {address}");
                        let advice = format!("stop it, or choose another address with {flag}");
                        Finding::bad(subject, Verdict::Problem, found, advice)
                    }
                },
                Some(_) => {
                    let reason = is_free.err().map(|error| error.to_string()).unwrap_or_default();
                    let found = format!("cannot listen on {address}: {reason}");
                    let advice = format!("choose another address with {flag}");
                    Finding::bad(subject, Verdict::Problem, found, advice)
                }
            }
        })
        .collect()
}

/// What whoever listens on `address` says first.
fn first_words(address: SocketAddr, is_http: bool) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if is_http {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: doctor\r\nConnection: close\r\n\r\n")?;
    }
    let mut words = [0; 64];
    let read = stream.read(&mut words)?;
    Ok(String::from_utf8_lossy(&words[..read]).into_owned())
}

fn descriptors(config: &Config) -> Finding {
    const SUBJECT: &str = "open files";
    let (possible, wanted) = (descriptors_for_connections(), config.limits.connections_max);
    if possible >= wanted {
        return Finding::ok(SUBJECT, format!("enough for {wanted} connections"));
    }
    let found =
        format!("enough for {possible} connections, and limits.connections_max is {wanted}");
    let advice = "raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or lower limits.connections_max";
    Finding::bad(SUBJECT, Verdict::Warning, found, advice)
}
