//! The options that all commands share, and the connection made from them.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::Path;

use agentcom_broker::operator;
use agentcom_client::{Client, ConnectOptions, Event};

use super::output::Format;

/// Options of every command; they may stand before or behind its name.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Where the broker is: host, host:port or nats://host:port; several with commas
    #[arg(long, global = true, env = "AGENTCOM_SERVER", default_value = "127.0.0.1:4222")]
    pub(crate) server: String,
    /// User name
    #[arg(long, global = true, env = "AGENTCOM_USER")]
    pub(crate) user: Option<String>,
    /// Password of the user
    #[arg(long, global = true, env = "AGENTCOM_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// Token, where there is no user
    #[arg(long, global = true, env = "AGENTCOM_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Text for people, or one JSON object per line for programs
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// The same as --output json
    #[arg(long, global = true, conflicts_with = "output")]
    json: bool,
}

impl Common {
    /// How results are printed.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// A connection for one operation: if it breaks, the operation fails.
    pub(crate) async fn connect(&self) -> Result<Client, String> {
        self.connect_with(self.options().max_reconnects(1)).await
    }

    /// A connection for a command that runs until it is stopped: it comes back by itself, and says
    /// so on stderr.
    pub(crate) async fn connect_for_long(&self) -> Result<Client, String> {
        let server = self.server.clone();
        let options = self.options().event_callback(move |event| {
            let sentence = match event {
                Event::Disconnected => Some(format!("connection to {server} lost; trying again")),
                Event::SlowConsumer(_) => {
                    Some("messages were dropped because they were not printed in time".to_owned())
                }
                Event::ServerError(text) => Some(format!("the broker said: {text}")),
                Event::LameDuckMode => Some("the broker is about to stop".to_owned()),
                _ => None,
            };
            async move {
                if let Some(sentence) = sentence {
                    super::complain(&sentence);
                }
            }
        });
        self.connect_with(options).await
    }

    fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new().name("agentcom command line");
        match (&self.user, &self.token) {
            (Some(user), _) => {
                let password = self.password.clone().unwrap_or_default();
                options.user_and_password(user.clone(), password)
            }
            (None, Some(token)) => options.token(token.clone()),
            (None, None) => match self.operators_token() {
                Some(token) => options.token(token),
                None => options,
            },
        }
    }

    /// The token to show where only tokens are known: the one that was given, or the operator's.
    pub(crate) fn token_to_show(&self) -> Option<String> {
        self.token.clone().or_else(|| self.operators_token())
    }

    /// The operator's token, for whoever may read the data folder of a broker on this machine: the
    /// folder named by AGENTCOM_DATA_DIR, or the default one. It is sent nowhere else.
    fn operators_token(&self) -> Option<String> {
        if !self.server.split(',').all(is_on_this_machine) {
            return None;
        }
        let folder = std::env::var_os("AGENTCOM_DATA_DIR").unwrap_or_else(|| ".agentcom".into());
        operator::find(Path::new(&folder)).ok().flatten()
    }

    async fn connect_with(&self, options: ConnectOptions) -> Result<Client, String> {
        options.connect(&self.server).await.map_err(|error| {
            let server = &self.server;
            format!("cannot connect to {server}: {}", super::chain(&error))
        })
    }
}

/// Whether an address (`host`, `host:port`, `nats://host:port`) can only be on this machine.
fn is_on_this_machine(server: &str) -> bool {
    let server = server.trim();
    let host = server.rsplit_once("://").map_or(server, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, rest)| rest);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a person is likely to watch what goes to stdout.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_on_this_machine() {
        for local in
            ["127.0.0.1", "127.0.0.1:4222", "localhost:1", "nats://[::1]:4222", "localhost"]
        {
            assert!(is_on_this_machine(local), "{local}");
        }
        for other in
            ["10.0.0.1:4222", "localhost.example", "127.0.0.1.example:4222", "nats://x@h:1"]
        {
            assert!(!is_on_this_machine(other), "{other}");
        }
    }
}
