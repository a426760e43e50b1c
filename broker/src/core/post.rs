//! Agents talk. The half of [`Core`] that sends messages, and keeps them for those who are away.
//!
//! Who is here hears of a message at once; whoever is not finds it in the mailbox. One step
//! decides both, so that somebody who comes or goes in between gets it once.

use std::sync::Arc;

use super::command::{
    Destination, Effect, Found, Join, Message, MessageCommand, MessageId, MessageReply, Name,
    NewChannel, News, Now, Post, PresenceEvent, PresenceView, Rejection, Reply, SessionId,
    ThreadPart,
};
use super::limits::{
    CHANNEL_MESSAGES_MAX, CHANNELS_MAX, HISTORY_MESSAGES_MAX, MAILBOX_MESSAGES_MAX, MAILBOXES_MAX,
    SUBSCRIBERS_MAX,
};
use super::mailbox::Mail;
use super::record::{ChannelRow, Record};
use super::timers::WallTimer;
use super::{Core, IDS_STEP};

/// How often mailboxes are looked at for what is too old.
const EVICT_EVERY_MS: u64 = 3_600_000;

impl Core {
    /// Whatever is asked about messages.
    pub(super) fn message_command(
        &mut self,
        command: MessageCommand,
        now: Now,
    ) -> Result<Reply, Rejection> {
        let reply = match command {
            MessageCommand::Post(post) => self.post(*post, now)?,
            MessageCommand::Poll { agent, after } => {
                MessageReply::Found(Found::of(self.mailboxes.behind(&agent, after)))
            }
            MessageCommand::Ack { agent, up_to } => {
                let gone = self.mailboxes.ack(&agent, up_to);
                self.drop_mail(&agent, &gone);
                return Ok(Reply::Noted);
            }
            MessageCommand::Evict => {
                self.evict_mail(now);
                return Ok(Reply::Noted);
            }
            MessageCommand::History(query) => {
                MessageReply::Found(Found::of(self.messages.search(&query)))
            }
            MessageCommand::Thread { message, part } => self.thread(message, part),
            MessageCommand::CreateChannel(made) => return self.create_channel(*made, now),
            MessageCommand::ShowChannel { channel } => {
                let found = self.channels.get(&channel);
                let found = found.ok_or(Rejection::NoChannel { channel })?;
                MessageReply::Channel(found.view(false))
            }
            MessageCommand::ListChannels => {
                MessageReply::Channels(self.channels.iter().map(|one| one.view(true)).collect())
            }
            MessageCommand::Subscribe { channel, agent } => self.subscribe(channel, agent)?,
            MessageCommand::Unsubscribe { channel, agent } => self.unsubscribe(channel, agent)?,
            MessageCommand::Subscriptions { agent } => {
                let channels = self.channels.iter().filter(|channel| channel.has(&agent));
                MessageReply::Names(channels.map(|channel| channel.name().clone()).collect())
            }
            MessageCommand::ChannelHistory { channel, after, limit } => {
                let found = self.channels.get(&channel);
                let ids = found.map(|channel| channel.behind(after, limit)).unwrap_or_default();
                MessageReply::Found(Found::of(ids))
            }
            MessageCommand::Join(join) => self.join(join, now),
            MessageCommand::SetStatus { agent, status } => {
                let view = self.presence.set_status(&agent, status);
                let view = view.ok_or(Rejection::NotPresent { agent })?;
                self.tell_all(PresenceEvent::Changed(view), None);
                return Ok(Reply::Noted);
            }
            MessageCommand::See { agent } => {
                self.presence.see(&agent, now.wall_ms);
                return Ok(Reply::Noted);
            }
            MessageCommand::Restart { agent, reason } => {
                let session = self.presence.session(&agent);
                let session = session.ok_or(Rejection::NotPresent { agent })?;
                self.tell(session, News::Restart { reason });
                return Ok(Reply::Noted);
            }
            MessageCommand::ListPresent => {
                MessageReply::Present(self.presence.iter().map(|(view, _)| view.clone()).collect())
            }
        };
        Ok(Reply::Message(Box::new(reply)))
    }

    /// The session is over: if an agent was here through it, it is gone.
    pub(super) fn part(&mut self, session: SessionId) {
        if let Some(agent) = self.presence.part(session) {
            self.tell_all(PresenceEvent::Left(agent), None);
        }
    }

