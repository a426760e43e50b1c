//! One client's conversation: who is this, may they, and what does each frame mean?
//!
//! A session is fed bytes and the time, and writes what it has to say into the worker's buffers. It
//! knows no socket and no clock. What cannot go on it says with a [`Close`]; the shell closes.
//!
//! ```text
//! greeted ──CONNECT──> connected ──PING──> (PONG, then a second INFO to protocol 1)
//!    │  └── without credentials configured, everything may be said before CONNECT too
//!    └── auth_ms without a valid CONNECT, where one is needed, or half_frame_ms without any
//!        whole frame, where none is: closed
//! ```

mod api;
mod auth;
mod binary;
mod context;
mod subscriptions;
mod verbs;

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use auth::ANONYMOUS;
pub use auth::{Auth, Login};
pub use context::{Context, LameDuck, Timeouts};

use self::binary::{Alias, Known};
use self::subscriptions::Subscriptions;
use crate::core::command::{Command, SessionId, Tick};
use crate::durable::ReplyTo;
use crate::net::{Client, Cut, Framing, Outlet};
use crate::quota::{self, Account, Thing, Ticket};
use crate::routing::{Destination, Dispatch, Origin, Permissions, Subscription};
use crate::translate::Usual;
use agentcom_protocol::{
    ClientDecoder, ClientFrame, Connect, DecodeError, Decoded, Filter, Limits, Publish, Subject,
    binary as frames, encode, help, tokens,
};

/// One client.
#[derive(Debug)]
pub struct Session {
    outlet: Arc<Outlet>,
    context: Arc<Context>,
    decoder: Decoder,
    peer: IpAddr,
    login: Option<Login>,
    account: Arc<Account>,
    /// `None`: the identity has as many connections as it may have, and nothing more is done for
    /// this one.
    place: Option<Ticket>,
    is_crowded_out: bool,
    /// Whether anything is set that messages are charged to.
    is_metered: bool,
    counted: Ticket,
    /// Nothing is read until then, because too much was sent.
    paused_until: Option<Tick>,
    wishes: Wishes,
    subscriptions: Subscriptions,
    /// By number, from 1. An empty place is one whose message is being published.
    aliases: Vec<Option<Alias>>,
    /// Publish subjects that the login's permissions were checked for.
    verdicts: HashMap<Box<[u8]>, bool>,
    /// What it submits is mostly like this.
    usual: Usual,
    /// Set while the connection speaks for an agent; when its leases were last renewed.
    renewed: Option<Tick>,
    /// The durable plane remembers something of the connection, and must hear of its end.
    is_known: bool,
    deadline: Tick,
    last_input: Tick,
    pings_unanswered: u32,
    /// Whether any whole frame arrived.
    has_spoken: bool,
    /// Whether the first frame is behind us: what is asked for in it cannot be asked for later.
    has_begun: bool,
    has_connected: bool,
    has_ponged: bool,
    knows_lame_duck: bool,
    is_refused: bool,
}

/// How the client speaks.
#[derive(Clone, Copy, Debug)]
enum Decoder {
    Text(ClientDecoder),
    Binary(frames::ClientDecoder),
}

/// What was made of the bytes so far.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    consumed: usize,
    publishes: u64,
}

/// What the client asked for in CONNECT.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    verbose: bool,
    pedantic: bool,
    echo: bool,
    headers: bool,
    no_responders: bool,
    protocol: i64,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of whole frames.
    pub consumed: usize,
    /// Bytes that the frame behind them needs at least.
    pub needed: usize,
    /// There may be more whole frames, but the turn is over: others want theirs.
    pub is_cut_short: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The client broke the rules; it was told, where NATS tells.
    Protocol(&'static str),
    /// The client said so.
    Quit,
    /// The client sends nothing more.
    ByClient,
    /// A frame was not finished in time.
    HalfFrame,
    /// The broker stops, or cut the client off.
    ByBroker,
    /// The broker holds too much to keep a large half-received frame.
    Memory,
}

