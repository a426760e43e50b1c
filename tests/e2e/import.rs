//! `agentcom import legacy`, from a broker that speaks the hub's REST interface to a new one.

use std::fs;
use std::path::{Path, PathBuf};

use agentcom_tests::{Broker, Options, QUIET, oracle};
use serde_json::{Value, json};

use crate::http::{JSON, register};

/// An old hub with agents, and a new broker.
struct Move {
    old: Broker,
    new: Broker,
    /// Names, and the header and the token of each.
    agents: Vec<(&'static str, String, String)>,
    folder: PathBuf,
}

impl Move {
    fn begin() -> Option<Move> {
        if oracle::skips("it imports nothing") {
            return None;
        }
        let (old, new) = (Broker::start(Options::default()), Broker::start(Options::default()));
        let agents = ["ann", "ben"].map(|name| {
            let (header, token) = register(&old, name);
            (name, header, token)
        });
        let folder = new.folder().join("import");
        fs::create_dir(&folder).expect("a folder");
        let tokens: serde_json::Map<String, Value> =
            agents.iter().map(|(name, _, token)| (token.clone(), json!(name))).collect();
        let text = Value::Object(tokens).to_string();
        fs::write(folder.join("tokens.json"), text).expect("a file");
        Some(Move { old, new, agents: agents.into(), folder })
    }

    fn header(&self, agent: &str) -> String {
        let found = self.agents.iter().find(|(name, ..)| *name == agent);
        found.map(|(_, header, _)| header.clone()).expect("an agent")
    }

    /// POST as an agent of the old hub.
    #[track_caller]
    fn post(&self, agent: &str, path: &str, body: &Value) -> Value {
        let answer = self.old.http_post(path, &(self.header(agent) + JSON), &body.to_string());
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()
    }

