//! The flags of `agentcom serve`. The common settings have a flag of their own name; `--set`
//! reaches every other one.

use std::path::PathBuf;

use clap::Args;

use crate::logging::Format;

/// Flags of `agentcom serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE", env = "AGENTCOM_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where agents connect, over TCP [default: 127.0.0.1:4222].
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where HTTP is served [default: 127.0.0.1:4000].
    #[arg(long, value_name = "IP:PORT")]
    http_listen: Option<String>,
    /// The folder that holds everything the broker keeps [default: .agentcom].
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Write the addresses in use into this file, as JSON, once they are.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<String>,
    /// Worker threads; 0: one per core [default: 0].
    #[arg(long, value_name = "NUMBER")]
    threads: Option<String>,
    /// Change any setting, such as limits.payload_bytes_max=65536; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Print every setting with its value and where that came from, as TOML, and stop.
    #[arg(long)]
    pub print_config: bool,
    /// How log lines look on stderr [default: text on a terminal, json elsewhere].
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log: Option<Format>,
    /// Which log lines appear: error, warn, info, debug, trace, or a list such as
    /// `info,agentcom_broker::net=debug`.
    #[arg(long, value_name = "LEVEL", env = "AGENTCOM_LOG", default_value = "info")]
    pub log_level: String,
}

impl ServeArgs {
    /// What was set on the command line: flag, key, value.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (String, &str, &str)> {
        let named = [
            ("--listen", "listen", &self.listen),
            ("--http-listen", "http_listen", &self.http_listen),
            ("--data-dir", "data_dir", &self.data_dir),
            ("--ports-file", "ports_file", &self.ports_file),
            ("--threads", "threads", &self.threads),
        ];
        let named = named.into_iter().filter_map(|(flag, key, value)| {
            value.as_deref().map(|value| (flag.to_owned(), key, value))
        });
        let set = self
            .set
            .iter()
            .map(|(key, value)| (format!("--set {key}"), key.as_str(), value.as_str()));
        named.chain(set)
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
