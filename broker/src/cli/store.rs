//! `agentcom store`: the tables that everything is kept in.

use std::path::{Path, PathBuf};

use agentcom_broker::store::{Damage, LogGap, LogLoss, Salvaged, rocks};
use agentcom_broker::upkeep;
use agentcom_client::Request;
use rustix::fs::Mode;
use rustix::process::umask;
use serde_json::{Value, json};

use super::backup::bytes;
use super::output::Output;
use super::progress::Bar;
use super::table::Table;
use super::{Common, Outcome, time};

/// What can be done with tables.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show how large the tables of the running broker are
    Show,
    /// Give back the room of what was deleted, while the broker runs
    Compact {
        /// In which table only
        table: Option<String>,
    },
    /// Save what can be read of a damaged store into a new data folder; the damaged one stays
    Salvage {
        /// The new data folder
        to: PathBuf,
        /// The broker's data folder
        #[arg(long, value_name = "FOLDER", env = "AGENTCOM_DATA_DIR", default_value = ".agentcom")]
        data_dir: PathBuf,
    },
    /// Put what can be read of a damaged store in its place; the damaged one stays beside it
    Repair {
        /// The broker's data folder
        #[arg(long, value_name = "FOLDER", env = "AGENTCOM_DATA_DIR", default_value = ".agentcom")]
        data_dir: PathBuf,
    },
    /// Read every record of a broker that does not run
    Check {
        /// The broker's data folder
        #[arg(long, value_name = "FOLDER", env = "AGENTCOM_DATA_DIR", default_value = ".agentcom")]
        data_dir: PathBuf,
    },
}

/// Run it.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    match command {
        Command::Show => {
            let store = ask(common, "SHOW", &json!({})).await?;
            let columns = ["table", "records", "bytes", "fragmentation"];
            tell(&store, &["TABLE", "RECORDS", "SIZE", "USELESS"], columns, output)
        }
        Command::Compact { table } => {
            let wanted = table.map_or(json!({}), |table| json!({ "table": table }));
            let done = ask(common, "COMPACT", &wanted).await?;
            let columns = ["table", "status", "duration_ms", ""];
            tell(&done, &["TABLE", "WHAT", "MS", ""], columns, output)
        }
        Command::Salvage { to, data_dir } => {
            let salvaged = watched(|watch| upkeep::salvage(&data_dir, &to, watch))?;
            let then = format!("start it with agentcom serve --data-dir {}", to.display());
            tell_salvaged(&salvaged, &to, &then, output)
        }
        Command::Repair { data_dir } => {
            let repaired = watched(|watch| upkeep::repair(&data_dir, time::now_ms(), watch));
            let (salvaged, Some(replaced)) = repaired? else {
                let shown = json!({"damaged": 0});
                return Ok(output.result("nothing is damaged, and nothing was changed", &shown)?);
            };
            let then =
                format!("the damaged store is in {} until you remove it", replaced.display());
            tell_salvaged(&salvaged, &data_dir, &then, output)
        }
        Command::Check { data_dir } => check(&data_dir.join("store"), output),
    }
}

async fn ask(common: &Common, action: &str, wanted: &Value) -> Result<Value, String> {
    let client = common.connect().await?;
    let request = Request::new().payload(wanted.to_string().into()).timeout(None);
    let answer = client.send_request(&format!("$AC.API.STORE.{action}"), request).await;
    let answer = answer.map_err(|error| super::chain(&error))?;
    let answer: Value =
        serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
    match answer.get("error") {
        Some(error) => Err(error["sentence"].as_str().unwrap_or_default().to_owned()),
        None => Ok(answer),
    }
}

fn tell(answer: &Value, headings: &[&str; 4], columns: [&str; 4], output: &Output) -> Outcome {
    if output.is_json() {
        return Ok(output.result("", answer)?);
    }
    let mut table = Table::new(headings);
    for row in answer["tables"].as_array().into_iter().flatten() {
        table.row(columns.map(|column| match (column, &row[column]) {
            ("bytes", value) => bytes(value.as_u64().unwrap_or_default()),
            ("fragmentation", value) => {
                format!("{:.0}%", value.as_f64().unwrap_or_default() * 100.0)
            }
            (_, Value::String(text)) => text.clone(),
            (_, Value::Null) => String::new(),
            (_, value) => value.to_string(),
        }));
    }
    Ok(output.table(&table)?)
}

/// Do something that reads every record, with a bar. What it makes is for its own user, as what the
/// broker makes.
fn watched<T>(work: impl FnOnce(&mut dyn FnMut(u64) -> bool) -> T) -> T {
    umask(Mode::RWXG | Mode::RWXO);
    let bar = Bar::new();
    work(&mut |records| {
        bar.show_word("read", true, records, 0);
        true
    })
}

fn check(folder: &Path, output: &Output) -> Outcome {
    let audit = watched(|watch| rocks::audit_closed(folder, watch))?;
    let records: u64 = audit.tables.iter().map(|table| table.records).sum();
    tell_damages(&audit.damages, output)?;
    if audit.damaged > 0 {
        return Err(format!(
            "{} of {records} records cannot be read; see `agentcom backup ls` and `agentcom backup restore`, or `agentcom store repair`",
            audit.damaged
        )
        .into());
    }
    let shown = json!({"records": records, "damaged": 0});
    Ok(output.result(&format!("all {records} records can be read"), &shown)?)
}

/// What was saved into the data folder `to`, what was not, and what comes `then`.
fn tell_salvaged(salvaged: &Salvaged, to: &Path, then: &str, output: &Output) -> Outcome {
    let Salvaged { audit, log, is_index_lost } = salvaged;
    tell_damages(&audit.damages, output)?;
    if let Some(LogLoss { reason, gaps }) = log {
        if let Some(reason) = reason {
            output.result(&format!("the log: {reason}"), &json!({"log": &**reason}))?;
        }
        for LogGap { log, at, batches, reason, .. } in gaps {
            let text = format!("{log}: {batches} batches from byte {at} on are lost: {reason}");
            let shown = json!({"log": log, "at": at, "batches": batches, "reason": reason});
            output.result(&text, &shown)?;
        }
    }
    if *is_index_lost {
        let text = "the index of the store was lost, so what was deleted last may be there again";
        output.result(text, &json!({"is_index_lost": true}))?;
    }
    let records: u64 = audit.tables.iter().map(|table| table.records).sum();
    let text = format!(
        "{records} records are saved in {}, {} places are damaged; {then}",
        to.display(),
        audit.damaged,
    );
    let shown = json!({"records": records, "damaged": audit.damaged, "folder": to});
    Ok(output.result(&text, &shown)?)
}

fn tell_damages(damages: &[Damage], output: &Output) -> Outcome {
    for damage in damages {
        let what = match &damage.key {
            Some(key) => format!("{}: the record under key {key}", damage.table),
            None => format!("{}: some or all of what follows some place", damage.table),
        };
        let shown = json!({"table": damage.table, "key": damage.key, "reason": &*damage.reason});
        output.result(&format!("{what} is damaged: {}", damage.reason), &shown)?;
    }
    Ok(())
}
