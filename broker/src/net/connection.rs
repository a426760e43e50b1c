//! One task per client: moves bytes, waits, decides nothing.
//!
//! ```text
//! open ──(session closes, outlet is cut, broker stops)──> closing ──(all is sent)──> parting ──> over
//!   │    (client hangs up)                                                                           ^
//!   └──(socket breaks)───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A client that stops sending while requests are open is *owed* their answers first. *Closing* gives the last words a chance to be sent; *parting* has said them and reads what the
//! client still sends until it hangs up too, because a socket closed over unread bytes is reset and
//! takes the last words with it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

use super::clock::is_over;
use super::outlet::{Cut, Outlet};
use super::worker::{Alarm, READ_BYTES, Worker};
use crate::core::command::Tick;
use crate::session::{Close, Session, Taken};

/// A client's task.
pub(super) struct Connection {
    worker: Rc<Worker>,
    read: OwnedReadHalf,
    outlet: Arc<Outlet>,
    session: Session,
    alarm: Rc<Alarm>,
    phase: Phase,
    /// The beginning of a frame; empty, and without memory, between frames.
    partial: Vec<u8>,
    /// Bytes that the frame in `partial` needs at least.
    needed: usize,
    /// Memory of `partial` that is charged to the budget.
    charged: usize,
    /// When the frame in `partial` began.
    partial_since: Tick,
    stall: Option<Stall>,
    /// `partial` may begin with whole frames.
    has_backlog: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client sends no more, but is owed answers.
    Owed {
        until: Tick,
    },
    Closing {
        until: Tick,
    },
    Parting {
        until: Tick,
    },
    Over,
}

/// A receiver that did not take everything at once.
#[derive(Clone, Copy, Debug)]
struct Stall {
    since: Tick,
    drained: u64,
}

/// How long the last words may take to be sent, and how long the client then has to hang up.
const CLOSING_MS: u64 = 10_000;
const PARTING_MS: u64 = 1_000;

impl Connection {
    pub(super) fn new(
        worker: Rc<Worker>,
        read: OwnedReadHalf,
        outlet: Arc<Outlet>,
        session: Session,
        alarm: Rc<Alarm>,
    ) -> Connection {
        Connection {
            worker,
            read,
            outlet,
            session,
            alarm,
            phase: Phase::Open,
            partial: Vec::new(),
            needed: 0,
            charged: 0,
            partial_since: Tick(0),
            stall: None,
            has_backlog: false,
        }
    }

    fn poll_open(&mut self, context: &mut Context<'_>, now: Tick) -> Poll<()> {
        self.session.handle_news(&mut self.worker.dispatch.borrow_mut());
        if let Poll::Ready(false) = self.poll_output(context, now) {
            self.phase = Phase::Over;
            return Poll::Ready(());
        }
        if self.outlet.is_closed() {
            return self.close(now, Close::ByBroker);
        }
        if self.session.is_paused() {
            // What is not read cannot be late.
            self.partial_since = now;
        }
        if is_over(self.session.next_deadline(), now) {
            let timeout = self.session.handle_timeout(now, &mut self.worker.dispatch.borrow_mut());
            self.worker.want_flush();
            if let Err(close) = timeout {
                return self.close(now, close);
            }
        }
        if !self.partial.is_empty() && is_over(self.partial_deadline(), now) {
            self.session.reject_half_frame(&mut self.worker.dispatch.borrow_mut());
            return self.close(now, Close::HalfFrame);
        }
        if self.session.is_flooding() {
            return Poll::Pending;
        }
        self.poll_input(context, now)
    }

    /// `Ready(false)`: the socket is broken.
    fn poll_output(&mut self, context: &mut Context<'_>, now: Tick) -> Poll<bool> {
        if self.outlet.pending_bytes() == 0 {
            self.stall = None;
            return Poll::Ready(true);
        }
        let state = self.outlet.poll_drain(context);
        if state.is_ready() {
            self.stall = None;
            return state;
        }
        let drained = self.outlet.drained_bytes();
        match self.stall {
            Some(stall) if stall.drained == drained => {
                if is_over(self.stall_deadline(stall), now) {
                    self.outlet.cut(Cut::Stalled);
                }
            }
            _ => self.stall = Some(Stall { since: now, drained }),
        }
        Poll::Pending
    }

