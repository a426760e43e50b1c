//! Web push: what arrives at a push service, as a browser would read it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use agentcom_tests::{Broker, Options, QUIET, Socket, oracle, until};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::{aead, hkdf, signature};
use serde_json::{Value, json};

use crate::http::{JSON, register};

const SUBSCRIBE: &str = "/api/dashboard/push-subscribe";
/// Far more than anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A push service that says the same to everybody.
struct Service {
    address: SocketAddr,
    requests: Receiver<Request>,
}

struct Request {
    path: String,
    /// In lower case, but for what stands behind the colon.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Service {
    fn start(answer: &'static str) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some(request) = Request::read(&mut stream) else { continue };
                let head = "Content-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n";
                let _ = write!(stream, "HTTP/1.1 {answer}\r\n{head}Connection: close\r\n\r\n");
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Service { address, requests }
    }

    #[track_caller]
    fn expect(&self) -> Request {
        self.requests.recv_timeout(DEADLINE).expect("a message from the broker")
    }
}

impl Request {
    fn read(stream: &mut TcpStream) -> Option<Request> {
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        let mut lines = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            lines.read_line(&mut line).ok().map(|_| line.trim_end().to_owned())
        };
        let first = line()?;
        let path = first.strip_prefix("POST ")?.strip_suffix(" HTTP/1.1")?.to_owned();
        let mut headers = Vec::new();
        while let Some((name, value)) = line()?.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let size = headers.iter().find(|(name, _)| name == "content-length")?;
        let mut body = vec![0; size.1.parse().ok()?];
        lines.read_exact(&mut body).ok()?;
        Some(Request { path, headers, body })
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).1
    }
}

/// A browser that reads one message: its key is used up by that.
struct Browser {
    private: EphemeralPrivateKey,
    public: Vec<u8>,
}

const AUTH: [u8; 16] = *b"sixteen of these";

impl Browser {
    fn new() -> Browser {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().to_vec();
        Browser { private, public }
    }

    /// Its subscription, as a browser writes it.
    fn subscription(&self, endpoint: &str) -> Value {
        let keys = json!({"p256dh": base64(&self.public), "auth": base64(&AUTH)});
        json!({"endpoint": endpoint, "expirationTime": null, "keys": keys})
    }

    /// What `body` says: RFC 8291, section 4, read backwards.
    #[track_caller]
    fn open(self, body: &[u8]) -> Value {
        let (salt, rest) = body.split_at(16);
        assert_eq!(rest[..4], 4_096_u32.to_be_bytes());
        let (sender, sealed) = rest[5..].split_at(rest[4].into());
        let theirs = UnparsedPublicKey::new(&ECDH_P256, sender);
        let public = self.public;
        let input = agree_ephemeral(self.private, &theirs, |secret| {
            let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &AUTH).extract(secret);
            expand::<32>(&prk, &[b"WebPush: info\0", &public, sender])
        });
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&input.unwrap());
        let key = expand::<16>(&prk, &[b"Content-Encoding: aes128gcm\0"]);
        let nonce = expand::<12>(&prk, &[b"Content-Encoding: nonce\0"]);
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap());
        let mut sealed = sealed.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let text = key.open_in_place(nonce, aead::Aad::empty(), &mut sealed).expect("my message");
        let (mark, text) = text.split_last().expect("the mark of the last record");
        assert_eq!(*mark, 2);
        serde_json::from_slice(text).expect("JSON")
    }
}

