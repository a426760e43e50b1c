//! The same rules, told naively: every message ever sent, and what follows from that.

use std::sync::Arc;

use agentcom_broker::core::command::{
    Destination, HistoryQuery, Message, MessageId, Name, ThreadPart,
};

use crate::{AGENTS, CHANNELS, name};

const MAILBOX_MAX: usize = 100;
const CHANNEL_MAX: usize = 200;
const HISTORY_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Model {
    /// Everything, in order.
    pub(crate) sent: Vec<Arc<Message>>,
    /// Agents with a token.
    pub(crate) tokens: Vec<usize>,
    /// Agents that are here.
    pub(crate) present: Vec<usize>,
    /// What waits for each.
    boxes: [Vec<Arc<Message>>; AGENTS.len()],
    /// Who listens, the oldest first; `None` if there is no such channel.
    channels: [Option<Vec<usize>>; CHANNELS.len()],
}

fn agent(wanted: &Name) -> usize {
    AGENTS.iter().position(|name| *name == wanted.as_str()).unwrap()
}

fn channel_of(message: &Message) -> Option<usize> {
    match &message.post.to {
        Destination::Channel(name) => CHANNELS.iter().position(|text| *text == name.as_str()),
        _ => None,
    }
}

fn newest<T: Clone>(all: Vec<T>, max: usize) -> Vec<T> {
    let from = all.len().saturating_sub(max);
    all[from..].to_vec()
}

impl Model {
    pub(crate) fn last_id(&self) -> u64 {
        self.sent.last().map_or(0, |message| message.id.0)
    }

    /// The id of the message that was sent so many messages ago; none for 0.
    pub(crate) fn recent(&self, back: u64) -> Option<u64> {
        let place = self.sent.len().checked_sub(usize::try_from(back).unwrap())?;
        self.sent.get(place).map(|message| message.id.0)
    }

    pub(crate) fn can_post(&self, to: &Destination) -> bool {
        match to {
            Destination::Channel(name) => {
                let place = CHANNELS.iter().position(|text| *text == name.as_str()).unwrap();
                self.channels[place].is_some()
            }
            _ => true,
        }
    }

    /// Gives who hears of it at once.
    pub(crate) fn post(&mut self, message: Message) -> Vec<(usize, String)> {
        assert!(message.id.0 > self.last_id(), "ids only grow");
        let from = agent(&message.post.from);
        let everybody: Vec<usize> = (0..AGENTS.len()).collect();
        let (is_here, has_token) =
            (|who: &usize| self.present.contains(who), |who: &usize| self.tokens.contains(who));
        let (live, mailed): (Vec<usize>, Vec<usize>) =
            match (&message.post.to, channel_of(&message)) {
                (Destination::Agent(to), _) => {
                    let to = vec![agent(to)];
                    if is_here(&to[0]) { (to, vec![]) } else { (vec![], to) }
                }
                (_, None) => everybody.iter().filter(|who| is_here(who) || has_token(who)).fold(
                    (vec![], vec![]),
                    |(mut live, mut mailed), who| {
                        match is_here(who) {
                            true => live.push(*who),
                            false if *who != from => mailed.push(*who),
                            false => {}
                        }
                        (live, mailed)
                    },
                ),
                (_, Some(channel)) => {
                    let said = self.sent.iter().filter(|other| channel_of(other) == Some(channel));
                    assert_eq!(message.channel_seq, said.count() as u64 + 1);
                    let mut others = self.channels[channel].clone().unwrap();
                    others.retain(|who| *who != from);
                    others.sort_unstable();
                    (others.iter().copied().filter(|who| is_here(who)).collect(), others)
                }
            };
        let message = Arc::new(message);
        for who in mailed {
            let mailbox = &mut self.boxes[who];
            mailbox.push(message.clone());
            if mailbox.len() > MAILBOX_MAX {
                mailbox.remove(0);
            }
        }
        self.sent.push(message.clone());
        live.into_iter().map(|who| (who, format!("message {}", message.id.0))).collect()
    }

    pub(crate) fn create(&mut self, channel: usize) -> bool {
        let is_new = self.channels[channel].is_none();
        self.channels[channel].get_or_insert_default();
        is_new
    }

    /// Gives whether that is new and who hears of it; `None` without a channel.
    pub(crate) fn subscribe(
        &mut self,
        channel: usize,
        agent: usize,
    ) -> Option<(bool, Vec<(usize, String)>)> {
        let subscribers = self.channels[channel].as_mut()?;
        if subscribers.contains(&agent) {
            return Some((false, Vec::new()));
        }
        let mut others: Vec<usize> =
            subscribers.iter().copied().filter(|other| self.present.contains(other)).collect();
        others.sort_unstable();
        subscribers.push(agent);
        let text = format!("{} in {}", AGENTS[agent], CHANNELS[channel]);
        Some((true, others.into_iter().map(|other| (other, text.clone())).collect()))
    }

