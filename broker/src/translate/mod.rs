//! The doors' common dictionary: words and JSON on one side,
//! [`Command`](crate::core::command::Command)s and replies on the other. Every door that carries
//! text uses it, so a rule of spelling exists once.
//!
//! ```text
//!   request in words ──┐                      ┌─> submit, lease, worker, queue, ...
//!                      ├─> fields ─> command ─┤      (which build the command, noun by noun)
//!   request in JSON ───┘                      └─> Invalid: a sentence
//!
//!   reply, push, event ──> words (lines), json (objects); both show things as `view` does
//! ```

mod after;
pub mod alert;
pub mod command;
mod fields;
mod headers;
pub mod json;
mod labels;
mod lease;
mod limits;
mod list;
pub mod message;
mod park;
mod placement;
mod queue;
pub mod quota;
pub mod rates;
mod schedule;
pub mod setting;
mod submit;
mod talk;
mod task;
pub mod trace;
pub mod upkeep;
mod usual;
pub mod view;
pub mod words;
mod worker;

use std::borrow::Cow;

pub use self::command::{Asked, Asker, TaskNames};
pub use self::usual::Usual;
use crate::core::command::{Name, NameError};
use crate::core::cron::CronError;

/// A value that a door cannot translate. Says which one, what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A name breaks the rule for names.
    #[error("{field} {error}")]
    Name {
        /// Where.
        field: &'static str,
        /// What is wrong.
        error: NameError,
    },
    /// Not one of the words or numbers that are allowed.
    #[error("{field} is {found}; allowed is {allowed}")]
    Value {
        /// Where.
        field: &'static str,
        /// What was there.
        found: String,
        /// What may be.
        allowed: Cow<'static, str>,
    },
    /// Something that must be there is not.
    #[error("{field} is missing; it must be {allowed}")]
    Missing {
        /// What.
        field: &'static str,
        /// What may be.
        allowed: Cow<'static, str>,
    },
    /// Two things that exclude each other.
    #[error("give {one} or {other}, not both")]
    Both {
        /// The one.
        one: Cow<'static, str>,
        /// The other.
        other: Cow<'static, str>,
    },
    /// A field that the request does not have.
    #[error("there is no field {found}; there are {allowed}")]
    Unknown {
        /// Its name.
        found: String,
        /// The names that there are.
        allowed: String,
    },
    /// A shared setting that the broker goes by would not be understood.
    #[error("{key} would make no sense: {sentence}")]
    Setting {
        /// Which.
        key: Name,
        /// What is allowed.
        sentence: String,
    },
    /// No times that come again.
    #[error("cron {error}")]
    Cron {
        /// What is wrong.
        error: CronError,
    },
    /// Something about one task of a batch.
    #[error("number {position} of the batch: {error}")]
    InBatch {
        /// 1 for the first.
        position: usize,
        /// What.
        error: Box<Invalid>,
    },
    /// The body is not JSON of the right shape.
    #[error("the body is not the JSON that is expected here: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
}