    /// Run the import; what it says of each kind, and its exit code.
    fn import(&self, more: &[&str]) -> (Value, Option<i32>, String) {
        let file = |name: &str| path(&self.folder.join(name));
        let (tokens, journal) = (file("tokens.json"), file("journal"));
        let hub = format!("http://{}", self.old.http().expect("an address"));
        let http = format!("http://{}", self.new.http().expect("an address"));
        let operator = self.new.operator_token();
        let mut arguments = vec!["import", "legacy", "--json", "--tokens", &tokens, "--hub", &hub];
        arguments.extend(["--http", &http, "--journal", &journal, "--token", &operator]);
        arguments.extend(more);
        let said = self.new.run(&arguments);
        (serde_json::from_str(&said.out).unwrap_or_default(), said.code, said.err)
    }
}

fn path(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// How many of a kind were found, imported, here already, left and refused.
#[track_caller]
fn counts(report: &Value, kind: &str) -> [usize; 5] {
    let kinds = report["kinds"].as_array().unwrap_or_else(|| panic!("{report}"));
    let kind = kinds.iter().find(|found| found["kind"] == kind).expect("the kind");
    ["found", "imported", "known", "left", "refused"].map(|key| match &kind[key] {
        Value::Array(refused) => refused.len(),
        number => usize::try_from(number.as_u64().expect("a number")).expect("small"),
    })
}

fn texts(messages: &Value) -> Vec<String> {
    let messages = messages.as_array().unwrap_or_else(|| panic!("{messages}"));
    let text =
        |one: &Value| format!("{}: {}", one["from"], one["payload"]["text"]).replace('"', "");
    messages.iter().map(text).collect()
}

#[test]
fn agents_find_their_tokens_mail_channels_and_tasks_on_the_new_broker() {
    let Some(moving) = Move::begin() else { return };
    let say = |from: &str, to: &str, text: &str| {
        moving.post(from, "/api/message", &json!({"to": to, "payload": {"text": text}}))
    };
    say("ann", "ben", "read long ago");
    let mailbox = moving.old.http_get("/api/mailbox/ben", &moving.header("ben")).json();
    moving.post("ben", "/api/mailbox/ben/ack", &json!({"seq": mailbox["last_seq"]}));
    say("ann", "ben", "waits");
    say("ben", "ann", "waits, too");
    moving.post("ann", "/api/channels", &json!({"name": "dev", "description": "two words"}));
    moving.post("ben", "/api/channels/dev/subscribe", &json!({}));
    moving.post("ann", "/api/channels/dev/publish", &json!({"payload": {"text": "hello"}}));
    let submit = |body: Value| {
        let answer = moving.post("ann", "/api/tasks", &body);
        answer["task_id"].as_str().expect("an id").to_owned()
    };
    let first = submit(json!({"description": "first", "priority": "urgent",
        "needed_capabilities": ["code"], "repo": "https://x/y"}));
    submit(json!({"description": "second", "depends_on": [first], "max_retries": 1}));
    let gone = submit(json!({"description": "given up"}));
    moving.post("ann", &format!("/api/tasks/{gone}/cancel"), &json!({}));

    let (dry, code, _) = moving.import(&["--dry-run"]);
    assert_eq!(
        (code, counts(&dry, "tokens"), counts(&dry, "tasks")),
        (Some(0), [2, 0, 0, 2, 0], [2, 0, 0, 2, 0])
    );
    let none = moving.new.http_get("/api/tasks", &moving.new.bearer()).json();
    assert_eq!(none["count"], 0, "{none}");

    let (report, code, err) = moving.import(&[]);
    assert_eq!(code, Some(0), "{report} {err}");
    assert_eq!(counts(&report, "tokens"), [2, 2, 0, 0, 0]);
    assert_eq!(counts(&report, "channels"), [1, 1, 0, 0, 0]);
    assert_eq!(counts(&report, "messages"), [1, 1, 0, 0, 0]);
    assert_eq!(counts(&report, "mail"), [3, 3, 0, 0, 0]);
    assert_eq!(counts(&report, "tasks"), [2, 2, 0, 0, 0]);

    // The agents come with the tokens that they have.
    let get = |path: &str, agent: &str| moving.new.http_get(path, &moving.header(agent)).json();
    let mail = get("/api/mailbox/ben", "ben");
    assert_eq!(texts(&mail["messages"]), ["ann: waits", "ann: hello"]);
    assert_eq!(texts(&get("/api/mailbox/ann", "ann")["messages"]), ["ben: waits, too"]);
    let history = get("/api/messages", "ann");
    assert_eq!(texts(&history["messages"])[0], "ann: read long ago");
    let channel = get("/api/channels/dev", "ann");
    assert_eq!((&channel["subscribers"], &channel["created_by"]), (&json!(["ben"]), &json!("ann")));
    assert_eq!(channel["description"], "two words");
    let said = get("/api/channels/dev/history", "ann");
    assert_eq!(said["messages"][0]["message"]["payload"]["text"], "hello");
    let tasks = get("/api/tasks", "ann");
    let [one, other] = [&tasks["tasks"][0], &tasks["tasks"][1]];
    assert_eq!(
        (&one["description"], &one["priority"], &one["repo"]),
        (&json!("first"), &json!(0), &json!("https://x/y"))
    );
    assert_eq!(one["needed_capabilities"], json!(["code"]));
    assert_eq!((&other["description"], &other["max_retries"]), (&json!("second"), &json!(1)));
    assert_eq!(other["depends_on"], json!([one["id"]]));

    // Again: nothing comes twice, with the journal or without it.
    let (report, code, _) = moving.import(&[]);
    assert_eq!(code, Some(0));
    for kind in ["tokens", "channels", "messages", "mail", "tasks"] {
        let [found, imported, known, ..] = counts(&report, kind);
        assert_eq!((imported, known), (0, found), "{kind}");
    }
    fs::remove_file(moving.folder.join("journal")).expect("the journal");
    let (_, code, err) = moving.import(&[]);
    assert!(code == Some(1) && err.contains("wait on this broker already"), "{err}");
    let (_, code, _) = moving.import(&["--without-messages"]);
    assert_eq!(code, Some(0));
    assert_eq!(get("/api/tasks", "ann")["count"], 2);
}

#[test]
fn an_import_that_was_stopped_goes_on_where_it_was() {
    let Some(moving) = Move::begin() else { return };
    for number in 0..30 {
        let payload = json!({"text": format!("{number}")});
        moving.post("ann", "/api/message", &json!({"to": "ben", "payload": payload}));
        moving.post("ann", "/api/tasks", &json!({"description": format!("{number}")}));
    }
    assert_eq!(moving.import(&[]).1, Some(0));
    // As if it had been killed in the middle: the journal knows the first part only.
    let journal = moving.folder.join("journal");
    let text = fs::read_to_string(&journal).expect("the journal");
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&journal, lines[..lines.len() - 10].join("\n") + "\n{\"task:to").expect("a file");
    let (report, code, _) = moving.import(&[]);
    assert_eq!((code, counts(&report, "tasks")), (Some(0), [30, 10, 20, 0, 0]));
    let tasks = moving.new.http_get("/api/tasks", &moving.new.bearer()).json();
    assert_eq!(tasks["count"], 30, "a task is submitted once");
    let mail = moving.new.http_get("/api/mailbox/ben", &moving.header("ben")).json();
    let expected: Vec<String> = (0..30).map(|number| format!("ann: {number}")).collect();
    assert_eq!(texts(&mail["messages"]), expected);
}

#[test]
fn what_somebody_sent_here_meanwhile_is_not_taken_for_what_was_read_there() {
    let Some(moving) = Move::begin() else { return };
    let message = json!({"to": "ben", "payload": {"text": "read long ago"}});
    moving.post("ann", "/api/message", &message);
    moving.post("ben", "/api/mailbox/ben/ack", &json!({"seq": 1}));
    // A run was stopped before it had emptied the mailboxes.
    let journal = "{\"messages started\":\"\"}\n";
    fs::write(moving.folder.join("journal"), journal).expect("a file");
    let mut wire = moving.new.connect(QUIET);
    assert!(wire.ask("MESSAGE SEND t ben from=carl 3\r\nnew\r\n").starts_with("OK t id="));
    assert_eq!(moving.import(&[]).1, Some(0));
    let mail = moving.new.http_get("/api/mailbox/ben", &moving.header("ben")).json();
    assert_eq!(texts(&mail["messages"])[0], "carl: new");
}

#[test]
fn what_cannot_be_had_or_taken_is_said() {
    let Some(moving) = Move::begin() else { return };
    let broker = &moving.new;
    let refused = |arguments: &[&str], words: &str| {
        let said = broker.run(arguments);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    };
    refused(&["import", "legacy"], "nothing to import");
    refused(&["import", "legacy", "--tokens", "/nowhere"], "cannot read /nowhere");
    refused(&["import", "legacy", "--hub", "ftp://x"], "http://hub:4000");
    let file = moving.folder.join("wrong.json");
    fs::write(&file, "[1]").expect("a file");
    refused(&["import", "legacy", "--tokens", &path(&file)], "an object of tokens");
    let hub = format!("http://{}", moving.old.http().expect("an address"));
    let journal = path(&moving.folder.join("other"));
    refused(&["import", "legacy", "--hub", &hub, "--journal", &journal], "--hub-token");
    // An agent whose name is none here is told of, and the others come.
    let tokens = json!({"a".repeat(64): "no name/here", "b".repeat(64): "carl"}).to_string();
    fs::write(moving.folder.join("tokens.json"), tokens).expect("a file");
    let (report, code, _) =
        moving.import(&["--hub-token", &moving.agents[0].2, "--without-messages"]);
    assert_eq!((code, counts(&report, "tokens")), (Some(1), [2, 1, 0, 0, 1]), "{report}");
}
