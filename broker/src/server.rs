//! Starts the shells, connects them to the core, and stops them in order.
//!
//! Start: store, core (whole before anybody can connect), workers, doors, banner. Stop: doors take
//! nobody in, the durable plane finishes and syncs what it took in, its answers go out, clients
//! are hung up on. An errand (`errand.rs`) is done in between the two, with the same sockets.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Mode;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::banner::Banner;
use crate::commit::{Health, clock};
use crate::config::Config;
use crate::core::command::{Command, Rejection, Reply, SessionId};
use crate::core::limits::CoreConfig;
use crate::durable::{Durable, PushTo};
use crate::http::{self, DurableCalls, HttpSettings, HttpState};
use crate::logging::Log;
use crate::metrics::{Histogram, Metrics};
use crate::monitor::Monitor;
use crate::net::{
    Budget, Clock, Listener, OutletLimits, Registry, WorkerHandle, descriptors_for_connections,
};
use crate::operator::{Operator, OperatorError};
use crate::ports_file::{self, Ports};
use crate::push::{self, Push, PushError};
use crate::quota::Accounts;
use crate::rounds;
use crate::routing::Router;
use crate::session::{Auth, Context, LameDuck, Timeouts};
use crate::settings::LimitSettings;
use crate::store::StoreError;
use crate::store::rocks::RocksStore;
use crate::traces::Traces;
#[cfg(feature = "otlp")]
use crate::traces::{self, Batches, otlp::Exporter};
use crate::upkeep;
use agentcom_protocol::{Extension, Limits, ServerInfo, binary};

/// Why the broker could not start, or had to stop. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The operator's token could not be read or kept.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Web push could not begin.
    #[error(transparent)]
    Push(#[from] PushError),
    /// Spans cannot be sent where the configuration says.
    #[error("`traces.otlp_endpoint` cannot be used: {0}")]
    Traces(String),
    /// The store could not be opened or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed while running.
    #[error(
        "the store failed, so nothing durable can be promised any more: {reason}; what was acknowledged is on disk, start again to reopen it"
    )]
    StoreFailed {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// The store did not finish its last sync in time.
    #[error(
        "the store did not finish within shutdown_ms, so the broker gave up waiting; what was acknowledged is on disk"
    )]
    StoreHangs,
    /// An address is not to be had.
    #[error("cannot listen on {address}: {source}; choose another with {flag}, port 0 takes any")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The ports file could not be written.
    #[error("cannot write the ports file {path}: {source}", path = path.display())]
    PortsFile {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no thread, runtime or signal handler.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// The NATS version whose client protocol is spoken; clients gate features on it.
const NATS_VERSION: &str = concat!("2.12.0-agentcom.", env!("CARGO_PKG_VERSION"));
/// Families of verbs, each with the version of its meaning.
const VERBS: [&str; 12] = [
    "task1",
    "worker1",
    "dead1",
    "queue1",
    "schedule1",
    "message1",
    "mailbox1",
    "channel1",
    "presence1",
    "config1",
    "backup1",
    "store1",
];
/// After the store failed, routing goes on for this long, so that everybody who waits for an answer
/// has it before the process ends.
const STORE_FAILURE_GRACE: Duration = Duration::from_secs(2);
/// How often the store's health is looked at, and a stop looks whether everybody is gone.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Run the broker until it is told to stop by SIGINT or SIGTERM, or the store fails.
///
/// # Errors
/// [`ServeError`]; the process should exit with a code that is not 0.
pub fn run(config: &Config, log: &Log) -> Result<(), ServeError> {
    // Whatever the broker makes is for its own user, also in a folder that others may enter.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let (operator, new_token) = Operator::open(&config.data_dir)?;
    upkeep::make_room(&config.data_dir, config.disk());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Kept through all of it: who asks for a stop in between is heard afterwards.
    let mut signals = Signals::listen(&runtime)?;
    let mut sockets = None;
    let mut new_token = new_token.as_deref();
    let outcome = loop {
        let store = RocksStore::open(config.data_dir.join("store"))?;
        let router = Arc::new(Router::new());
        let push = Arc::new(Push::open(&config.data_dir, config.push())?);
        let durable =
            Durable::start(core_config(config), store, Arc::clone(&router), config.upkeep())?;
        let core = (router, durable.clone(), push);
        let known = (operator.clone(), new_token);
        let outcome = runtime.block_on(serve(config, log, known, sockets, &mut signals, core));
        if !matches!(outcome, Err(ServeError::StoreHangs)) {
            durable.stop();
        }
        match outcome {
            Ok(End::Again(same)) => (sockets, new_token) = (Some(same), None),
            Ok(End::Stopped) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Tasks of the doors that are still waiting for a peer are not worth waiting for.
    runtime.shutdown_background();
    outcome
}

/// How serving ended.
enum End {
    /// For good.
    Stopped,
    /// To begin anew, with the same sockets.
    Again(Sockets),
}

/// What the operator says by signals.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    lame_duck: Signal,
}

impl Signals {
    fn listen(runtime: &Runtime) -> io::Result<Signals> {
        let _inside = runtime.enter();
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            lame_duck: signal(SignalKind::user_defined2())?,
        })
    }
}

