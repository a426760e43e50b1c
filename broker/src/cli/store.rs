//! `agentcom store`: the tables that everything is kept in.

use std::path::PathBuf;

use agentcom_broker::store::rocks;
use agentcom_client::Request;
use serde_json::{Value, json};

use super::backup::bytes;
use super::output::Output;
use super::progress::Bar;
use super::table::Table;
use super::{Common, Outcome};

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

fn check(folder: &std::path::Path, output: &Output) -> Outcome {
    let bar = Bar::new();
    let audit = rocks::audit_closed(folder, &mut |records| {
        bar.show_word("read", true, records, 0);
        true
    })?;
    drop(bar);
    let records: u64 = audit.tables.iter().map(|table| table.records).sum();
    for damage in &audit.damages {
        let what = match &damage.key {
            Some(key) => format!("{}: the record under key {key}", damage.table),
            None => format!("{}: everything from some place on", damage.table),
        };
        let shown = json!({"table": damage.table, "key": damage.key, "reason": &*damage.reason});
        output.result(&format!("{what} is damaged: {}", damage.reason), &shown)?;
    }
    if audit.damaged > 0 {
        return Err(format!(
            "{} of {records} records cannot be read; see `agentcom backup ls` and `agentcom backup restore`",
            audit.damaged
        )
        .into());
    }
    let shown = json!({"records": records, "damaged": 0});
    Ok(output.result(&format!("all {records} records can be read"), &shown)?)
}
