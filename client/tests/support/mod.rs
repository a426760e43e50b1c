//! A broker that follows a script: what it expects, line by line, and what it says.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentcom_client::{ConnectOptions, Event};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longer than anything here takes: a test that waits for this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const INFO_AGENTCOM: &str = r#"INFO {"server_id":"S","version":"2.12.0","proto":1,"headers":true,"max_payload":1024,"x":{"name":"agentcom","version":"0.1.0","frames":[],"verbs":["task1","worker1","queue1","dead1"]}} "#;
const INFO_BINARY: &str = r#"INFO {"server_id":"S","version":"2.12.0","proto":1,"headers":true,"max_payload":1024,"x":{"name":"agentcom","version":"0.1.0","frames":["binary1"],"aliases_max":2,"verbs":["task1","worker1","queue1","dead1"]}} "#;
const INFO_NATS: &str =
    r#"INFO {"server_id":"S","version":"2.12.0","proto":1,"headers":true,"max_payload":1024} "#;

/// Listens on a free port.
pub(crate) struct Broker {
    listener: TcpListener,
    info: &'static str,
}

/// One client, after its handshake.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
    /// What the client said in CONNECT.
    pub(crate) connect: String,
}

impl Broker {
    pub(crate) async fn agentcom() -> Broker {
        Broker { listener: listener().await, info: INFO_AGENTCOM }
    }

    pub(crate) async fn nats() -> Broker {
        Broker { listener: listener().await, info: INFO_NATS }
    }

    /// It offers the binary framing, with two aliases.
    pub(crate) async fn binary() -> Broker {
        Broker { listener: listener().await, info: INFO_BINARY }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().expect("bound").to_string()
    }

    /// The next client, without a word to it.
    pub(crate) async fn accept_silently(&self) -> Peer {
        let (stream, _) = in_time(self.listener.accept()).await.expect("a client");
        stream.set_nodelay(true).expect("a TCP socket");
        Peer { stream: BufReader::new(stream), connect: String::new() }
    }

    /// The next client, up to its PING.
    pub(crate) async fn greet(&self) -> Peer {
        let mut peer = self.accept_silently().await;
        peer.say(self.info).await;
        peer.connect = peer.line().await;
        assert!(peer.connect.starts_with("CONNECT {"), "{}", peer.connect);
        peer.expect("PING").await;
        peer
    }

    /// The next client, which asks for the binary framing and is granted it.
    pub(crate) async fn accept_binary(&self) -> Peer {
        let mut peer = self.accept_silently().await;
        peer.say(self.info).await;
        peer.connect = peer.line().await;
        assert!(peer.connect.contains(r#""frame":"binary1""#), "{}", peer.connect);
        peer.expect_bytes(&[1, 0, 0, 0, 0, 0, 0, 0]).await;
        // In one write: what follows the line end is binary.
        peer.bytes(b"+OK\r\n\x02\0\0\0\0\0\0\0").await;
        peer
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> Peer {
        let mut peer = self.greet().await;
        peer.say("PONG").await;
        peer
    }

    /// A client of this broker with these options, and the other end of it.
    pub(crate) async fn client(&self, options: ConnectOptions) -> (agentcom_client::Client, Peer) {
        let (client, peer) = tokio::join!(options.connect(self.address()), self.accept());
        (client.expect("connected"), peer)
    }
}

impl Peer {
    /// The next bytes are these.
    pub(crate) async fn expect_bytes(&mut self, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        in_time(self.stream.read_exact(&mut found)).await.expect("the client is there");
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// Send a line.
    pub(crate) async fn say(&mut self, line: &str) {
        self.bytes(format!("{line}\r\n").as_bytes()).await;
    }

    /// Send bytes as they are.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.expect("the client is there");
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        in_time(self.stream.read_line(&mut line)).await.expect("the client is there");
        line.trim_end().to_owned()
    }

    /// The next line is this one.
    pub(crate) async fn expect(&mut self, line: &str) {
        assert_eq!(self.line().await, line);
    }

    /// The next line is this verb with any tag and these arguments; gives the tag.
    pub(crate) async fn expect_verb(&mut self, verb: &str, arguments: &str) -> String {
        let line = self.line().await;
        let rest = line.strip_prefix(verb).unwrap_or_else(|| panic!("{verb}, found {line:?}"));
        let (tag, found) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
        assert_eq!(found, arguments, "{line:?}");
        tag.to_owned()
    }

    /// The next line is this verb with any tag, then these arguments and anything else; gives the
    /// tag and what else there is.
    pub(crate) async fn expect_beginning(
        &mut self,
        verb: &str,
        beginning: &str,
    ) -> (String, String) {
        let line = self.line().await;
        let rest = line.strip_prefix(verb).unwrap_or_else(|| panic!("{verb}, found {line:?}"));
        let (tag, found) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
        let rest = found.strip_prefix(beginning).unwrap_or_else(|| panic!("{beginning}: {line:?}"));
        (tag.to_owned(), rest.to_owned())
    }

    /// Answer the PING that comes next: everything said before has arrived.
    pub(crate) async fn pong(&mut self) {
        self.expect("PING").await;
        self.say("PONG").await;
    }

    /// The client hangs up, and says nothing more before.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = String::new();
        in_time(self.stream.read_to_string(&mut rest)).await.expect("an end");
        assert_eq!(rest, "");
    }
}

/// Options whose events can be read, and where.
pub(crate) fn options_with_events() -> (ConnectOptions, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let sender = Arc::new(Mutex::new(sender));
    let options = ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback(move |event| {
            let _ = sender.lock().expect("no panic").send(event);
            async {}
        });
    (options, receiver)
}

/// The next event is this one.
pub(crate) async fn expect_event(events: &mut mpsc::UnboundedReceiver<Event>, expected: Event) {
    assert_eq!(in_time(events.recv()).await, Some(expected));
}

/// A future that a correct client lets finish.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("not stuck")
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}
