//! Messages against a naive model: random talk, restarts in between, everything looked at.

mod model;

use std::sync::Arc;

use agentcom_broker::commit::turn::{Committer, Voice};
use agentcom_broker::core::command::{
    Command, Destination, Found, HistoryQuery, Issue, IssueToken, Join, Message, MessageCommand,
    MessageId, MessageKind, MessageReply, Name, NewChannel, News, Now, Post, PresenceEvent,
    Profile, Push, Rejection, Reply, Request, RequestId, SessionId, TaskEvent, ThreadPart, Tick,
    TokenDigest,
};
use agentcom_broker::core::limits::CoreConfig;
use agentcom_broker::store::memory::MemoryStore;
use model::Model;
use parking_lot::Mutex;
use proptest::prelude::*;

const AGENTS: [&str; 4] = ["ann", "ben", "cat", "dan"];
const CHANNELS: [&str; 2] = ["dev", "ops"];
const HOUR_MS: u64 = 3_600_000;

/// What somebody does. Agents and channels by their place in the lists; session = agent + 1.
#[derive(Clone, Debug)]
enum Act {
    Tell { from: usize, to: usize, reply_to: u64 },
    TellAll { from: usize, is_named: bool, label: bool },
    Publish { from: usize, channel: usize, times: u8 },
    Subscribe { agent: usize, channel: usize },
    Unsubscribe { agent: usize, channel: usize },
    Create { channel: usize },
    Ack { agent: usize, back: u64 },
    Join { agent: usize },
    Gone { agent: usize },
    Wait { hours: u64 },
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let agent = || 0..AGENTS.len();
    let channel = || 0..CHANNELS.len();
    prop_oneof![
        6 => (agent(), agent(), 0..6u64)
            .prop_map(|(from, to, reply_to)| Act::Tell { from, to, reply_to }),
        3 => (agent(), any::<bool>(), any::<bool>())
            .prop_map(|(from, is_named, label)| Act::TellAll { from, is_named, label }),
        4 => (agent(), channel(), 1..70u8)
            .prop_map(|(from, channel, times)| Act::Publish { from, channel, times }),
        3 => (agent(), channel()).prop_map(|(agent, channel)| Act::Subscribe { agent, channel }),
        1 => (agent(), channel()).prop_map(|(agent, channel)| Act::Unsubscribe { agent, channel }),
        2 => channel().prop_map(|channel| Act::Create { channel }),
        2 => (agent(), 0..150u64).prop_map(|(agent, back)| Act::Ack { agent, back }),
        2 => agent().prop_map(|agent| Act::Join { agent }),
        2 => agent().prop_map(|agent| Act::Gone { agent }),
        1 => (0..80u64).prop_map(|hours| Act::Wait { hours }),
        1 => Just(Act::Restart),
    ]
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn session(agent: usize) -> SessionId {
    SessionId(agent as u64 + 1)
}

/// What was let out.
#[derive(Clone, Default)]
struct Heard {
    answer: Arc<Mutex<Option<Result<Reply, Rejection>>>>,
    pushed: Arc<Mutex<Vec<(SessionId, String)>>>,
}

impl Voice for Heard {
    fn reply(&mut self, _: RequestId, outcome: Result<Reply, Rejection>) {
        assert!(self.answer.lock().replace(outcome).is_none(), "one answer");
    }
    fn deliver(&mut self, _: SessionId, _: Push) {}
    fn tell(&mut self, session: SessionId, news: News) {
        self.pushed.lock().push((session, news_text(&news)));
    }
    fn event(&mut self, _: TaskEvent) {}
    fn flush(&mut self) {}
}

fn news_text(news: &News) -> String {
    match news {
        News::Message(message) => format!("message {}", message.id.0),
        News::Subscribed { channel, agent } => format!("{agent} in {channel}"),
        News::Presence(PresenceEvent::Joined(view)) => format!("joined {}", view.agent),
        News::Presence(PresenceEvent::Left(agent)) => format!("left {agent}"),
        other => format!("{other:?}"),
    }
}

/// The broker's side, and the model beside it.
struct World {
    store: MemoryStore,
    heard: Heard,
    committer: Committer<MemoryStore, Heard>,
    model: Model,
    now: Now,
}

impl World {
    fn new() -> World {
        let now = Now { tick: Tick(0), wall_ms: 1_000 * HOUR_MS };
        let (store, heard) = (MemoryStore::new(), Heard::default());
        let config = CoreConfig::default();
        let committer = Committer::restore(config, store.clone(), heard.clone(), now).unwrap();
        let mut world = World { store, heard, committer, model: Model::default(), now };
        // Dan has no token: broadcasts do not wait for him.
        for (byte, agent) in AGENTS[..3].iter().enumerate() {
            let digest = TokenDigest([byte as u8; 32]);
            let token =
                IssueToken { agent: name(agent), digest, prefix: "p".into(), issue: Issue::First };
            world.ask(Command::IssueToken(Box::new(token))).unwrap();
            world.model.tokens.push(byte);
        }
        world
    }

