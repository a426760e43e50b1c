//! What whoever watches over the broker sees, with the paths and keys of NATS.

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle};
use serde_json::{Value, json};

use crate::http::register;

fn get(broker: &Broker, path: &str) -> Value {
    let answer = broker.http_get(path, &broker.bearer());
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

#[test]
fn connections_are_shown_with_what_they_are_and_do() {
    if oracle::skips("its monitoring has a port of its own") {
        return;
    }
    let broker = Broker::start(Options::default());
    let login = r#"{"verbose":false,"name":"reader","lang":"rust","version":"1.2"}"#;
    let mut reader = broker.connect(login);
    reader.send("SUB news.* workers 1\r\nSUB alpha 2\r\n");
    reader.flush();
    let mut writer: Wire = broker.connect(QUIET);
    writer.send("PUB news.today 5\r\nhello\r\nPUB nobody 2\r\nhi\r\n");
    writer.flush();
    reader.expect("MSG news.today 1 5\r\nhello\r\n");

    let shown = get(&broker, "/connz?subs=1");
    assert_eq!((&shown["num_connections"], &shown["total"]), (&json!(2), &json!(2)), "{shown}");
    let named = |name: Value| {
        let mut found = shown["connections"].as_array().expect("connections").iter();
        found.find(|found| found["name"] == name).cloned().unwrap_or_else(|| panic!("{shown}"))
    };
    let (reader_shown, writer_shown) = (named(json!("reader")), named(Value::Null));
    assert_eq!(reader_shown["lang"], "rust");
    assert_eq!(reader_shown["version"], "1.2");
    assert_eq!(reader_shown["ip"], "127.0.0.1");
    assert_eq!(reader_shown["authorized_user"], "anonymous");
    assert_eq!(reader_shown["subscriptions"], 2);
    assert_eq!(reader_shown["subscriptions_list"], json!(["alpha", "news.* workers"]));
    assert!(reader_shown["out_bytes"].as_u64() > Some(20), "{reader_shown}");
    assert_eq!(reader_shown["in_msgs"], 0);
    assert_eq!(writer_shown["in_msgs"], 2);
    assert_eq!(writer_shown["subscriptions_list"], json!([]));
    assert!(writer_shown["port"].as_u64() > Some(0), "{writer_shown}");

    let id = writer_shown["cid"].as_u64().expect("a number");
    let only = get(&broker, &format!("/connz?cid={id}"));
    assert_eq!(only["connections"][0]["cid"], id);
    assert_eq!(
        (&only["total"], &only["connections"][0]["subscriptions_list"]),
        (&json!(1), &Value::Null)
    );
    let second = get(&broker, "/connz?offset=1&limit=1");
    assert_eq!((&second["num_connections"], &second["total"]), (&json!(1), &json!(2)));

    let server = get(&broker, "/varz");
    for (key, value) in [
        ("connections", json!(2)),
        ("subscriptions", json!(2)),
        ("in_msgs", json!(2)),
        ("max_payload", json!(1_048_576)),
        ("auth_required", json!(false)),
        ("port", json!(broker.tcp().port())),
    ] {
        assert_eq!(server[key], value, "{key}: {server}");
    }
    assert!(server["mem"].as_u64() > Some(1 << 20), "{server}");
    assert_eq!(server["server_id"], broker.connect_raw().info()["server_id"]);
    assert_eq!(get(&broker, "/subsz")["num_subscriptions"], 2);
}

#[test]
fn who_watches_may_ask_whether_it_lives_and_only_operators_more() {
    if oracle::skips("its monitoring has a port of its own") {
        return;
    }
    let broker = Broker::start(Options::default().timeout("lame_duck_ms", 60_000));
    let (agent, _) = register(&broker, "ann");
    for path in ["/healthz", "/readyz"] {
        broker.http_get(path, "").expect(200, &json!({"status": "ok"}));
    }
    for path in ["/varz", "/connz", "/subsz", "/metrics"] {
        assert_eq!(broker.http_get(path, "").status, 401, "{path}");
        assert_eq!(broker.http_get(path, &agent).status, 403, "{path}");
    }
    assert_eq!(broker.http_get("/connz?cid=x", &broker.bearer()).status, 400);
    // About to stop: alive, but for nobody new. Somebody is here, so that it does not stop yet.
    let mut guest = broker.connect(r#"{"verbose":false,"protocol":1}"#);
    broker.signal("USR2");
    assert!(guest.expect_line().contains("\"ldm\":true"));
    let answer = broker.http_get("/readyz", "");
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (503, &json!("unavailable")),
        "{answer:?}"
    );
    broker.http_get("/healthz", "").expect(200, &json!({"status": "ok"}));
}
