//! Requests over a real socket, answers compared byte for byte where clients look.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::core::command::{
    DeadReason, Failure, Generation, Issue, IssueToken, Name, State, Submit, Submitted, TaskId,
    TaskView, TokenView,
};
use crate::monitor::Wanted;
use crate::quota::Quota;

const TOKEN: &str = "7f";

/// Far more than anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A core that keeps what it is given.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<Submit>>>);

/// Says next to nothing.
struct Quiet;

impl Monitoring for Quiet {
    fn metrics(&self) -> String {
        "agentcom_up 1\n".to_owned()
    }

    fn server(&self) -> Value {
        Value::Null
    }

    fn connections(&self, _: Wanted) -> Value {
        Value::Null
    }

    fn subscriptions(&self) -> Value {
        Value::Null
    }

    fn unready(&self) -> Option<Arc<str>> {
        Some("no space left on device".into())
    }
}

impl DurableCalls for Fake {
    async fn call(&self, command: Command) -> Result<Reply, Rejection> {
        let mut tasks = self.0.lock();
        match command {
            Command::Submit(submit) if submit.spec.queue.as_str() == "full" => {
                Err(Rejection::QueueFull { queue: submit.spec.queue.clone(), tasks_max: 9 })
            }
            Command::Submit(submit) if submit.spec.queue.as_str() == "broken" => {
                Err(Rejection::Unavailable { reason: "no space left on device".into() })
            }
            Command::Submit(submit) => {
                tasks.push(*submit);
                Ok(Reply::Submitted(Submitted {
                    task: TaskId(tasks.len() as u64),
                    state: State::Ready,
                    generation: Generation(0),
                    existing: false,
                }))
            }
            Command::Show { task: TaskId(id) } if id == 0 || id > tasks.len() as u64 => {
                Err(Rejection::NotFound { task: TaskId(id) })
            }
            Command::Show { task } => {
                let submit = &tasks[task.0 as usize - 1];
                Ok(Reply::Task(Box::new(dead(task, submit))))
            }
            Command::Identify { digest } if Some(digest) == crate::token::digest("a1") => {
                Ok(Reply::Identified { agent: Name::parse("alice").unwrap() })
            }
            Command::Identify { digest } if Some(digest) == crate::token::digest("b0") => {
                Ok(Reply::Identified { agent: Name::parse("root").unwrap() })
            }
            Command::Identify { .. } => Err(Rejection::NoToken),
            Command::IssueToken(token) if token.agent.as_str() == "known" => {
                Err(match token.issue {
                    Issue::InPlaceOfAll => Rejection::NoAgent { agent: token.agent },
                    _ => Rejection::AgentExists { agent: token.agent },
                })
            }
            Command::IssueToken(token) => {
                let IssueToken { agent, prefix, .. } = *token;
                Ok(Reply::Token(TokenView { agent, prefix, issued_ms: 5 }))
            }
            Command::Config(_) => Ok(Reply::Config(Vec::new())),
            Command::RevokeTokens { agent } => Ok(Reply::Revoked { agent, tokens: 1 }),
            Command::ListTokens => Ok(Reply::Tokens(vec![TokenView {
                agent: Name::parse("alice").unwrap(),
                prefix: "2feecf6e".into(),
                issued_ms: 5,
            }])),
            Command::Upkeep(_) => Err(Rejection::Unavailable { reason: "in memory".into() }),
            other => panic!("HTTP has no way to ask {other:?}"),
        }
    }

    fn open(&self) -> SessionId {
        SessionId(1)
    }

    async fn ask(
        &self,
        _: SessionId,
        command: Command,
        _: Option<PushTo>,
    ) -> Result<Reply, Rejection> {
        self.call(command).await
    }

    fn leave(&self, _: SessionId) {}
}