    fn poll_input(&mut self, context: &mut Context<'_>, now: Tick) -> Poll<()> {
        if std::mem::take(&mut self.has_backlog) {
            let bytes = std::mem::take(&mut self.partial);
            let handled = self.handle_owned_input(bytes, now);
            self.worker.want_flush();
            return match handled {
                Err(Close::Quit) => self.settle(now),
                Err(close) => self.close(now, close),
                Ok(()) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            };
        }
        loop {
            let in_place = self.needed <= READ_BYTES / 2;
            let worker = Rc::clone(&self.worker);
            let mut shared = worker.buffer.borrow_mut();
            let read = if in_place {
                shared.clear();
                shared.extend_from_slice(&self.partial);
                poll_read_buf(Pin::new(&mut self.read), context, &mut *shared)
            } else {
                poll_read_buf(Pin::new(&mut self.read), context, &mut self.partial)
            };
            match ready!(read) {
                // It may only have stopped sending: what it is still owed goes out.
                Ok(0) => {
                    drop(shared);
                    return self.settle(now);
                }
                Ok(_) => {}
                Err(_) => {
                    self.phase = Phase::Over;
                    return Poll::Ready(());
                }
            }
            let filled = if in_place {
                let is_full = shared.len() == shared.capacity();
                let partial = std::mem::take(&mut self.partial);
                self.handle_input(&shared, partial, now).map(|()| is_full || self.has_backlog)
            } else {
                let bytes = std::mem::take(&mut self.partial);
                if bytes.len() < self.needed {
                    self.session.note_input(now);
                    self.keep(bytes, self.needed, now, false).map(|()| false)
                } else {
                    self.handle_owned_input(bytes, now).map(|()| true)
                }
            };
            drop(shared);
            self.worker.want_flush();
            match filled {
                Err(Close::Quit) => return self.settle(now),
                Err(close) => return self.close(now, close),
                // There is probably more: let the turn end first.
                Ok(true) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(false) if self.session.is_flooding() => return Poll::Pending,
                Ok(false) => {}
            }
        }
    }

    /// `input` is `partial` with what was read behind it; the memory of `partial` is used again.
    fn handle_input(&mut self, input: &[u8], mut partial: Vec<u8>, now: Tick) -> Result<(), Close> {
        let taken = self.work_off(input, now)?;
        self.has_backlog = taken.is_cut_short;
        let rest = &input[taken.consumed..];
        let is_new = taken.consumed > 0 || partial.is_empty();
        if rest.is_empty() {
            partial = Vec::new();
        } else {
            partial.clear();
            partial.extend_from_slice(rest);
        }
        self.keep(partial, taken.needed, now, is_new)
    }

    fn work_off(&mut self, input: &[u8], now: Tick) -> Result<Taken, Close> {
        let started = self.worker.begin_read();
        let taken = self.session.handle_input(input, now, &mut self.worker.dispatch.borrow_mut());
        self.worker.end_read(started);
        taken
    }

    fn handle_owned_input(&mut self, mut bytes: Vec<u8>, now: Tick) -> Result<(), Close> {
        let taken = self.work_off(&bytes, now)?;
        self.has_backlog = taken.is_cut_short;
        let kept = if taken.consumed == bytes.len() {
            Vec::new()
        } else if taken.consumed == 0 {
            bytes
        } else {
            bytes.split_off(taken.consumed)
        };
        self.keep(kept, taken.needed, now, taken.consumed > 0)
    }

    /// Keep the beginning of a frame, with room for the rest of it.
    fn keep(
        &mut self,
        partial: Vec<u8>,
        needed: usize,
        now: Tick,
        is_new: bool,
    ) -> Result<(), Close> {
        if is_new {
            self.partial_since = now;
        }
        self.partial = partial;
        self.needed = if self.partial.is_empty() { 0 } else { needed };
        let missing = self.needed.saturating_sub(self.partial.len());
        if self.needed > READ_BYTES / 2 {
            // At most the rest of the frame, so that the next frame is read in place again; and not
            // much more than has arrived, so that an announcement alone costs nothing.
            let missing = missing.min(self.partial.len().max(READ_BYTES));
            self.partial.reserve_exact(missing);
        }
        let memory = self.partial.capacity();
        if memory == self.charged {
            return Ok(());
        }
        self.worker.limits.budget.release(self.charged);
        self.charged = memory;
        if self.worker.limits.budget.charge(memory) || memory <= READ_BYTES {
            return Ok(());
        }
        self.session.reject_for_memory(&mut self.worker.dispatch.borrow_mut());
        Err(Close::Memory)
    }

