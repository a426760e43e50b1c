//! How to connect: every choice with its default and the reason for it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentcom_protocol::Connect;

use crate::client::Client;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::event::{Event, EventCallback};
use crate::server_addr::{ServerAddr, ToServerAddrs};

/// Options for a connection; ends in [`ConnectOptions::connect`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// let client = agentcom_client::ConnectOptions::new()
///     .name("billing")
///     .ping_interval(Duration::from_secs(20))
///     .event_callback(|event| async move { eprintln!("{event}") })
///     .connect("127.0.0.1:4222")
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) name: Option<String>,
    pub(crate) credentials: Credentials,
    pub(crate) echo: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) connection_timeout: Duration,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    pub(crate) retry_on_initial_connect: bool,
    /// `None`: as many as it takes.
    pub(crate) reconnects_max: Option<usize>,
    pub(crate) reconnect_delay: Arc<dyn Fn(usize) -> Duration + Send + Sync>,
    pub(crate) subscription_capacity: usize,
    pub(crate) outbound_bytes_max: usize,
    pub(crate) inbox_prefix: String,
    pub(crate) text_framing: bool,
    pub(crate) event_callback: Option<EventCallback>,
}

/// Who connects. What is said here wins over what is written into an address.
#[derive(Clone)]
pub(crate) enum Credentials {
    None,
    Token(String),
    UserAndPassword { user: String, password: String },
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            name: None,
            credentials: Credentials::None,
            echo: true,
            ping_interval: Duration::from_secs(60),
            connection_timeout: Duration::from_secs(5),
            request_timeout: Some(Duration::from_secs(10)),
            drain_timeout: Duration::from_secs(30),
            retry_on_initial_connect: false,
            reconnects_max: None,
            reconnect_delay: Arc::new(reconnect_delay),
            subscription_capacity: 64 * 1024,
            outbound_bytes_max: 8 * 1024 * 1024,
            inbox_prefix: "_INBOX".to_owned(),
            text_framing: false,
            event_callback: None,
        }
    }
}

impl ConnectOptions {
    /// The defaults, which are those of the other NATS clients.
    #[must_use]
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    /// [`ConnectOptions::new`] and [`ConnectOptions::token`].
    #[must_use]
    pub fn with_token(token: String) -> ConnectOptions {
        ConnectOptions::new().token(token)
    }

    /// [`ConnectOptions::new`] and [`ConnectOptions::user_and_password`].
    #[must_use]
    pub fn with_user_and_password(user: String, password: String) -> ConnectOptions {
        ConnectOptions::new().user_and_password(user, password)
    }

    /// Connect to the first of `addrs` that answers, in the order given.
    ///
    /// Cancel-safe: a dropped call leaves no connection behind.
    ///
    /// # Errors
    /// [`ConnectErrorKind`] of the last address tried. With
    /// [`ConnectOptions::retry_on_initial_connect`] only a malformed address is an error.
    pub async fn connect(self, addrs: impl ToServerAddrs) -> Result<Client, ConnectError> {
        let servers = addrs.to_server_addrs()?;
        if servers.is_empty() {
            return Err(ConnectError::with_source(
                ConnectErrorKind::ServerParse,
                "the list of servers is empty",
            ));
        }
        Client::connect(self, servers).await
    }

    /// Authenticate with a token. Default: no credentials but those in the address.
    #[must_use]
    pub fn token(mut self, token: String) -> ConnectOptions {
        self.credentials = Credentials::Token(token);
        self
    }

    /// Authenticate with user name and password. Default: no credentials but those in the address.
    #[must_use]
    pub fn user_and_password(mut self, user: String, password: String) -> ConnectOptions {
        self.credentials = Credentials::UserAndPassword { user, password };
        self
    }

    /// The name that operators see beside the connection. Default: none.
    #[must_use]
    pub fn name(mut self, name: impl ToString) -> ConnectOptions {
        self.name = Some(name.to_string());
        self
    }

    /// Do not deliver this client's own messages to its own subscriptions. Default: deliver.
    #[must_use]
    pub fn no_echo(mut self) -> ConnectOptions {
        self.echo = false;
        self
    }

