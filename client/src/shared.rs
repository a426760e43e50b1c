//! What the handles and the connection task share.
//!
//! Locks are taken in this order, and none is held over a wait: subscriptions, then takes or
//! watches, then outbound, then replies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use agentcom_protocol::ServerInfo;
use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::Answer;
use crate::event::{Event, Events, State};
use crate::message::Message;
use crate::options::ConnectOptions;
use crate::outbound::{Outbound, Pong};
use crate::push::PushSlot;
use crate::replies::Replies;
use crate::statistics::Statistics;
use crate::subscriptions::{INBOX_SID, Subscriptions};
use crate::takes::Takes;
use crate::watches::Watches;
use crate::wire::Wire;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ConnectOptions,
    pub(crate) outbound: Outbound,
    subscriptions: Mutex<Subscriptions>,
    /// Requests by the last token of their inbox.
    pub(crate) requests: Replies<Message>,
    /// Our own verbs by tag.
    pub(crate) answers: Replies<Answer>,
    /// Where offers of work go.
    pub(crate) pushes: PushSlot,
    /// Items of queues on their way.
    pub(crate) takes: Takes,
    /// Where events of single tasks go.
    pub(crate) watches: Watches,
    /// Who takes from queues on this client's connections.
    consumer: Mutex<Arc<str>>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) events: Events,
    state: watch::Sender<Status>,
    info: Mutex<Arc<ServerInfo>>,
    /// The server's limit, where `publish` can read it without a lock.
    payload_bytes_max: AtomicUsize,
    /// `_INBOX.` and what makes this client's inboxes its own, with a final dot.
    inbox: String,
    /// Subscribers whose stream has not ended yet.
    pub(crate) streams: TaskTracker,
    /// The last handle is gone, or somebody drained: write out what waits, then close.
    pub(crate) closing: CancellationToken,
    /// Somebody wants a new connection.
    pub(crate) reconnect: Notify,
}

/// The state of the connection, and how many connections there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// Number of the present or last connection, from 1.
    pub(crate) link: u64,
}

/// Until INFO says otherwise: NATS's default.
const PAYLOAD_BYTES_MAX_DEFAULT: usize = 1024 * 1024;

/// 62^22 is more than 2^128: no two inboxes or consumers meet by chance.
const RANDOM_CHARS: usize = 22;

fn random_word() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), RANDOM_CHARS)
}

impl Shared {
    pub(crate) fn new(options: ConnectOptions) -> Shared {
        let prefix = options.inbox_prefix.as_str();
        let inbox = format!("{prefix}.{}.", random_word());
        let streams = TaskTracker::new();
        streams.close();
        Shared {
            outbound: Outbound::new(options.outbound_bytes_max),
            subscriptions: Mutex::new(Subscriptions::new()),
            requests: Replies::new(),
            answers: Replies::new(),
            pushes: PushSlot::default(),
            takes: Takes::default(),
            watches: Watches::default(),
            consumer: Mutex::new(format!("client-{}", random_word()).into()),
            statistics: Arc::default(),
            events: Events::start(options.event_callback.clone()),
            state: watch::Sender::new(Status { state: State::Pending, link: 0 }),
            info: Mutex::default(),
            payload_bytes_max: AtomicUsize::new(PAYLOAD_BYTES_MAX_DEFAULT),
            inbox,
            streams,
            closing: CancellationToken::new(),
            reconnect: Notify::new(),
            options,
        }
    }

    pub(crate) fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions.lock().expect("no method panics while it holds the subscriptions")
    }

    pub(crate) fn status(&self) -> Status {
        *self.state.borrow()
    }

    pub(crate) fn watch_status(&self) -> watch::Receiver<Status> {
        self.state.subscribe()
    }

    pub(crate) fn info(&self) -> Arc<ServerInfo> {
        Arc::clone(&self.info.lock().expect("a value is swapped, nothing can panic"))
    }

    pub(crate) fn set_info(&self, info: ServerInfo) {
        if info.max_payload > 0 {
            self.payload_bytes_max.store(info.max_payload, Ordering::Relaxed);
        }
        *self.info.lock().expect("a value is swapped, nothing can panic") = Arc::new(info);
    }

    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.payload_bytes_max.load(Ordering::Relaxed)
    }

    /// A new inbox of this client's own.
    pub(crate) fn new_inbox(&self) -> String {
        format!("{}.{}", self.options.inbox_prefix, random_word())
    }

    /// The name under which leases are taken from queues: that of the client's agent, or one of
    /// its own. The broker knows a lease by it, on whatever connection.
    pub(crate) fn consumer(&self) -> Arc<str> {
        Arc::clone(&self.consumer.lock().expect("a value is swapped, nothing can panic"))
    }

    /// The name of a queue that nobody uses: to ask for no work at all.
    pub(crate) fn unused_name(&self) -> String {
        format!("unused-{}", random_word())
    }

    /// From now on the client's connections speak for this agent.
    pub(crate) fn speak_for(&self, agent: &str) {
        *self.consumer.lock().expect("a value is swapped, nothing can panic") = agent.into();
    }

    /// The reply subject for the request with this key; the inbox is subscribed to with the first.
    pub(crate) fn request_inbox(&self, key: u32) -> String {
        let mut subscriptions = self.subscriptions();
        if subscriptions.open_inbox(|| format!("{}*", self.inbox)) {
            self.outbound.append_if_up(|out| {
                out.subscribe(&format!("{}*", self.inbox), None, INBOX_SID);
            });
        }
        format!("{}{key}", self.inbox)
    }

    /// The key of the request that a message to the inbox answers.
    pub(crate) fn request_key(&self, subject: &str) -> Option<u32> {
        subject.strip_prefix(&self.inbox)?.parse().ok()
    }

    /// The link with this number is up and speaks as `wire` does: make all subscriptions again, then
    /// send what waited.
    pub(crate) fn link_up(&self, link: u64, info: ServerInfo, wire: Wire) {
        self.set_info(info);
        let subscriptions = self.subscriptions();
        self.outbound.link_up(link, wire, |out| subscriptions.encode(out));
        drop(subscriptions);
        Statistics::add(&self.statistics.connects, 1);
        self.state.send_replace(Status { state: State::Connected, link });
        self.events.raise(Event::Connected);
    }

    /// The link broke after `written` bytes of `writing`.
    pub(crate) fn link_down(&self, writing: &[u8], written: usize) {
        for pong in self.outbound.link_down(writing, written) {
            if let Pong::Drained(sids) = pong {
                let mut subscriptions = self.subscriptions();
                for sid in sids {
                    subscriptions.remove(sid);
                }
            }
        }
        self.answers.abandon();
        self.state.send_modify(|status| status.state = State::Disconnected);
        self.events.raise(Event::Disconnected);
    }

    /// Nothing comes or goes any more.
    pub(crate) fn close(&self) {
        self.outbound.close();
        self.subscriptions().close();
        self.requests.abandon();
        self.answers.abandon();
        self.pushes.close();
        self.state.send_modify(|status| status.state = State::Closed);
        self.events.raise(Event::Closed);
    }
}
