//! How hard a task looks, and so by what an agent of the legacy hub carries it out: the rules of
//! the contract's 7.4. The broker itself treats all alike.

use serde_json::{Map, Value, json};

/// What a client may say of a task.
pub(super) const NAMES: [&str; 4] = ["trivial", "standard", "complex", "unknown"];

/// Words that make a task complex, and phrases that make it trivial.
const COMPLEX: [&str; 8] = [
    "refactor",
    "architect",
    "migration",
    "redesign",
    "migrate",
    "security",
    "overhaul",
    "rewrite",
];
const TRIVIAL: [&str; 8] = [
    "fix typo",
    "update readme",
    "bump version",
    "rename",
    "typo",
    "format",
    "lint",
    "version bump",
];

/// A task's tier: asked for, and as it looks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tier {
    explicit: Option<&'static str>,
    inferred: &'static str,
    confidence: f64,
    words: usize,
    files: usize,
}

/// The tier of a task with this description and these fields.
pub(super) fn of(description: &str, fields: &Map<String, Value>) -> Tier {
    let count = |key: &str| fields.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    let (files, steps) = (count("file_hints"), count("verification_steps"));
    let words = description.split_whitespace().count();
    let explicit = fields.get("complexity_tier").and_then(Value::as_str);
    let explicit = explicit.and_then(|tier| NAMES.into_iter().find(|name| *name == tier));
    let (inferred, confidence) = infer(description, words, files, steps);
    Tier { explicit, inferred, confidence, words, files }
}

fn infer(description: &str, words: usize, files: usize, steps: usize) -> (&'static str, f64) {
    if description.is_empty() && files == 0 && steps == 0 {
        return ("unknown", 0.0);
    }
    let text = description.to_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if has(&COMPLEX) {
        let signs = [files > 3, steps > 3, words > 50].into_iter().filter(|sign| *sign).count();
        return ("complex", [0.7, 0.8, 0.9, 1.0][signs]);
    }
    if has(&TRIVIAL) && files <= 3 && steps <= 3 {
        return ("trivial", if words < 10 { 0.9 } else { 0.75 });
    }
    let by_words = match words {
        ..10 => "trivial",
        10..=50 => "standard",
        _ => "complex",
    };
    let by_count = |count: usize| match count {
        0 => "trivial",
        1..=3 => "standard",
        _ => "complex",
    };
    let votes = [by_words, by_count(files), by_count(steps)];
    let votes_for = |tier: &str| votes.iter().filter(|vote| **vote == tier).count();
    // Of those with the most votes, the first of these; and nothing is trivial by votes alone.
    let most =
        ["standard", "complex", "trivial"].into_iter().rev().max_by_key(|tier| votes_for(tier));
    let tier = if most == Some("complex") { "complex" } else { "standard" };
    let confidence = f64::from(u8::try_from(votes_for(tier)).unwrap_or_default()) / 3.0;
    (tier, (confidence * 100.0).round() / 100.0)
}

impl Tier {
    fn effective(&self) -> &'static str {
        self.explicit.unwrap_or(self.inferred)
    }

    fn source(&self) -> &'static str {
        if self.explicit.is_some() { "explicit" } else { "inferred" }
    }

    /// As agents and lists are shown it.
    pub(super) fn complexity(&self) -> Value {
        json!({
            "effective_tier": self.effective(),
            "explicit_tier": self.explicit,
            "source": self.source(),
            "inferred": {"tier": self.inferred, "confidence": self.confidence},
        })
    }

    /// By what the agent carries it out, without any model that the broker knows of.
    /// Whether it is as easy as can be.
    pub(super) fn is_trivial(&self) -> bool {
        self.effective() == "trivial"
    }

    pub(super) fn routing_decision(&self) -> Value {
        let effective = self.effective();
        let seen = format!("{}:{effective} (confidence {:.2}", self.source(), self.confidence);
        let (target, endpoint, model, cost, reason) = match effective {
            "trivial" => {
                let reason = format!("{seen}, word_count={}, files={})", self.words, self.files);
                ("sidecar", None, None, "free", reason)
            }
            "complex" => ("claude", Some("claude_api"), Some("claude"), "api", format!("{seen})")),
            _ => {
                let fallback = "[fallback from standard: no_healthy_ollama_endpoints]";
                ("ollama", None, None, "local", format!("{seen}) {fallback}"))
            }
        };
        let is_fallback = target == "ollama";
        json!({
            "effective_tier": if is_fallback { "standard" } else { effective },
            "target_type": target,
            "selected_endpoint": endpoint,
            "selected_model": model,
            "fallback_used": is_fallback,
            "fallback_reason": is_fallback.then_some("no_healthy_ollama_endpoints"),
            "classification_reason": reason,
            "estimated_cost_tier": cost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(description: &str, fields: Value) -> Tier {
        of(description, fields.as_object().unwrap())
    }

    #[test]
    fn a_task_looks_as_hard_as_its_words_and_lists() {
        let hints = |count: usize| json!({"file_hints": vec![json!({}); count]});
        let long = "word ".repeat(51);
        for (description, fields, expected) in [
            ("", json!({}), ("unknown", 0.0)),
            ("do it", json!({}), ("standard", 0.0)),
            ("do it", hints(1), ("standard", 0.33)),
            ("Rewrite the parser", json!({}), ("complex", 0.7)),
            ("migrate", hints(4), ("complex", 0.8)),
            ("fix typo", json!({}), ("trivial", 0.9)),
            ("fix typo in a text that has a good many more words", json!({}), ("trivial", 0.75)),
            ("fix typo", hints(4), ("standard", 0.0)),
            (&long, hints(4), ("complex", 0.67)),
        ] {
            let found = tier(description, fields);
            assert_eq!((found.inferred, found.confidence), expected, "{description}");
        }
    }

    #[test]
    fn what_was_asked_for_counts() {
        let asked = tier("do it", json!({"complexity_tier": "complex"}));
        assert_eq!(asked.complexity()["effective_tier"], "complex");
        assert_eq!(asked.routing_decision()["target_type"], "claude");
        let nonsense = tier("do it", json!({"complexity_tier": "heroic"}));
        assert_eq!(nonsense.complexity()["explicit_tier"], Value::Null);
        let standard = nonsense.routing_decision();
        assert_eq!(
            standard["classification_reason"],
            "inferred:standard (confidence 0.00) [fallback from standard: no_healthy_ollama_endpoints]"
        );
        assert_eq!(standard["fallback_used"], true);
    }
}
