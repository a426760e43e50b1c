//! Who wants this subject? Literal filters are one hash look-up; only filters with wildcards go
//! through the trie. Most subscriptions are literal (every reply inbox of the old kind is), and
//! they must not slow down those that are not.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use super::trie::Trie;
use agentcom_protocol::Filter;

/// A value that knows the filter it is kept under, so that the index need not keep it again.
pub trait Keyed: Clone + PartialEq {
    /// The filter's bytes.
    fn key(&self) -> &[u8];
}

/// Values behind filters.
#[derive(Debug)]
pub struct Index<T> {
    /// Values with the same literal filter stand together; none is empty.
    literal: HashTable<SmallVec<[T; 1]>>,
    hasher: DefaultHashBuilder,
    wildcard: Trie<T>,
    len: usize,
}

impl<T: Keyed> Index<T> {
    /// Nothing subscribed.
    #[must_use]
    pub fn new() -> Index<T> {
        Index {
            literal: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            wildcard: Trie::new(),
            len: 0,
        }
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

    /// Keep `value` under `filter`, which is its key; the same pair may be kept several times.
    pub fn insert(&mut self, filter: Filter<'_>, value: T) {
        self.len += 1;
        if filter.is_literal() {
            match self.literal_entry(filter.as_str()) {
                Entry::Occupied(mut values) => values.get_mut().push(value),
                Entry::Vacant(place) => {
                    place.insert(SmallVec::from_buf([value]));
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

    /// Of the values under `filter`, keep those that `keep` wants.
    pub fn retain(&mut self, filter: Filter<'_>, keep: impl Fn(&T) -> bool) {
        let removed = if filter.is_literal() {
            self.retain_literal(filter.as_str(), keep)
        } else {
            self.wildcard.retain(filter.as_str(), keep)
        };
        self.len -= removed;
    }

    /// Every value, in no particular order. As many steps as there are values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.literal.iter().flatten().chain(self.wildcard.iter())
    }

    /// Append every value whose filter wants `subject`, in no particular order.
    pub fn matching(&self, subject: &str, found: &mut Vec<T>) {
        let hash = self.hasher.hash_one(subject.as_bytes());
        let is_same = |values: &SmallVec<[T; 1]>| values[0].key() == subject.as_bytes();
        if let Some(values) = self.literal.find(hash, is_same) {
            found.extend(values.iter().cloned());
        }
        if !self.wildcard.is_empty() {
            self.wildcard.matching(subject, found);
        }
    }

    fn remove_literal(&mut self, subject: &str, value: &T) -> bool {
        let Entry::Occupied(mut entry) = self.literal_entry(subject) else { return false };
        let values = entry.get_mut();
        let Some(position) = values.iter().position(|found| found == value) else { return false };
        if values.len() == 1 {
            entry.remove();
        } else {
            values.swap_remove(position);
        }
        true
    }

    fn retain_literal(&mut self, subject: &str, keep: impl Fn(&T) -> bool) -> usize {
        let Entry::Occupied(mut entry) = self.literal_entry(subject) else { return 0 };
        let values = entry.get_mut();
        let before = values.len();
        // The first value is the key of all, so the place must not be left without any.
        if !values.iter().any(&keep) {
            entry.remove();
            return before;
        }
        values.retain(|value| keep(value));
        before - values.len()
    }

    fn literal_entry(&mut self, subject: &str) -> Entry<'_, SmallVec<[T; 1]>> {
        let Index { literal, hasher, .. } = self;
        let hash = hasher.hash_one(subject.as_bytes());
        literal.entry(
            hash,
            |values| values[0].key() == subject.as_bytes(),
            |values| hasher.hash_one(values[0].key()),
        )
    }
}

impl<T: Keyed> Default for Index<T> {
    fn default() -> Index<T> {
        Index::new()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Subscribe(String),
        Unsubscribe(usize),
        KeepOdd(String),
        Publish(String),
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Kept {
        filter: Rc<str>,
        number: usize,
    }

    impl Keyed for Kept {
        fn key(&self) -> &[u8] {
            self.filter.as_bytes()
        }
    }

    fn checked(text: &str) -> Filter<'_> {
        Filter::parse(text.as_bytes()).expect("a filter")
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
            1 => filter().prop_map(Step::KeepOdd),
            3 => subject().prop_map(Step::Publish),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn the_index_agrees_with_a_scan_over_a_list(steps in prop::collection::vec(step(), 1..80)) {
            let mut index = Index::new();
            let mut list: Vec<Kept> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Subscribe(text) => {
                        let kept = Kept { filter: text.as_str().into(), number };
                        index.insert(checked(&text), kept.clone());
                        list.push(kept);
                    }
                    Step::Unsubscribe(pick) if !list.is_empty() => {
                        let kept = list.swap_remove(pick % list.len());
                        prop_assert!(index.remove(checked(&kept.filter), &kept));
                        prop_assert!(!index.remove(checked(&kept.filter), &kept));
                    }
                    Step::Unsubscribe(_) => {}
                    Step::KeepOdd(text) => {
                        index.retain(checked(&text), |kept| kept.number % 2 == 1);
                        list.retain(|kept| *kept.filter != *text || kept.number % 2 == 1);
                    }
                    Step::Publish(text) => {
                        let mut found = Vec::new();
                        index.matching(&text, &mut found);
                        found.sort_unstable_by_key(|kept| kept.number);
                        let mut expected = list.clone();
                        expected.retain(|kept| checked(&kept.filter).matches(&text));
                        expected.sort_unstable_by_key(|kept| kept.number);
                        prop_assert_eq!(found, expected, "subject {}", text);
                    }
                }
                prop_assert_eq!(index.len(), list.len());
            }
            for kept in list {
                index.remove(checked(&kept.filter), &kept);
            }
            prop_assert!(index.is_empty() && index.literal.is_empty() && index.wildcard.is_empty());
        }
    }
}
