//! A worker thread: a single-threaded runtime, the connections it was given, and their share of
//! the routing plane.
//!
//! A *turn* is the work that one look at the sockets made ready. Connections route what they read
//! into the worker's [`Dispatch`]; the flush task, queued behind them, hands everything over once
//! at the end of the turn. So sixteen publishers with a message each cost one write to their common
//! receiver, not sixteen.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc;

use super::card::Arrival;
use super::clock::{Clock, is_over};
use super::connection::Connection;
use super::outbox::Outbox;
use super::outlet::{Cut, Outlet, OutletLimits};
use super::registry::Registry;
use crate::core::command::Tick;
use crate::routing::{Dispatch, Router};
use crate::session::{Context, Session};

/// A socket that was accepted.
#[derive(Debug)]
pub struct NewConnection {
    /// Non-blocking.
    pub socket: TcpStream,
    /// Who is at the other end.
    pub peer: IpAddr,
    /// Whether there is room for it; one that has none is told so and closed.
    pub is_welcome: bool,
}

/// What the rest of the broker holds of a worker.
#[derive(Debug)]
pub struct WorkerHandle {
    connections: mpsc::UnboundedSender<NewConnection>,
    thread: JoinHandle<()>,
}

/// What the connections of one thread share.
#[derive(Debug)]
pub struct Worker {
    pub(super) dispatch: RefCell<Dispatch>,
    /// Every read of the thread goes through this buffer, so that an idle connection has none.
    pub(super) buffer: RefCell<Vec<u8>>,
    pub(super) clock: Clock,
    pub(super) context: Arc<Context>,
    pub(super) limits: Arc<OutletLimits>,
    pub(super) registry: Arc<Registry>,
    outbox: Arc<Outbox>,
    flush: FlushSignal,
    alarms: RefCell<Alarms>,
    /// Reads so far.
    reads: Cell<u32>,
}

/// Of so many reads one is timed: a look at the clock costs as much as routing a message or two.
const TIMED_READ: u32 = 16;

#[derive(Debug, Default)]
struct Alarms {
    places: Vec<Option<Rc<Alarm>>>,
    free: Vec<usize>,
}

/// When a connection's task wants to be woken although nothing arrives.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) at: Cell<Tick>,
    outlet: Arc<Outlet>,
    place: usize,
}

#[derive(Debug, Default)]
struct FlushSignal {
    is_wanted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Bytes asked of a socket at once: some hundred to some thousand small messages. Larger reads fall
/// out of the processor's second-level cache together with what is made of them.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// How late a deadline may be noticed. They are all of a second and more.
const ALARM_INTERVAL: Duration = Duration::from_millis(100);

impl WorkerHandle {
    /// Start a worker.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        number: usize,
        context: Arc<Context>,
        router: Arc<Router>,
        limits: Arc<OutletLimits>,
        registry: Arc<Registry>,
        clock: Clock,
    ) -> std::io::Result<WorkerHandle> {
        let (connections, incoming) = mpsc::unbounded_channel();
        let thread =
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let worker = Rc::new(Worker {
                    dispatch: RefCell::new(Dispatch::new(router)),
                    buffer: RefCell::new(Vec::with_capacity(READ_BYTES)),
                    clock,
                    context,
                    limits,
                    registry,
                    outbox: Arc::default(),
                    flush: FlushSignal::default(),
                    alarms: RefCell::new(Alarms::default()),
                    reads: Cell::new(0),
                });
                let runtime =
                    LocalRuntime::new().expect("the descriptors for it were held in reserve");
                runtime.block_on(worker.run(incoming));
            })?;
        Ok(WorkerHandle { connections, thread })
    }

    /// Give the worker a connection. `false` if the worker is gone.
    pub fn give(&self, connection: NewConnection) -> bool {
        self.connections.send(connection).is_ok()
    }

    /// Wait until the worker's last connection is over.
    pub fn join(self) {
        drop(self.connections);
        if self.thread.join().is_err() {
            tracing::error!("a worker thread ended by a panic");
        }
    }
}

