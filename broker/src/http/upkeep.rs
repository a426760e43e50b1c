//! Backups and tables over HTTP (the contract's 2.8), with its words and those of the seed.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::handlers::unix_ms;
use super::{DurableCalls, HttpError, HttpState};
use crate::core::command::{
    Command, CompactedTable, Compaction, Name, Reply, StoreView, TableView, UpkeepCommand,
    UpkeepReply,
};
use crate::translate::upkeep;
use crate::upkeep::table_named;

/// A backup older than this is stale. Two days, as in the hub.
const STALE_MS: u64 = 48 * 3_600_000;
/// More of a table should not be useless. Half, as in the hub.
const FRAGMENTATION_MAX: f64 = 0.5;

/// `POST /api/admin/backup`
pub(super) async fn create<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let made = ask(&state, UpkeepCommand::CreateBackup).await?;
    let UpkeepReply::Backup(view) = &made else { unreachable!("a backup was asked for") };
    let path = view.folder.to_string_lossy();
    let result = |table: &TableView| json!({"table": table.table, "status": "ok", "path": path, "size": table.bytes});
    let mut body = upkeep::answer(&made);
    body["status"] = "complete".into();
    body["backup_path"] = path.as_ref().into();
    body["size_bytes"] = view.bytes.into();
    body["tables_total"] = view.tables.len().into();
    body["tables_success"] = view.tables.len().into();
    body["results"] = view.tables.iter().map(result).collect();
    body["tables"] = view.tables.iter().map(|table| table.table).collect();
    Ok(reply(StatusCode::OK, &body))
}

/// `GET /api/admin/backups`: those that there are, newest first.
pub(super) async fn list<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    Ok(reply(StatusCode::OK, &upkeep::answer(&ask(&state, UpkeepCommand::ListBackups).await?)))
}

/// `POST /api/admin/backups/:name/verify`
pub(super) async fn verify<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    name: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let name = named(name)?;
    let mut body = upkeep::answer(&ask(&state, UpkeepCommand::VerifyBackup { name }).await?);
    body["status"] = "verified".into();
    Ok(reply(StatusCode::OK, &body))
}

/// `GET /api/admin/dets-health` and `GET /api/admin/store-health`
pub(super) async fn health<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let view = store(&state).await?;
    let health = StoreHealth::of(&view, unix_ms());
    let words = ["healthy", "warning", "unhealthy"];
    let bad = usize::from(health.is_stale) + usize::from(!health.fragmented.is_empty());
    let body = json!({
        "health_status": words[bad],
        "stale_backup": health.is_stale,
        "high_fragmentation": !health.fragmented.is_empty(),
        "last_backup_at": view.backup_ms,
        "tables": tables(&view),
    });
    Ok(reply(StatusCode::OK, &body))
}

/// What is not well about the tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoreHealth {
    is_stale: bool,
    fragmented: Vec<&'static str>,
    /// Hours since the newest backup.
    backup_hours: Option<u64>,
}

impl StoreHealth {
    fn of(view: &StoreView, now_ms: u64) -> StoreHealth {
        let age_ms = view.backup_ms.map(|backup_ms| now_ms.saturating_sub(backup_ms));
        let fragmented = view.tables.iter().filter(|table| table.fragmentation > FRAGMENTATION_MAX);
        StoreHealth {
            is_stale: age_ms.is_none_or(|age_ms| age_ms > STALE_MS),
            fragmented: fragmented.map(|table| table.size.table).collect(),
            backup_hours: age_ms.map(|age_ms| age_ms / 3_600_000),
        }
    }

    /// The sentences of the hub for it.
    pub(super) fn conditions(&self) -> Vec<String> {
        let stale = self.is_stale.then(|| match self.backup_hours {
            None => "DETS backup: never run".to_owned(),
            Some(hours) => format!("DETS backup stale: last backup {hours}h ago"),
        });
        let tables = self.fragmented.join(", ");
        let fragmented = format!("DETS fragmentation >50%: {tables}");
        stale.into_iter().chain((!tables.is_empty()).then_some(fragmented)).collect()
    }
}

/// What is not well; nothing if nobody knows.
pub(super) async fn conditions<D: DurableCalls>(state: &HttpState<D>) -> Vec<String> {
    let view = store(state).await;
    view.map(|view| StoreHealth::of(&view, unix_ms()).conditions()).unwrap_or_default()
}

