//! `verb word word key=value "text"`

use std::collections::HashMap;

use agentcom_broker::core::command::{
    Assign, Generation, LabelOp, LabelTest, LeaseLimit, Name, Placement, Preference, RateLimit,
    Resource, TaskId,
};
use agentcom_broker::core::limits::Rate;

/// One command, taken apart.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) verb: String,
    words: Vec<String>,
    pairs: HashMap<String, String>,
    pub(crate) text: String,
    /// As it was written.
    pub(crate) whole: String,
}

impl Line {
    pub(crate) fn parse(line: &str) -> Line {
        // What stands behind the text counts as if it stood before it.
        let (before, rest) = line.split_once('"').unwrap_or((line, "\""));
        let (text, behind) = rest.split_once('"').expect("a text ends with a quotation mark");
        let words = before.split_whitespace().chain(behind.split_whitespace());
        let mut words = words.map(str::to_owned);
        let verb = words.next().expect("a line has a verb");
        let (pairs, words): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        let pair = |word: &String| {
            word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        Line {
            verb,
            words,
            pairs: pairs.iter().filter_map(pair).collect(),
            text: text.to_owned(),
            whole: line.to_owned(),
        }
    }

    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The task that the command is about.
    pub(crate) fn task(&self) -> TaskId {
        TaskId(self.word(0).parse().expect("the id of a task"))
    }

    /// The queue that the command is about.
    pub(crate) fn queue(&self) -> Name {
        name(self.word(0))
    }

    /// The same command about another queue.
    pub(crate) fn about(&self, queue: String) -> Line {
        Line { words: vec![queue], ..self.clone() }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    pub(crate) fn text(&self, key: &str, default: &str) -> String {
        self.value(key).unwrap_or(default).to_owned()
    }

    pub(crate) fn items(&self, key: &str) -> Vec<&str> {
        self.value(key).map_or(vec![], |list| list.split(',').collect())
    }

    pub(crate) fn names(&self, key: &str) -> Vec<Name> {
        self.items(key).into_iter().map(name).collect()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.value(key).map(|text| text.parse().expect("a number"))
    }

    pub(crate) fn duration(&self, key: &str) -> Option<u64> {
        self.value(key).map(millis)
    }

    /// `mem>=16`, `os=linux`, `gpu`
    pub(crate) fn label_tests(&self) -> Vec<LabelTest> {
        let mut tests: Vec<LabelTest> = self.items("labels").into_iter().map(label_test).collect();
        tests.sort();
        tests
    }

    /// `repo:1,gpu:4`
    pub(crate) fn limits(&self) -> Vec<LeaseLimit> {
        let limits = self.items("limits").into_iter().map(|limit| {
            let (text, max) = limit.split_once(':').expect("name:leases");
            LeaseLimit { name: name(text), max: max.parse().unwrap() }
        });
        let mut limits: Vec<LeaseLimit> = limits.collect();
        limits.sort();
        limits
    }

    /// `api:2/10s`
    pub(crate) fn rates(&self) -> Vec<RateLimit> {
        let rates = self.items("rates").into_iter().map(|limit| {
            let (text, rate) = limit.split_once(':').expect("name:grants/period");
            let (grants, period) = rate.split_once('/').expect("name:grants/period");
            let (grants, period_ms) = (grants.parse().unwrap(), millis(period));
            RateLimit { name: name(text), rate: Rate { grants, period_ms } }
        });
        rates.collect()
    }

    /// `cores:2,seats:1`
    pub(crate) fn resources(&self, key: &str) -> Vec<Resource> {
        let resources = self.items(key).into_iter().map(|item| {
            let (text, amount) = item.split_once(':').expect("name:amount");
            Resource { name: name(text), amount: amount.parse().unwrap() }
        });
        let mut resources: Vec<Resource> = resources.collect();
        resources.sort();
        resources
    }

    /// `uses=cores:2`, `prefer=3:os=linux`, `assign=alice/10s`, `sticky=5s`
    pub(crate) fn placement(&self) -> Option<Placement> {
        let preference = |item: &str| {
            let (weight, test) = item.split_once(':').expect("weight:test");
            Preference { weight: weight.parse().unwrap(), test: label_test(test) }
        };
        let assign = |text: &str| {
            let (agent, for_ms) = text
                .split_once('/')
                .map_or((text, None), |(agent, span)| (agent, Some(millis(span))));
            Assign { agent: name(agent), for_ms }
        };
        let placement = Placement {
            resources: self.resources("uses").into(),
            prefer: self.items("prefer").into_iter().map(preference).collect(),
            assign: self.value("assign").map(assign),
            sticky_ms: self.duration("sticky").unwrap_or(0),
        };
        (placement != Placement::default()).then_some(placement)
    }

    /// `1:1,2:3`
    pub(crate) fn holding(&self) -> Vec<(TaskId, Generation)> {
        let leases = self.items("holding").into_iter().map(|lease| {
            let (task, generation) = lease.split_once(':').expect("task:generation");
            (TaskId(task.parse().unwrap()), Generation(generation.parse().unwrap()))
        });
        leases.collect()
    }
}

fn label_test(text: &str) -> LabelTest {
    for (sign, op) in [
        (">=", LabelOp::AtLeast),
        ("<=", LabelOp::AtMost),
        ("!=", LabelOp::NotEqual),
        (">", LabelOp::Greater),
        ("<", LabelOp::Less),
        ("=", LabelOp::Equal),
    ] {
        if let Some((label, value)) = text.split_once(sign) {
            return LabelTest { label: name(label), op, value: value.into() };
        }
    }
    LabelTest { label: name(text), op: LabelOp::Exists, value: "".into() }
}

/// `10s`, `5ms`, `2m`, `1h`
pub(crate) fn millis(text: &str) -> u64 {
    for (unit, ms) in [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)] {
        if let Some(Ok(count)) = text.strip_suffix(unit).map(str::parse::<u64>) {
            return count * ms;
        }
    }
    panic!("{text:?} is no duration such as 10s or 5ms");
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}
