//! A socket that does not wait for ever: it fails with `TimedOut` when its peer is too slow.
//!
//! ```text
//!         first byte        headers complete      response ready
//!  Idle ------------> Header -------------> Handling -----------> Answer
//!    ^                                                               |
//!    +---------------------- response written -----------------------+
//! ```
//!
//! A connection starts in `Header`: whoever connects has something to say. Each stage has one
//! deadline, which dribbling does not move. `Handling` has none here: the body has its own, and
//! the durable plane always answers. hyper's header time-out would do for the first stage alone;
//! it also cuts idle connections, which legacy clients need for longer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::HttpSettings;

const HEADER: u8 = 0;
const HANDLING: u8 = 1;
const ANSWER: u8 = 2;
const IDLE: u8 = 3;

/// Where a connection is, shared by its socket and its service. Only their one task touches it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage(Arc<AtomicU8>);

impl Stage {
    /// The headers of a request are complete.
    pub(super) fn handling(&self) {
        self.set(HANDLING);
    }

    /// The response is ready to be written.
    pub(super) fn answer(&self) {
        self.set(ANSWER);
    }

    fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    fn is(&self, stage: u8) -> bool {
        self.0.load(Ordering::Relaxed) == stage
    }
}

/// A socket with deadlines.
pub(super) struct PatientStream {
    inner: TcpStream,
    stage: Stage,
    settings: HttpSettings,
    /// The stage that `deadline` belongs to.
    timed: u8,
    deadline: Pin<Box<Sleep>>,
}

impl PatientStream {
    /// `inner`, just accepted.
    pub(super) fn new(inner: TcpStream, stage: Stage, settings: HttpSettings) -> Self {
        let deadline = Box::pin(sleep_until(Instant::now() + settings.header));
        Self { inner, stage, settings, timed: HEADER, deadline }
    }

    /// The socket is not ready: wait for it, but not beyond the deadline of the stage.
    fn poll_deadline<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let stage = self.stage.0.load(Ordering::Relaxed);
        let patience = match stage {
            HEADER => self.settings.header,
            ANSWER => self.settings.body,
            IDLE => self.settings.idle,
            _ => {
                self.timed = stage;
                return Poll::Pending;
            }
        };
        if self.timed != stage {
            self.timed = stage;
            self.deadline.as_mut().reset(Instant::now() + patience);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_pending() {
            return self.poll_deadline(cx);
        }
        if buffer.filled().len() > before && self.stage.is(IDLE) {
            self.stage.set(HEADER);
        }
        read
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Pending => self.poll_deadline(cx),
            written => written,
        }
    }

    /// hyper flushes when everything it has is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        if self.stage.is(ANSWER) {
            self.stage.set(IDLE);
            // hyper may not read again before it is woken; so the deadline must do that.
            let _: Poll<io::Result<()>> = self.poll_deadline(cx);
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