    pub(crate) fn unsubscribe(&mut self, channel: usize, agent: usize) -> Option<bool> {
        let subscribers = self.channels[channel].as_mut()?;
        let before = subscribers.len();
        subscribers.retain(|other| *other != agent);
        Some(subscribers.len() < before)
    }

    pub(crate) fn ack(&mut self, agent: usize, up_to: u64) {
        self.boxes[agent].retain(|message| message.id.0 > up_to);
    }

    pub(crate) fn evict(&mut self, before_ms: u64) {
        for mailbox in &mut self.boxes {
            mailbox.retain(|message| message.sent_ms >= before_ms);
        }
    }

    pub(crate) fn join(&mut self, agent: usize) -> Vec<(usize, String)> {
        let told = self.others(agent, &format!("joined {}", AGENTS[agent]));
        if !self.present.contains(&agent) {
            self.present.push(agent);
        }
        told
    }

    pub(crate) fn gone(&mut self, agent: usize) -> Vec<(usize, String)> {
        if !self.present.contains(&agent) {
            return Vec::new();
        }
        self.present.retain(|other| *other != agent);
        self.others(agent, &format!("left {}", AGENTS[agent]))
    }

    fn others(&self, agent: usize, text: &str) -> Vec<(usize, String)> {
        let mut others: Vec<usize> =
            self.present.iter().copied().filter(|other| *other != agent).collect();
        others.sort_unstable();
        others.into_iter().map(|other| (other, text.to_owned())).collect()
    }

    pub(crate) fn mailbox(&self, agent: usize, after: u64) -> Vec<Arc<Message>> {
        self.boxes[agent].iter().filter(|message| message.id.0 > after).cloned().collect()
    }

    pub(crate) fn subscriptions(&self, agent: usize) -> Vec<Name> {
        let listens = |channel: &usize| {
            self.channels[*channel].as_ref().is_some_and(|subscribers| subscribers.contains(&agent))
        };
        (0..CHANNELS.len()).filter(listens).map(|channel| name(CHANNELS[channel])).collect()
    }

    pub(crate) fn subscribers(&self, channel: usize) -> Option<Vec<Name>> {
        let subscribers = self.channels[channel].as_ref()?;
        Some(subscribers.iter().rev().map(|agent| name(AGENTS[*agent])).collect())
    }

    pub(crate) fn channel_history(
        &self,
        channel: usize,
        after: u64,
        limit: usize,
    ) -> Vec<Arc<Message>> {
        let said = self.sent.iter().filter(|message| channel_of(message) == Some(channel)).cloned();
        let mut kept = newest(said.collect(), CHANNEL_MAX);
        kept.retain(|message| message.channel_seq > after);
        newest(kept, limit)
    }

    fn whole_history(&self) -> Vec<Arc<Message>> {
        let said = self.sent.iter().filter(|message| channel_of(message).is_none()).cloned();
        newest(said.collect(), HISTORY_MAX)
    }

    pub(crate) fn history(&self, query: &HistoryQuery) -> Vec<Arc<Message>> {
        let mut found = self.whole_history();
        found.retain(|message| {
            let post = &message.post;
            message.id.0 > query.after
                && query.from.iter().all(|from| post.from == *from)
                && query.to.iter().all(|to| post.to == *to)
                && query.label.iter().all(|label| post.label.as_ref() == Some(label))
                && query.start_ms.iter().all(|start_ms| message.sent_ms >= *start_ms)
                && query.end_ms.iter().all(|end_ms| message.sent_ms <= *end_ms)
        });
        found.truncate(query.limit);
        found
    }

    /// Everything that has a place somewhere.
    fn all_kept(&self) -> Vec<Arc<Message>> {
        let mut kept = self.whole_history();
        for channel in 0..CHANNELS.len() {
            kept.extend(self.channel_history(channel, 0, usize::MAX));
        }
        kept.extend(self.boxes.iter().flatten().cloned());
        kept.sort_by_key(|message| message.id);
        kept.dedup_by_key(|message| message.id);
        kept
    }

    pub(crate) fn kept(&self) -> usize {
        self.all_kept().len()
    }

    pub(crate) fn thread(&self, id: u64, part: ThreadPart) -> (u64, Vec<Arc<Message>>) {
        let kept = self.all_kept();
        let parent = |id: u64| {
            let message = kept.iter().find(|message| message.id.0 == id)?;
            let parent = MessageId::parse(message.post.reply_to.as_deref()?)?;
            kept.iter().any(|message| message.id == parent).then_some(parent.0)
        };
        let root_of = |mut id: u64| {
            while let Some(up) = parent(id) {
                id = up;
            }
            id
        };
        let root = root_of(id);
        let is_wanted = |message: &&Arc<Message>| match part {
            ThreadPart::Whole => root_of(message.id.0) == root,
            // Also if what is answered is not kept any more.
            ThreadPart::Replies => {
                let reply_to = message.post.reply_to.as_deref();
                reply_to.and_then(MessageId::parse) == Some(MessageId(id))
            }
            ThreadPart::Root => false,
        };
        (root, kept.iter().filter(is_wanted).cloned().collect())
    }
}