/// The tables for dashboards; empty if nobody knows.
pub(super) async fn summary<D: DurableCalls>(state: &HttpState<D>) -> Value {
    let Ok(view) = store(state).await else { return json!({"tables": []}) };
    let history: Vec<Value> = view.compactions.iter().map(compaction).collect();
    json!({
        "tables": tables(&view),
        "last_backup_at": view.backup_ms,
        "last_backup_results": null,
        "last_compaction_at": view.compactions.first().map(|run| run.at_ms),
        "compaction_history": history,
    })
}

fn tables(view: &StoreView) -> Vec<Value> {
    let table = |health: &crate::core::command::TableHealth| {
        json!({
            "table": health.size.table,
            "record_count": health.size.records,
            "file_size_bytes": health.size.bytes,
            "fragmentation_ratio": upkeep::rounded(health.fragmentation),
            "status": "ok",
        })
    };
    view.tables.iter().map(table).collect()
}

/// A run over tables, in the words of the hub.
pub(super) fn compaction(run: &Compaction) -> Value {
    let results: Vec<Value> = run.tables.iter().map(compacted).collect();
    json!({"timestamp": run.at_ms, "results": results})
}

fn compacted(table: &CompactedTable) -> Value {
    let status = if table.duration_ms.is_some() { "compacted" } else { "skipped" };
    let mut result = json!({"table": table.table, "status": status,
        "duration_ms": table.duration_ms.unwrap_or_default()});
    if table.duration_ms.is_none() {
        result["reason"] = "below_threshold".into();
    }
    result
}

/// `POST /api/admin/compact`
pub(super) async fn compact<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let run = compact_now(&state, None).await?;
    let done = run.tables.iter().filter(|table| table.duration_ms.is_some()).count();
    let mut body = compaction(&run);
    body["status"] = "complete".into();
    body["tables_total"] = run.tables.len().into();
    body["tables_compacted"] = done.into();
    body["tables_skipped"] = (run.tables.len() - done).into();
    Ok(reply(StatusCode::OK, &body))
}

/// `POST /api/admin/compact/:table`
pub(super) async fn compact_table<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    table: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Path(text) = table.map_err(|_| HttpError::NotFound)?;
    let table = Name::parse(&text).ok().filter(|name| table_named(name.as_str()).is_some());
    let Some(table) = table else { return Err(HttpError::UnknownTable(text)) };
    let run = compact_now(&state, Some(table)).await?;
    let mut body = run.tables.first().map(compacted).unwrap_or_default();
    body["table"] = text.into();
    Ok(reply(StatusCode::OK, &body))
}

async fn compact_now<D: DurableCalls>(
    state: &HttpState<D>,
    table: Option<Name>,
) -> Result<Compaction, HttpError> {
    match ask(state, UpkeepCommand::Compact { table }).await? {
        UpkeepReply::Compacted(run) => Ok(run),
        other => unreachable!("a compaction answered {other:?}"),
    }
}

async fn store<D: DurableCalls>(state: &HttpState<D>) -> Result<StoreView, HttpError> {
    match ask(state, UpkeepCommand::ShowStore).await? {
        UpkeepReply::Store(view) => Ok(view),
        other => unreachable!("a look answered {other:?}"),
    }
}

async fn ask<D: DurableCalls>(
    state: &HttpState<D>,
    command: UpkeepCommand,
) -> Result<UpkeepReply, HttpError> {
    match state.durable.call(Command::Upkeep(command)).await? {
        Reply::Upkeep(answer) => Ok(*answer),
        other => unreachable!("upkeep answered {other:?}"),
    }
}

fn named(name: Result<Path<String>, PathRejection>) -> Result<Name, HttpError> {
    let Path(name) = name.map_err(|_| HttpError::NotFound)?;
    Name::parse(&name).map_err(|_| HttpError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::TableHealth;

    const HOUR: u64 = 3_600_000;

    #[track_caller]
    fn check(backup_ms: Option<u64>, fragmentation: f64, expected: &[&str]) {
        let size = TableView { table: "task_queue", records: 1, bytes: 1 };
        let tables = vec![TableHealth { size, fragmentation }];
        let view = StoreView { tables, backup_ms, compactions: Vec::new() };
        assert_eq!(StoreHealth::of(&view, 100 * HOUR).conditions(), expected);
    }

    #[test]
    fn what_is_not_well_is_said_at_the_edges_of_the_hub() {
        check(None, 0.0, &["DETS backup: never run"]);
        check(Some(52 * HOUR), 0.5, &[]);
        check(Some(52 * HOUR - 1), 0.0, &["DETS backup stale: last backup 48h ago"]);
        check(Some(100 * HOUR), 0.51, &["DETS fragmentation >50%: task_queue"]);
    }
}
