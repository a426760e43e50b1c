//! Requests about backups and tables, and what is said of them.

use agentcom_protocol::Verb;
use serde_json::{Map, Value, json};

use super::Invalid;
use super::fields::Fields;
use crate::core::command::{
    BackupView, Command, Compaction, Scarcity, StoreView, TableView, UpkeepCommand, UpkeepReply,
};
use crate::upkeep::Notice;

pub(super) fn command(verb: Verb, fields: Fields<'_>) -> Result<Command, Invalid> {
    Ok(Command::Upkeep(match verb {
        Verb::BackupCreate => UpkeepCommand::CreateBackup,
        Verb::BackupList => UpkeepCommand::ListBackups,
        Verb::BackupVerify => UpkeepCommand::VerifyBackup { name: fields.needed_name("backup")? },
        Verb::StoreCompact => UpkeepCommand::Compact { table: fields.name("table")? },
        _ => UpkeepCommand::ShowStore,
    }))
}

/// An answer as JSON.
#[must_use]
pub fn answer(reply: &UpkeepReply) -> Value {
    match reply {
        UpkeepReply::Backup(found) => backup(found),
        UpkeepReply::Backups(found) => {
            json!({ "backups": found.iter().map(backup).collect::<Vec<Value>>() })
        }
        UpkeepReply::Compacted(found) => compaction(found),
        UpkeepReply::Store(found) => store(found),
    }
}

fn backup(view: &BackupView) -> Value {
    json!({
        "backup": view.name.as_str(),
        "folder": view.folder.to_string_lossy(),
        "made_ms": view.made_ms,
        "bytes": view.bytes,
        "records": view.records,
        "damaged": view.damaged,
        "tables": view.tables.iter().map(table).collect::<Vec<Value>>(),
    })
}

fn table(view: &TableView) -> Value {
    json!({ "table": view.table, "records": view.records, "bytes": view.bytes })
}

fn store(view: &StoreView) -> Value {
    let tables = view.tables.iter().map(|health| {
        let mut shown = table(&health.size);
        shown["fragmentation"] = rounded(health.fragmentation);
        shown
    });
    json!({
        "tables": tables.collect::<Vec<Value>>(),
        "backup_ms": view.backup_ms,
        "compactions": view.compactions.iter().map(compaction).collect::<Vec<Value>>(),
    })
}

/// A part to a thousandth.
#[must_use]
pub fn rounded(part: f64) -> Value {
    json!((part * 1_000.0).round() / 1_000.0)
}

fn compaction(run: &Compaction) -> Value {
    let tables = run.tables.iter().map(|table| {
        let mut shown = Map::from_iter([("table".to_owned(), table.table.into())]);
        let word = if table.duration_ms.is_some() { "compacted" } else { "skipped" };
        shown.insert("status".to_owned(), word.into());
        shown.insert("duration_ms".to_owned(), table.duration_ms.unwrap_or_default().into());
        Value::Object(shown)
    });
    json!({ "at_ms": run.at_ms, "tables": tables.collect::<Vec<Value>>() })
}

/// The subject behind `$AC.EVENT.` and the text of an event.
#[must_use]
pub fn event(notice: &Notice) -> (&'static str, Value) {
    const BACKUP: &str = "BACKUP";
    const COMPACTION: &str = "COMPACTION";
    const ROOM: &str = "ROOM";
    match notice {
        Notice::Backup(progress) => (
            BACKUP,
            json!({"state": "running", "phase": progress.phase.as_str(),
                "done": progress.done, "total": progress.total}),
        ),
        Notice::BackedUp(view) => {
            let mut shown = backup(view);
            shown["state"] = "complete".into();
            (BACKUP, shown)
        }
        Notice::BackupFailed(reason) => (BACKUP, json!({"state": "failed", "reason": &**reason})),
        Notice::Compacted(run) => {
            let mut shown = compaction(run);
            shown["state"] = "complete".into();
            (COMPACTION, shown)
        }
        Notice::Room(Some(Scarcity { free_bytes, free_bytes_min })) => (
            ROOM,
            json!({"state": "scarce", "free_bytes": free_bytes, "free_bytes_min": free_bytes_min}),
        ),
        Notice::Room(None) => (ROOM, json!({"state": "enough"})),
        Notice::CompactionFailed(reason) => {
            (COMPACTION, json!({"state": "failed", "reason": &**reason}))
        }
    }
}
