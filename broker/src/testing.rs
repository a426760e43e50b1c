//! A broker for tests of programs that use one: real in all but the disk and the time.
//!
//! It runs inside the test's own process, speaks the text protocol on a free port of the loopback
//! interface, and forgets everything when it is dropped. Its time stands still until
//! [`TestBroker::advance`]: delays, leases, back-offs and time limits are tried in no time.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use agentcom_broker::testing::TestBroker;
//!
//! let broker = TestBroker::start()?;
//! let client = agentcom_client::connect(broker.address()).await?;
//! let emails = client.queue("emails");
//! emails.enqueue("tomorrow").delay(Duration::from_secs(24 * 3600)).await?;
//! assert!(emails.lease(Duration::from_secs(30)).await?.is_none());
//! broker.advance(Duration::from_secs(24 * 3600)).await;
//! assert!(emails.lease(Duration::from_secs(30)).await?.is_some());
//! # Ok(()) }
//! ```
//!
//! What a client does by its own clock (heart-beats, reconnecting, time-outs of requests) goes by
//! the machine's time, and so do the broker's limits on connections (pings, slow readers). It has
//! no HTTP door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::commit::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::core::command::Command;
use crate::durable::Durable;
use crate::net::{self, Listener, Registry, WorkerHandle};
use crate::routing::Router;
use crate::server::{ServeError, context, core_config, start_workers};
use crate::session::Auth;
use crate::store::memory::MemoryStore;

/// See the module. Dropping it hangs up on all clients.
#[derive(Debug)]
pub struct TestBroker {
    address: SocketAddr,
    clock: VirtualClock,
    durable: Durable,
    registry: Arc<Registry>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestBroker {
    /// Start a broker with the default settings and nothing in it.
    ///
    /// # Errors
    /// [`ServeError`] when the system gives no port or no thread.
    pub fn start() -> Result<TestBroker, ServeError> {
        let config = Config { threads: 1, ..Config::default() };
        let clock = VirtualClock::start();
        let router = Arc::new(Router::new());
        let wound = Clock::wound_by(clock.clone());
        let core = core_config(&config);
        let store = MemoryStore::new();
        let durable = Durable::start_with_clock(core, store, Arc::clone(&router), wound, None)?;
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let registry = Arc::new(Registry::new());
        let auth = Auth::default();
        let context =
            Arc::new(context(&config, auth, address, Arc::clone(&router), durable.clone()));
        let workers = start_workers(&config, &context, &router, &registry, net::Clock::start())?;
        let (stop, stopped) = oneshot::channel();
        let connections_max = config.limits.connections_max;
        let door = Door { socket, registry: Arc::clone(&registry), connections_max };
        let thread = std::thread::Builder::new()
            .name("test-broker".into())
            .spawn(move || door.keep_open(workers, stopped))?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(TestBroker { address, clock, durable, registry, stop, thread })
    }

    /// Where it listens, for `agentcom_client::connect`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Let time pass, all at once, and wait until everything that is due by then has happened.
    /// (What that sets in motion counts from the new time: to see a task retried after each of
    /// several leases, advance several times.)
    pub async fn advance(&self, time: Duration) {
        self.clock.advance(time);
        // Whatever is due is handled in the turn of the next question, and answered with it.
        let question = Command::ListQueues { after: None, limit: 1 };
        let _ = self.durable.call(question).await;
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.durable.stop();
        drop(self.stop.take());
        self.registry.all().iter().for_each(|outlet| outlet.close());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the test broker's door ended by a panic");
        }
    }
}

/// Lets clients in until it is told to stop.
struct Door {
    socket: std::net::TcpListener,
    registry: Arc<Registry>,
    connections_max: usize,
}

impl Door {
    fn keep_open(self, workers: Vec<WorkerHandle>, stopped: oneshot::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the operating system gives a runtime to a test");
        let Door { socket, registry, connections_max } = self;
        runtime.block_on(async {
            let socket = TcpListener::from_std(socket).expect("the socket is non-blocking");
            let listener = Listener::new(socket, Arc::clone(&registry), connections_max);
            tokio::select! {
                () = listener.run(&workers) => {}
                _ = stopped => {}
            }
        });
        registry.all().iter().for_each(|outlet| outlet.close());
        workers.into_iter().for_each(WorkerHandle::join);
    }
}