    /// The client has said its last; answers to what it asked for may still be on their way.
    fn settle(&mut self, now: Tick) -> Poll<()> {
        self.phase = Phase::Owed { until: Tick(now.0 + CLOSING_MS) };
        Poll::Ready(())
    }

    fn poll_owed(&mut self, context: &mut Context<'_>, now: Tick, until: Tick) -> Poll<()> {
        let is_broken = self.poll_output(context, now) == Poll::Ready(false);
        if self.outlet.awaits_answers()
            && !is_broken
            && !self.outlet.is_closed()
            && !is_over(until, now)
        {
            return Poll::Pending;
        }
        self.close(now, Close::ByClient)
    }

    fn close(&mut self, now: Tick, close: Close) -> Poll<()> {
        self.partial = Vec::new();
        self.worker.limits.budget.release(std::mem::take(&mut self.charged));
        self.session.handle_close(close, self.outlet.was_cut());
        // What the session had to say is still in the worker's buffers.
        self.worker.dispatch.borrow_mut().flush();
        self.outlet.close();
        self.phase = Phase::Closing { until: Tick(now.0 + CLOSING_MS) };
        Poll::Ready(())
    }

    fn poll_closing(&mut self, context: &mut Context<'_>, now: Tick, until: Tick) -> Poll<()> {
        match self.outlet.poll_drain(context) {
            Poll::Pending if !is_over(until, now) => Poll::Pending,
            Poll::Ready(true) if self.session.was_welcome() => {
                self.outlet.shut_down();
                self.phase = Phase::Parting { until: Tick(now.0 + PARTING_MS) };
                Poll::Ready(())
            }
            _ => {
                self.phase = Phase::Over;
                Poll::Ready(())
            }
        }
    }

    fn poll_parting(&mut self, context: &mut Context<'_>, now: Tick, until: Tick) -> Poll<()> {
        if is_over(until, now) {
            self.phase = Phase::Over;
            return Poll::Ready(());
        }
        let worker = Rc::clone(&self.worker);
        let mut shared = worker.buffer.borrow_mut();
        shared.clear();
        match ready!(poll_read_buf(Pin::new(&mut self.read), context, &mut *shared)) {
            Ok(0) | Err(_) => self.phase = Phase::Over,
            Ok(_) => {}
        }
        Poll::Ready(())
    }

    fn partial_deadline(&self) -> Tick {
        Tick(self.partial_since.0 + self.worker.context.timeouts.half_frame_ms)
    }

    fn stall_deadline(&self, stall: Stall) -> Tick {
        Tick(stall.since.0 + self.worker.context.timeouts.write_ms)
    }

    fn next_deadline(&self) -> Tick {
        match self.phase {
            Phase::Owed { until } | Phase::Closing { until } | Phase::Parting { until } => until,
            Phase::Over => Tick(0),
            Phase::Open => {
                let mut deadline = self.session.next_deadline();
                if !self.partial.is_empty() {
                    deadline = deadline.min(self.partial_deadline());
                }
                if let Some(stall) = self.stall {
                    deadline = deadline.min(self.stall_deadline(stall));
                }
                deadline
            }
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let connection = &mut *self;
        connection.outlet.register(context.waker());
        loop {
            let now = connection.worker.clock.tick();
            let step = match connection.phase {
                Phase::Open => connection.poll_open(context, now),
                Phase::Owed { until } => connection.poll_owed(context, now, until),
                Phase::Closing { until } => connection.poll_closing(context, now, until),
                Phase::Parting { until } => connection.poll_parting(context, now, until),
                Phase::Over => return Poll::Ready(()),
            };
            if step.is_pending() {
                connection.alarm.at.set(connection.next_deadline());
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.handle_end();
        self.outlet.shut_down();
        self.worker.limits.budget.release(self.charged);
        self.worker.clear_alarm(&self.alarm);
        self.worker.registry.leave(&self.outlet);
        self.worker.registry.dismiss(self.session.was_welcome());
    }
}