    fn post(&mut self, post: Post, now: Now) -> Result<MessageReply, Rejection> {
        self.check_disk()?;
        let mut channel_seq = 0;
        match &post.to {
            Destination::Channel(channel) => {
                let found = self.channels.get(channel);
                let missing = || Rejection::NoChannel { channel: channel.clone() };
                channel_seq = found.ok_or_else(missing)?.next_seq();
            }
            Destination::Agent(agent)
                if self.presence.session(agent).is_none()
                    && !self.mailboxes.has(agent)
                    && self.mailboxes.len() >= MAILBOXES_MAX =>
            {
                let what = "the number of mailboxes in use";
                return Err(Rejection::LimitReached { what, max: MAILBOXES_MAX as u64 });
            }
            Destination::Agent(_) | Destination::Broadcast { .. } => {}
        }
        let id = self.new_message_id();
        let message = Arc::new(Message { id, channel_seq, sent_ms: now.wall_ms, post });
        self.persist(Record::Message(message.clone()));
        self.messages.insert(&message);
        self.remember_message(&message);
        let receivers = self.hand_out(&message);
        self.effects.push_back(Effect::Posted { message, receivers });
        Ok(MessageReply::Posted { id, channel_seq })
    }

    /// Give it its place in a history.
    fn remember_message(&mut self, message: &Message) {
        let gone = match &message.post.to {
            Destination::Channel(channel) => {
                self.messages.hold(message.id);
                let channel = self.channels.get_mut(channel).expect("looked up by the caller");
                channel.remember(message.id, CHANNEL_MESSAGES_MAX)
            }
            _ => self.messages.remember(message.id, HISTORY_MESSAGES_MAX),
        };
        if let Some(gone) = gone {
            self.let_go(gone);
        }
    }

    /// To everybody whom it concerns, now or when they look. Gives who that is.
    fn hand_out(&mut self, message: &Arc<Message>) -> Vec<Name> {
        let from = &message.post.from;
        // Who is here also finds what goes to a channel in the mailbox, as in the legacy hub.
        let (receivers, mails_all): (Vec<Name>, bool) = match &message.post.to {
            Destination::Agent(agent) => (vec![agent.clone()], false),
            Destination::Broadcast { .. } => {
                let away = |agent: &&Name| *agent != from && self.presence.session(agent).is_none();
                let present = self.presence.iter().map(|(view, _)| &view.agent);
                (present.chain(self.tokens.agents().filter(away)).cloned().collect(), false)
            }
            Destination::Channel(channel) => {
                let channel = self.channels.get(channel).expect("looked up by the caller");
                let others = channel.subscribers().filter(|agent| *agent != from);
                (others.cloned().collect(), true)
            }
        };
        for agent in &receivers {
            let session = self.presence.session(agent);
            if mails_all || session.is_none() {
                self.mail(agent, message);
            }
            if let Some(session) = session {
                self.tell(session, News::Message(message.clone()));
            }
        }
        receivers
    }

    fn mail(&mut self, agent: &Name, message: &Message) {
        let mail = Mail { message: message.id, sent_ms: message.sent_ms };
        self.messages.hold(mail.message);
        self.persist(Record::Mail {
            agent: agent.clone(),
            message: mail.message,
            sent_ms: mail.sent_ms,
        });
        if let Some(gone) = self.mailboxes.put(agent, mail, MAILBOX_MESSAGES_MAX) {
            self.drop_mail(agent, &[gone]);
        }
        self.evict_later();
    }

    fn drop_mail(&mut self, agent: &Name, gone: &[MessageId]) {
        for message in gone {
            self.persist(Record::MailDropped { agent: agent.clone(), message: *message });
            self.let_go(*message);
        }
    }

    /// It has one place less.
    fn let_go(&mut self, message: MessageId) {
        if self.messages.let_go(message) {
            self.persist(Record::MessageDropped { message });
        }
    }

    /// Look at mailboxes in an hour, if there is anything in them.
    pub(super) fn evict_later(&mut self) {
        if !self.evict_armed && self.mailboxes.len() > 0 {
            self.evict_armed = true;
            let at = self.now.wall_ms.saturating_add(EVICT_EVERY_MS);
            self.wall_deadlines.set(at, WallTimer::Mail);
        }
    }

    /// An hour is over.
    pub(super) fn handle_mail(&mut self, now: Now) {
        self.evict_armed = false;
        self.evict_mail(now);
        self.evict_later();
    }

    fn evict_mail(&mut self, now: Now) {
        let before_ms = now.wall_ms.saturating_sub(self.mailbox_keep_ms);
        for (agent, gone) in self.mailboxes.expire(before_ms) {
            self.drop_mail(&agent, &gone);
        }
    }

    fn thread(&self, message: MessageId, part: ThreadPart) -> MessageReply {
        let root = self.messages.root(message);
        let ids = match part {
            ThreadPart::Whole => self.messages.thread(root),
            ThreadPart::Replies => self.messages.replies(message),
            ThreadPart::Root => Vec::new(),
        };
        MessageReply::Thread { root, found: Found::of(ids) }
    }

