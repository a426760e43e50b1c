//! The door itself: accepts sockets and gives them to the workers in turn.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpListener;

use super::registry::Registry;
use super::worker::{NewConnection, WorkerHandle};

/// Accepts connections until it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    registry: Arc<Registry>,
    connections_max: usize,
    /// When a shortage was last logged.
    shortage_logged: Mutex<Option<Instant>>,
}

/// A peer whose machine or network is gone is noticed by the system after 10 + 3 × 5 seconds, and
/// unacknowledged bytes are given up after 25: both within the promised 30 seconds.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(25);
/// After an accept that failed because something ran out, wait instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A shortage that lasts is logged this often.
const SHORTAGE_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Descriptors kept for the store, the HTTP door, the log and the runtimes.
const DESCRIPTORS_RESERVED: u64 = 1024;

impl Listener {
    /// Wrap a bound socket.
    #[must_use]
    pub fn new(socket: TcpListener, registry: Arc<Registry>, connections_max: usize) -> Listener {
        Listener { socket, registry, connections_max, shortage_logged: Mutex::new(None) }
    }

    /// Accept for ever. Drop the future to stop.
    pub async fn run(&self, workers: &[WorkerHandle]) {
        let mut turn = 0;
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.note_shortage(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let is_welcome = self.registry.admit(self.connections_max);
            if !is_welcome && !self.registry.admit_to_refuse() {
                continue;
            }
            let socket = prepare(&stream).and_then(|()| stream.into_std());
            let given = socket.map(|socket| {
                turn = (turn + 1) % workers.len();
                workers[turn].give(NewConnection { socket, peer: peer.ip(), is_welcome })
            });
            if !given.is_ok_and(|is_given| is_given) {
                self.registry.dismiss(is_welcome);
                tracing::debug!(%peer, "a connection broke while it was accepted");
            }
        }
    }

    /// Say that accepting fails, but not twenty times a second.
    fn note_shortage(&self, error: &io::Error) {
        let mut logged = self.shortage_logged.lock();
        if logged.is_none_or(|at| at.elapsed() > SHORTAGE_LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!(%error, "cannot accept connections; trying again until it works");
        }
    }
}

fn prepare(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// Raise the process's limit of descriptors as far as it goes, and say how many connections it
/// leaves room for once the store and the other doors have theirs.
#[must_use]
pub fn descriptors_for_connections() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let reserved = DESCRIPTORS_RESERVED.min(current / 2);
    usize::try_from(current - reserved).unwrap_or(usize::MAX)
}
