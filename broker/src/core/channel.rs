//! Which channels are there, who listens, and what was said?

use std::collections::{BTreeMap, VecDeque};

use super::command::{ChannelView, MessageId, Name, NewChannel};

/// Every channel, by its name.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_name: BTreeMap<Name, Channel>,
}

/// One channel.
#[derive(Debug)]
pub(super) struct Channel {
    made: NewChannel,
    created_ms: u64,
    /// Who listens, and as the how manieth it came.
    subscribers: BTreeMap<Name, u64>,
    next_order: u64,
    /// What is remembered, oldest first, with its number in the channel.
    history: VecDeque<(u64, MessageId)>,
    next_seq: u64,
}

impl Channels {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// One of them.
    pub(super) fn get(&self, name: &Name) -> Option<&Channel> {
        self.by_name.get(name)
    }

    /// One of them.
    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut Channel> {
        self.by_name.get_mut(name)
    }

    /// All of them, by their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.by_name.values()
    }

    /// One more.
    pub(super) fn insert(&mut self, made: NewChannel, created_ms: u64) {
        let channel = Channel {
            made,
            created_ms,
            subscribers: BTreeMap::new(),
            next_order: 1,
            history: VecDeque::new(),
            next_seq: 1,
        };
        self.by_name.insert(channel.made.name.clone(), channel);
    }
}

impl Channel {
    /// Its name.
    pub(super) fn name(&self) -> &Name {
        &self.made.name
    }

    /// Who listens.
    pub(super) fn subscribers(&self) -> impl Iterator<Item = &Name> {
        self.subscribers.keys()
    }

    /// Whether somebody listens.
    pub(super) fn has(&self, agent: &Name) -> bool {
        self.subscribers.contains_key(agent)
    }

    /// Somebody listens; gives as the how manieth, or nothing if it did before.
    pub(super) fn subscribe(&mut self, agent: &Name) -> Option<u64> {
        if self.has(agent) {
            return None;
        }
        let order = self.next_order;
        self.learn_subscriber(agent, order);
        Some(order)
    }

    /// Somebody listens, says the store.
    pub(super) fn learn_subscriber(&mut self, agent: &Name, order: u64) {
        self.next_order = self.next_order.max(order + 1);
        self.subscribers.insert(agent.clone(), order);
    }

    /// Somebody listens no more; gives whether it did.
    pub(super) fn unsubscribe(&mut self, agent: &Name) -> bool {
        self.subscribers.remove(agent).is_some()
    }

    /// The number of the next message.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// One more message, under the next number. Gives the one that has to leave for it.
    pub(super) fn remember(&mut self, id: MessageId, max: usize) -> Option<MessageId> {
        self.history.push_back((self.next_seq, id));
        self.next_seq += 1;
        if self.history.len() > max { self.history.pop_front().map(|(_, id)| id) } else { None }
    }

    /// One message out of the store, which gives them in any order.
    pub(super) fn learn(&mut self, seq: u64, id: MessageId) {
        self.next_seq = self.next_seq.max(seq + 1);
        let place = self.history.partition_point(|(other, _)| *other < seq);
        self.history.insert(place, (seq, id));
    }

    /// Everything was learnt. Keep the newest, and give those.
    pub(super) fn settle(&mut self, max: usize) -> impl Iterator<Item = MessageId> {
        let older = self.history.len().saturating_sub(max);
        self.history.drain(..older);
        self.history.iter().map(|(_, id)| *id)
    }

    /// The newest messages behind `after`, at most `limit`, in order.
    pub(super) fn behind(&self, after: u64, limit: usize) -> Vec<MessageId> {
        let from = self.history.partition_point(|(seq, _)| *seq <= after);
        let from = from.max(self.history.len().saturating_sub(limit));
        self.history.range(from..).map(|(_, id)| *id).collect()
    }

    /// How it is seen; in a list, without the names of who listens.
    pub(super) fn view(&self, is_listed: bool) -> ChannelView {
        let mut subscribers: Vec<&Name> = self.subscribers.keys().collect();
        if is_listed {
            subscribers.clear();
        }
        subscribers.sort_by_key(|agent| std::cmp::Reverse(self.subscribers[*agent]));
        ChannelView {
            name: self.made.name.clone(),
            description: self.made.description.clone(),
            created_ms: self.created_ms,
            created_by: self.made.by.clone(),
            subscribers: subscribers.into_iter().cloned().collect(),
            subscriber_count: self.subscribers.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Channel {
        let name = Name::parse("dev").unwrap();
        let mut channels = Channels::default();
        channels.insert(NewChannel { name: name.clone(), description: "".into(), by: None }, 7);
        channels.by_name.remove(&name).unwrap()
    }

    #[test]
    fn the_newest_of_what_was_said_are_shown_in_order() {
        let mut channel = channel();
        let gone: Vec<_> = (11..=15).map(|id| channel.remember(MessageId(id), 4)).collect();
        assert_eq!(gone, [None, None, None, None, Some(MessageId(11))]);
        let behind = |after, limit| -> Vec<u64> {
            channel.behind(after, limit).into_iter().map(|id| id.0).collect()
        };
        assert_eq!(behind(0, 2), [14, 15]);
        assert_eq!(behind(4, 50), [15]);
        assert_eq!(behind(0, 0), [0; 0]);
        assert_eq!(behind(99, 50), [0; 0]);
    }

    #[test]
    fn the_newest_subscriber_is_named_first_after_a_restart_too() {
        let mut channel = channel();
        let [a, b, c] = ["a", "b", "c"].map(|name| Name::parse(name).unwrap());
        assert_eq!(channel.subscribe(&b), Some(1));
        assert_eq!(channel.subscribe(&a), Some(2));
        assert_eq!(channel.subscribe(&b), None);
        channel.learn_subscriber(&c, 9);
        assert_eq!(channel.view(false).subscribers, [c.clone(), a.clone(), b]);
        assert!(channel.unsubscribe(&a) && !channel.unsubscribe(&a));
        assert_eq!(channel.subscribe(&a), Some(10));
        assert_eq!(
            (channel.view(true).subscribers.len(), channel.view(true).subscriber_count),
            (0, 3)
        );
    }
}
