//! Going back to a backup, and starting anew, over HTTP (the contract's 2.8). Live data is touched
//! only once the backup has been read from end to end.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::upkeep::{ask, named, table_of};
use super::{DurableCalls, HttpError, HttpState};
use crate::core::command::{BackupView, Name, Rejection, UpkeepCommand, UpkeepReply};
use crate::errand::Errand;
use crate::store::record::Table;
use crate::upkeep::{Restored, belongings};

/// `POST /api/admin/restore/:table`: the table, and those it makes sense with, from the newest
/// backup.
pub(super) async fn table<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    table: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let (name, table) = table_of(table)?;
    let unknown = || HttpError::UnknownTable(name.to_string());
    let tables = belongings(table).ok_or_else(unknown)?;
    let UpkeepReply::Backups(backups) = ask(&state, UpkeepCommand::ListBackups).await? else {
        unreachable!("a list was asked for")
    };
    let outcome = match backups.into_iter().next() {
        Some(newest) => restore(&state, newest.name, Some(tables)).await?,
        None => Err("there is no backup; make one with POST /api/admin/backup".to_owned()),
    };
    let body = |restored: Restored| {
        let view = restored.backup.tables.iter().find(|view| view.table == table.name());
        let (records, bytes) = view.map_or((0, 0), |view| (view.records, view.bytes));
        let mut body = answer(&restored, records, bytes);
        body["table"] = name.as_str().into();
        body["tables"] = tables.iter().map(|table| table.name()).collect();
        body
    };
    Ok(told(outcome.map(body), Some(name.as_str())))
}

/// `POST /api/admin/backups/:name/restore`: everything.
pub(super) async fn everything<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    name: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let outcome = restore(&state, named(name)?, None).await?;
    let body = |restored: Restored| {
        let BackupView { records, bytes, .. } = restored.backup;
        answer(&restored, records, bytes)
    };
    Ok(told(outcome.map(body), None))
}

/// `POST /api/admin/reset`: all services start anew; nothing that is kept changes. Not for whoever is
/// an admin only because everybody is.
pub(super) async fn reset<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    let may = match &caller {
        Caller::Operator => true,
        Caller::Agent { agent, .. } => state.admins.contains(agent),
    };
    if !may {
        return Err(HttpError::ResetAdminOnly);
    }
    hand_in(&state, Errand::Reset)?;
    let body = json!({"status": "reset_scheduled", "triggered_by": caller.name().as_str()});
    Ok(reply(StatusCode::OK, &body))
}

/// Verify the backup while everything goes on, then have it put in place. The inner error is a
/// sentence; nothing has changed then.
async fn restore<D: DurableCalls>(
    state: &HttpState<D>,
    backup: Name,
    tables: Option<&'static [Table]>,
) -> Result<Result<Restored, String>, HttpError> {
    match ask(state, UpkeepCommand::VerifyBackup { name: backup.clone() }).await {
        Ok(_) => {}
        Err(HttpError::Rejected(Rejection::BackupFailed { reason })) => {
            return Ok(Err(reason.to_string()));
        }
        Err(error) => return Err(error),
    }
    let (answer, restored) = oneshot::channel();
    hand_in(state, Errand::Restore { backup, tables, answer })?;
    let restored = restored.await.map_err(|_| stopping())?;
    Ok(restored.map_err(|error| error.to_string()))
}

fn hand_in<D>(state: &HttpState<D>, errand: Errand) -> Result<(), HttpError> {
    // Another one is under way, after which this door is a new one.
    state.errands.try_send(errand).map_err(|_| stopping())
}

fn stopping() -> HttpError {
    HttpError::Rejected(Rejection::Unavailable { reason: "the broker is stopping".into() })
}

fn answer(restored: &Restored, records: u64, bytes: u64) -> Value {
    json!({
        "status": "restored",
        "backup_used": restored.backup.name.as_str(),
        "record_count": records,
        "file_size": bytes,
        "replaced": restored.replaced.as_ref().map(|path| path.to_string_lossy()),
    })
}

fn told(outcome: Result<Value, String>, table: Option<&str>) -> Response {
    match outcome {
        Ok(body) => reply(StatusCode::OK, &body),
        Err(sentence) => {
            let mut body = json!({"status": "failed", "error": sentence});
            if let Some(table) = table {
                body["table"] = table.into();
            }
            reply(StatusCode::INTERNAL_SERVER_ERROR, &body)
        }
    }
}