    /// How often to ask whether the server still lives; two questions without an answer break the
    /// connection. Default: 60 seconds, so a silent loss is noticed within three minutes.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> ConnectOptions {
        self.ping_interval = interval;
        self
    }

    /// How long one attempt to connect, handshake included, may take. Default: 5 seconds.
    #[must_use]
    pub fn connection_timeout(mut self, timeout: Duration) -> ConnectOptions {
        self.connection_timeout = timeout;
        self
    }

    /// How long a request, or a task operation, waits for its answer; `None` waits for ever.
    /// Default: 10 seconds.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Option<Duration>) -> ConnectOptions {
        self.request_timeout = timeout;
        self
    }

    /// How long [`Client::drain`] waits for subscribers to take their last messages. Default:
    /// 30 seconds.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> ConnectOptions {
        self.drain_timeout = timeout;
        self
    }

    /// Return a client at once and connect in the background. Default: the first connection must
    /// come up, because a wrong address or password is best noticed at the start.
    #[must_use]
    pub fn retry_on_initial_connect(mut self) -> ConnectOptions {
        self.retry_on_initial_connect = true;
        self
    }

    /// Attempts in a row before the client closes for good; `None` or 0 never gives up. Default:
    /// never.
    #[must_use]
    pub fn max_reconnects(mut self, attempts: impl Into<Option<usize>>) -> ConnectOptions {
        self.reconnects_max = attempts.into().filter(|&attempts| attempts > 0);
        self
    }

    /// How long to wait before the attempt with this number (from 1) since the connection was
    /// lost. Default: nothing before the first; then 8 ms doubling up to 4 s, each halved at
    /// random, so that a restarted server is found quickly and not by all clients at once.
    #[must_use]
    pub fn reconnect_delay_callback(
        mut self,
        delay: impl Fn(usize) -> Duration + Send + Sync + 'static,
    ) -> ConnectOptions {
        self.reconnect_delay = Arc::new(delay);
        self
    }

    /// Messages that may wait for one slow [`crate::Subscriber`]; more are dropped, with
    /// [`Event::SlowConsumer`]. Default: 65,536, as in the other NATS clients. At least 1.
    #[must_use]
    pub fn subscription_capacity(mut self, messages: usize) -> ConnectOptions {
        self.subscription_capacity = messages.max(1);
        self
    }

    /// Bytes that may wait for a connection while there is none; more are an error at once.
    /// Default: 8 MiB, which is what the Go client keeps: some seconds of steady traffic, so that
    /// a server's restart goes unnoticed, and not so much that a long outage fills the memory.
    /// (While connected, a publisher waits as soon as 256 KiB are in front of the socket.)
    #[must_use]
    pub fn outbound_bytes_max(mut self, bytes: usize) -> ConnectOptions {
        self.outbound_bytes_max = bytes;
        self
    }

    /// The first tokens of inboxes, for servers whose permissions tell clients apart by them.
    /// Default: `_INBOX`.
    #[must_use]
    pub fn custom_inbox_prefix(mut self, prefix: impl ToString) -> ConnectOptions {
        self.inbox_prefix = prefix.to_string();
        self
    }

    /// Speak lines of text even where the server offers the binary framing, which costs both ends
    /// less: for a look at what goes over the wire. Default: the binary framing where it is offered.
    #[must_use]
    pub fn text_framing(mut self) -> ConnectOptions {
        self.text_framing = true;
        self
    }

    /// Called with each [`Event`], one after another. Default: events are only logged. A callback
    /// that falls 128 events behind loses some.
    #[must_use]
    pub fn event_callback<F, Fut>(mut self, callback: F) -> ConnectOptions
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.event_callback = Some(Arc::new(move |event| Box::pin(callback(event))));
        self
    }

    /// The CONNECT for a server.
    pub(crate) fn to_connect(&self, server: &ServerAddr) -> Connect {
        let (user, pass, auth_token) = match (&self.credentials, server.credentials()) {
            (Credentials::Token(token), _) => (None, None, Some(token.clone())),
            (Credentials::UserAndPassword { user, password }, _) => {
                (Some(user.clone()), Some(password.clone()), None)
            }
            (Credentials::None, Some((user, Some(password)))) => {
                (Some(user.to_owned()), Some(password.to_owned()), None)
            }
            (Credentials::None, Some((token, None))) => (None, None, Some(token.to_owned())),
            (Credentials::None, None) => (None, None, None),
        };
        Connect {
            verbose: false,
            pedantic: false,
            echo: self.echo,
            protocol: 1,
            headers: true,
            no_responders: true,
            user,
            pass,
            auth_token,
            name: self.name.clone(),
            lang: Some("rust".to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Connect::default()
        }
    }
}

/// See [`ConnectOptions::reconnect_delay_callback`].
fn reconnect_delay(attempt: usize) -> Duration {
    const FIRST: Duration = Duration::from_millis(8);
    const DELAY_MAX: Duration = Duration::from_secs(4);
    // 2^9 * 8 ms is the limit, so no larger shift is needed.
    const DOUBLINGS_MAX: usize = 9;
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let delay = (FIRST * (1 << (attempt - 2).min(DOUBLINGS_MAX))).min(DELAY_MAX);
    delay.mul_f64(rand::random_range(0.5..=1.0))
}

/// Credentials stay out of logs.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("name", &self.name)
            .field("echo", &self.echo)
            .field("ping_interval", &self.ping_interval)
            .field("connection_timeout", &self.connection_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("reconnects_max", &self.reconnects_max)
            .field("subscription_capacity", &self.subscription_capacity)
            .field("outbound_bytes_max", &self.outbound_bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_credentials_in_the_address() {
        let server: ServerAddr = "nats://u:p@h".parse().expect("an address");
        let connect = ConnectOptions::new().to_connect(&server);
        assert_eq!((connect.user.as_deref(), connect.pass.as_deref()), (Some("u"), Some("p")));
        let connect = ConnectOptions::with_token("t".to_owned()).to_connect(&server);
        assert_eq!((connect.user, connect.auth_token.as_deref()), (None, Some("t")));
    }

    #[test]
    fn the_first_attempt_is_at_once_and_the_delay_is_bounded() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        assert!(reconnect_delay(2) <= Duration::from_millis(8));
        let long = reconnect_delay(1_000_000);
        assert!(long >= Duration::from_secs(2) && long <= Duration::from_secs(4), "{long:?}");
    }
}
