//! What waits for whom? Numbers of messages, agent by agent.

use std::collections::{BTreeMap, VecDeque};

use super::command::{MessageId, Name};

/// A message that waits, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mail {
    pub(super) message: MessageId,
    pub(super) sent_ms: u64,
}

/// Every mailbox that is not empty; in each, the oldest message first.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    boxes: BTreeMap<Name, VecDeque<Mail>>,
}

impl Mailboxes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether something waits for this agent.
    pub(super) fn has(&self, agent: &Name) -> bool {
        self.boxes.contains_key(agent)
    }

    /// One more message, younger than all others of the box. Gives the one that had to go for it.
    pub(super) fn put(&mut self, agent: &Name, mail: Mail, max: usize) -> Option<MessageId> {
        let mailbox = self.boxes.entry(agent.clone()).or_default();
        mailbox.push_back(mail);
        if mailbox.len() > max { mailbox.pop_front().map(|oldest| oldest.message) } else { None }
    }

    /// One message out of the store, which gives them in any order.
    pub(super) fn learn(&mut self, agent: &Name, mail: Mail) {
        let mailbox = self.boxes.entry(agent.clone()).or_default();
        let place = mailbox.partition_point(|other| other.message < mail.message);
        mailbox.insert(place, mail);
    }

    /// What waits behind `after`.
    pub(super) fn behind(&self, agent: &Name, after: u64) -> Vec<MessageId> {
        let Some(mailbox) = self.boxes.get(agent) else { return Vec::new() };
        let from = mailbox.partition_point(|mail| mail.message.0 <= after);
        mailbox.range(from..).map(|mail| mail.message).collect()
    }

    /// Take out whatever is not younger than `up_to`.
    pub(super) fn ack(&mut self, agent: &Name, up_to: u64) -> Vec<MessageId> {
        let count =
            |mailbox: &VecDeque<Mail>| mailbox.partition_point(|mail| mail.message.0 <= up_to);
        self.drop_first(agent, count)
    }

    /// Take out whatever was sent before `before_ms`, box by box.
    pub(super) fn expire(&mut self, before_ms: u64) -> Vec<(Name, Vec<MessageId>)> {
        let count = |mailbox: &VecDeque<Mail>| {
            mailbox.iter().take_while(|mail| mail.sent_ms < before_ms).count()
        };
        let agents: Vec<Name> = self.boxes.keys().cloned().collect();
        let expired = agents.into_iter().map(|agent| {
            let gone = self.drop_first(&agent, count);
            (agent, gone)
        });
        expired.filter(|(_, gone)| !gone.is_empty()).collect()
    }

    /// Everything that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = MessageId> {
        self.boxes.values().flatten().map(|mail| mail.message)
    }

    fn drop_first(
        &mut self,
        agent: &Name,
        count: impl Fn(&VecDeque<Mail>) -> usize,
    ) -> Vec<MessageId> {
        let Some(mailbox) = self.boxes.get_mut(agent) else { return Vec::new() };
        let count = count(mailbox);
        let gone = mailbox.drain(..count).map(|mail| mail.message).collect();
        if mailbox.is_empty() {
            self.boxes.remove(agent);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ids: Vec<MessageId>) -> Vec<u64> {
        ids.into_iter().map(|id| id.0).collect()
    }

    fn mail(number: u64) -> Mail {
        Mail { message: MessageId(number), sent_ms: number * 10 }
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let agent = Name::parse("a").unwrap();
        let mut boxes = Mailboxes::default();
        let gone: Vec<_> = (1..=4).map(|number| boxes.put(&agent, mail(number), 3)).collect();
        assert_eq!(gone, [None, None, None, Some(MessageId(1))]);
        assert_eq!(numbers(boxes.behind(&agent, 2)), [3, 4]);
        assert_eq!(numbers(boxes.behind(&agent, 999)), [0; 0]);
    }

    #[test]
    fn what_was_acknowledged_is_gone_and_an_empty_box_is_none() {
        let agent = Name::parse("a").unwrap();
        let mut boxes = Mailboxes::default();
        for number in [3, 1, 2] {
            boxes.learn(&agent, mail(number));
        }
        assert_eq!(numbers(boxes.ack(&agent, 2)), [1, 2]);
        assert_eq!(numbers(boxes.ack(&agent, 2)), [0; 0]);
        assert_eq!(numbers(boxes.ack(&agent, u64::MAX)), [3]);
        assert_eq!(boxes.len(), 0);
    }

    #[test]
    fn what_is_too_old_is_gone_in_every_box() {
        let [a, b] = ["a", "b"].map(|name| Name::parse(name).unwrap());
        let mut boxes = Mailboxes::default();
        for number in 1..=3 {
            boxes.put(&a, mail(number), 100);
        }
        boxes.put(&b, mail(2), 100);
        let gone = boxes.expire(25);
        assert_eq!(gone.len(), 2);
        assert_eq!(numbers(boxes.iter().collect()), [3]);
        assert!(!boxes.has(&b));
    }
}
