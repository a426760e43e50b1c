//! A bar for work whose end can be seen, on a terminal.

use std::io::{self, IsTerminal};

use agentcom_broker::upkeep::{Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far something is with a backup.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Bar {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Bar(ProgressBar::with_draw_target(None, target))
    }

    /// Show it.
    pub(crate) fn show(&self, progress: Progress) {
        let Progress { phase, done, total } = progress;
        self.show_word(phase.as_str(), phase == Phase::Read, done, total);
    }

    /// Show it under a word for what is done; in bytes, or else in records.
    pub(crate) fn show_word(&self, word: &str, is_records: bool, done: u64, total: u64) {
        let template = match (is_records, total) {
            (true, _) => "{msg:7} {human_pos} records",
            (false, 0) => "{msg:7} {spinner}",
            (false, _) => "{msg:7} [{wide_bar}] {bytes}/{total_bytes} {eta}",
        };
        let style = ProgressStyle::with_template(template);
        self.0.set_style(style.expect("a constant of ours is a template"));
        self.0.set_message(word.to_owned());
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