fn expand<const BYTES: usize>(prk: &hkdf::Prk, info: &[&[u8]]) -> [u8; BYTES] {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut bytes = [0; BYTES];
    prk.expand(info, Length(BYTES)).unwrap().fill(&mut bytes).unwrap();
    bytes
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unbase64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn public_key(broker: &Broker) -> String {
    let answer = broker.http_get("/api/dashboard/vapid-key", "").json();
    answer["vapid_public_key"].as_str().expect("a key").to_owned()
}

#[track_caller]
fn subscribe(broker: &Broker, service: &Service, path: &str) -> Browser {
    let browser = Browser::new();
    let subscription = browser.subscription(&format!("http://{}{path}", service.address));
    let headers = broker.bearer() + JSON;
    let answer = broker.http_post(SUBSCRIBE, &headers, &subscription.to_string());
    answer.expect(200, &json!({"status": "subscribed"}));
    browser
}

/// The value of a metric, once it is `expected`.
#[track_caller]
fn await_metric(broker: &Broker, line: &str) {
    let metrics = || broker.http_get("/metrics", &broker.bearer()).body;
    let found = until(|| metrics().lines().any(|found| found == line).then_some(()));
    assert!(found.is_some(), "{line} is not in\n{}", metrics());
}

fn set_thresholds(broker: &mut Broker, thresholds: &Value) {
    let headers = broker.bearer() + JSON;
    let path = "/api/config/alert-thresholds";
    let answer = broker.http_put(path, &headers, &thresholds.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    // What was set counts at once after a start.
    broker.kill();
    broker.start_again();
}

#[test]
fn an_alert_reaches_the_browser_sealed_and_signed_and_ends_a_subscription_that_is_over() {
    if oracle::skips("it has no web push") {
        return;
    }
    let mut broker = Broker::start(Options::default().local_push());
    let service = Service::start("410 Gone");
    set_thresholds(
        &mut broker,
        &json!({"check_interval_ms": 100, "queued_tasks_count": 1, "disk_used_pct": 100}),
    );
    let browser = subscribe(&broker, &service, "/push/a?b=c");
    await_metric(&broker, "agentcom_push_subscriptions 1");
    let mut wire = broker.connect(QUIET);
    for _ in 0..2 {
        wire.submit("jobs", "x");
    }
    let request = service.expect();
    assert_eq!(request.path, "/push/a?b=c");
    assert_eq!(request.header("content-encoding"), "aes128gcm");
    assert_eq!(request.header("host"), service.address.to_string());
    assert!(request.header("ttl").parse::<u32>().is_ok());
    assert_eq!(
        browser.open(&request.body),
        json!({"title": "AgentCom WARNING", "body": "2 tasks wait; 1 are expected",
            "icon": "/favicon.ico",
            "data": {"rule_id": "queue_backlog", "severity": "warning"}})
    );

    let token = request.header("authorization").strip_prefix("vapid t=").expect("a token");
    let (token, key) = token.split_once(", k=").expect("a key");
    assert_eq!(key, public_key(&broker));
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, unbase64(key))
        .verify(signed.as_bytes(), &unbase64(signature))
        .expect("a good signature");
    let (_, claims) = signed.split_once('.').expect("claims");
    let claims: Value = serde_json::from_slice(&unbase64(claims)).unwrap();
    assert_eq!(claims["aud"], format!("http://{}", service.address));
    assert_eq!(claims["sub"], "mailto:admin@agentcom.local");

    await_metric(&broker, "agentcom_push_gone_total 1");
    await_metric(&broker, "agentcom_push_subscriptions 0");
    broker.kill();
    broker.start_again();
    await_metric(&broker, "agentcom_push_subscriptions 0");
}

#[test]
fn a_subscription_outlives_the_broker_and_hears_of_an_agent_that_left() {
    if oracle::skips("it has no web push") {
        return;
    }
    let mut broker = Broker::start(Options::default().local_push());
    let service = Service::start("201 Created");
    let browser = subscribe(&broker, &service, "/a");
    let key = public_key(&broker);
    // No alert comes between.
    set_thresholds(&mut broker, &json!({"check_interval_ms": 3_600_000}));
    assert_eq!(public_key(&broker), key);
    drop(Socket::identify(&broker, "ann", &register(&broker, "ann").1));
    let note = browser.open(&service.expect().body);
    assert_eq!(
        (&note["title"], &note["body"]),
        (&"AgentCom Alert".into(), &"Agent offline: ann".into())
    );
    await_metric(&broker, "agentcom_push_sent_total 1");
    await_metric(&broker, "agentcom_push_subscriptions 1");

    broker.run_well(&["backup", "create"]);
    broker.terminate();
    let data = broker.folder().join("data");
    for name in ["vapid.pem", "push.json"] {
        std::fs::remove_file(data.join(name)).expect("lose it");
    }
    broker.run_well(&["backup", "restore", "latest", "--data-dir", data.to_str().expect("text")]);
    broker.start_again();
    assert_eq!(public_key(&broker), key);
    await_metric(&broker, "agentcom_push_subscriptions 1");
}

#[test]
fn a_service_that_declines_is_asked_again_with_the_next_message_and_not_followed() {
    if oracle::skips("it has no web push") {
        return;
    }
    let mut broker = Broker::start(Options::default().local_push());
    let service = Service::start("307 Temporary Redirect");
    set_thresholds(&mut broker, &json!({"check_interval_ms": 3_600_000}));
    subscribe(&broker, &service, "/a");
    for (agent, failed) in [("ann", 1), ("bob", 2)] {
        drop(Socket::identify(&broker, agent, &register(&broker, agent).1));
        service.expect();
        await_metric(&broker, &format!("agentcom_push_failed_total {failed}"));
    }
    await_metric(&broker, "agentcom_push_subscriptions 1");
}

#[test]
fn nobody_is_subscribed_who_is_no_admin_or_names_what_only_the_broker_can_reach() {
    if oracle::skips("it has no web push") {
        return;
    }
    let broker = Broker::start(Options::default());
    let good = Browser::new().subscription("https://push.example/a").to_string();
    assert_eq!(broker.http_post(SUBSCRIBE, JSON, &good).status, 401);
    let (ann, _) = register(&broker, "ann");
    assert_eq!(broker.http_post(SUBSCRIBE, &(ann + JSON), &good).status, 403);

    let admin = broker.bearer() + JSON;
    for endpoint in [
        "http://push.example/a",
        "http://127.0.0.1:9/a",
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/",
        "https://localhost/",
        "https://0x7f.1/",
        "file:///etc/passwd",
        "x",
        "",
    ] {
        let body = Browser::new().subscription(endpoint).to_string();
        let answer = broker.http_post(SUBSCRIBE, &admin, &body);
        assert_eq!(answer.status, 400, "{endpoint}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["field"], "endpoint", "{endpoint}: {answer:?}");
    }
    let mut bad: Value = serde_json::from_str(&good).unwrap();
    for (keys, field) in [
        (json!({}), "keys.p256dh"),
        (json!([]), "keys"),
        (json!({"p256dh": bad["keys"]["p256dh"], "auth": "x"}), "keys.auth"),
        (Value::Null, "keys"),
    ] {
        bad["keys"] = keys;
        let answer = broker.http_post(SUBSCRIBE, &admin, &bad.to_string());
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{answer:?}");
    }
    await_metric(&broker, "agentcom_push_subscriptions 0");

    let worker = broker.http_get("/sw.js", "");
    assert_eq!(worker.status, 200);
    assert!(worker.head.contains("service-worker-allowed: /\r\n"), "{}", worker.head);
    assert!(
        worker.head.contains("content-type: application/javascript; charset=utf-8\r\n"),
        "{}",
        worker.head
    );
}