/// A task that alice failed for good.
fn dead(task: TaskId, submit: &Submit) -> TaskView {
    let alice = Name::parse("alice").unwrap();
    TaskView {
        task,
        queue: submit.spec.queue.clone(),
        key: None,
        state: State::Dead,
        generation: Generation(3),
        event_seq: 4,
        band: submit.spec.band,
        needs: submit.spec.needs.to_vec(),
        resources: Vec::new(),
        window: None,
        agent: Some(alice.clone()),
        attempts: 1,
        attempts_max: submit.spec.attempts_max,
        lost: 0,
        offers_expired: 0,
        declines: 0,
        releases: 0,
        redrives: 0,
        excluded: Vec::new(),
        submitted_ms: 10,
        updated_ms: 20,
        due_ms: None,
        after: Vec::new(),
        is_cancelling: false,
        version: 0,
        parent: None,
        questions: Vec::new(),
        is_waiting: false,
        has_headers: false,
        headers: None,
        payload: submit.payload.clone(),
        progress: None,
        progress_seq: 0,
        result: None,
        errors: vec![Failure {
            generation: Generation(3),
            agent: alice,
            at_ms: 20,
            error: "boom".into(),
        }],
        dead: Some(DeadReason::Failed),
        cancelled: None,
    }
}

struct Server {
    address: SocketAddr,
    fake: Fake,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Server {
    async fn start(change: impl FnOnce(&mut HttpSettings)) -> Server {
        let mut settings = HttpSettings::from(&Config::default());
        change(&mut settings);
        let fake = Fake::default();
        let folder = tempfile::tempdir().unwrap();
        let push = Push::open(folder.path(), Config::default().push()).unwrap();
        let state = HttpState {
            durable: fake.clone(),
            admits: Arc::new(|token| token == TOKEN),
            admins: [Name::parse("root").unwrap()].into(),
            cooldowns: Arc::default(),
            clock: Clock::start(),
            mistakes: Arc::default(),
            routed: Arc::default(),
            lookout: Arc::default(),
            snapshots: Arc::default(),
            figures: Arc::new(Figures::default),
            agents_connected: Arc::new(|| 3),
            push: Arc::new(push),
            monitor: Arc::new(Quiet),
            log: Log::silent(),
            accounts: Arc::new(Accounts::new(Quota::default(), BTreeMap::new(), 100)),
            errands: tokio::sync::mpsc::channel(1).0,
            settings,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(serve(listener, state, stopping));
        Server { address, fake, stop, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The answer to `request` on a connection of its own, which the server closes in the end.
    async fn answer(&self, request: &str) -> Answer {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        Answer::parse(&rest(&mut socket).await)
    }

    async fn get(&self, path: &str) -> Answer {
        self.answer(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{BEARER}{CLOSE}\r\n")).await
    }

    async fn submit(&self, body: &Value) -> Answer {
        self.answer(&post(&format!("{JSON}{BEARER}{CLOSE}"), &body.to_string())).await
    }
}

const JSON: &str = "Content-Type: application/json\r\n";
const BEARER: &str = "Authorization: Bearer 7f\r\n";
const CLOSE: &str = "Connection: close\r\n";

fn post(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Everything up to the end of the connection. A reset is an end too.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(DEADLINE, socket.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes the connection");
    String::from_utf8(bytes).expect("UTF-8")
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn parse(text: &str) -> Answer {
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("{text:?}")),
            headers: headers.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    #[track_caller]
    fn expect(&self, status: u16, body: &Value) {
        assert_eq!((self.status, &self.body), (status, body), "{self:?}");
    }

    #[track_caller]
    fn expect_invalid(&self, field: &str, error: &str) {
        assert_eq!(
            (self.status, &self.body["error"]),
            (400, &json!("validation_failed")),
            "{self:?}"
        );
        let first = &self.body["errors"][0];
        assert_eq!((&first["field"], &first["error"]), (&json!(field), &json!(error)), "{self:?}");
    }
}

#[tokio::test]
async fn health_needs_no_token() {
    let server = Server::start(|_| {}).await;
    let answer = server.answer(&format!("GET /health HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n")).await;
    answer.expect(200, &json!({"status": "ok", "service": "agent_com", "agents_connected": 3}));
    for header in [
        "content-type: application/json; charset=utf-8",
        "cache-control: max-age=0, private, must-revalidate",
    ] {
        assert!(answer.headers.lines().any(|line| line == header), "{header}: {answer:?}");
    }
}

#[tokio::test]
async fn slashes_and_percent_signs_are_read_as_the_contract_says() {
    let server = Server::start(|_| {}).await;
    server.submit(&json!({"description": "x"})).await;
    for path in ["//health", "/health/", "/health?a=b", "/health/?a=/b/"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in
        ["/api/tasks/1", "//api//tasks/1/", "/api/tasks/%31", "/api/tasks/task-0000000000000001"]
    {
        assert_eq!(server.get(path).await.body["id"], "task-0000000000000001", "{path}");
    }
    let answer = server.get("/api/tasks/a%2Fb").await;
    answer.expect(404, &json!({"error": "task_not_found", "task_id": "a/b"}));
    server.get("/api/tasks/%ff").await.expect(404, &json!({"error": "not_found"}));
}

#[tokio::test]
async fn everything_else_is_not_found() {
    let server = Server::start(|_| {}).await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/api"),
        (Method::GET, "/api/tasks/1/x"),
        (Method::PUT, "/api/tasks"),
        (Method::POST, "/health"),
        (Method::DELETE, "/api/tasks/1"),
        (Method::OPTIONS, "/health"),
        (Method::OPTIONS, "*"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{BEARER}{CLOSE}\r\n");
        server.answer(&request).await.expect(404, &json!({"error": "not_found"}));
    }
    let request = format!("HEAD /health HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n");
    server.answer(&request).await.expect(404, &Value::Null);
}

#[tokio::test]
async fn a_task_is_kept_normalised() {
    let server = Server::start(|_| {}).await;
    let answer = server
        .submit(&json!({"description": "resize", "priority": "critical", "metadata": {"a": 1},
            "needed_capabilities": ["gpu", {"name": "code"}, "gpu"], "max_retries": 0,
            "queue": "images", "repo": "x/y", "branch": null, "depends_on": []}))
        .await;
    let created_at = answer.body["created_at"].as_u64().expect("a time");
    assert!(created_at > 1_600_000_000_000, "{created_at}");
    answer.expect(
        201,
        &json!({"status": "queued", "task_id": "task-0000000000000001", "priority": 0,
            "created_at": created_at}),
    );
    let kept = server.fake.0.lock()[0].clone();
    assert_eq!(kept.spec.queue.as_str(), "images");
    assert_eq!(kept.spec.needs.iter().map(Name::as_str).collect::<Vec<_>>(), ["code", "gpu"]);
    assert_eq!(
        (kept.spec.band, kept.spec.attempts_max, kept.spec.patience.lease_ms),
        (0, 1, 30_000)
    );
    let payload: Value = serde_json::from_slice(&kept.payload).unwrap();
    let expected = json!({"description": "resize", "priority": 0, "metadata": {"a": 1},
        "needed_capabilities": ["code", "gpu"], "max_retries": 0, "queue": "images",
        "repo": "x/y", "depends_on": [], "submitted_by": "operator"});
    assert_eq!(payload, expected);

    server.submit(&json!({"description": "x"})).await;
    let kept = server.fake.0.lock()[1].clone();
    assert_eq!(
        (kept.spec.queue.as_str(), kept.spec.band, kept.spec.attempts_max),
        ("default", 2, 3)
    );
    assert!(kept.spec.needs.is_empty());
}

#[tokio::test]
async fn a_task_is_shown_with_every_key_of_the_contract() {
    let server = Server::start(|_| {}).await;
    server.submit(&json!({"description": "x", "priority": "low"})).await;
    let body = server.get("/api/tasks/1").await.body;
    for key in "id description metadata priority status assigned_to assigned_at generation \
        retry_count max_retries needed_capabilities last_error complete_by result tokens_used \
        submitted_by created_at updated_at history repo branch file_hints success_criteria \
        verification_steps complexity verification_report verification_history \
        max_verification_retries routing_decision depends_on goal_id"
        .split_whitespace()
    {
        assert!(body.get(key).is_some(), "{key}");
    }
    for (key, value) in [
        ("description", json!("x")),
        ("priority", json!(3)),
        ("status", json!("dead_letter")),
        ("assigned_to", json!("alice")),
        ("generation", json!(3)),
        ("retry_count", json!(1)),
        ("last_error", json!("boom")),
        ("created_at", json!(10)),
        ("dead", json!("failed")),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let answer = server.get("/api/tasks/task-0000000000000009").await;
    answer.expect(404, &json!({"error": "task_not_found", "task_id": "task-0000000000000009"}));
}

#[tokio::test]
async fn what_is_listed_as_required_is_required() {
    let server = Server::start(|_| {}).await;
    let listed = server.get("/api/schemas").await;
    assert_eq!((listed.status, &listed.body["version"]), (200, &json!("1.0")));
    let frames = listed.body["schemas"]["websocket"].as_array().expect("a list");
    let identify = &frames[0];
    assert_eq!(identify["type"], "identify");
    assert_eq!(identify["required_fields"][0], json!({"name": "type", "type": "string"}));
    assert_eq!(frames[0]["optional_fields"][0]["type"], "array<string>");
    assert_eq!(frames.len(), 21, "the 19 of the contract, and two that its sidecar sends");
    let bodies = listed.body["schemas"]["http"].as_array().expect("a list");
    assert_eq!(bodies.len(), schemas::BODIES.len());
    for schemas::Body { method, path, required, .. } in schemas::BODIES.iter() {
        // Nobody but the agent has its mailbox.
        let token = if path.contains("mailbox/{id}") { "a1" } else { TOKEN };
        let path = path.replace("{id}", "alice");
        let headers = format!("Host: x\r\n{JSON}Authorization: Bearer {token}\r\n{CLOSE}");
        let request = format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: 2\r\n\r\n{{}}");
        let answer = server.answer(&request).await;
        let missing: Vec<Value> = required
            .iter()
            .map(|(field, _)| {
                json!({"field": field, "error": "required", "detail": "field is required"})
            })
            .collect();
        answer.expect(400, &json!({"error": "validation_failed", "errors": missing}));
    }
}

#[test]
fn every_body_that_is_listed_belongs_to_a_route() {
    let routes = routes::table::<Fake>().routes;
    for body in &schemas::BODIES {
        let has_route =
            routes.iter().any(|route| route.path == body.path && route.method == *body.method);
        assert!(has_route, "{} {}", body.method, body.path);
    }
}

#[tokio::test]
async fn a_task_has_the_time_that_it_is_given() {
    let server = Server::start(|_| {}).await;
    let now_ms = handlers::unix_ms();
    let hour = 3_600_000;
    for (body, attempt_ms, queue_ms) in [
        (json!({"description": "x"}), hour..=hour, Some(600_000)),
        (json!({"description": "fix typo"}), hour..=hour, None),
        (json!({"description": "x", "depends_on": ["1"]}), hour..=hour, None),
        (json!({"description": "x", "complete_by": 1}), 1_000..=1_000, Some(600_000)),
        (
            json!({"description": "x", "complete_by": now_ms + 60_000}),
            1_000..=60_000,
            Some(600_000),
        ),
        (
            json!({"description": "x", "complete_by": i64::MAX}),
            86_400_000..=86_400_000,
            Some(600_000),
        ),
    ] {
        server.submit(&body).await;
        let kept = server.fake.0.lock().pop().expect("kept");
        let patience = &kept.spec.patience;
        assert!(attempt_ms.contains(&patience.attempt_ms), "{body}: {patience:?}");
        assert_eq!(patience.queue_ms, queue_ms, "{body}");
    }
    let for_ever = Server::start(|settings| settings.task_ttl = Duration::ZERO).await;
    for_ever.submit(&json!({"description": "x"})).await;
    assert_eq!(for_ever.fake.0.lock()[0].spec.patience.queue_ms, None);
    server.submit(&json!({"description": "x", "submitted_by": "mallory"})).await;
    let shown = server.get("/api/tasks/1").await.body;
    assert_eq!(shown["submitted_by"], "operator");
    let events: Vec<&Value> =
        shown["history"].as_array().expect("a list").iter().map(|item| &item["event"]).collect();
    assert_eq!(events, ["dead_letter", "queued"]);
    assert_eq!(shown["history"][0]["details"], "boom");
}

#[tokio::test]
async fn a_token_is_asked_for_after_the_body_was_read() {
    let server = Server::start(|_| {}).await;
    let unauthorized =
        json!({"error": "unauthorized", "hint": "provide Authorization: Bearer <token>"});
    for headers in
        ["", "Authorization: 7f\r\n", "Authorization: bearer 7f\r\n", "Authorization: Bearer 7\r\n"]
    {
        let request = post(&format!("{JSON}{headers}{CLOSE}"), "{}");
        server.answer(&request).await.expect(401, &unauthorized);
        let request = format!("GET /api/tasks/1 HTTP/1.1\r\nHost: x\r\n{headers}{CLOSE}\r\n");
        server.answer(&request).await.expect(401, &unauthorized);
        let malformed = post(&format!("{JSON}{headers}"), "{");
        server.answer(&malformed).await.expect_invalid("body", "malformed");
    }
    let spaces = format!("{JSON}Authorization: Bearer   7f  \r\n{CLOSE}");
    server.answer(&post(&spaces, "{}")).await.expect_invalid("description", "required");
}

#[tokio::test]
async fn bodies_follow_the_contract() {
    let server = Server::start(|_| {}).await;
    let task = r#"{"description":"x"}"#;
    for (content_type, body, status) in [
        ("application/json", task, 201),
        ("Application/JSON; charset=latin1", task, 201),
        ("application/vnd.x+json", task, 201),
        ("application/json", "", 400),
        ("application/json", "[1]", 400),
        ("application/json", "7", 400),
        ("", task, 400),
        ("text/plain", task, 415),
        ("application/x-www-form-urlencoded", "", 415),
        ("json", task, 415),
    ] {
        let request = post(&format!("Content-Type: {content_type}\r\n{BEARER}{CLOSE}"), body);
        let answer = server.answer(&request).await;
        assert_eq!(answer.status, status, "{content_type} {body}: {answer:?}");
    }
    server
        .answer(&post(&format!("{BEARER}{CLOSE}"), task))
        .await
        .expect_invalid("description", "required");
    let chunked = format!(
        "POST /api/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{JSON}{BEARER}{CLOSE}\
         \r\n5\r\n{}\r\ne\r\n{}\r\n0\r\n\r\n",
        &task[..5],
        &task[5..]
    );
    assert_eq!(server.answer(&chunked).await.status, 201);
}

#[tokio::test]
async fn a_body_that_is_refused_closes_the_connection() {
    let server = Server::start(|_| {}).await;
    let huge = |headers: &str, bytes: usize| {
        format!(
            "POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n{JSON}{headers}\r\n"
        )
    };
    for (request, status) in [
        (post(&format!("{JSON}{BEARER}"), "{"), 400),
        (post(&format!("Content-Type: text/plain\r\n{BEARER}"), "x"), 415),
        (huge(BEARER, 8_000_001), 413),
        (huge("", 16 * 1024 + 1), 401),
    ] {
        let answer = server.answer(&request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.headers.contains("\r\nconnection: close"), "{answer:?}");
    }
    let stranger = post(&format!("{JSON}{CLOSE}"), &format!("\"{}\"", "x".repeat(16 * 1024 - 2)));
    assert_eq!(server.answer(&stranger).await.status, 401);
}

#[tokio::test]
async fn every_mistake_is_named() {
    let server = Server::start(|settings| settings.payload_bytes_max = 100_000).await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"description": "x"});
        body[field] = value;
        body
    };
    let text = |length: usize| "é".repeat(length);
    for (field, good) in [
        ("description", json!(text(4096))),
        ("priority", json!("low")),
        ("priority", Value::Null),
        ("metadata", json!({"a": "x".repeat(65_536 - 8)})),
        ("max_retries", json!(10)),
        ("needed_capabilities", json!(vec!["a"; 20])),
        ("queue", json!("q".repeat(64))),
        ("depends_on", json!([])),
        ("depends_on", json!(["task-0000000000000001", "1"])),
        ("assign_to", json!("bob")),
        ("metadata", json!({"assign_to": "bob"})),
        ("complete_by", Value::Null),
        ("complete_by", json!(1)),
    ] {
        let answer = server.submit(&with(field, good)).await;
        assert_eq!(answer.status, 201, "{field}: {answer:?}");
    }
    for (field, bad, error) in [
        ("description", json!(""), "required"),
        ("description", Value::Null, "required"),
        ("description", json!(text(4097)), "too_long"),
        ("description", json!(1), "wrong_type"),
        ("priority", json!("asap"), "invalid_value"),
        ("priority", json!(0), "wrong_type"),
        ("metadata", json!({"a": "x".repeat(65_536 - 7)}), "too_long"),
        ("metadata", json!([]), "wrong_type"),
        ("max_retries", json!(11), "invalid_value"),
        ("max_retries", json!(-1), "invalid_value"),
        ("max_retries", json!(1.0), "wrong_type"),
        ("needed_capabilities", json!(vec!["a"; 21]), "too_long"),
        ("needed_capabilities", json!("gpu"), "wrong_type"),
        ("queue", json!("q".repeat(65)), "invalid_value"),
        ("queue", json!("a b"), "invalid_value"),
        ("queue", json!(""), "invalid_value"),
        ("depends_on", json!("task-0000000000000001"), "wrong_type"),
        ("depends_on", json!(vec!["1"; 101]), "too_long"),
        ("complete_by", json!("soon"), "wrong_type"),
        ("assign_to", json!("a b"), "invalid_value"),
        ("assign_to", json!(7), "wrong_type"),
    ] {
        server.submit(&with(field, bad)).await.expect_invalid(field, error);
    }
    for (item, error) in [(json!("task-1"), "invalid_value"), (json!(1), "wrong_type")] {
        let body = with("depends_on", json!(["1", item]));
        server.submit(&body).await.expect_invalid("depends_on[1]", error);
    }
    let body = with("metadata", json!({"assign_to": "a b"}));
    server.submit(&body).await.expect_invalid("metadata.assign_to", "invalid_value");
    for (item, error) in
        [(json!("a b"), "invalid_value"), (json!(1), "wrong_type"), (json!({}), "wrong_type")]
    {
        let body = with("needed_capabilities", json!(["ok", item]));
        server.submit(&body).await.expect_invalid("needed_capabilities[1]", error);
    }
    let body = with("repo", json!("x".repeat(100_000)));
    server.submit(&body).await.expect_invalid("body", "too_long");
    let answer = server.submit(&json!({"priority": 1, "queue": text(60)})).await;
    answer.expect(
        400,
        &json!({"error": "validation_failed", "errors": [
            {"field": "description", "error": "required", "detail": "field is required"},
            {"field": "priority", "error": "wrong_type", "detail": "expected string, got integer",
             "value": 1},
            {"field": "queue", "error": "invalid_value",
             "detail": "contains 'é'; allowed are letters, digits, '-', '_' and '.'",
             "value": format!("{}...", text(50))},
        ]}),
    );
}

#[tokio::test]
async fn what_the_core_declines_is_passed_on() {
    let server = Server::start(|_| {}).await;
    for (queue, code, detail) in [
        ("full", "queue_full", "queue full already holds its limit of 9 open tasks"),
        ("broken", "unavailable", "the store is not accepting writes: no space left on device"),
    ] {
        let answer = server.submit(&json!({"description": "x", "queue": queue})).await;
        answer.expect(503, &json!({"error": code, "detail": detail}));
    }
}

#[tokio::test]
async fn a_connection_can_be_used_again() {
    let server = Server::start(|_| {}).await;
    let mut socket = server.connect().await;
    let (again, last) =
        (post(&format!("{JSON}{BEARER}"), "{}"), post(&format!("{JSON}{CLOSE}"), "{}"));
    socket.write_all(format!("{again}{again}{last}").as_bytes()).await.unwrap();
    let text = rest(&mut socket).await;
    let count = |status: &str| text.matches(&format!("HTTP/1.1 {status}")).count();
    assert_eq!((count("400"), count("401")), (2, 1), "{text}");
}

/// Short enough for a test, long enough not to hit a request that is handled.
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn slow_headers_are_cut() {
    let server = Server::start(|settings| settings.header = SHORT).await;
    for beginning in ["", "GET /health HTTP/1.1\r\nHost: x\r\nX: "] {
        let mut socket = server.connect().await;
        socket.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut socket).await, "", "{beginning}");
    }
}

#[tokio::test]
async fn dribbling_does_not_move_the_deadline() {
    let server = Server::start(|settings| settings.header = SHORT).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let dribble = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SHORT / 10);
        while writer.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    });
    timeout(DEADLINE, dribble).await.expect("the server closes the connection").unwrap();
    let _ = reader.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_slow_body_is_answered_and_cut() {
    let server = Server::start(|settings| settings.body = SHORT).await;
    let whole = post(&format!("{JSON}{BEARER}"), r#"{"description":"x"}"#);
    let answer = server.answer(&whole[..whole.len() - 1]).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(answer.body["errors"][0]["error"], "unfinished");
}

#[tokio::test]
async fn whoever_does_not_read_the_answers_is_cut() {
    let server = Server::start(|settings| settings.body = SHORT).await;
    let mut socket = server.connect().await;
    let requests = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let flood = async { while socket.write_all(requests.as_bytes()).await.is_ok() {} };
    timeout(DEADLINE, flood).await.expect("the server closes the connection");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_deadline_but_not_its_own() {
    let request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let server =
        Server::start(|settings| (settings.header, settings.idle) = (DEADLINE, SHORT)).await;
    let mut socket = server.connect().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Answer::parse(&rest(&mut socket).await).status, 200);

    let server = Server::start(|settings| settings.header = SHORT).await;
    let mut socket = server.connect().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut first = vec![0; 1024];
    let read = socket.read(&mut first).await.unwrap();
    assert_eq!(Answer::parse(std::str::from_utf8(&first[..read]).unwrap()).status, 200);
    // By the time that a silent connection is cut, the idle one has been idle for longer.
    assert_eq!(rest(&mut server.connect().await).await, "");
    socket.write_all(request.as_bytes()).await.unwrap();
    assert_ne!(socket.read(&mut first).await.unwrap(), 0, "the connection is still open");
    socket.write_all(&request.as_bytes()[..10]).await.unwrap();
    assert_eq!(rest(&mut socket).await, "", "a later request has a header deadline again");
}

#[tokio::test]
async fn one_connection_too_many_waits_for_a_place() {
    let server =
        Server::start(|settings| (settings.connections_max, settings.header) = (1, SHORT)).await;
    let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n");
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    second.write_all(request.as_bytes()).await.unwrap();
    tokio::select! {
        // Both may become ready at the same moment, when the first gives its place away.
        biased;
        silent = rest(&mut first) => assert_eq!(silent, ""),
        early = rest(&mut second) => panic!("answered while there was no place: {early}"),
    }
    assert_eq!(Answer::parse(&rest(&mut second).await).status, 200);
}

#[tokio::test]
async fn a_clean_stop_closes_idle_connections_and_the_listener() {
    let server = Server::start(|_| {}).await;
    let mut socket = server.connect().await;
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = vec![0; 1024];
    assert_ne!(socket.read(&mut first).await.unwrap(), 0);
    server.stop.send(true).unwrap();
    assert_eq!(rest(&mut socket).await, "");
    timeout(DEADLINE, server.running).await.expect("it ends").unwrap();
    TcpStream::connect(server.address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let server = Server::start(|_| {}).await;
    let request = |bytes: usize| {
        format!("GET /health HTTP/1.1\r\nHost: x\r\n{CLOSE}X: {}\r\n\r\n", "x".repeat(bytes))
    };
    assert_eq!(server.answer(&request(15_000)).await.status, 200);
    assert_eq!(server.answer(&request(17_000)).await.status, 431);
}

/// A request with this token, or none; the answer.
async fn asked(server: &Server, request: &str, token: &str, body: &str) -> Answer {
    let bearer = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: hub:4000\r\nContent-Length: {length}");
    server.answer(&format!("{head}\r\n{JSON}{bearer}{CLOSE}\r\n{body}")).await
}

#[tokio::test]
async fn an_agents_token_opens_what_is_for_agents_and_what_concerns_it() {
    let server = Server::start(|_| {}).await;
    let body = |agent: &str| json!({ "agent_id": agent }).to_string();
    let (alice, bob) = (body("alice"), body("bob"));
    for (request, body, expected) in [
        // For nobody, alice, an agent that is named as an admin, the operator.
        ("GET /admin/tokens", "", [401, 403, 200, 200]),
        ("POST /admin/tokens", &*alice, [401, 201, 201, 201]),
        ("POST /admin/tokens", &bob, [401, 403, 201, 201]),
        ("DELETE /admin/tokens/alice", "", [401, 200, 200, 200]),
        ("DELETE /admin/tokens/bob", "", [401, 403, 200, 200]),
        ("POST /api/admin/agents/alice/reset-token", "", [401, 201, 201, 201]),
        ("POST /api/admin/agents/bob/reset-token", "", [401, 403, 201, 201]),
        ("GET /metrics", "", [401, 403, 200, 200]),
        ("POST /api/tasks", r#"{"description":"x"}"#, [401, 201, 201, 201]),
        ("GET /api/tasks/1", "", [401, 200, 200, 200]),
    ] {
        for (token, status) in ["", "a1", "b0", TOKEN].into_iter().zip(expected) {
            let answer = asked(&server, request, token, body).await;
            assert_eq!(answer.status, status, "{request} {body} with {token:?}: {answer:?}");
        }
        assert_eq!(asked(&server, request, "nonsense", body).await.status, 401, "{request}");
    }
    let refused = asked(&server, "GET /admin/tokens", "a1", "").await;
    assert_eq!(refused.body["error"], "admin_only");
    let migrating = Server::start(|settings| settings.any_token_is_admin = true).await;
    assert_eq!(asked(&migrating, "GET /admin/tokens", "a1", "").await.status, 200);
    assert_eq!(asked(&migrating, "GET /admin/tokens", "nonsense", "").await.status, 401);
}

#[tokio::test]
async fn registering_gives_all_that_is_needed_to_connect() {
    let server = Server::start(|_| {}).await;
    let answer = asked(&server, "POST /api/onboard/register", "", r#"{"agent_id":"new"}"#).await;
    let token = answer.body["token"].as_str().expect("a token").to_owned();
    assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
    let expected = json!({
        "agent_id": "new", "token": token, "default_repo": null,
        "hub_ws_url": "ws://hub:4000/ws", "hub_api_url": "http://hub:4000",
    });
    answer.expect(201, &expected);
    let answer = asked(&server, "POST /api/onboard/register", "", r#"{"agent_id":"known"}"#).await;
    answer.expect(409, &json!({"error": "agent_id already registered"}));
    // One that is an admin gets its token from the operator.
    let body = r#"{"agent_id":"root"}"#;
    let answer = asked(&server, "POST /api/onboard/register", "", body).await;
    assert_eq!((answer.status, &answer.body["error"]), (403, &json!("admin_only")), "{answer:?}");
    assert_eq!(asked(&server, "POST /admin/tokens", TOKEN, body).await.status, 201);
}

#[tokio::test]
async fn an_agent_id_is_checked_before_anything_is_kept() {
    let server = Server::start(|_| {}).await;
    let long = "x".repeat(65);
    for (agent_id, error, detail) in [
        (json!(null), "required", "field is required"),
        (json!(""), "required", "agent_id must not be empty"),
        (json!(5), "wrong_type", "expected string, got integer"),
        (json!(["a"]), "wrong_type", "expected string, got array"),
        (json!(long), "too_long", "exceeds maximum length of 64 characters"),
        (json!("a b"), "invalid_value", "must be letters, digits, '-', '_' or '.'"),
        (json!("a\r\nb"), "invalid_value", "must be letters, digits, '-', '_' or '.'"),
        (json!("a*"), "invalid_value", "must be letters, digits, '-', '_' or '.'"),
    ] {
        let body = json!({ "agent_id": agent_id }).to_string();
        for request in ["POST /api/onboard/register", "POST /admin/tokens"] {
            let answer = asked(&server, request, TOKEN, &body).await;
            answer.expect_invalid("agent_id", error);
            assert_eq!(answer.body["errors"][0]["detail"], detail, "{request} {body}");
        }
    }
    let longest = json!({ "agent_id": &long[1..] }).to_string();
    assert_eq!(asked(&server, "POST /admin/tokens", TOKEN, &longest).await.status, 201);
    asked(&server, "POST /admin/tokens", TOKEN, "{").await.expect_invalid("body", "malformed");
}

#[tokio::test]
async fn tokens_are_listed_revoked_and_reset_as_the_contract_says() {
    let server = Server::start(|_| {}).await;
    let list = json!({"tokens": [
        {"agent_id": "alice", "token_prefix": "2feecf6e...", "issued_at": 5}
    ]});
    asked(&server, "GET /admin/tokens", TOKEN, "").await.expect(200, &list);
    // Whoever it is, and even what can be nobody.
    for (path, id) in [("bob", "bob"), ("a%2Fb", "a/b")] {
        let request = format!("DELETE /admin/tokens/{path}");
        let revoked = json!({"status": "revoked", "agent_id": id});
        asked(&server, &request, TOKEN, "").await.expect(200, &revoked);
    }
    let answer = asked(&server, "POST /api/admin/agents/bob/reset-token", TOKEN, "").await;
    let token = answer.body["token"].as_str().expect("a token").to_owned();
    let hint = format!("Use with: node add-agent.js --rejoin --name bob --token {token}");
    answer.expect(201, &json!({"agent_id": "bob", "token": token, "hint": hint}));
    for id in ["known", "a%2Fb"] {
        let request = format!("POST /api/admin/agents/{id}/reset-token");
        let agent_id = id.replace("%2F", "/");
        let missing = json!({"error": "agent_not_found", "agent_id": agent_id});
        asked(&server, &request, TOKEN, "").await.expect(404, &missing);
    }
}
