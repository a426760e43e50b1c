//! What people are told, and of what: the contract's 8.6. Pure; whoever calls knows the rest.

use serde_json::{Value, json};

use crate::board::Health;
use crate::board::alerts::Change;
use crate::board::rules::Severity;
use crate::core::command::PresenceEvent;
use crate::lookout::Sight;
use crate::upkeep::Notice;

/// Longest body, in characters; more is cut off. 400: more than any system shows, and it fits into
/// a push message however its characters are written.
const BODY_CHARS_MAX: usize = 400;

/// What is said of something that happened, if people are told of it.
#[must_use]
pub fn of_sight(sight: &Sight) -> Option<Value> {
    match sight {
        Sight::Alert(Change::Fired(alert)) => {
            let severity = alert.rule.severity();
            let title = match severity {
                Severity::Warning => "AgentCom WARNING",
                Severity::Critical => "AgentCom CRITICAL",
            };
            let mut note = note(title, alert.finding.to_string());
            note["data"] = json!({"rule_id": alert.rule.as_str(), "severity": severity.as_str()});
            Some(note)
        }
        Sight::Presence(PresenceEvent::Left(agent)) => {
            Some(note("AgentCom Alert", format!("Agent offline: {}", agent.as_str())))
        }
        Sight::Upkeep(Notice::CompactionFailed(reason)) => {
            Some(note("AgentCom Alert", format!("Compaction failed: {reason}")))
        }
        Sight::Alert(Change::Cleared(_))
        | Sight::Presence(PresenceEvent::Joined(_) | PresenceEvent::Changed(_))
        | Sight::Upkeep(_)
        | Sight::Task(..)
        | Sight::Acknowledged(_) => None,
    }
}

/// What is said when the broker `was_well` at the last look and has this health now.
#[must_use]
pub fn of_health(was_well: bool, health: &Health) -> Option<Value> {
    let is_new = was_well && !health.is_well();
    let body = || format!("Health warning: {}", health.conditions.join("; "));
    is_new.then(|| note("AgentCom Alert", body()))
}

fn note(title: &str, mut body: String) -> Value {
    if let Some((end, _)) = body.char_indices().nth(BODY_CHARS_MAX) {
        body.truncate(end);
        body.push('…');
    }
    json!({"title": title, "body": body, "icon": "/favicon.ico"})
}

#[cfg(test)]
mod tests {
    use super::super::seal::MESSAGE_BYTES_MAX;
    use super::*;
    use crate::board::alerts::Alert;
    use crate::board::rules::{Count, Finding, Rule};
    use crate::core::command::Name;

    fn fired(rule: Rule, finding: Finding) -> Option<Value> {
        let alert = Alert { rule, finding, fired_ms: 1, is_acknowledged: false };
        of_sight(&Sight::Alert(Change::Fired(alert)))
    }

    #[test]
    fn an_alert_says_how_bad_it_is_and_which_it_is() {
        let dead = Finding::DeadLetters(Count { found: 11, max: 10 });
        assert_eq!(
            fired(Rule::DeadLetters, dead).unwrap(),
            json!({"title": "AgentCom WARNING", "body": "11 tasks are dead letters; 10 are expected",
                "icon": "/favicon.ico", "data": {"rule_id": "dead_letters", "severity": "warning"}})
        );
        let none = fired(Rule::NoAgentsOnline, Finding::NoAgentsOnline { known: 2 }).unwrap();
        assert_eq!(none["title"], "AgentCom CRITICAL");
        assert_eq!(none["data"]["severity"], "critical");
    }

    #[test]
    fn people_are_told_of_what_went_wrong_and_of_nothing_else() {
        let ada = Name::parse("ada").unwrap();
        let left = of_sight(&Sight::Presence(PresenceEvent::Left(ada))).unwrap();
        assert_eq!(
            (&left["title"], &left["body"]),
            (&"AgentCom Alert".into(), &"Agent offline: ada".into())
        );
        let failed = Notice::CompactionFailed("task_queue: the disk is full".into());
        let failed = of_sight(&Sight::Upkeep(failed)).unwrap();
        assert_eq!(failed["body"], "Compaction failed: task_queue: the disk is full");
        for sight in [
            Sight::Alert(Change::Cleared(Rule::DeadLetters)),
            Sight::Acknowledged(Rule::DeadLetters),
            Sight::Upkeep(Notice::BackupFailed("x".into())),
        ] {
            assert_eq!(of_sight(&sight), None, "{sight:?}");
        }
    }

    #[test]
    fn health_is_told_when_it_turns_bad_and_not_again_while_it_is() {
        let well = Health::default();
        let conditions = vec!["Agent offline: ada".to_owned(), "Queue growing: 1 -> 2".to_owned()];
        for is_critical in [false, true] {
            let bad = Health { conditions: conditions.clone(), is_critical };
            let body = &of_health(true, &bad).unwrap()["body"];
            assert_eq!(body, "Health warning: Agent offline: ada; Queue growing: 1 -> 2");
            assert_eq!(of_health(false, &bad), None);
        }
        assert_eq!(of_health(true, &well), None);
        assert_eq!(of_health(false, &well), None);
    }

    #[test]
    fn the_longest_note_fits_into_a_message() {
        for letter in ["x", "é", "\u{1}", "🙂"] {
            let conditions = vec![letter.repeat(10_000)];
            let note = of_health(true, &Health { conditions, is_critical: true }).unwrap();
            let bytes = note.to_string().len();
            assert!(bytes < MESSAGE_BYTES_MAX, "{letter:?}: {bytes}");
            assert!(note["body"].as_str().unwrap().ends_with('…'));
        }
    }
}