    fn ask(&mut self, command: Command) -> Result<Reply, Rejection> {
        self.committer.turn([Request { id: RequestId(1), command }], self.now);
        self.heard.answer.lock().take().expect("an answer")
    }

    fn talk(&mut self, command: MessageCommand) -> Result<MessageReply, Rejection> {
        match self.ask(Command::Message(Box::new(command)))? {
            Reply::Message(reply) => Ok(*reply),
            other => {
                assert_eq!(other, Reply::Noted);
                Ok(MessageReply::Changed { is_new: true })
            }
        }
    }

    /// What was pushed since the last time, agent by agent.
    fn pushed(&mut self) -> Vec<(usize, String)> {
        let pushed = std::mem::take(&mut *self.heard.pushed.lock());
        pushed.into_iter().map(|(session, text)| (session.0 as usize - 1, text)).collect()
    }

    fn post(&mut self, from: usize, to: Destination, label: bool, reply_to: u64) {
        let reply_to = self.model.recent(reply_to).map(|id| MessageId(id).to_string().into());
        let payload = format!("{{\"n\":{}}}", self.model.sent.len()).into_bytes();
        let post = Post {
            from: name(AGENTS[from]),
            to,
            kind: MessageKind::Request,
            payload: payload.into(),
            label: label.then(|| "dev".into()),
            reply_to,
        };
        self.now.wall_ms += 1;
        let answer = self.talk(MessageCommand::Post(Box::new(post.clone())));
        let mut pushed = self.pushed();
        let expected = match (answer, self.model.can_post(&post.to)) {
            (Ok(MessageReply::Posted { id, channel_seq }), true) => {
                let message = Message { id, channel_seq, sent_ms: self.now.wall_ms, post };
                self.model.post(message)
            }
            (Err(Rejection::NoChannel { .. }), false) => Vec::new(),
            other => panic!("{other:?}"),
        };
        pushed.sort();
        assert_eq!(pushed, expected);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Tell { from, to, reply_to } => {
                self.post(from, Destination::Agent(name(AGENTS[to])), false, reply_to);
            }
            Act::TellAll { from, is_named, label } => {
                self.post(from, Destination::Broadcast { is_named }, label, 0);
            }
            Act::Publish { from, channel, times } => {
                for _ in 0..times {
                    self.post(from, Destination::Channel(name(CHANNELS[channel])), false, 2);
                }
            }
            Act::Subscribe { agent, channel } => {
                let command = MessageCommand::Subscribe {
                    channel: name(CHANNELS[channel]),
                    agent: name(AGENTS[agent]),
                };
                let answer = self.talk(command);
                let expected = self.model.subscribe(channel, agent);
                assert_eq!(
                    answer.ok(),
                    expected
                        .as_ref()
                        .map(|(is_new, _)| { MessageReply::Changed { is_new: *is_new } })
                );
                assert_eq!(self.pushed(), expected.map(|(_, pushed)| pushed).unwrap_or_default());
            }
            Act::Unsubscribe { agent, channel } => {
                let command = MessageCommand::Unsubscribe {
                    channel: name(CHANNELS[channel]),
                    agent: name(AGENTS[agent]),
                };
                let answer = self.talk(command).ok();
                let expected = self.model.unsubscribe(channel, agent);
                assert_eq!(answer, expected.map(|is_new| MessageReply::Changed { is_new }));
            }
            Act::Create { channel } => {
                let name = name(CHANNELS[channel]);
                let made = NewChannel { name, description: "d".into(), by: None };
                let answer = self.talk(MessageCommand::CreateChannel(Box::new(made)));
                assert_eq!(answer.is_ok(), self.model.create(channel));
            }
            Act::Ack { agent, back } => {
                let up_to = self.model.last_id().saturating_sub(back);
                self.talk(MessageCommand::Ack { agent: name(AGENTS[agent]), up_to }).unwrap();
                self.model.ack(agent, up_to);
            }
            Act::Join { agent } => {
                let profile = Profile::default();
                let join = Join { session: session(agent), agent: name(AGENTS[agent]), profile };
                self.talk(MessageCommand::Join(join)).unwrap();
                assert_eq!(self.pushed(), self.model.join(agent));
            }
            Act::Gone { agent } => {
                self.ask(Command::Detach { session: session(agent) }).unwrap();
                assert_eq!(self.pushed(), self.model.gone(agent));
            }
            Act::Wait { hours } => {
                self.now.wall_ms += hours * HOUR_MS;
                self.now.tick = self.now.tick.after(hours * HOUR_MS);
                self.committer.turn([], self.now);
                self.talk(MessageCommand::Evict).unwrap();
                self.model.evict(self.now.wall_ms.saturating_sub(7 * 24 * HOUR_MS));
            }
            Act::Restart => {
                let config = CoreConfig::default();
                let (store, heard) = (self.store.clone(), self.heard.clone());
                self.committer = Committer::restore(config, store, heard, self.now).unwrap();
                self.model.present.clear();
            }
        }
    }

