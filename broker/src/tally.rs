//! What became of tasks since the start, for whoever counts.

use std::time::Duration;

use crate::board::{Step, Stepped};
use crate::core::command::TaskEvent;
use crate::metrics::{Counter, Histogram, Reading, Times};

/// Counts and times of all tasks.
#[derive(Debug)]
pub struct Tally {
    submitted: Counter,
    assigned: Counter,
    completed: Counter,
    failed: Counter,
    died: Counter,
    reclaimed: Counter,
    redriven: Counter,
    cancelled: Counter,
    wait: Histogram,
    run: Histogram,
}

impl Default for Tally {
    fn default() -> Tally {
        let [submitted, assigned, completed, failed] = Default::default();
        let [died, reclaimed, redriven, cancelled] = Default::default();
        let (wait, run) = (Histogram::slow(), Histogram::slow());
        Tally {
            submitted,
            assigned,
            completed,
            failed,
            died,
            reclaimed,
            redriven,
            cancelled,
            wait,
            run,
        }
    }
}

impl Tally {
    /// Something happened to a task.
    pub(crate) fn note(&self, event: &TaskEvent, stepped: &Stepped) {
        let counter = match stepped.step {
            Step::Submitted => &self.submitted,
            Step::Assigned => &self.assigned,
            Step::Completed => &self.completed,
            Step::Failed => &self.failed,
            Step::Died { .. } => &self.died,
            Step::Reclaimed => &self.reclaimed,
            Step::Redriven => &self.redriven,
            Step::Cancelled => &self.cancelled,
            Step::Accepted | Step::Progressed => return,
        };
        counter.add(1);
        if stepped.step == Step::Assigned && event.generation.0 == 1 {
            let waited_ms = event.at_ms.saturating_sub(event.submitted_ms);
            self.wait.note(Duration::from_millis(waited_ms));
        }
        if let Some(took_ms) = stepped.took_ms.filter(|_| stepped.step == Step::Completed) {
            self.run.note(Duration::from_millis(took_ms));
        }
    }

    /// The counts.
    pub fn readings(&self) -> impl Iterator<Item = Reading> {
        [
            ("tasks_submitted_total", "tasks submitted", &self.submitted),
            ("tasks_assigned_total", "times that an agent was given a task", &self.assigned),
            ("tasks_completed_total", "tasks completed", &self.completed),
            ("tasks_failed_total", "attempts that failed and are repeated", &self.failed),
            ("tasks_died_total", "tasks that became dead letters", &self.died),
            ("tasks_reclaimed_total", "times that a task came back undone", &self.reclaimed),
            ("tasks_redriven_total", "dead letters that got another life", &self.redriven),
            ("tasks_cancelled_total", "tasks cancelled", &self.cancelled),
        ]
        .into_iter()
        .map(|(name, meaning, counter)| Reading {
            kind: "counter",
            name,
            meaning,
            value: counter.value(),
        })
    }

    /// The times.
    #[must_use]
    pub fn times(&self) -> [Times<'_>; 2] {
        [
            Times {
                name: "task_wait_seconds",
                meaning: "from the submit of a task to its first grant",
                histogram: &self.wait,
            },
            Times {
                name: "task_run_seconds",
                meaning: "from the last grant of a task to its completion",
                histogram: &self.run,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{Generation, Name, State, TaskId};

    #[test]
    fn only_the_first_grant_ends_the_wait_and_only_a_completion_the_run() {
        let tally = Tally::default();
        let note = |step, generation, at_ms, took_ms| {
            let event = TaskEvent {
                task: TaskId(1),
                seq: 1,
                at_ms,
                submitted_ms: 1_000,
                queue: Name::parse("q").unwrap(),
                from: None,
                state: State::Ready,
                has_failed: false,
                generation: Generation(generation),
                agent: None,
                progress: None,
                blocked_by: None,
                is_escalated: false,
            };
            tally.note(&event, &Stepped { task: TaskId(1), step, agent: None, at_ms, took_ms });
        };
        note(Step::Submitted, 0, 1_000, None);
        note(Step::Assigned, 1, 3_000, None);
        note(Step::Reclaimed, 2, 4_000, Some(1_000));
        note(Step::Assigned, 3, 9_000, None);
        note(Step::Completed, 3, 9_500, Some(500));
        let counts: Vec<u64> = tally.readings().map(|reading| reading.value).collect();
        assert_eq!(counts, [1, 2, 1, 0, 0, 1, 0, 0]);
        let text = crate::metrics::Metrics::default().to_text(&[], &tally.times());
        for line in [
            "agentcom_task_wait_seconds_sum 2",
            "agentcom_task_wait_seconds_count 1",
            "agentcom_task_run_seconds_sum 0.5",
            "agentcom_task_run_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
    }
}