/// What the broker listens on. While its services start anew, new connections wait there.
struct Sockets {
    tcp: std::net::TcpListener,
    http: std::net::TcpListener,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Sockets, ServeError> {
        let tcp = bind(config.listen, "--listen").await?.into_std()?;
        let http = bind(config.http_listen, "--http-listen").await?.into_std()?;
        Ok(Sockets { tcp, http })
    }

    fn listeners(&self) -> io::Result<(TcpListener, TcpListener)> {
        let tcp = TcpListener::from_std(self.tcp.try_clone()?)?;
        Ok((tcp, TcpListener::from_std(self.http.try_clone()?)?))
    }
}

async fn serve(
    config: &Config,
    log: &Log,
    (operator, new_token): (Operator, Option<&str>),
    sockets: Option<Sockets>,
    signals: &mut Signals,
    (router, durable, push): (Arc<Router>, Durable, Arc<Push>),
) -> Result<End, ServeError> {
    let sockets = match sockets {
        Some(sockets) => sockets,
        None => Sockets::bind(config).await?,
    };
    let (tcp, http_socket) = sockets.listeners()?;
    let addresses = Ports { tcp: tcp.local_addr()?, http: http_socket.local_addr()? };

    let registry = Arc::new(Registry::new());
    let auth = Auth::new(config.auth.clone(), operator.clone(), Arc::clone(durable.keyring()));
    let context =
        Arc::new(context(config, auth, addresses.tcp, Arc::clone(&router), durable.clone()));
    let clock = Clock::start();
    let workers = start_workers(config, &context, &router, &registry, clock)?;
    let connections_max = config.limits.connections_max.min(descriptors_for_connections());
    let listener = Listener::new(tcp, Arc::clone(&registry), connections_max);
    let (stop_http, http_stops) = watch::channel(false);
    let (errands, mut handed_in) = mpsc::channel(1);
    let traces = Arc::new(Traces::default());
    let monitor = Monitor::new(
        Arc::clone(&context),
        Arc::clone(&registry),
        addresses,
        connections_max,
        (Arc::clone(&push), Arc::clone(&traces)),
        clock,
    );
    let http_state = HttpState {
        durable: durable.clone(),
        admits: Arc::new(move |token: &str| operator.admits(token)),
        admins: config.legacy.admin_agents.0.clone().into(),
        cooldowns: Arc::default(),
        accounts: Arc::clone(&context.accounts),
        clock,
        mistakes: Arc::default(),
        routed: Arc::default(),
        lookout: Arc::clone(durable.lookout()),
        snapshots: Arc::default(),
        figures: {
            let durable = durable.clone();
            Arc::new(move || durable.figures())
        },
        agents_connected: {
            let durable = durable.clone();
            Arc::new(move || durable.sessions())
        },
        push: Arc::clone(&push),
        monitor: Arc::new(monitor),
        log: log.clone(),
        errands,
        settings: HttpSettings::from(config),
    };
    // Before anybody comes in.
    if let Err(rejection) = LimitSettings::default().take_over(&durable, &context.accounts).await {
        tracing::warn!(%rejection, "what was set about limits cannot be read; the defaults apply");
    }
    let sights = durable.lookout().follow_rare();
    let looked_at = http_state.clone();
    let pushing =
        tokio::spawn(push::go(push, sights, async move || http::health(&looked_at).await));
    let recording = record_traces(config, traces, &durable)?;
    let http_door = tokio::spawn(http::serve(http_socket, http_state, http_stops));
    let rounds = tokio::spawn(rounds::go(Arc::clone(&context), log.clone()));

    if let Some(path) = &config.ports_file {
        ports_file::write(path, &addresses)
            .map_err(|source| ServeError::PortsFile { path: path.clone(), source })?;
    }
    Banner {
        tcp: addresses.tcp,
        http: addresses.http,
        data_dir: &config.data_dir,
        auth: &config.auth,
        new_token,
    }
    .show();
    tracing::info!(tcp = %addresses.tcp, http = %addresses.http, "listening");

    let Signals { interrupt, terminate, lame_duck } = signals;
    let (mut is_lame, mut errand) = (false, None);
    let mut outcome = tokio::select! {
        () = listener.run(&workers) => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        reason = store_failure(&durable) => {
            tracing::error!(%reason, "the store failed; durable requests are refused, routing goes on until the exit");
            tokio::time::sleep(STORE_FAILURE_GRACE).await;
            Err(ServeError::StoreFailed { reason })
        }
        _ = lame_duck.recv() => {
            is_lame = true;
            Ok(())
        }
        Some(handed_in) = handed_in.recv() => {
            errand = Some(handed_in);
            Ok(())
        }
    };
    drop(listener);
    // Kept open only if somebody will listen again.
    let sockets = errand.is_some().then_some(sockets);
    if is_lame {
        tracing::info!("lame duck: no new connections; clients are told to go elsewhere");
        context.lame_duck.raise();
        registry.all().iter().for_each(|outlet| outlet.wake());
        tokio::select! {
            () = everybody_is_gone(&registry) => {}
            () = tokio::time::sleep(config.timeouts.lame_duck) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            reason = store_failure(&durable) => outcome = Err(ServeError::StoreFailed { reason }),
        }
    }
    tracing::info!(again = errand.is_some(), "stopping");
    rounds.abort();
    pushing.abort();
    if let Some(recording) = recording {
        recording.abort();
    }
    let _ = stop_http.send(true);
    let stopping = durable.clone();
    let stopped = tokio::task::spawn_blocking(move || stopping.stop());
    if tokio::time::timeout(config.timeouts.shutdown, stopped).await.is_err() {
        return Err(ServeError::StoreHangs);
    }
    registry.all().iter().for_each(|outlet| outlet.close());
    if let Some(errand) = errand {
        let config = config.clone();
        let run = move || errand.run(&config, clock::unix_ms());
        // A panic has ended the process already.
        let _ = tokio::task::spawn_blocking(run).await;
    }
    let hung_up = async {
        everybody_is_gone(&registry).await;
        let _ = http_door.await;
    };
    if tokio::time::timeout(config.timeouts.shutdown, hung_up).await.is_err() {
        tracing::warn!(connections = registry.len(), "some clients did not hang up in time");
    } else {
        workers.into_iter().for_each(WorkerHandle::join);
    }
    outcome.map(|()| sockets.map_or(End::Stopped, End::Again))
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, flag, source })
}