    fn found(&mut self, command: MessageCommand) -> Vec<Arc<Message>> {
        let (MessageReply::Found(found) | MessageReply::Thread { found, .. }) =
            self.talk(command).unwrap()
        else {
            panic!("messages were asked for")
        };
        let Found { ids, messages } = found;
        assert_eq!(ids, messages.iter().map(|message| message.id).collect::<Vec<_>>());
        messages
    }

    /// Everything that can be seen is as the model has it.
    fn look(&mut self) {
        for (agent, text) in AGENTS.iter().enumerate() {
            let after = self.model.sent.len() as u64 / 2;
            for after in [0, after] {
                let found = self.found(MessageCommand::Poll { agent: name(text), after });
                assert_eq!(found, self.model.mailbox(agent, after), "mailbox of {text}");
            }
            let subscriptions = self.talk(MessageCommand::Subscriptions { agent: name(text) });
            assert_eq!(
                subscriptions,
                Ok(MessageReply::Names(self.model.subscriptions(agent))),
                "channels of {text}"
            );
        }
        for (channel, text) in CHANNELS.iter().enumerate() {
            for (after, limit) in [(0, 500), (150, 20), (3, 0)] {
                let channel_name = name(text);
                let command =
                    MessageCommand::ChannelHistory { channel: channel_name, after, limit };
                let found = self.found(command);
                assert_eq!(found, self.model.channel_history(channel, after, limit), "#{text}");
            }
            let shown = self.talk(MessageCommand::ShowChannel { channel: name(text) });
            let subscribers = shown.ok().map(|reply| match reply {
                MessageReply::Channel(view) => view.subscribers,
                other => panic!("{other:?}"),
            });
            assert_eq!(subscribers, self.model.subscribers(channel));
        }
        for query in [
            HistoryQuery { limit: 200, ..HistoryQuery::default() },
            HistoryQuery { limit: 3, from: Some(name("ann")), ..HistoryQuery::default() },
            HistoryQuery {
                limit: 9,
                to: Some(Destination::Broadcast { is_named: true }),
                after: 5,
                ..HistoryQuery::default()
            },
            HistoryQuery {
                limit: 50,
                label: Some("dev".into()),
                start_ms: Some(1_000 * HOUR_MS + 20),
                end_ms: Some(1_050 * HOUR_MS),
                ..HistoryQuery::default()
            },
        ] {
            let found = self.found(MessageCommand::History(query.clone()));
            assert_eq!(found, self.model.history(&query), "{query:?}");
        }
        for back in [1, 2, 5, 40, 201, 230] {
            let Some(id) = self.model.recent(back) else { continue };
            for part in [ThreadPart::Whole, ThreadPart::Replies, ThreadPart::Root] {
                let command = MessageCommand::Thread { message: MessageId(id), part };
                let Ok(MessageReply::Thread { root, found }) = self.talk(command) else { panic!() };
                let expected = self.model.thread(id, part);
                assert_eq!((root.0, found.messages), expected, "thread of {id}: {part:?}");
            }
        }
        assert_eq!(self.committer.core().messages_kept(), self.model.kept(), "messages kept");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn talk_is_as_the_model_has_it(acts in prop::collection::vec(act(), 1..120)) {
        let mut world = World::new();
        for (number, act) in acts.into_iter().enumerate() {
            let is_restart = matches!(act, Act::Restart);
            world.act(act);
            if is_restart || number % 16 == 0 {
                world.look();
            }
        }
        world.look();
        world.act(Act::Restart);
        world.look();
    }
}
