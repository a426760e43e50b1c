//! How much of each kind was found, and what became of it.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::output::Output;
use crate::cli::table::Table;

/// Reasons that are told one by one.
const REASONS_MAX: usize = 20;

/// One kind of things.
#[derive(Debug, Default)]
pub(super) struct Tally {
    kind: &'static str,
    found: usize,
    imported: usize,
    known: usize,
    left: usize,
    refused: Vec<String>,
}

/// What became of one thing.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is here now.
    Imported,
    /// It was here already.
    Known,
    /// It stays where it is.
    Left,
    /// The broker does not take it.
    Refused(String),
}

impl Tally {
    /// Of this kind nothing was found yet.
    pub(super) fn of(kind: &'static str) -> Tally {
        Tally { kind, ..Tally::default() }
    }

    /// One more was found, and this became of it.
    pub(super) fn count(&mut self, fate: Fate) {
        self.found += 1;
        match fate {
            Fate::Imported => self.imported += 1,
            Fate::Known => self.known += 1,
            Fate::Left => self.left += 1,
            Fate::Refused(why) => self.refused.push(why),
        }
    }

    fn to_json(&self) -> Value {
        json!({"kind": self.kind, "found": self.found, "imported": self.imported,
            "known": self.known, "left": self.left, "refused": self.refused})
    }
}

/// Tell what was done. Fails if something was refused, so that a script notices.
pub(super) fn print(tallies: &[Tally], is_dry: bool, output: &Output) -> Outcome {
    let mut table =
        Table::new(&["what", "found", "imported", "here already", "left there", "refused"]);
    for tally in tallies {
        let Tally { kind, found, imported, known, left, refused } = tally;
        table.row([
            (*kind).to_owned(),
            found.to_string(),
            if is_dry { "-".to_owned() } else { imported.to_string() },
            known.to_string(),
            left.to_string(),
            refused.len().to_string(),
        ]);
    }
    let mut text = table.lines().join("\n");
    let refused: Vec<&String> = tallies.iter().flat_map(|tally| &tally.refused).collect();
    for why in refused.iter().take(REASONS_MAX) {
        text.push_str(&format!("\nrefused: {why}"));
    }
    if refused.len() > REASONS_MAX {
        text.push_str(&format!("\nand {} more; --json has all", refused.len() - REASONS_MAX));
    }
    if is_dry {
        text.push_str("\nnothing was changed; leave --dry-run out to import");
    }
    let kinds: Vec<Value> = tallies.iter().map(Tally::to_json).collect();
    output.result(&text, &json!({"dry_run": is_dry, "kinds": kinds}))?;
    match refused.len() {
        0 => Ok(()),
        count => Err(format!("{count} could not be imported; see above").into()),
    }
}

/// A bar on stderr, if a person watches.
#[derive(Debug)]
pub(super) struct Progress {
    is_watched: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { is_watched: io::stderr().is_terminal() }
    }

    /// A bar for so many things of a kind.
    pub(super) fn bar(&self, kind: &'static str, total: usize) -> ProgressBar {
        let target = match self.is_watched {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{msg:10} [{wide_bar}] {pos}/{len} {eta}");
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        bar.set_style(style.expect("a constant of ours is a template"));
        bar.set_message(kind);
        bar
    }
}
