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
use crate::board::StoreHealth;
use crate::core::command::{
    Command, CompactedTable, Compaction, Name, Reply, StoreView, TableView, UpkeepCommand,
    UpkeepReply,
};
use crate::store::record::Table;
use crate::translate::upkeep;
use crate::upkeep::table_named;

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
    let body = json!({
        "health_status": health.as_str(),
        "stale_backup": health.is_stale,
        "high_fragmentation": !health.fragmented.is_empty(),
        "last_backup_at": view.backup_ms,
        "tables": tables(&view),
    });
    Ok(reply(StatusCode::OK, &body))
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
    let (name, _) = table_of(table)?;
    let run = compact_now(&state, Some(name.clone())).await?;
    let mut body = run.tables.first().map(compacted).unwrap_or_default();
    body["table"] = name.as_str().into();
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

/// What upkeep answers.
pub(super) async fn ask<D: DurableCalls>(
    state: &HttpState<D>,
    command: UpkeepCommand,
) -> Result<UpkeepReply, HttpError> {
    match state.durable.call(Command::Upkeep(command)).await? {
        Reply::Upkeep(answer) => Ok(*answer),
        other => unreachable!("upkeep answered {other:?}"),
    }
}

/// The table of a path, and what it is called there.
pub(super) fn table_of(
    name: Result<Path<String>, PathRejection>,
) -> Result<(Name, Table), HttpError> {
    let Path(text) = name.map_err(|_| HttpError::NotFound)?;
    let name = Name::parse(&text).ok();
    let found = name.and_then(|name| table_named(name.as_str()).map(|table| (name, table)));
    found.ok_or(HttpError::UnknownTable(text))
}

/// The backup of a path.
pub(super) fn named(name: Result<Path<String>, PathRejection>) -> Result<Name, HttpError> {
    let Path(name) = name.map_err(|_| HttpError::NotFound)?;
    Name::parse(&name).map_err(|_| HttpError::NotFound)
}
