//! `agentcom backup`: copies of everything that a broker keeps. The broker makes them; looking at
//! them and restoring them works on their folders, for the day on which no broker runs.

use std::path::PathBuf;

use agentcom_broker::core::command::{BackupView, Name};
use agentcom_broker::store::record::Table as StoreTable;
use agentcom_broker::upkeep::{
    Archive, Progress, Restored, belongings, restore, table_named, usual_folder,
};
use agentcom_client::Request;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::output::Output;
use super::progress::Bar;
use super::table::Table;
use super::{Common, Outcome, time};

/// What can be done with backups.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Have the running broker make a backup, and wait until it was read back
    Create,
    /// List the backups, newest first
    Ls(Folders),
    /// Read a backup from its first byte to its last
    Verify {
        /// Its name, or latest
        name: String,
        #[command(flatten)]
        folders: Folders,
    },
    /// Put a backup in place of the store of a broker that does not run
    Restore {
        /// Its name, or latest
        name: String,
        /// Only this table, with those that it makes sense with
        #[arg(long)]
        table: Option<String>,
        #[command(flatten)]
        folders: Folders,
    },
}

/// Where a broker has its folders.
#[derive(Debug, clap::Args)]
pub(crate) struct Folders {
    /// The broker's data folder
    #[arg(long, value_name = "FOLDER", env = "AGENTCOM_DATA_DIR", default_value = ".agentcom")]
    data_dir: PathBuf,
    /// The folder of the backups, if it is not the usual one in the data folder
    #[arg(long, value_name = "FOLDER", env = "AGENTCOM_BACKUP_DIR")]
    dir: Option<PathBuf>,
}

impl Folders {
    fn archive(&self) -> Archive {
        Archive::new(self.dir.clone().unwrap_or_else(|| usual_folder(&self.data_dir)))
    }
}

/// Run it.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    match command {
        Command::Create => create(common, output).await,
        Command::Ls(folders) => list(&folders.archive(), output),
        Command::Verify { name, folders } => {
            let archive = folders.archive();
            let name = named(&name, &archive)?;
            let bar = Bar::new();
            let backup = archive.verify(&name, &mut |progress| watched(&bar, progress))?;
            drop(bar);
            shown("is whole", &backup, output)
        }
        Command::Restore { name, table, folders } => {
            let archive = folders.archive();
            let name = named(&name, &archive)?;
            let tables = table.as_deref().map(of_table).transpose()?;
            let bar = Bar::new();
            let now_ms = time::now_ms();
            let watch = &mut |progress| watched(&bar, progress);
            let restored = restore(&archive, &name, tables, &folders.data_dir, now_ms, watch)?;
            drop(bar);
            told(&restored, output)
        }
    }
}

/// Whoever does not want to wait any more interrupts the program, which harms nothing.
fn watched(bar: &Bar, progress: Progress) -> bool {
    bar.show(progress);
    true
}

fn named(text: &str, archive: &Archive) -> Result<Name, String> {
    let folder = archive.folder().display();
    if text == "latest" {
        let newest = archive.list().map_err(|error| error.to_string())?.into_iter().next();
        return newest.map(|backup| backup.name).ok_or(format!("there is no backup in {folder}"));
    }
    Name::parse(text).map_err(|error| format!("the name of the backup {error}"))
}

fn of_table(name: &str) -> Result<&'static [StoreTable], String> {
    table_named(name).and_then(belongings).ok_or_else(|| {
        let names = StoreTable::ALL.into_iter().filter(|table| belongings(*table).is_some());
        let names: Vec<&str> = names.map(StoreTable::name).collect();
        format!("there is no table {name} to restore; there are {}", names.join(", "))
    })
}

async fn create(common: &Common, output: &Output) -> Outcome {
    let client = common.connect().await?;
    let mut events = client.subscribe("$AC.EVENT.BACKUP").await?;
    let bar = Bar::new();
    // It takes as long as it takes; the broker shows that it is alive.
    let wanted = Request::new().payload("{}".into()).timeout(None);
    let answer = client.send_request("$AC.API.BACKUP.CREATE", wanted);
    tokio::pin!(answer);
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer?,
            Some(event) = events.next() => show_event(&bar, &event.payload),
        }
    };
    drop(bar);
    let made: Value = serde_json::from_slice(&answer.payload)?;
    if let Some(error) = made.get("error") {
        return Err(error["sentence"].as_str().unwrap_or("the broker made no backup").into());
    }
    let text = format!(
        "{} is made: {} records, {}, in {}",
        made["backup"].as_str().unwrap_or_default(),
        made["records"],
        bytes(made["bytes"].as_u64().unwrap_or_default()),
        made["folder"].as_str().unwrap_or_default(),
    );
    Ok(output.result(&text, &made)?)
}

fn show_event(bar: &Bar, event: &[u8]) {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    let number = |key: &str| event[key].as_u64().unwrap_or_default();
    if let Some(phase) = event["phase"].as_str() {
        bar.show_word(phase, phase == "read", number("done"), number("total"));
    }
}

fn list(archive: &Archive, output: &Output) -> Outcome {
    let backups = archive.list()?;
    if output.is_json() {
        for backup in &backups {
            output.result("", &view(backup))?;
        }
        return Ok(());
    }
    if backups.is_empty() {
        let text = format!("there is no backup in {}", archive.folder().display());
        return Ok(output.result(&text, &Value::Null)?);
    }
    let mut table = Table::new(&["BACKUP", "MADE", "RECORDS", "SIZE", "DAMAGED"]);
    for backup in &backups {
        table.row([
            backup.name.to_string(),
            time::relative(backup.made_ms),
            backup.records.to_string(),
            bytes(backup.bytes),
            backup.damaged.to_string(),
        ]);
    }
    Ok(output.table(&table)?)
}

fn shown(how: &str, backup: &BackupView, output: &Output) -> Outcome {
    let BackupView { name, records, damaged, .. } = backup;
    let size = bytes(backup.bytes);
    let damaged = match damaged {
        0 => String::new(),
        damaged => format!("; {damaged} records were damaged already when it was made"),
    };
    let text = format!("{name} {how}: {records} records, {size}{damaged}");
    Ok(output.result(&text, &view(backup))?)
}

fn told(restored: &Restored, output: &Output) -> Outcome {
    let Restored { backup, replaced, is_token_new, are_numbers_skipped } = restored;
    if output.is_json() {
        let mut shown = view(backup);
        shown["replaced"] = replaced.as_ref().map(|path| path.display().to_string()).into();
        shown["is_token_new"] = (*is_token_new).into();
        shown["are_numbers_skipped"] = (*are_numbers_skipped).into();
        return Ok(output.result("", &shown)?);
    }
    shown("is in place", backup, output)?;
    if let Some(path) = replaced {
        let path = path.display();
        output.result(
            &format!("what was there before is in {path}; remove it once you are sure"),
            &Value::Null,
        )?;
    }
    if *are_numbers_skipped {
        let text = "the store that was there cannot be read, so numbers of tasks and messages go on far beyond those of the backup";
        output.result(text, &Value::Null)?;
    }
    if *is_token_new {
        output.result("the operator's token came from the backup", &Value::Null)?;
    }
    Ok(())
}

fn view(backup: &BackupView) -> Value {
    json!({
        "backup": backup.name.as_str(),
        "folder": backup.folder.display().to_string(),
        "made_ms": backup.made_ms,
        "records": backup.records,
        "bytes": backup.bytes,
        "damaged": backup.damaged,
    })
}

/// A number of bytes for people.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
