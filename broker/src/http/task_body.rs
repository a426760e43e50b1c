//! The body of `POST /api/tasks`: field by field to a [`Submit`], or every mistake at once.
//!
//! Types are strict and null is absent. Fields that this broker does not know pass through to the
//! agent unseen.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::error::HttpError;
use super::form::{Form, excerpt, too_long};
use super::{HttpSettings, schemas, task_view, tier};
use crate::core::command::{
    After, AfterEnd, AfterTask, Assign, Name, Patience, Placement, Spec, Start, Submit, TaskId,
};
use crate::core::limits::EDGES_MAX;

/// Items of a list that the broker only keeps. 1,000: what is more fits into no body that is sensible.
const LISTED_MAX: usize = 1_000;
/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 4096;
/// Largest metadata, in bytes of JSON.
const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Most capabilities that a task can ask for.
const CAPABILITIES_MAX: usize = 20;
/// Most attempts that a task can ask for; the legacy field calls them retries.
const RETRIES_MAX: u64 = 10;
/// Attempts if nothing is said.
const RETRIES: u64 = 3;
/// How long an accepted lease lasts without a sign of life; 30 s, as on the other doors.
const LEASE_MS: u64 = 30_000;
/// How long one attempt may take; an hour, as on the other doors.
const ATTEMPT_MS: u64 = 3_600_000;
/// The queue of tasks that name none.
const QUEUE: &str = "default";

/// The shortest and the longest attempt, whatever `complete_by` says: a second and a day.
const ATTEMPT_MS_MIN: u64 = 1_000;
const ATTEMPT_MS_MAX: u64 = 86_400_000;

/// The task that `fields` describe, submitted by somebody. Its payload is the body, normalised:
/// known fields checked and with their defaults, others as they came.
pub(super) fn submit(
    fields: &Map<String, Value>,
    by: &Name,
    settings: &HttpSettings,
    now_ms: u64,
) -> Result<Submit, HttpError> {
    let payload_bytes_max = settings.payload_bytes_max;
    let mut form = Form::new(fields);
    let description = form.description();
    let metadata = form.metadata();
    let retries = form.retries();
    let needs = form.capabilities();
    let band = form.priority();
    let queue = form.queue();
    let agent = form.assign_to(&metadata);
    let after = form.depends_on();
    let complete_by = form.integer("complete_by");
    form.complexity_tier();
    // What the broker only keeps for whoever works on it. A capability may also be an object.
    let kept = schemas::fields_of("post_task").filter(|(name, _)| *name != "needed_capabilities");
    form.check_types(kept);
    if form.is_clean() {
        form.file_hints();
        form.verification_steps();
    }

    let mut payload = fields.clone();
    payload.retain(|_, value| !value.is_null());
    let is_trivial = tier::of(&description, fields).is_trivial();
    payload.insert("description".to_owned(), description.into());
    payload.insert("metadata".to_owned(), metadata);
    payload.insert("priority".to_owned(), band.into());
    payload.insert("max_retries".to_owned(), retries.into());
    payload.insert("submitted_by".to_owned(), by.as_str().into());
    let names: Vec<&str> = needs.iter().map(Name::as_str).collect();
    payload.insert("needed_capabilities".to_owned(), json!(names));
    let payload = Value::Object(payload).to_string().into_bytes();
    if form.is_clean() && payload.len() > payload_bytes_max {
        form.refuse("body", "too_long", too_long(payload_bytes_max, "bytes"), None);
    }
    form.finish()?;
    // An attempt is over when the time is: then there is another one, if there is.
    let attempt_ms = complete_by.map_or(ATTEMPT_MS, |at_ms| {
        let left_ms = u64::try_from(at_ms).unwrap_or(0).saturating_sub(now_ms);
        left_ms.clamp(ATTEMPT_MS_MIN, ATTEMPT_MS_MAX)
    });
    let ttl_ms = u64::try_from(settings.task_ttl.as_millis()).unwrap_or(u64::MAX);
    let waits_for_ever = ttl_ms == 0 || !after.is_empty() || is_trivial;
    let queue_ms = (!waits_for_ever).then_some(ttl_ms);
    // Whoever is named gets it, whatever it can do: the contract's 7.3.
    let needs = if agent.is_some() { Vec::new() } else { needs };
    let assign = agent.map(|agent| Assign { agent, for_ms: None });
    let placement = assign.map(|assign| Placement { assign: Some(assign), ..Placement::default() });
    let spec = Spec {
        rates: Arc::default(),
        placement: placement.map(Arc::new),
        has_headers: false,
        queue,
        key: None,
        needs: needs.into(),
        labels: Arc::default(),
        limits: Arc::default(),
        band,
        // Zero retries and one attempt come to the same: the first failure is the last.
        attempts_max: u32::try_from(retries.max(1)).expect("checked against RETRIES_MAX"),
        patience: Patience {
            lease_ms: LEASE_MS,
            attempt_ms,
            progress_ms: None,
            queue_ms,
            total_ms: None,
        },
    };
    Ok(Submit {
        spec: Arc::new(spec),
        payload: payload.into(),
        headers: None,
        start: Start::Now,
        dedup: None,
        after,
    })
}

