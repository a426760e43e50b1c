//! What all runs of a scenario found, as a table for people and as JSON for programs.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::{Value, json};

use crate::figure::{Figure, Spread};

/// Columns: the longest name of a figure, a value, a ratio with its least and greatest.
const NAME_WIDTH: usize = 48;
const VALUE_WIDTH: usize = 18;
const RATIO_WIDTH: usize = 26;

/// The runs of one server in one scenario, in the order of rounds.
#[derive(Debug)]
pub struct SideRuns {
    name: &'static str,
    version: String,
    runs: Vec<Result<Vec<Figure>, String>>,
}

impl SideRuns {
    /// No run yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, version: String::new(), runs: Vec::new() }
    }

    /// Take in one run: version of the server and figures, or why the run is invalid.
    pub fn push(&mut self, outcome: Result<(String, Vec<Figure>)>) {
        let run = outcome.map_err(|error| format!("{error:#}"));
        self.runs.push(run.map(|(version, figures)| {
            self.version = version;
            figures
        }));
    }

    /// The figure called `name` of one round, if that run is valid.
    fn figure(&self, round: usize, name: &str) -> Option<&Figure> {
        let figures = self.runs.get(round)?.as_ref().ok()?;
        figures.iter().find(|figure| figure.name == name)
    }

    /// The values of the figure called `name`, over all rounds.
    pub fn values(&self, name: &str) -> Option<Spread> {
        let rounds = 0..self.runs.len();
        Spread::over(rounds.filter_map(|round| Some(self.figure(round, name)?.value)).collect())
    }

    /// Ratios to `baseline`, round by round: over 1 means that this side is better.
    pub fn ratios(&self, baseline: &Self, name: &str) -> Option<Spread> {
        let ratio = |round| self.figure(round, name)?.ratio_to(baseline.figure(round, name)?);
        Spread::over((0..self.runs.len()).filter_map(ratio).collect())
    }

    fn faults(&self) -> impl Iterator<Item = (usize, &String)> {
        self.runs.iter().enumerate().filter_map(|(round, run)| Some((round, run.as_ref().err()?)))
    }
}

/// Which ratios a report shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ratios {
    /// Of every side to the first.
    ToFirst,
    /// Of the last to every side.
    OfLast,
}

/// All runs of one scenario.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    about: &'static str,
    sides: Vec<SideRuns>,
    ratios: Ratios,
}

impl Report {
    /// What `sides` did in the scenario called `name`; every side is compared with the first.
    pub fn to_first(name: &'static str, about: &'static str, sides: Vec<SideRuns>) -> Self {
        Self { name, about, sides, ratios: Ratios::ToFirst }
    }

    /// The same, and the last side is compared with every other.
    pub fn of_last(name: &'static str, about: &'static str, sides: Vec<SideRuns>) -> Self {
        Self { name, about, sides, ratios: Ratios::OfLast }
    }

    /// Whether no run lost a message or failed otherwise.
    pub fn is_valid(&self) -> bool {
        self.sides.iter().all(|side| side.faults().next().is_none())
    }

    /// The side called `name`.
    pub fn side(&self, name: &str) -> Option<&SideRuns> {
        self.sides.iter().find(|side| side.name == name)
    }

    /// Whose ratio to whom stands beside the side at `place`, if there is one.
    fn compared(&self, place: usize) -> Option<(&SideRuns, &SideRuns)> {
        let other = match self.ratios {
            Ratios::ToFirst => self.sides.first()?,
            Ratios::OfLast => self.sides.last()?,
        };
        let side = &self.sides[place];
        match self.ratios {
            _ if std::ptr::eq(side, other) => None,
            Ratios::ToFirst => Some((side, other)),
            Ratios::OfLast => Some((other, side)),
        }
    }

