//! What a login may publish and subscribe.

use agentcom_protocol::Filter;

/// The reach of a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish to.
    pub publish: Rules,
    /// Filters it may subscribe with.
    pub subscribe: Rules,
}

/// An allow list and a deny list of filters. An empty allow list allows everything; deny wins. An
/// entry of two words, `filter queue`, speaks of subscriptions in that queue group only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is allowed.
    pub allow: Vec<Entry>,
    /// What is denied all the same.
    pub deny: Vec<Entry>,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    filter: Box<str>,
    queue: Option<Box<str>>,
}

impl Entry {
    /// Read `filter` or `filter queue`; `None` when it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Entry> {
        let mut words = text.split_whitespace();
        let filter = words.next()?;
        let queue = words.next().map(Box::from);
        if words.next().is_some() || Filter::parse(filter.as_bytes()).is_err() {
            return None;
        }
        Some(Entry { filter: filter.into(), queue })
    }

    fn filter(&self) -> Filter<'_> {
        Filter::parse(self.filter.as_bytes()).expect("an entry is checked when it is made")
    }

    fn speaks_of(&self, queue: Option<&str>) -> bool {
        self.queue.is_none() || self.queue.as_deref() == queue
    }
}

impl Permissions {
    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self == &Permissions::default()
    }

    /// Whether a message may be published to `subject`.
    #[must_use]
    pub fn may_publish(&self, subject: &str) -> bool {
        let Rules { allow, deny } = &self.publish;
        (allow.is_empty() || allow.iter().any(|entry| entry.filter().matches(subject)))
            && !deny.iter().any(|entry| entry.filter().matches(subject))
    }

    /// Whether a subscription may be made. One that is wider than a denied filter may; what it
    /// must not see is then kept from it message by message ([`Permissions::may_receive`]).
    #[must_use]
    pub fn may_subscribe(&self, filter: &str, queue: Option<&str>) -> bool {
        let covered = |entry: &Entry| entry.speaks_of(queue) && entry.filter().covers(filter);
        let Rules { allow, deny } = &self.subscribe;
        (allow.is_empty() || allow.iter().any(covered)) && !deny.iter().any(covered)
    }

    /// Whether a subscription with `filter` can see subjects that are denied to it.
    #[must_use]
    pub fn overlaps_denied(&self, filter: &str) -> bool {
        self.subscribe.deny.iter().any(|entry| entry.filter().overlaps(filter))
    }

    /// Whether a message on `subject` may be delivered.
    #[must_use]
    pub fn may_receive(&self, subject: &str, queue: Option<&str>) -> bool {
        let deny = &self.subscribe.deny;
        !deny.iter().any(|entry| entry.speaks_of(queue) && entry.filter().matches(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        let entries =
            |list: &[&str]| list.iter().map(|text| Entry::parse(text).expect("an entry")).collect();
        Rules { allow: entries(allow), deny: entries(deny) }
    }

    #[test]
    fn deny_wins_over_allow() {
        let publish = rules(&["a.>"], &["a.secret"]);
        let permissions = Permissions { publish, subscribe: Rules::default() };
        assert!(permissions.may_publish("a.b"));
        assert!(!permissions.may_publish("a.secret"));
        assert!(!permissions.may_publish("b"));
    }

    #[test]
    fn a_wide_subscription_is_allowed_and_filtered_at_delivery() {
        let subscribe = rules(&[], &["a.secret"]);
        let permissions = Permissions { publish: Rules::default(), subscribe };
        assert!(permissions.may_subscribe("a.>", None) && permissions.overlaps_denied("a.>"));
        assert!(!permissions.may_subscribe("a.secret", None));
        assert!(!permissions.may_receive("a.secret", None) && permissions.may_receive("a.b", None));
    }

    #[test]
    fn an_entry_for_a_queue_group_speaks_of_no_other() {
        let subscribe = rules(&["jobs workers"], &[]);
        let permissions = Permissions { publish: Rules::default(), subscribe };
        assert!(permissions.may_subscribe("jobs", Some("workers")));
        assert!(!permissions.may_subscribe("jobs", Some("others")));
        assert!(!permissions.may_subscribe("jobs", None));
    }

    #[test]
    fn a_filter_wider_than_what_is_allowed_is_refused() {
        let subscribe = rules(&["a.*"], &[]);
        let permissions = Permissions { publish: Rules::default(), subscribe };
        assert!(permissions.may_subscribe("a.b", None));
        assert!(!permissions.may_subscribe("a.>", None) && !permissions.may_subscribe(">", None));
    }
}