/// The answer to a task that waits for one that is not there.
pub(super) fn unknown_dependency(task: TaskId) -> HttpError {
    let fields = Map::new();
    let mut form = Form::new(&fields);
    let id = task_view::legacy_id(task);
    let detail = "there is no such task".to_owned();
    form.refuse("depends_on", "invalid_value", detail, Some(id.into()));
    form.finish().expect_err("a mistake was noted")
}

impl Form<'_> {
    fn complexity_tier(&mut self) {
        const FIELD: &str = "complexity_tier";
        if let Some(Value::String(asked)) = self.field(FIELD)
            && !tier::NAMES.contains(&asked.as_str())
        {
            let detail = format!("must be one of: {}", tier::NAMES.join(", "));
            self.refuse(FIELD, "invalid_value", detail, Some(excerpt(asked)));
        }
    }

    /// Within an item, only the first mistake is told.
    fn file_hints(&mut self) {
        const FIELD: &str = "file_hints";
        for (place, hint) in self.list(FIELD, LISTED_MAX).iter().enumerate() {
            if !self.item_text(FIELD, place, hint, "path", "file hint") {
                continue;
            }
            self.item_optional_text(FIELD, place, hint, "reason");
        }
    }

    fn verification_steps(&mut self) {
        const FIELD: &str = "verification_steps";
        for (place, step) in self.list(FIELD, LISTED_MAX).iter().enumerate() {
            if self.item_text(FIELD, place, step, "type", "verification step")
                && self.item_text(FIELD, place, step, "target", "verification step")
            {
                self.item_optional_text(FIELD, place, step, "description");
            }
        }
    }

    /// Whether an item has a text that is not empty under `key`; noted if it has none.
    fn item_text(
        &mut self,
        field: &str,
        place: usize,
        item: &Value,
        key: &str,
        noun: &str,
    ) -> bool {
        let is_there = item[key].as_str().is_some_and(|text| !text.is_empty());
        if !is_there {
            let detail = format!("{noun} must have a non-empty string '{key}'");
            self.refuse(&format!("{field}[{place}].{key}"), "required", detail, None);
        }
        is_there
    }

    fn item_optional_text(&mut self, field: &str, place: usize, item: &Value, key: &str) {
        if !item[key].is_null() && !item[key].is_string() {
            self.wrong_type(&format!("{field}[{place}].{key}"), "string", &item[key]);
        }
    }

    fn description(&mut self) -> String {
        match self.field("description") {
            None => {
                let detail = "field is required".to_owned();
                self.refuse("description", "required", detail, None);
            }
            Some(Value::String(text)) => {
                let length = text.chars().count();
                if (1..=DESCRIPTION_CHARS_MAX).contains(&length) {
                    return text.clone();
                }
                let (error, detail) = match length {
                    0 => ("required", "must not be empty".to_owned()),
                    _ => ("too_long", too_long(DESCRIPTION_CHARS_MAX, "characters")),
                };
                self.refuse("description", error, detail, Some(excerpt(text)));
            }
            Some(other) => self.wrong_type("description", "string", other),
        }
        String::new()
    }

    fn metadata(&mut self) -> Value {
        match self.field("metadata") {
            None => {}
            Some(object @ Value::Object(_)) => {
                if object.to_string().len() <= METADATA_BYTES_MAX {
                    return object.clone();
                }
                let detail = too_long(METADATA_BYTES_MAX, "bytes");
                self.refuse("metadata", "too_long", detail, None);
            }
            Some(other) => self.wrong_type("metadata", "object", other),
        }
        json!({})
    }

    fn retries(&mut self) -> u64 {
        match self.field("max_retries") {
            None => {}
            Some(Value::Number(number)) if !number.is_f64() => match number.as_u64() {
                Some(retries) if retries <= RETRIES_MAX => return retries,
                _ => {
                    let detail = format!("must be from 0 to {RETRIES_MAX}");
                    let value = Some(Value::Number(number.clone()));
                    self.refuse("max_retries", "invalid_value", detail, value);
                }
            },
            Some(other) => self.wrong_type("max_retries", "integer", other),
        }
        RETRIES
    }

    /// Sorted, without duplicates. An item is a name, or an object with one.
    fn capabilities(&mut self) -> Vec<Name> {
        const FIELD: &str = "needed_capabilities";
        let list = self.list(FIELD, CAPABILITIES_MAX);
        let mut names = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let field = format!("{FIELD}[{index}]");
            let text = item.as_str().or_else(|| item.get("name")?.as_str());
            match text.map(Name::parse) {
                Some(Ok(name)) => drop(names.insert(name)),
                Some(Err(error)) => {
                    let value = Some(excerpt(text.unwrap_or_default()));
                    self.refuse(&field, "invalid_value", error.to_string(), value);
                    break;
                }
                None => {
                    self.wrong_type(&field, "string", item);
                    break;
                }
            }
        }
        names.into_iter().collect()
    }

    fn priority(&mut self) -> u8 {
        match self.field("priority") {
            None => {}
            Some(Value::String(word)) => match word.as_str() {
                // The submit tool says critical where the hub said urgent.
                "urgent" | "critical" => return 0,
                "high" => return 1,
                "normal" => {}
                "low" => return 3,
                other => {
                    let detail = "must be one of: urgent, high, normal, low".to_owned();
                    self.refuse("priority", "invalid_value", detail, Some(excerpt(other)));
                }
            },
            Some(other) => self.wrong_type("priority", "string", other),
        }
        2
    }

    fn queue(&mut self) -> Name {
        match self.field("queue") {
            None => {}
            Some(Value::String(text)) => match Name::parse(text) {
                Ok(name) => return name,
                Err(error) => {
                    let value = Some(excerpt(text));
                    self.refuse("queue", "invalid_value", error.to_string(), value);
                }
            },
            Some(other) => self.wrong_type("queue", "string", other),
        }
        Name::parse(QUEUE).expect("the default is a name")
    }

    /// The only agent that may have it; `metadata` may name it, too.
    fn assign_to(&mut self, metadata: &Value) -> Option<Name> {
        let (field, found) = match self.field("assign_to") {
            Some(found) => ("assign_to", found.clone()),
            None => ("metadata.assign_to", metadata.get("assign_to")?.clone()),
        };
        match &found {
            Value::Null => None,
            Value::String(text) => match Name::parse(text) {
                Ok(name) => Some(name),
                Err(error) => {
                    let value = Some(excerpt(text));
                    self.refuse(field, "invalid_value", error.to_string(), value);
                    None
                }
            },
            other => {
                self.wrong_type(field, "string", other);
                None
            }
        }
    }

    /// Tasks that have to be completed first. After a bad end of one of them the task waits until
    /// that is led on, as in the hub.
    fn depends_on(&mut self) -> Vec<After> {
        const FIELD: &str = "depends_on";
        let list = self.list(FIELD, EDGES_MAX);
        let mut after = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let field = format!("{FIELD}[{index}]");
            let Some(text) = item.as_str() else {
                self.wrong_type(&field, "string", item);
                break;
            };
            match task_view::parse_id(text) {
                Some(task) => {
                    let task = AfterTask::Kept(task);
                    after.push(After { task, on: AfterEnd::SuccessElseBlock });
                }
                None => {
                    let detail = "there is no such task".to_owned();
                    self.refuse(&field, "invalid_value", detail, Some(excerpt(text)));
                    break;
                }
            }
        }
        after
    }
}