/// Replies that a NATS server gives a meaning of its own; no client may make them up.
const RESERVED_REPLIES: [&[u8]; 3] = [b"_R_.", b"$JS.ACK.", b"_GR_."];
/// Receivers that the messages of one read may be put before in one turn: some ten milliseconds of
/// work, which is how long a client with a large audience can keep its neighbours waiting.
const TURN_WORK_MAX: usize = 250_000;
/// Memory for the subscriptions of one connection. 64 MiB: all that `subscriptions_max` allows when
/// filters have a usual length; deep filters are stopped earlier.
const SUBSCRIPTIONS_BYTES_MAX: usize = 64 << 20;
/// Verdicts kept per connection with restricted permissions; beyond that it starts anew.
const VERDICTS_MAX: usize = 1024;
/// Bytes of unread answers after which a client is not read from until it reads: PING floods and
/// the like must not fill memory.
const UNREAD_ANSWERS_MAX: usize = 256 * 1024;
/// The same for a client that has not logged in.
const STRANGERS_UNREAD_MAX: usize = 8 * 1024;
/// The first PING measures the round trip and comes early.
const FIRST_PING_MS: u64 = 2_000;
/// A person at a telnet prompt, who never sent CONNECT, is left in peace for longer.
const PERSON_PING_MS: u64 = 120_000;
/// Leases are renewed at most this often, however fast frames come.
const RENEWAL_INTERVAL_MS: u64 = 500;
/// How often whoever is paused is noted to live: as often as leases are renewed.
const PAUSE_LOOK_MS: u64 = RENEWAL_INTERVAL_MS;

impl Session {
    /// A client that was just accepted.
    #[must_use]
    pub fn new(outlet: Arc<Outlet>, peer: IpAddr, context: Arc<Context>, now: Tick) -> Session {
        let auth_is_required = context.auth.is_required();
        let limits = if auth_is_required {
            // Nothing but a control line is kept for a stranger.
            Limits { payload_bytes_max: 0, ..context.limits }
        } else {
            context.limits
        };
        let greeting_ms = if auth_is_required {
            context.timeouts.auth_ms
        } else {
            context.timeouts.half_frame_ms
        };
        let account = context.accounts.of(&quota::address(peer), now);
        // A stranger counts for nobody until it is known who it is.
        let place = if auth_is_required { None } else { account.enter(Thing::Connection) };
        let is_crowded_out = !auth_is_required && place.is_none();
        let login = place.is_some().then(Login::anonymous);
        let counted = Ticket::none_of(&account, Thing::Subscription);
        context.metrics.connections_opened.add(1);
        Session {
            outlet,
            decoder: Decoder::Text(ClientDecoder::new(limits)),
            context,
            peer,
            login,
            account,
            place,
            is_crowded_out,
            is_metered: false,
            counted,
            paused_until: None,
            wishes: Wishes::default(),
            subscriptions: Subscriptions::default(),
            aliases: Vec::new(),
            verdicts: HashMap::new(),
            usual: Usual::default(),
            renewed: None,
            is_known: false,
            deadline: Tick(now.0 + greeting_ms),
            last_input: now,
            pings_unanswered: 0,
            has_spoken: false,
            has_begun: false,
            has_connected: false,
            has_ponged: false,
            knows_lame_duck: false,
            is_refused: false,
        }
    }

    /// Say INFO.
    pub fn greet(&mut self, dispatch: &mut Dispatch) {
        self.send_info(dispatch, false);
    }

    /// There is no room: say so. The caller closes.
    pub fn refuse(&mut self, dispatch: &mut Dispatch) {
        self.is_refused = true;
        self.context.metrics.connections_refused.add(1);
        self.error(dispatch, "maximum connections exceeded");
    }

    /// Whether there was room for it. One for which there was none gives its descriptor back at
    /// once, even if its last words are lost by that.
    #[must_use]
    pub fn was_welcome(&self) -> bool {
        !self.is_refused
    }

