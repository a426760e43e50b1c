//! Which messages are kept, where, and which answer which?
//!
//! A message is kept once, as long as it has a place: in the history, in the history of a channel,
//! or in mailboxes. Its payload is in the store; here is what it can be found by.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::command::{Destination, HistoryQuery, Message, MessageId, Name};

/// Messages of a thread that are shown at once. 1,000: more than a person reads.
const THREAD_MAX: usize = 1_000;

/// Every message that is kept.
#[derive(Debug, Default)]
pub(super) struct Messages {
    kept: HashMap<MessageId, Kept>,
    /// Those that did not go to a channel, oldest first.
    history: VecDeque<MessageId>,
    /// Who is answered by whom.
    answers: BTreeSet<(MessageId, MessageId)>,
}

/// What is known of a message without its payload.
#[derive(Debug)]
struct Kept {
    /// Places that it has.
    places: u32,
    from: Name,
    to: Destination,
    label: Option<Arc<str>>,
    parent: Option<MessageId>,
    sent_ms: u64,
}

impl Messages {
    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Keep one, which has no place yet.
    pub(super) fn insert(&mut self, message: &Message) {
        let post = &message.post;
        let parent = post.reply_to.as_deref().and_then(MessageId::parse);
        // What is answered came first: so no thread bites its own tail.
        let parent = parent.filter(|parent| *parent < message.id);
        if let Some(parent) = parent {
            self.answers.insert((parent, message.id));
        }
        let kept = Kept {
            places: 0,
            from: post.from.clone(),
            to: post.to.clone(),
            label: post.label.clone(),
            parent,
            sent_ms: message.sent_ms,
        };
        self.kept.insert(message.id, kept);
    }

    /// It has one place more. Gives whether it is kept at all.
    pub(super) fn hold(&mut self, id: MessageId) -> bool {
        let kept = self.kept.get_mut(&id);
        kept.map(|kept| kept.places += 1).is_some()
    }

    /// It has one place less. Gives whether that was the last one: then it is forgotten.
    pub(super) fn let_go(&mut self, id: MessageId) -> bool {
        let Some(kept) = self.kept.get_mut(&id) else { return false };
        kept.places -= 1;
        if kept.places > 0 {
            return false;
        }
        if let Some(parent) = kept.parent {
            self.answers.remove(&(parent, id));
        }
        self.kept.remove(&id);
        true
    }

    /// Put one into the history; gives one that has to leave it for that.
    pub(super) fn remember(&mut self, id: MessageId, max: usize) -> Option<MessageId> {
        self.hold(id);
        self.history.push_back(id);
        if self.history.len() > max { self.history.pop_front() } else { None }
    }

    /// Everything was learnt from the store, and mailboxes and channels hold what is theirs: the
    /// newest of what did not go to a channel are the history, and so is what nobody holds.
    pub(super) fn settle(&mut self, max: usize) {
        let to_channel = |kept: &Kept| matches!(kept.to, Destination::Channel(_));
        let others = self.kept.iter().filter(|(_, kept)| !to_channel(kept));
        let mut ids: Vec<MessageId> = others.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let newest_from = ids.len().saturating_sub(max);
        for (place, id) in ids.into_iter().enumerate() {
            if place >= newest_from || self.kept[&id].places == 0 {
                self.hold(id);
                self.history.push_back(id);
            }
        }
    }

    /// Messages of the history, oldest first.
    pub(super) fn search(&self, query: &HistoryQuery) -> Vec<MessageId> {
        let from = self.history.partition_point(|id| id.0 <= query.after);
        let fits = |id: &&MessageId| {
            let kept = &self.kept[*id];
            query.from.as_ref().is_none_or(|from| kept.from == *from)
                && query.to.as_ref().is_none_or(|to| kept.to == *to)
                && (query.label.is_none() || kept.label == query.label)
                && query.start_ms.is_none_or(|start_ms| kept.sent_ms >= start_ms)
                && query.end_ms.is_none_or(|end_ms| kept.sent_ms <= end_ms)
        };
        self.history.range(from..).filter(fits).take(query.limit).copied().collect()
    }

    /// Where the thread of a message begins, as far as it is kept. One that is not kept is alone.
    pub(super) fn root(&self, id: MessageId) -> MessageId {
        let mut root = id;
        while let Some(parent) = self.kept.get(&root).and_then(|kept| kept.parent)
            && self.kept.contains_key(&parent)
        {
            root = parent;
        }
        root
    }

    /// What answers a message, oldest first.
    pub(super) fn replies(&self, id: MessageId) -> Vec<MessageId> {
        self.answered_by(id).take(THREAD_MAX).collect()
    }

    /// A message and all that is below it, oldest first.
    pub(super) fn thread(&self, root: MessageId) -> Vec<MessageId> {
        let mut found: Vec<MessageId> =
            self.kept.contains_key(&root).then_some(root).into_iter().collect();
        let mut next = 0;
        while let Some(id) = found.get(next).copied()
            && found.len() < THREAD_MAX
        {
            let room = THREAD_MAX - found.len();
            found.extend(self.answered_by(id).take(room));
            next += 1;
        }
        found.sort_unstable();
        found
    }

    fn answered_by(&self, id: MessageId) -> impl Iterator<Item = MessageId> {
        let range = (id, MessageId(0))..=(id, MessageId(u64::MAX));
        self.answers.range(range).map(|(_, answer)| *answer)
    }
}