    /// Names of all figures, in the order in which the scenario lists them.
    fn names(&self) -> Vec<&'static str> {
        let runs = self.sides.iter().flat_map(|side| &side.runs);
        let mut names = Vec::new();
        for figure in runs.filter_map(|run| run.as_ref().ok()).flatten() {
            if !names.contains(&figure.name) {
                names.push(figure.name);
            }
        }
        names
    }

    /// A table: figures down, servers across; medians, and ratios.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let rounds = self.sides.first().map_or(0, |side| side.runs.len());
        writeln!(out, "{}: {} ({rounds} rounds)", self.name, self.about)?;
        write!(out, "{:NAME_WIDTH$}", "")?;
        for (place, side) in self.sides.iter().enumerate() {
            write!(out, "{:>VALUE_WIDTH$}", side.name)?;
            if let Some((better, _)) = self.compared(place) {
                let heading = match self.ratios {
                    Ratios::ToFirst => "times better".to_owned(),
                    Ratios::OfLast => format!("{} is better", better.name),
                };
                write!(out, "{heading:>RATIO_WIDTH$}")?;
            }
        }
        writeln!(out)?;
        for name in self.names() {
            write!(out, "  {name:<width$}", width = NAME_WIDTH - 2)?;
            for (place, side) in self.sides.iter().enumerate() {
                let value = side.values(name).map_or("-".into(), |spread| number(spread.median));
                write!(out, "{value:>VALUE_WIDTH$}")?;
                if let Some((better, worse)) = self.compared(place) {
                    let ratio = better.ratios(worse, name).map_or(String::new(), |spread| {
                        format!("{:.2} ({:.2}..{:.2})", spread.median, spread.min, spread.max)
                    });
                    write!(out, "{ratio:>RATIO_WIDTH$}")?;
                }
            }
            writeln!(out)?;
        }
        for side in &self.sides {
            for (round, fault) in side.faults() {
                writeln!(out, "  INVALID: {}, round {}: {fault}", side.name, round + 1)?;
            }
        }
        Ok(())
    }

    /// The same with every single value.
    pub fn to_json(&self) -> Value {
        let sides = self.sides.iter().enumerate().map(|(place, side)| {
            let compared = self.compared(place);
            let figures = self.names().into_iter().map(|name| {
                let rounds = 0..side.runs.len();
                let values: Vec<Option<f64>> =
                    rounds.map(|round| Some(side.figure(round, name)?.value)).collect();
                json!({
                    "figure": name,
                    "rounds": values,
                    "value": side.values(name).map(spread_json),
                    "times_better": compared
                        .and_then(|(better, worse)| better.ratios(worse, name))
                        .map(spread_json),
                })
            });
            let faults = side.faults();
            let faults = faults.map(|(round, fault)| json!({"round": round + 1, "fault": fault}));
            json!({
                "side": side.name,
                "version": side.version,
                "figures": figures.collect::<Vec<_>>(),
                "invalid": faults.collect::<Vec<_>>(),
            })
        });
        json!({ "scenario": self.name, "sides": sides.collect::<Vec<_>>() })
    }
}

fn spread_json(spread: Spread) -> Value {
    json!({"median": spread.median, "min": spread.min, "max": spread.max})
}

/// Three significant digits or all digits before the point, thousands apart.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => return format!("{value:.2}"),
        10.0..100.0 => return format!("{value:.1}"),
        _ => {}
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_to_what_they_mean() {
        assert_eq!(number(0.444), "0.44");
        assert_eq!(number(31.46), "31.5");
        assert_eq!(number(314.6), "315");
        assert_eq!(number(1_234_567.0), "1 234 567");
        assert_eq!(number(-123.4), "-123");
    }

    #[test]
    fn only_rounds_valid_on_both_sides_are_compared() {
        let run = |value| Ok(("1".to_owned(), vec![Figure::cost("ns", value)]));
        let mut baseline = SideRuns::new("baseline");
        let mut other = SideRuns::new("other");
        baseline.push(run(100.0));
        baseline.push(run(300.0));
        other.push(Err(anyhow::anyhow!("lost a message")));
        other.push(run(100.0));
        let ratios = other.ratios(&baseline, "ns");
        assert_eq!(ratios, Some(Spread { median: 3.0, min: 3.0, max: 3.0 }));
    }
}
