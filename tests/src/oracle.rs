//! The original in our broker's place: everything the harness knows about nats-server.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options::{Options, User};

/// True where nats-server stands in for our broker and a test is about ours alone; says so on
/// stderr, with the `reason` why the original is no judge of it.
pub fn skips(reason: &str) -> bool {
    if binary().is_some() {
        // Straight to stderr: the test runner would hide what a passing test prints.
        let _ = writeln!(io::stderr(), "SKIPPED with nats-server: {reason}");
        return true;
    }
    false
}

pub(crate) fn binary() -> Option<PathBuf> {
    env::var_os("AGENTCOM_TEST_ORACLE").map(PathBuf::from)
}

/// The command that serves `options` on `listen`, writing its ports file into `folder`.
pub(crate) fn command(
    binary: &Path,
    options: &Options,
    folder: &Path,
    listen: SocketAddr,
) -> Command {
    let file = folder.join("nats.conf");
    fs::write(&file, config(options, folder, listen)).expect("write nats.conf");
    let mut command = Command::new(binary);
    command.arg("-c").arg(file);
    command
}

/// The address in the ports file, once there is one. nats-server puts its process id in the name.
pub(crate) fn address(folder: &Path, pid: u32) -> Option<SocketAddr> {
    let text = fs::read_to_string(folder.join(format!("nats-server_{pid}.ports"))).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports["nats"][0].as_str()?.strip_prefix("nats://")?.parse().ok()
}

fn config(options: &Options, folder: &Path, listen: SocketAddr) -> String {
    // In its configuration, port 0 means the default port and -1 means a free one.
    let port = if listen.port() == 0 { -1 } else { i32::from(listen.port()) };
    let mut text = format!("listen: \"{}:{port}\"\nports_file_dir: {folder:?}\n", listen.ip());
    let mut auth = String::new();
    for &(key, value) in options.limits.iter().chain(&options.timeouts) {
        match key {
            "payload_bytes_max" => writeln!(text, "max_payload: {value}"),
            "control_line_bytes_max" => writeln!(text, "max_control_line: {value}"),
            "connections_max" => writeln!(text, "max_connections: {value}"),
            "subscriptions_max" => writeln!(text, "max_subscriptions: {value}"),
            "pending_bytes_max" => writeln!(text, "max_pending: {value}"),
            "ping_interval_ms" => writeln!(text, "ping_interval: \"{value}ms\""),
            "ping_max" => writeln!(text, "ping_max: {value}"),
            "write_ms" => writeln!(text, "write_deadline: \"{value}ms\""),
            "auth_ms" => writeln!(auth, "timeout: {}", value as f64 / 1000.0),
            other => panic!("nats-server has no setting for `{other}`"),
        }
        .unwrap();
    }
    if let Some(token) = options.token {
        writeln!(auth, "token: {token:?}").unwrap();
    }
    if !options.users.is_empty() {
        let users: Vec<String> = options.users.iter().map(user).collect();
        writeln!(auth, "users: [\n{}\n]", users.join("\n")).unwrap();
    }
    writeln!(text, "authorization {{\n{auth}}}").unwrap();
    text
}

fn user(User { name, password, publish, subscribe }: &User) -> String {
    let permissions = [("publish", publish), ("subscribe", subscribe)].map(|(verb, reach)| {
        let lists = reach.lists().map(|(key, list)| format!("{key}: {list:?}"));
        format!("{verb}: {{ {} }}", lists.collect::<Vec<_>>().join(", "))
    });
    let permissions = permissions.join(", ");
    format!("{{ user: {name:?}, password: {password:?}, permissions: {{ {permissions} }} }}")
}