pub(crate) fn start_workers(
    config: &Config,
    context: &Arc<Context>,
    router: &Arc<Router>,
    registry: &Arc<Registry>,
    clock: Clock,
) -> io::Result<Vec<WorkerHandle>> {
    let count = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let limits = Arc::new(OutletLimits {
        pending_bytes_max: config.limits.pending_bytes_max,
        budget: Budget::new(config.limits.memory_bytes_max),
    });
    (0..count)
        .map(|number| {
            let (context, router) = (Arc::clone(context), Arc::clone(router));
            let (limits, registry) = (Arc::clone(&limits), Arc::clone(registry));
            WorkerHandle::start(number, context, router, limits, registry, clock)
        })
        .collect()
}

pub(crate) fn context(
    config: &Config,
    auth: Auth,
    tcp: SocketAddr,
    router: Arc<Router>,
    durable: Durable,
) -> Context {
    let timeouts = &config.timeouts;
    Context {
        auth,
        info: ServerInfo {
            server_id: format!("{:016X}", rand::random::<u64>()),
            server_name: "agentcom".to_owned(),
            version: NATS_VERSION.to_owned(),
            proto: 1,
            host: tcp.ip().to_string(),
            port: tcp.port(),
            headers: true,
            max_payload: config.limits.payload_bytes_max,
            x: Some(Extension {
                name: "agentcom".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                frames: vec![binary::NAME.to_owned()],
                aliases_max: config.limits.aliases_max,
                verbs: VERBS.map(str::to_owned).to_vec(),
            }),
            ..ServerInfo::default()
        },
        limits: Limits {
            control_line_bytes_max: config.limits.control_line_bytes_max,
            payload_bytes_max: config.limits.payload_bytes_max,
        },
        subscriptions_max: config.limits.subscriptions_max,
        aliases_max: config.limits.aliases_max,
        subject_tokens_max: config.limits.subject_tokens_max,
        timeouts: Timeouts {
            auth_ms: milliseconds(timeouts.auth),
            ping_interval_ms: milliseconds(timeouts.ping_interval),
            ping_max: u32::try_from(timeouts.ping_max).unwrap_or(u32::MAX),
            half_frame_ms: milliseconds(timeouts.half_frame),
            write_ms: milliseconds(timeouts.write),
        },
        router,
        accounts: Arc::new(Accounts::new(
            config.quotas.quota(),
            config.rates.rates(),
            config.quotas.identities_max,
        )),
        durable,
        process: process_name(),
        metrics: Metrics::default(),
        reads: Histogram::quick(),
        lame_duck: LameDuck::default(),
    }
}