    fn create_channel(&mut self, made: NewChannel, now: Now) -> Result<Reply, Rejection> {
        if self.channels.get(&made.name).is_some() {
            return Err(Rejection::ChannelExists { channel: made.name });
        }
        if self.channels.len() >= CHANNELS_MAX {
            let what = "the number of channels";
            return Err(Rejection::LimitReached { what, max: CHANNELS_MAX as u64 });
        }
        let created_ms = now.wall_ms;
        self.persist(Record::Channel(Box::new(ChannelRow { made: made.clone(), created_ms })));
        self.channels.insert(made, created_ms);
        Ok(Reply::Noted)
    }

    fn subscribe(&mut self, channel: Name, agent: Name) -> Result<MessageReply, Rejection> {
        let Some(found) = self.channels.get_mut(&channel) else {
            return Err(Rejection::NoChannel { channel });
        };
        if !found.has(&agent) && found.subscribers().count() >= SUBSCRIBERS_MAX {
            let what = "the number of subscribers of a channel";
            return Err(Rejection::LimitReached { what, max: SUBSCRIBERS_MAX as u64 });
        }
        let Some(order) = found.subscribe(&agent) else {
            return Ok(MessageReply::Changed { is_new: false });
        };
        let others = found.subscribers().filter(|other| **other != agent);
        let others: Vec<SessionId> =
            others.filter_map(|other| self.presence.session(other)).collect();
        let (named, new) = (channel.clone(), agent.clone());
        self.persist(Record::Subscribed { channel: named, agent: new, order });
        for session in others {
            let news = News::Subscribed { channel: channel.clone(), agent: agent.clone() };
            self.tell(session, news);
        }
        Ok(MessageReply::Changed { is_new: true })
    }

    fn unsubscribe(&mut self, channel: Name, agent: Name) -> Result<MessageReply, Rejection> {
        let Some(found) = self.channels.get_mut(&channel) else {
            return Err(Rejection::NoChannel { channel });
        };
        let is_new = found.unsubscribe(&agent);
        if is_new {
            self.persist(Record::Unsubscribed { channel, agent });
        }
        Ok(MessageReply::Changed { is_new })
    }

    fn join(&mut self, join: Join, now: Now) -> MessageReply {
        let (session, agent) = (join.session, join.agent.clone());
        // Somebody who says to be another one is the first one no more.
        if self.presence.agent(session).is_some_and(|before| *before != agent) {
            self.part(session);
        }
        let profile = join.profile.clone();
        if let Some(before) = self.presence.join(join, now.wall_ms) {
            self.tell(before, News::Replaced);
        }
        let (connected_ms, seen_ms) = (now.wall_ms, now.wall_ms);
        let view = PresenceView { agent, profile, connected_ms, seen_ms };
        self.tell_all(PresenceEvent::Joined(view.clone()), Some(session));
        MessageReply::Joined(view)
    }

    /// Everybody who is here hears of it, but for `except`.
    fn tell_all(&mut self, event: PresenceEvent, except: Option<SessionId>) {
        let sessions: Vec<SessionId> = self.presence.iter().map(|(_, session)| session).collect();
        self.effects.push_back(Effect::Presence(event.clone()));
        for session in sessions.into_iter().filter(|session| Some(*session) != except) {
            self.tell(session, News::Presence(event.clone()));
        }
    }

    fn tell(&mut self, session: SessionId, news: News) {
        self.effects.push_back(Effect::Tell { session, news });
    }

    fn new_message_id(&mut self) -> MessageId {
        let id = self.next_message;
        self.next_message.0 += 1;
        if self.message_id_bound < self.next_message {
            self.message_id_bound.0 = id.0 + IDS_STEP;
            self.persist(Record::MessageIdBound(self.message_id_bound));
        }
        id
    }

    /// Everything about messages was learnt from the store.
    pub(super) fn settle_messages(&mut self, learnt: Learnt) {
        let Learnt { mut messages, subscribers } = learnt;
        for (channel, agent, order) in subscribers {
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.learn_subscriber(&agent, order);
            }
        }
        messages.sort_unstable();
        for (channel, seq, id) in messages {
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.learn(seq, id);
            }
        }
        let names: Vec<Name> = self.channels.iter().map(|channel| channel.name().clone()).collect();
        for name in names {
            let channel = self.channels.get_mut(&name).expect("just named");
            for id in channel.settle(CHANNEL_MESSAGES_MAX) {
                self.messages.hold(id);
            }
        }
        let mailed: Vec<MessageId> = self.mailboxes.iter().collect();
        for id in mailed {
            self.messages.hold(id);
        }
        self.messages.settle(HISTORY_MESSAGES_MAX);
        self.message_id_bound = self.next_message;
        self.evict_later();
    }
}

/// What the store knows of channels, in any order: it fits together once all of it is there.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    pub(super) messages: Vec<(Name, u64, MessageId)>,
    pub(super) subscribers: Vec<(Name, Name, u64)>,
}
