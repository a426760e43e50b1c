//! What a row of the table of reach asks for, and whether it was got.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::peer::Peer;
use crate::figure::Spread;
use crate::report::{Report, number};

/// How a figure is held against a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// So many times better than this peer, at least.
    TimesBetterThan(Peer),
    /// At least.
    AtLeast,
    /// At most.
    AtMost,
}

/// One number to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Whose figure it is.
    pub side: Peer,
    /// The figure.
    pub figure: &'static str,
    /// How it is held against the numbers.
    pub measure: Measure,
    /// What has to be reached now.
    pub now: f64,
    /// What has to be reached in the end.
    pub end: f64,
}

impl Goal {
    /// What `report` found, over the rounds; `None` if there is nothing to compare.
    fn found(&self, report: &Report) -> Option<Spread> {
        let side = report.side(self.side.name())?;
        match self.measure {
            Measure::TimesBetterThan(peer) => side.ratios(report.side(peer.name())?, self.figure),
            Measure::AtLeast | Measure::AtMost => side.values(self.figure),
        }
    }

    /// Whether `value` is enough for `wanted`.
    fn is_met(&self, value: f64, wanted: f64) -> bool {
        match self.measure {
            Measure::TimesBetterThan(_) | Measure::AtLeast => value >= wanted,
            Measure::AtMost => value <= wanted,
        }
    }

    fn wording(&self) -> String {
        let Self { figure, now, .. } = self;
        let now = number(*now);
        let wanted = match self.measure {
            Measure::TimesBetterThan(peer) => format!("{now} times better than {}", peer.name()),
            Measure::AtLeast => format!("at least {now}"),
            Measure::AtMost => format!("at most {now}"),
        };
        match self.side {
            Peer::AgentCom => format!("{figure}: {wanted}"),
            other => format!("{figure} of {}: {wanted}", other.name()),
        }
    }

    /// One line of a report.
    fn line(&self, report: &Report) -> String {
        let wording = self.wording();
        let Some(Spread { median, min, max }) = self.found(report) else {
            return format!("goal: {wording}: nothing to compare");
        };
        let verdict = |wanted| if self.is_met(median, wanted) { "reached" } else { "MISSED" };
        format!(
            "goal: {wording}: {} ({}..{}), {}; in the end {}, {}",
            number(median),
            number(min),
            number(max),
            verdict(self.now),
            number(self.end),
            verdict(self.end),
        )
    }

    fn to_json(self, report: &Report) -> Value {
        let found = self.found(report);
        let is_met = |wanted| found.map(|found| self.is_met(found.median, wanted));
        json!({
            "goal": self.wording(),
            "found": found.map(|spread| [spread.median, spread.min, spread.max]),
            "now": self.now,
            "is_met": is_met(self.now),
            "end": self.end,
            "is_met_in_the_end": is_met(self.end),
        })
    }
}

/// The verdicts on all `goals`, one on a line.
pub fn print(goals: &[Goal], report: &Report, out: &mut impl Write) -> io::Result<()> {
    for goal in goals {
        writeln!(out, "  {}", goal.line(report))?;
    }
    Ok(())
}

/// The same for programs.
pub fn to_json(goals: &[Goal], report: &Report) -> Value {
    goals.iter().map(|goal| goal.to_json(report)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;
    use crate::program::Durability;
    use crate::report::SideRuns;

    const JETSTREAM: Peer = Peer::JetStream(Durability::Always);

    fn check(measure: Measure, now: f64, end: f64, expected: &str) {
        let mut sides = [SideRuns::new(JETSTREAM.name()), SideRuns::new(Peer::AgentCom.name())];
        for (theirs, ours) in [(2.0, 19.0), (2.0, 20.0), (2.0, 22.0)] {
            sides[0].push(Ok(("1".into(), vec![Figure::gain("submits/s", theirs)])));
            sides[1].push(Ok(("1".into(), vec![Figure::gain("submits/s", ours)])));
        }
        let report = Report::of_last("submit", "", sides.into());
        let goal = Goal { side: Peer::AgentCom, figure: "submits/s", measure, now, end };
        assert_eq!(goal.line(&report), expected);
    }

    #[test]
    fn the_median_decides_and_the_edge_is_enough() {
        check(
            Measure::TimesBetterThan(JETSTREAM),
            10.0,
            25.0,
            "goal: submits/s: 10.0 times better than js-always: 10.0 (9.50..11.0), reached; \
             in the end 25.0, MISSED",
        );
        check(
            Measure::AtMost,
            20.0,
            19.9,
            "goal: submits/s: at most 20.0: 20.0 (19.0..22.0), reached; in the end 19.9, MISSED",
        );
        check(
            Measure::AtLeast,
            20.1,
            20.0,
            "goal: submits/s: at least 20.1: 20.0 (19.0..22.0), MISSED; in the end 20.0, reached",
        );
    }

    #[test]
    fn a_peer_that_was_left_out_is_no_verdict() {
        let redis = Peer::Redis(Durability::Always);
        check(
            Measure::TimesBetterThan(redis),
            1.0,
            2.0,
            "goal: submits/s: 1.00 times better than redis-always: nothing to compare",
        );
    }
}