    /// Work off whole frames at the front of `input`.
    ///
    /// # Errors
    /// [`Close`]; whatever the client should still hear is in the buffers.
    pub fn handle_input(
        &mut self,
        input: &[u8],
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<Taken, Close> {
        self.note_input(now);
        let mut progress = Progress::default();
        let mut work = 0;
        self.is_metered = self.account.is_metered();
        if self.is_metered && self.has_to_wait(now) {
            return Ok(Taken { consumed: 0, needed: 0, is_cut_short: true });
        }
        let mut metered = Progress::default();
        let outcome = loop {
            let taken = match self.decoder {
                Decoder::Text(decoder) => {
                    self.take_line(decoder, input, &mut progress, now, dispatch)
                }
                Decoder::Binary(decoder) => {
                    self.take_frame(decoder, input, &mut progress, now, dispatch)
                }
            };
            let consumed = progress.consumed;
            match taken {
                Ok(None) => {
                    work += dispatch.take_work();
                    let is_over = self.is_metered && self.charge(progress, &mut metered, now);
                    if is_over || work > TURN_WORK_MAX {
                        break Ok(Taken { consumed, needed: 0, is_cut_short: true });
                    }
                }
                Ok(Some(needed)) => break Ok(Taken { consumed, needed, is_cut_short: false }),
                Err(close) => break Err(close),
            }
        };
        let Progress { consumed, publishes } = progress;
        if !self.has_spoken && consumed > 0 && self.login.is_some() && outcome.is_ok() {
            self.has_spoken = true;
            if !self.has_connected {
                self.deadline = Tick(now.0 + self.ping_interval_ms());
            }
        }
        self.context.metrics.messages_in.add(publishes);
        self.context.metrics.bytes_in.add(consumed as u64);
        let card = self.outlet.card();
        card.note_input(now, publishes, consumed as u64);
        card.note_subscriptions(self.subscriptions.len());
        outcome
    }

    /// Work off the line behind `progress`. If it is not all there, the bytes that it needs.
    #[inline]
    fn take_line(
        &mut self,
        decoder: ClientDecoder,
        input: &[u8],
        progress: &mut Progress,
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<Option<usize>, Close> {
        match decoder.decode(&input[progress.consumed..]) {
            Ok(Decoded::Frame { frame, consumed }) => {
                progress.consumed += consumed;
                match frame {
                    ClientFrame::Publish(publish) => {
                        progress.publishes += 1;
                        self.handle_publish(&publish, None, dispatch)?;
                    }
                    other => self.handle_other(other, now, dispatch)?,
                }
                self.has_begun = true;
                Ok(None)
            }
            Ok(Decoded::Incomplete { needed }) => Ok(Some(needed)),
            Err(error) => Err(self.explain(&error, dispatch)),
        }
    }

    /// Bytes arrived, whether or not they make a frame: the client lives.
    pub fn note_input(&mut self, now: Tick) {
        self.last_input = now;
        self.pings_unanswered = 0;
        self.renew_leases(now);
    }

    /// A deadline has come.
    ///
    /// # Errors
    /// [`Close`] when the client had its last chance.
    pub fn handle_timeout(&mut self, now: Tick, dispatch: &mut Dispatch) -> Result<(), Close> {
        if let Some(until) = self.paused_until {
            // It lives as far as anybody can tell, and so do its leases.
            self.note_input(now);
            self.paused_until = (now < until).then_some(until);
            return Ok(());
        }
        if self.login.is_none() || !self.has_spoken {
            self.error(dispatch, "Authentication Timeout");
            return Err(Close::Protocol("no greeting in time"));
        }
        let interval = self.ping_interval_ms();
        if self.has_ponged && now.0 < self.last_input.0 + interval {
            self.deadline = Tick(self.last_input.0 + interval);
            return Ok(());
        }
        if self.pings_unanswered >= self.context.timeouts.ping_max {
            self.error(dispatch, "Stale Connection");
            return Err(Close::Protocol("ping_max pings stayed unanswered"));
        }
        self.pings_unanswered += 1;
        let ping = self.outlet.framing().ping();
        dispatch.buffer(&self.outlet).extend_from_slice(ping);
        self.deadline = Tick(now.0 + interval);
        Ok(())
    }

    /// When to call [`Session::handle_timeout`].
    #[must_use]
    pub fn next_deadline(&self) -> Tick {
        match self.paused_until {
            Some(until) => until.min(Tick(self.last_input.0 + PAUSE_LOOK_MS)),
            None => self.deadline,
        }
    }

    /// Whether nothing is read because too much was sent.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Tell the client what happened to the broker, if it wants to know.
    pub fn handle_news(&mut self, dispatch: &mut Dispatch) {
        if self.knows_lame_duck || !self.context.lame_duck.is_raised() {
            return;
        }
        self.knows_lame_duck = true;
        if self.wishes.protocol >= 1 {
            self.send_info(dispatch, false);
            dispatch.flush();
        }
    }

    /// A frame was not finished in time.
    pub fn reject_half_frame(&mut self, dispatch: &mut Dispatch) {
        self.error(dispatch, "Stale Connection");
    }

    /// There is no memory for the rest of a frame.
    pub fn reject_for_memory(&mut self, dispatch: &mut Dispatch) {
        self.error(dispatch, "Slow Consumer");
    }

    /// Whether the client is not read from: it leaves too many answers unread, or has sent too much.
    #[must_use]
    pub fn is_flooding(&self) -> bool {
        if self.is_paused() {
            return true;
        }
        let unread_max =
            if self.login.is_some() { UNREAD_ANSWERS_MAX } else { STRANGERS_UNREAD_MAX };
        self.subscriptions.is_empty() && self.outlet.pending_bytes() > unread_max
    }

    /// The connection will be closed: nothing more is delivered to it.
    pub fn handle_close(&mut self, close: Close, cut: Option<Cut>) {
        self.withdraw();
        let (id, peer) = (self.outlet.id(), self.peer);
        if let Some(cut) = cut {
            self.context.metrics.slow_consumers.add(1);
            tracing::warn!(connection = id, %peer, reason = cut.reason(), "slow consumer cut off");
        } else {
            tracing::debug!(connection = id, %peer, ?close, "connection closed");
        }
    }

    /// The connection is over.
    pub fn handle_end(&mut self) {
        self.withdraw();
        self.context.metrics.connections_closed.add(1);
    }

    fn withdraw(&mut self) {
        self.context.router.unsubscribe_all(self.subscriptions.take_all());
        self.counted.lower_to(0);
        self.renewed = None;
        if std::mem::take(&mut self.is_known) {
            // A broker that stops takes no more in, and the restart gives every lease its grace.
            self.context.durable.leave(self.id());
        }
    }

    #[inline]
    fn handle_publish(
        &mut self,
        publish: &Publish<'_>,
        known: Option<&mut Known>,
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        let Some(login) = &self.login else { return Err(self.violation(dispatch)) };
        if publish.header_bytes.is_some() && !self.wishes.headers {
            return Err(Close::Protocol("HPUB without headers in CONNECT"));
        }
        if self.wishes.pedantic && dispatch.is_dubious(publish.subject) {
            self.error(dispatch, "Invalid Publish Subject");
        }
        self.acknowledge(dispatch);
        let is_permitted = login.permissions.is_none()
            || known.as_ref().is_some_and(|known| known.is_open)
            || self.may_publish(publish.subject);
        if !is_permitted {
            self.deny(dispatch, "Publish to", publish.subject);
            return Ok(());
        }
        if let Some(reply) = publish.reply {
            if Subject::parse(reply).is_err() {
                self.error(dispatch, "Invalid Publish Subject");
                return Ok(());
            }
            if RESERVED_REPLIES.iter().any(|prefix| reply.starts_with(prefix)) {
                self.deny(dispatch, "Publish with Reply of", reply);
                return Ok(());
            }
        }
        let origin = Origin { outlet: &self.outlet, echo: self.wishes.echo };
        let delivered = match known {
            Some(known) => {
                let delivered = dispatch.publish_at(Some(origin), publish, &mut known.place);
                known.is_open = delivered.destination == Destination::Subscribers
                    && !self.wishes.verbose
                    && !self.wishes.pedantic;
                delivered
            }
            None => dispatch.publish(Some(origin), publish),
        };
        match delivered.destination {
            Destination::Subscribers if delivered.receivers == 0 => {
                self.answer_unheard(publish, dispatch);
            }
            Destination::Subscribers | Destination::Invalid => {}
            Destination::Forbidden => self.error(dispatch, "Invalid Publish Subject"),
            Destination::Api => self.handle_api(publish, dispatch),
            Destination::BrokerOnly => self.deny(dispatch, "Publish to", publish.subject),
        }
        Ok(())
    }

    fn handle_other(
        &mut self,
        frame: ClientFrame<'_>,
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        if self.login.is_none()
            && !matches!(frame, ClientFrame::Connect(_) | ClientFrame::Help(_) | ClientFrame::Quit)
        {
            return Err(self.violation(dispatch));
        }
        match frame {
            ClientFrame::Connect(json) => return self.handle_connect(json, now, dispatch),
            ClientFrame::Publish(publish) => return self.handle_publish(&publish, None, dispatch),
            ClientFrame::Subscribe { filter, queue, sid } => {
                self.handle_subscribe(filter, queue, sid, dispatch);
            }
            ClientFrame::Unsubscribe { sid, max } => self.handle_unsubscribe(sid, max, dispatch),
            ClientFrame::Ping => {
                let pong = self.outlet.framing().pong();
                dispatch.buffer(&self.outlet).extend_from_slice(pong);
                if !std::mem::replace(&mut self.has_ponged, true) && self.wishes.protocol >= 1 {
                    self.send_info(dispatch, true);
                }
            }
            ClientFrame::Pong => {}
            ClientFrame::Ignored => {}
            ClientFrame::Error => return Err(Close::Protocol("the client sent -ERR")),
            ClientFrame::Quit => return Err(Close::Quit),
            ClientFrame::Help(topic) => {
                dispatch.buffer(&self.outlet).extend_from_slice(help(topic).as_bytes());
            }
            ClientFrame::Request(request) => self.handle_request(&request, dispatch),
            ClientFrame::Mistyped { tag, mistake } => {
                self.decline(dispatch, tag, mistake.code(), &mistake.to_string());
            }
        }
        Ok(())
    }

    fn handle_connect(
        &mut self,
        json: &[u8],
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        let Some(connect) = self.wishes.amended(json) else {
            return Err(Close::Protocol("CONNECT holds no JSON object that makes sense"));
        };
        // Whoever it was before, it is somebody else now.
        self.withdraw();
        self.forget_permissions();
        self.login = self.context.auth.check(&connect);
        let Some(login) = &self.login else {
            self.context.metrics.logins_refused.add(1);
            return Err(self.violation(dispatch));
        };
        self.account = match &*login.identity {
            ANONYMOUS => self.context.accounts.of(&quota::address(self.peer), now),
            identity => self.context.accounts.of(identity, now),
        };
        self.is_metered = self.account.is_metered();
        self.counted = Ticket::none_of(&self.account, Thing::Subscription);
        // First given back: it may be the same account.
        self.place = None;
        self.place = self.account.enter(Thing::Connection);
        self.is_crowded_out = self.place.is_none();
        if self.is_crowded_out {
            self.login = None;
            return Err(self.violation(dispatch));
        }
        self.outlet.card().introduce(Client {
            name: connect.name.clone(),
            lang: connect.lang.clone(),
            version: connect.version.clone(),
            identity: self.login.as_ref().map_or(String::new(), |login| login.identity.to_string()),
        });
        if let Decoder::Text(decoder) = &mut self.decoder {
            *decoder = ClientDecoder::new(self.context.limits);
        }
        self.wishes = Wishes {
            verbose: connect.verbose,
            pedantic: connect.pedantic,
            echo: connect.echo,
            headers: connect.headers,
            no_responders: connect.no_responders,
            protocol: connect.protocol,
        };
        if !(0..=1).contains(&connect.protocol) {
            self.error(dispatch, "invalid client protocol");
            return Err(Close::Protocol("CONNECT asks for a protocol that is not 0 or 1"));
        }
        if connect.no_responders && !connect.headers {
            self.error(dispatch, "no responders requires headers support");
            return Err(Close::Protocol("no_responders without headers"));
        }
        let is_binary = self.outlet.framing() == Framing::Binary;
        let changes_over = !is_binary && connect.frame.is_some();
        let is_other = connect.frame.as_deref().is_some_and(|frame| frame != frames::NAME);
        if is_other || changes_over && self.has_begun {
            self.error(dispatch, "Unknown Protocol Operation");
            return Err(Close::Protocol("CONNECT asks for a framing too late or in vain"));
        }
        if !std::mem::replace(&mut self.has_connected, true) {
            let jitter = self.outlet.id() % 5 * self.ping_interval_ms().min(FIRST_PING_MS) / 25;
            let first = self.ping_interval_ms().min(FIRST_PING_MS) + jitter;
            self.deadline = Tick(now.0 + first);
        }
        if changes_over {
            dispatch.buffer(&self.outlet).extend_from_slice(encode::fixed::OK);
            self.change_over();
        } else {
            self.acknowledge(dispatch);
        }
        Ok(())
    }

    fn handle_subscribe(
        &mut self,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        dispatch: &mut Dispatch,
    ) {
        let Ok(checked) = Filter::parse(filter) else {
            return self.error(dispatch, "Invalid Subject");
        };
        if sid.iter().any(u8::is_ascii_control) {
            return self.error(dispatch, "Invalid Subject");
        }
        // A queue name travels through permissions and logs as text, like a subject does.
        let queue = match queue.map(std::str::from_utf8).transpose() {
            Ok(queue) if !queue.is_some_and(|name| name.contains(is_no_part_of_a_word)) => queue,
            _ => return self.error(dispatch, "Invalid Subject"),
        };
        let permissions = self.login.as_ref().and_then(|login| login.permissions.clone());
        let is_denied =
            |permissions: &Arc<Permissions>| !permissions.may_subscribe(checked.as_str(), queue);
        if permissions.as_ref().is_some_and(is_denied) {
            return self.deny_subscription(dispatch, checked.as_str(), queue);
        }
        if tokens(checked.as_str()).count() > self.context.subject_tokens_max {
            let text = format!(
                "Permissions Violation for Subscription to \"{}\", too many tokens",
                checked.as_str()
            );
            return self.error(dispatch, &text);
        }
        self.sweep_ended();
        if self.subscriptions.get(sid).is_some_and(|subscription| !subscription.is_ended()) {
            return self.acknowledge(dispatch);
        }
        let is_full = self.subscriptions.len() >= self.context.subscriptions_max
            || self.subscriptions.bytes() >= SUBSCRIPTIONS_BYTES_MAX;
        if is_full {
            return self.error(dispatch, "maximum subscriptions exceeded");
        }
        if !self.counted.add() {
            self.context.metrics.quota_refusals.add(1);
            return self.error(dispatch, "maximum subscriptions exceeded");
        }
        let mut subscription = Subscription::new(Arc::clone(&self.outlet), checked, sid, queue);
        subscription.headers = self.wishes.headers;
        subscription.denied = permissions.filter(|p| p.overlaps_denied(checked.as_str()));
        let subscription = Arc::new(subscription);
        self.context.router.subscribe(&subscription);
        self.subscriptions.insert(subscription);
        self.acknowledge(dispatch);
    }

    fn handle_unsubscribe(&mut self, sid: &[u8], max: Option<u64>, dispatch: &mut Dispatch) {
        if let Some(subscription) = self.subscriptions.get(sid) {
            let is_over = match max {
                Some(max) if max > 0 => subscription.limit(max),
                _ => true,
            };
            if is_over {
                self.context.router.unsubscribe(subscription);
                self.subscriptions.remove(sid);
                self.counted.lower_to(self.subscriptions.len());
            }
        }
        self.acknowledge(dispatch);
    }

    /// Nobody took the message: say so if it was a request of a client that wants to know.
    fn answer_unheard(&mut self, publish: &Publish<'_>, dispatch: &mut Dispatch) {
        let Some(reply) = publish.reply.filter(|_| self.wishes.no_responders) else { return };
        let Some(sid) = dispatch.own_subscription(&self.outlet, reply) else { return };
        let mut block = b"NATS/1.0 503\r\nNats-Subject: ".to_vec();
        block.extend_from_slice(publish.subject);
        block.extend_from_slice(b"\r\n\r\n");
        let message = agentcom_protocol::Message {
            subject: reply,
            sid: &sid,
            reply: None,
            header_bytes: Some(block.len()),
            payload: &block,
        };
        self.tell(dispatch, |out| encode::message(out, &message));
    }

    /// Whether there are subjects that the login may not publish to.
    fn is_restricted(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.permissions.is_some())
    }

    fn may_publish(&mut self, subject: &[u8]) -> bool {
        if let Some(&verdict) = self.verdicts.get(subject) {
            return verdict;
        }
        let permissions = self.login.as_ref().and_then(|login| login.permissions.as_ref());
        let verdict = match (permissions, std::str::from_utf8(subject)) {
            (None, _) => true,
            (Some(permissions), Ok(subject)) => permissions.may_publish(subject),
            (Some(_), Err(_)) => false,
        };
        if self.verdicts.len() >= VERDICTS_MAX {
            self.verdicts.clear();
        }
        self.verdicts.insert(subject.into(), verdict);
        verdict
    }

    /// Forget subscriptions that ended by themselves, once they are half of all.
    fn sweep_ended(&mut self) {
        let ended = self.outlet.ended_subscriptions() as usize;
        if ended > 0 && ended * 2 >= self.subscriptions.len() {
            let _ = self.outlet.take_ended_subscriptions();
            self.subscriptions.forget_ended();
            self.counted.lower_to(self.subscriptions.len());
        }
    }

    /// Charge the frame behind `metered` to the identity, if it was a message. Gives whether it has
    /// to wait now.
    #[cold]
    fn charge(&mut self, progress: Progress, metered: &mut Progress, now: Tick) -> bool {
        let before = std::mem::replace(metered, progress);
        if progress.publishes > before.publishes {
            self.account.charge((progress.consumed - before.consumed) as u64, now);
        }
        self.has_to_wait(now)
    }

    /// Whether the identity has sent so much that nothing is read for a while, whatever it is: only
    /// what was read can be told apart, and whoever comes anew must not gain by it. Connections that
    /// ask at the same moment may each send one more; then all of them wait for that.
    #[cold]
    fn has_to_wait(&mut self, now: Tick) -> bool {
        let wait_ms = self.account.wait_ms(now);
        if wait_ms == 0 || self.login.is_none() {
            return false;
        }
        self.context.metrics.quota_pauses.add(1);
        self.paused_until = Some(Tick(now.0.saturating_add(wait_ms)));
        true
    }

    fn explain(&self, error: &DecodeError, dispatch: &mut Dispatch) -> Close {
        if self.login.is_none() && matches!(error, DecodeError::PayloadTooLarge { .. }) {
            return self.violation(dispatch);
        }
        tracing::debug!(connection = self.outlet.id(), %error, "bad input");
        if let Some(text) = error.wire_text() {
            self.error(dispatch, text);
        }
        Close::Protocol("the input does not follow the grammar")
    }

    fn violation(&self, dispatch: &mut Dispatch) -> Close {
        if self.is_crowded_out {
            self.context.metrics.quota_refusals.add(1);
            self.error(dispatch, "maximum connections exceeded");
            return Close::Protocol("the identity has as many connections as it may have");
        }
        self.error(dispatch, "Authorization Violation");
        Close::Protocol("credentials are missing or wrong")
    }

    fn deny(&self, dispatch: &mut Dispatch, what: &str, subject: &[u8]) {
        self.context.metrics.denials.add(1);
        let subject = String::from_utf8_lossy(subject);
        let subject = subject.replace(char::is_control, "?");
        self.error(dispatch, &format!("Permissions Violation for {what} \"{subject}\""));
    }

    fn deny_subscription(&self, dispatch: &mut Dispatch, filter: &str, queue: Option<&str>) {
        self.context.metrics.denials.add(1);
        let mut text = format!("Permissions Violation for Subscription to \"{filter}\"");
        if let Some(queue) = queue {
            text.push_str(&format!(" using queue \"{queue}\""));
        }
        self.error(dispatch, &text);
    }

    fn acknowledge(&self, dispatch: &mut Dispatch) {
        if self.wishes.verbose {
            let ok = self.outlet.framing().ok();
            dispatch.buffer(&self.outlet).extend_from_slice(ok);
        }
    }

    fn error(&self, dispatch: &mut Dispatch, text: &str) {
        self.outlet.framing().error(dispatch.buffer(&self.outlet), text);
    }

    fn send_info(&self, dispatch: &mut Dispatch, connect_info: bool) {
        let mut info = self.context.info.clone();
        info.client_id = self.outlet.id();
        info.client_ip = self.peer.to_string();
        info.auth_required = self.context.auth.is_required();
        info.ldm = self.context.lame_duck.is_raised();
        info.connect_info = connect_info;
        let json = serde_json::to_vec(&info).expect("INFO is plain data");
        self.outlet.framing().info(dispatch.buffer(&self.outlet), &json);
    }

    fn ping_interval_ms(&self) -> u64 {
        let interval = self.context.timeouts.ping_interval_ms;
        if self.has_connected { interval } else { interval.max(PERSON_PING_MS) }
    }

    /// Every frame of an agent is a sign of life.
    fn renew_leases(&mut self, now: Tick) {
        let Some(renewed) = self.renewed else { return };
        if now.0 >= renewed.0 + RENEWAL_INTERVAL_MS {
            self.renewed = Some(now);
            let command = Command::Heartbeat { session: self.id() };
            // One that is lost is made up for by the next; there are several to a lease.
            let _ = self.context.durable.send(command, ReplyTo::Nobody);
        }
    }

    fn id(&self) -> SessionId {
        SessionId(self.outlet.id())
    }
}

/// In lines a blank ends a word; in frames nothing does.
fn is_no_part_of_a_word(c: char) -> bool {
    c == ' ' || c.is_control()
}

impl Wishes {
    /// A CONNECT in which what it does not name is as it was before: a second one amends the first.
    fn amended(self, json: &[u8]) -> Option<Connect> {
        let Wishes { verbose, pedantic, echo, headers, no_responders, protocol } = self;
        let before = Connect {
            verbose,
            pedantic,
            echo,
            headers,
            no_responders,
            protocol,
            ..Connect::default()
        };
        let mut fields = serde_json::to_value(before).ok()?;
        let named: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(json).ok()?;
        for (name, value) in named {
            // Clients in typed languages send what they have no value for as null.
            if !value.is_null() {
                fields[name] = value;
            }
        }
        serde_json::from_value(fields).ok()
    }
}

impl Default for Wishes {
    fn default() -> Wishes {
        let Connect { verbose, pedantic, echo, headers, no_responders, protocol, .. } =
            Connect::default();
        Wishes { verbose, pedantic, echo, headers, no_responders, protocol }
    }
}
