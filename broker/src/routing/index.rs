//! Who wants this subject? Literal filters are one hash look-up; only filters with wildcards go
//! through the trie. Most subscriptions are literal (every reply inbox of the old kind is), and
//! they must not slow down those that are not.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::trie::Trie;
use agentcom_protocol::Filter;

/// Values behind filters.
#[derive(Debug)]
pub struct Index<T> {
    literal: HashMap<Box<str>, SmallVec<[T; 1]>>,
    wildcard: Trie<T>,
    len: usize,
}

impl<T: Clone + PartialEq> Index<T> {
    /// Nothing subscribed.
    #[must_use]
    pub fn new() -> Index<T> {
        Index { literal: HashMap::new(), wildcard: Trie::new(), len: 0 }
    }

    /// Values held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keep `value` under `filter`; the same pair may be kept several times.
    pub fn insert(&mut self, filter: Filter<'_>, value: T) {
        self.len += 1;
        if filter.is_literal() {
            match self.literal.get_mut(filter.as_str()) {
                Some(values) => values.push(value),
                None => {
                    self.literal.insert(filter.as_str().into(), SmallVec::from_buf([value]));
                }
            }
        } else {
            self.wildcard.insert(filter.as_str(), value);
        }
    }

    /// Take one `value` out from under `filter`. `false` if it was not there.
    pub fn remove(&mut self, filter: Filter<'_>, value: &T) -> bool {
        let removed = if filter.is_literal() {
            self.remove_literal(filter.as_str(), value)
        } else {
            self.wildcard.remove(filter.as_str(), value)
        };
        self.len -= usize::from(removed);
        removed
    }

    /// Append every value whose filter wants `subject`, in no particular order.
    pub fn matching(&self, subject: &str, found: &mut Vec<T>) {
        if let Some(values) = self.literal.get(subject) {
            found.extend(values.iter().cloned());
        }
        if !self.wildcard.is_empty() {
            self.wildcard.matching(subject, found);
        }
    }

    fn remove_literal(&mut self, subject: &str, value: &T) -> bool {
        let Some(values) = self.literal.get_mut(subject) else { return false };
        let Some(position) = values.iter().position(|found| found == value) else { return false };
        values.swap_remove(position);
        if values.is_empty() {
            self.literal.remove(subject);
        }
        true
    }
}

impl<T: Clone + PartialEq> Default for Index<T> {
    fn default() -> Index<T> {
        Index::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Subscribe(String),
        Unsubscribe(usize),
        Publish(String),
    }

    /// Few tokens and short subjects, so that filters and subjects meet often.
    fn filter() -> impl Strategy<Value = String> {
        let token = prop_oneof![Just("a"), Just("b"), Just("c*"), Just("*")];
        (prop::collection::vec(token, 1..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail {
                tokens.push(">");
            }
            tokens.join(".")
        })
    }

    fn subject() -> impl Strategy<Value = String> {
        let token = prop_oneof![Just("a"), Just("b"), Just("c*"), Just("*"), Just("d")];
        prop::collection::vec(token, 1..5).prop_map(|tokens| tokens.join("."))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => filter().prop_map(Step::Subscribe),
            2 => any::<usize>().prop_map(Step::Unsubscribe),
            3 => subject().prop_map(Step::Publish),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn the_index_agrees_with_a_scan_over_a_list(steps in prop::collection::vec(step(), 1..80)) {
            let mut index = Index::new();
            let mut list: Vec<(String, usize)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Subscribe(text) => {
                        index.insert(Filter::parse(text.as_bytes()).expect("a filter"), number);
                        list.push((text, number));
                    }
                    Step::Unsubscribe(pick) if !list.is_empty() => {
                        let (text, value) = list.swap_remove(pick % list.len());
                        let filter = Filter::parse(text.as_bytes()).expect("a filter");
                        prop_assert!(index.remove(filter, &value));
                        prop_assert!(!index.remove(filter, &value));
                    }
                    Step::Unsubscribe(_) => {}
                    Step::Publish(text) => {
                        let mut found = Vec::new();
                        index.matching(&text, &mut found);
                        found.sort_unstable();
                        let mut expected: Vec<usize> = list
                            .iter()
                            .filter(|(f, _)| Filter::parse(f.as_bytes()).expect("a filter").matches(&text))
                            .map(|&(_, value)| value)
                            .collect();
                        expected.sort_unstable();
                        prop_assert_eq!(found, expected, "subject {}", text);
                    }
                }
                prop_assert_eq!(index.len(), list.len());
            }
            for (text, value) in list {
                index.remove(Filter::parse(text.as_bytes()).expect("a filter"), &value);
            }
            prop_assert!(index.is_empty() && index.literal.is_empty() && index.wildcard.is_empty());
        }
    }
}
