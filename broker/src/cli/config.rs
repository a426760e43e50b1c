//! `agentcom config`: the settings that all share, those that the broker goes by among them.

use agentcom_client::{Setting, Settings};
use serde_json::{Value, json};

use super::body;
use super::output::Output;
use super::table::Table;
use super::{Common, Outcome};

/// What can be done with settings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List what is set
    Ls,
    /// Show one setting
    Get {
        /// Its name, such as quotas, alert_thresholds or rate_limit_overrides
        key: String,
    },
    /// Set one, for everybody and at once
    Set {
        /// Its name
        key: String,
        /// Its value, JSON where the broker goes by it; from standard input if it is left out
        value: Option<String>,
        /// Only if this is its version still; 0 if it was never set
        #[arg(long)]
        version: Option<u64>,
    },
}

/// Run it.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    let settings = common.connect().await?.settings();
    match command {
        Command::Ls => list(&settings, output).await,
        Command::Get { key } => match settings.get(&key).await? {
            Some(found) => Ok(output.result(&text(&found.value), &json(&found))?),
            None => Err(format!("{key} was never set; see `agentcom config ls`").into()),
        },
        Command::Set { key, value, version } => {
            let value = body::read(value.as_deref())?;
            let set = match version {
                Some(version) => settings.set_if(&key, value, version).await?,
                None => settings.set(&key, value).await?,
            };
            let said = format!("{} is set, version {}", set.key, set.version);
            Ok(output.result(&said, &json(&set))?)
        }
    }
}

async fn list(settings: &Settings, output: &Output) -> Outcome {
    let all = settings.list().await?;
    if output.is_json() {
        return Ok(output.result("", &all.iter().map(json).collect())?);
    }
    let mut table = Table::new(&["KEY", "#VERSION", "VALUE"]);
    for setting in all {
        table.row([setting.key.clone(), setting.version.to_string(), text(&setting.value)]);
    }
    Ok(output.table(&table)?)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn json(setting: &Setting) -> Value {
    json!({"key": setting.key, "value": setting.value, "version": setting.version})
}
