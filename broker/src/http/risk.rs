//! How risky what came of a task looks (the contract's 2.5), for a sidecar that decides whether a
//! person has to look at it. Small and tested is tier 1; everything else is tier 2. Tier 3 is for
//! whoever knows more of the repository than this broker does.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::CallerBody;
use super::error::reply;
use super::form::Form;
use super::handlers::existing_task;
use super::{DurableCalls, HttpError, HttpState, config};

/// Shared settings, as the hub called them, and what counts without them.
const LINES_MAX: (&str, u64) = ("risk_tier1_max_lines", 20);
const FILES_MAX: (&str, u64) = ("risk_tier1_max_files", 3);
const AUTO_MERGE: &str = "risk_auto_merge_tier1";

/// Files of one change that are looked at. 10,000: more than anybody reviews.
const FILES_LISTED_MAX: usize = 10_000;

/// What came of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    lines: u64,
    files: u64,
    is_tested: bool,
}

/// `POST /api/tasks/:id/classify`
pub(super) async fn classify<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(_, fields): CallerBody,
) -> Result<Response, HttpError> {
    existing_task(&state, id).await?;
    let change = change(&fields)?;
    let lines_max = number(&state, LINES_MAX).await?;
    let files_max = number(&state, FILES_MAX).await?;
    let reasons = risks(change, lines_max, files_max);
    let tier = if reasons.is_empty() { 1 } else { 2 };
    let may_merge = config::get(&state, AUTO_MERGE).await? == Some(Value::Bool(true));
    let body = json!({
        "tier": tier,
        "reasons": if tier == 1 { vec!["small and tested".to_owned()] } else { reasons },
        "auto_merge_eligible": tier == 1 && may_merge,
    });
    Ok(reply(StatusCode::OK, &body))
}

fn change(fields: &Map<String, Value>) -> Result<Change, HttpError> {
    let mut form = Form::new(fields);
    let mut lines = 0_u64;
    for field in ["lines_added", "lines_deleted"] {
        match form.integer(field).map(u64::try_from) {
            None => {}
            Some(Ok(some)) => lines = lines.saturating_add(some),
            Some(Err(_)) => {
                form.refuse(field, "invalid_value", "must not be negative".to_owned(), None);
            }
        }
    }
    let mut files = BTreeSet::new();
    for field in ["files_changed", "files_added"] {
        files.extend(form.list(field, FILES_LISTED_MAX).iter().map(Value::to_string));
    }
    let is_tested = match form.field("tests_exist") {
        None => false,
        Some(Value::Bool(exist)) => *exist,
        Some(other) => {
            form.wrong_type("tests_exist", "boolean", other);
            false
        }
    };
    form.finish()?;
    Ok(Change { lines, files: files.len() as u64, is_tested })
}

/// Why somebody should look at it; nothing if nobody need.
fn risks(change: Change, lines_max: u64, files_max: u64) -> Vec<String> {
    let Change { lines, files, is_tested } = change;
    let mut risks = Vec::new();
    if lines > lines_max {
        risks.push(format!("{lines} lines are changed, {lines_max} count as few"));
    }
    if files > files_max {
        risks.push(format!("{files} files are changed, {files_max} count as few"));
    }
    if !is_tested {
        risks.push("there are no tests".to_owned());
    }
    risks
}

async fn number<D: DurableCalls>(
    state: &HttpState<D>,
    (key, usual): (&str, u64),
) -> Result<u64, HttpError> {
    Ok(config::get(state, key).await?.as_ref().and_then(Value::as_u64).unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_small_and_tested_needs_nobody() {
        let small = Change { lines: 20, files: 3, is_tested: true };
        assert_eq!(risks(small, 20, 3), Vec::<String>::new());
        for (change, words) in [
            (Change { lines: 21, ..small }, "21 lines"),
            (Change { files: 4, ..small }, "4 files"),
            (Change { is_tested: false, ..small }, "no tests"),
        ] {
            let found = risks(change, 20, 3);
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
    }
}