/// The time of the start in base 36: no two processes on one store start in the same millisecond.
fn process_name() -> Box<str> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut rest = since.as_millis();
    let mut digits = Vec::new();
    while rest > 0 {
        let digit = u32::try_from(rest % 36).expect("less than 36");
        digits.extend(char::from_digit(digit, 36));
        rest /= 36;
    }
    digits.iter().rev().collect::<String>().into()
}

pub(crate) fn core_config(config: &Config) -> CoreConfig {
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    CoreConfig {
        offer_ms: milliseconds(config.tasks.offer),
        grace_ms: milliseconds(config.tasks.grace),
        restart_grace_ms: milliseconds(config.tasks.restart_grace),
        cancel_ms: milliseconds(config.tasks.cancel),
        starve_ms: milliseconds(config.tasks.starve),
        releases_max: u32::try_from(config.tasks.releases_max).unwrap_or(u32::MAX),
        queue_tasks_max: many(config.tasks.queue_tasks_max),
        open_tasks_max: many(config.tasks.open_tasks_max),
        waiting_max: config.tasks.waiting_max,
        watches_max: config.tasks.watches_max,
        ..CoreConfig::default()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn store_failure(durable: &Durable) -> Arc<str> {
    loop {
        if let Health::Refusing { reason } = durable.health() {
            return reason;
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

async fn everybody_is_gone(registry: &Registry) {
    while !registry.is_empty() {
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

impl DurableCalls for Durable {
    fn call(&self, command: Command) -> impl Future<Output = Result<Reply, Rejection>> + Send {
        Durable::call(self, command)
    }

    fn open(&self) -> SessionId {
        self.open_session()
    }

    fn ask(
        &self,
        session: SessionId,
        command: Command,
        push_to: Option<PushTo>,
    ) -> impl Future<Output = Result<Reply, Rejection>> + Send {
        self.call_as(session, command, push_to)
    }

    fn leave(&self, session: SessionId) {
        Durable::leave(self, session);
    }
}
/// Spans of tasks go to the collector that the configuration names, if it does.
#[cfg(feature = "otlp")]
fn record_traces(
    config: &Config,
    traces: Arc<Traces>,
    durable: &Durable,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(endpoint) = &config.traces.otlp_endpoint else { return Ok(None) };
    let exporter = Exporter::new(endpoint.spans(), config.traces.timeout);
    let exporter = exporter.map_err(|error| ServeError::Traces(error.to_string()))?;
    let batches = Batches { spans_max: config.traces.batch_max, gather: traces::GATHER };
    let trails = durable.lookout().follow_trails();
    let durable = durable.clone();
    let headers = async move |task| match durable.call(Command::Show { task }).await {
        Ok(Reply::Task(view)) => view.headers,
        // It was forgotten meanwhile.
        _ => None,
    };
    let export = async move |spans| exporter.send(spans).await;
    Ok(Some(tokio::spawn(traces::go(traces, batches, trails, headers, export))))
}

/// Without OTLP the configuration cannot name a collector.
#[cfg(not(feature = "otlp"))]
fn record_traces(
    _: &Config,
    _: Arc<Traces>,
    _: &Durable,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    Ok(None)
}