impl Worker {
    /// Take connections until no more can come and all are over.
    async fn run(self: Rc<Worker>, mut incoming: mpsc::UnboundedReceiver<NewConnection>) {
        tokio::task::spawn_local(Rc::clone(&self).flush_turns());
        tokio::task::spawn_local(Rc::clone(&self).ring_alarms());
        let outbox = Arc::clone(&self.outbox);
        tokio::task::spawn_local(poll_fn(move |context| outbox.poll_send(context)));
        let mut connections = tokio::task::JoinSet::new();
        while let Some(connection) = incoming.recv().await {
            let is_welcome = connection.is_welcome;
            match self.connect(connection) {
                Ok(connection) => {
                    connections.spawn_local(connection);
                }
                Err(error) => {
                    self.registry.dismiss(is_welcome);
                    tracing::debug!(%error, "a connection was over before it began");
                }
            }
            while connections.try_join_next().is_some() {}
        }
        while connections.join_next().await.is_some() {}
        self.outbox.send_all();
    }

    fn connect(self: &Rc<Self>, new: NewConnection) -> std::io::Result<Connection> {
        let peer = new.socket.peer_addr()?;
        let (read, write) = tokio::net::TcpStream::from_std(new.socket)?.into_split();
        let (limits, outbox) = (Arc::clone(&self.limits), Arc::clone(&self.outbox));
        let outlet = self.registry.enter(|index, id| Outlet::new(index, id, write, limits, outbox));
        let now = self.clock.tick();
        outlet.card().arrive(Arrival { peer, at: now });
        let mut session =
            Session::new(Arc::clone(&outlet), new.peer, Arc::clone(&self.context), now);
        session.greet(&mut self.dispatch.borrow_mut());
        self.want_flush();
        if !new.is_welcome {
            let mut dispatch = self.dispatch.borrow_mut();
            session.refuse(&mut dispatch);
            dispatch.flush();
            outlet.close();
        }
        let alarm = self.set_alarm(&outlet);
        Ok(Connection::new(Rc::clone(self), read, outlet, session, alarm))
    }

    /// What a read brought is worked off from now on. Gives the time if this read is timed.
    pub(super) fn begin_read(&self) -> Option<Instant> {
        let reads = self.reads.get();
        self.reads.set(reads.wrapping_add(1));
        reads.is_multiple_of(TIMED_READ).then(Instant::now)
    }

    /// It was worked off.
    pub(super) fn end_read(&self, started: Option<Instant>) {
        if let Some(started) = started {
            self.context.reads.note(started.elapsed());
        }
    }

    /// Hand everything over at the end of the turn.
    pub(super) fn want_flush(&self) {
        if self.flush.is_wanted.replace(true) {
            return;
        }
        if let Some(waker) = &*self.flush.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    async fn flush_turns(self: Rc<Worker>) {
        poll_fn(|context| {
            let mut waker = self.flush.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            if self.flush.is_wanted.replace(false) {
                self.dispatch.borrow_mut().flush();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    fn set_alarm(&self, outlet: &Arc<Outlet>) -> Rc<Alarm> {
        let mut alarms = self.alarms.borrow_mut();
        let place = alarms.free.pop().unwrap_or(alarms.places.len());
        let alarm = Rc::new(Alarm { at: Cell::new(Tick(0)), outlet: Arc::clone(outlet), place });
        if place == alarms.places.len() {
            alarms.places.push(None);
        }
        alarms.places[place] = Some(Rc::clone(&alarm));
        alarm
    }

    pub(super) fn clear_alarm(&self, alarm: &Alarm) {
        let mut alarms = self.alarms.borrow_mut();
        alarms.places[alarm.place] = None;
        alarms.free.push(alarm.place);
    }

    /// Wake the tasks whose deadline has come. One pass over all alarms of the thread, ten times a
    /// second, is cheaper than a timer per connection that every message would have to move.
    async fn ring_alarms(self: Rc<Worker>) {
        let mut interval = tokio::time::interval(ALARM_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            let now = self.clock.tick();
            for alarm in self.alarms.borrow().places.iter().flatten() {
                if is_over(alarm.at.get(), now) {
                    alarm.outlet.wake();
                }
            }
            self.relieve_memory();
        }
    }

    /// While the broker holds more than it may, cut those off for whom it holds the most.
    fn relieve_memory(&self) {
        if !self.limits.budget.is_exceeded() {
            return;
        }
        let mut outlets = self.registry.all();
        // Half-received frames are in the budget too, and are refused where they grow; a receiver
        // that holds next to nothing is not cut for them.
        let share = self.limits.budget_share();
        outlets.retain(|outlet| !outlet.is_closed() && outlet.pending_bytes() > share);
        outlets.sort_by_key(|outlet| std::cmp::Reverse(outlet.pending_bytes()));
        for outlet in outlets {
            if !self.limits.budget.is_exceeded() {
                return;
            }
            outlet.cut(Cut::Memory);
        }
    }
}
