//! `agentcom import legacy`: what an AgentCom v2 hub has, brought to this broker.
//!
//! ```text
//! hub.rs      the hub's REST interface, read only     tokens.rs   who may come in
//! journal.rs  what is done already                    talk.rs     channels and messages
//! tally.rs    what is said in the end                 tasks.rs    what is still to be done
//! ```

mod hub;
mod journal;
mod talk;
mod tally;
mod tasks;
mod tokens;

use std::path::PathBuf;

use super::output::Output;
use super::{Common, Outcome};
use hub::Hub;
use journal::Journal;
use tally::Progress;

/// Where things can be imported from.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// From an AgentCom v2 hub: tokens, and with a token of it channels, messages and tasks
    Legacy(Arguments),
}

/// Arguments of `import legacy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The hub's tokens.json: its agents keep their tokens
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Where the hub is, such as http://old-hub:4000; it is only read
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// A token of the hub; by itself the first one of tokens.json
    #[arg(long, value_name = "TOKEN", requires = "hub", env = "AGENTCOM_HUB_TOKEN")]
    #[arg(hide_env_values = true)]
    hub_token: Option<String>,
    /// Where the HTTP door of this broker is
    #[arg(long, value_name = "URL", env = "AGENTCOM_HTTP")]
    #[arg(default_value = "http://127.0.0.1:4000")]
    http: String,
    /// What was imported is noted here; the same command again goes on where it stopped
    #[arg(long, value_name = "FILE", default_value = "agentcom-import.jsonl")]
    journal: PathBuf,
    /// Leave channels, mailboxes and the history of messages where they are
    #[arg(long)]
    without_messages: bool,
    /// Read and count, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What every part of the import works with.
struct Import {
    /// Where to; `None` if nothing is to be changed.
    broker: Option<agentcom_client::Client>,
    journal: Journal,
    progress: Progress,
}

pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    let Command::Legacy(arguments) = command;
    if arguments.tokens.is_none() && arguments.hub.is_none() {
        return Err("nothing to import; name the hub's tokens.json with --tokens, the hub with \
                    --hub, or both"
            .into());
    }
    let tokens = match &arguments.tokens {
        Some(file) => tokens::read(file)?,
        None => Vec::new(),
    };
    let hub_token = arguments.hub_token.clone();
    let hub_token = hub_token.or_else(|| tokens.first().map(|known| known.token.clone()));
    let hub = arguments.hub.as_deref().map(|hub| Hub::new(hub, hub_token)).transpose()?;
    let broker = match arguments.dry_run {
        true => None,
        false => Some(common.connect().await?),
    };
    let mut import =
        Import { broker, journal: Journal::open(&arguments.journal)?, progress: Progress::new() };
    let mut tallies = Vec::new();
    if arguments.tokens.is_some() {
        let door = (!arguments.dry_run).then_some((&*arguments.http, common.token_to_show()));
        tallies.push(tokens::bring(&tokens, door, &import.progress).await?);
    }
    if let Some(hub) = &hub {
        if !arguments.without_messages {
            tallies.extend(talk::bring(hub, &tokens, &mut import).await?);
        }
        tallies.extend(tasks::bring(hub, &mut import).await?);
    }
    tally::print(&tallies, arguments.dry_run, output)
}
