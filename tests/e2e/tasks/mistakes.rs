//! Whatever is wrong with a verb of ours is answered with a sentence, and the connection lives on.

use std::collections::BTreeSet;

use agentcom_tests::{MODERN, Options, QUIET, User};

use super::{broker, broker_with, worker};

const SUBMIT_USAGE: &str = "usage: TASK SUBMIT tag queue [needs=...] [labels=...] [uses=...] \
    [prefer=...] [assign_to=...] [assign_ms=...] [sticky_ms=...] [limits=...] [rates=...] \
    [priority=...] [attempts=...] [lease_ms=...] [attempt_ms=...] [progress_ms=...] \
    [queue_ms=...] [total_ms=...] [delay_ms=...] [at_ms=...] [key=...] [dedup=...] \
    [dedup_mode=...] [dedup_ms=...] [debounce_max_ms=...] [after=...] [headers=...] size";
const SHOW_USAGE: &str = "usage: TASK SHOW tag task";
const ACTIONS: &str = "SUBMIT, SHOW, ACCEPT, DECLINE, PROGRESS, COMPLETE, FAIL, BATCH, AWAIT, \
    WATCH, UNWATCH, CANCEL, RECLAIM, BUSY, CHECKPOINT, RELEASE, STOPPED, WHY, EDIT, PARK, ANSWER, SPAWN, LIST";

/// Each request in `cases` (without its last CRLF) gets exactly one answer, that of the case, and
/// leaves no task behind.
#[track_caller]
fn check(cases: &[(&str, String)]) {
    let Some(broker) = broker() else { return };
    for (request, answer) in cases {
        let mut wire = broker.connect(QUIET).case(request);
        wire.send(format!("{request}\r\n"));
        wire.expect(format!("{answer}\r\n"));
        wire.expect_nothing();
    }
    // Had one of them been kept, this agent would be offered it.
    let mut agent = worker(&broker, "alice can=a,b,c");
    agent.expect_nothing();
}

#[test]
fn words_that_are_missing_or_too_many_are_named() {
    let missing = |tag: &str, what: &str, usage: &str| {
        format!("ERR {tag} invalid '{what} is missing; {usage}'")
    };
    check(&[
        ("TASK SUBMIT", missing("-", "tag", SUBMIT_USAGE)),
        ("TASK SUBMIT 1", missing("1", "queue", SUBMIT_USAGE)),
        // The last word is the size even where the queue is missing, so the body is skipped.
        ("TASK SUBMIT 1 7\r\nPING\r\n.", missing("1", "queue", SUBMIT_USAGE)),
        ("TASK SHOW", missing("-", "tag", SHOW_USAGE)),
        ("TASK SHOW -", missing("-", "tag", SHOW_USAGE)),
        ("TASK SHOW 2", missing("2", "task", SHOW_USAGE)),
        ("TASK ACCEPT 3 17", missing("3", "generation", "usage: TASK ACCEPT tag task generation")),
        (
            "TASK COMPLETE 4 17 0\r\n",
            missing("4", "generation", "usage: TASK COMPLETE tag task generation size"),
        ),
        (
            "WORKER START 5",
            missing(
                "5",
                "agent",
                "usage: WORKER START tag agent [can=...] [labels=...] [capacity=...] [queues=...] [credit=...] \
                 [holding=...]",
            ),
        ),
        ("WORKER STOP", missing("-", "tag", "usage: WORKER STOP tag")),
        ("TASK SHOW 6 17 18", format!("ERR 6 invalid '18 is one word too many; {SHOW_USAGE}'")),
        (
            "TASK SUBMIT 7 q r 7\r\nPING\r\n.",
            format!("ERR 7 invalid 'r is one word too many; {SUBMIT_USAGE}'"),
        ),
    ]);
}

#[test]
fn verbs_that_do_not_exist_are_named() {
    let action = |family: &str, actions: &str, found: &str| {
        format!("ERR - unknown_verb '{family} is followed by one of {actions}; found {found}'")
    };
    let verb =
        |found: &str| format!("ERR - unknown_verb 'unknown verb {found}; HELP lists the verbs'");
    check(&[
        ("FROB 1", verb("FROB")),
        ("TASKS SUBMIT 1 q 0", verb("TASKS")),
        ("task", action("TASK", ACTIONS, "nothing")),
        ("TASK SUBMITT 1 q 5", action("TASK", ACTIONS, "SUBMITT")),
        ("TASK KANCEL 1 17", action("TASK", ACTIONS, "KANCEL")),
        ("WORKER PAUSE 1", action("WORKER", "START, STOP", "PAUSE")),
        (&format!("B{}", "x".repeat(100)), verb(&format!("B{}", "x".repeat(31)))),
    ]);
}

#[test]
fn verbs_that_are_not_built_yet_say_so() {
    let not_yet = |name: &str, tag: &str| {
        format!("ERR {tag} not_supported '{name} is not built yet; HELP lists the verbs that are'")
    };
    check(&[
        ("TASK CHARGE 1 17 1 5", not_yet("TASK CHARGE", "1")),
        ("task preempt 2 17", not_yet("TASK PREEMPT", "2")),
        ("TASK EFFECT", not_yet("TASK EFFECT", "-")),
    ]);
}

#[test]
fn a_size_that_is_none_is_named() {
    let size = |found: &str| {
        let sentence = "the last word is the size of the body in bytes; found";
        format!("ERR 1 invalid '{sentence} {found}; {SUBMIT_USAGE}'")
    };
    let sizes = ["five", "-1", "+5", "1.0", "0x5", "1234567890", "needs=a", "q"];
    let requests = sizes.map(|found| match found {
        "q" => "TASK SUBMIT 1 q".to_owned(),
        found => format!("TASK SUBMIT 1 q {found}"),
    });
    let cases: Vec<_> = requests
        .iter()
        .zip(sizes)
        .map(|(request, found)| (request.as_str(), size(found)))
        .collect();
    check(&cases);
}

#[test]
fn options_that_do_not_exist_are_named() {
    let option =
        |found: &str, usage: &str| format!("ERR 1 invalid 'there is no option {found}; {usage}'");
    let body = "\r\nPUB a 0\r\n\r\n";
    let with_body = [
        format!("TASK SUBMIT 1 q color=red 11{body}"),
        format!("TASK SUBMIT 1 q needs=a color=red priority=high 11{body}"),
        format!("TASK SUBMIT 1 q =red 11{body}"),
        format!("TASK SUBMIT 1 q Needs=a 11{body}"),
        format!("TASK FAIL 1 17 1 needs=a 11{body}"),
    ];
    let fail_usage = "usage: TASK FAIL tag task generation [class=...] [retry_after_ms=...] size";
    check(&[
        (&with_body[0], option("color", SUBMIT_USAGE)),
        (&with_body[1], option("color", SUBMIT_USAGE)),
        (&with_body[2], option("", SUBMIT_USAGE)),
        (&with_body[3], option("Needs", SUBMIT_USAGE)),
        (&with_body[4], option("needs", fail_usage)),
        (
            "TASK DECLINE 1 17 1 cause=busy",
            option(
                "cause",
                "usage: TASK DECLINE tag task generation [reason=...] [retry_after_ms=...]",
            ),
        ),
    ]);
}

#[test]
fn values_that_are_not_allowed_are_repeated_with_what_is() {
    // The request, and words of the answer: what it is about, what was found, what is allowed.
    let long = "n".repeat(65);
    let many = (0..21).map(|n| format!("n{n}")).collect::<Vec<_>>().join(",");
    let requests = [
        ("TASK SHOW t x".to_owned(), ["task", "x", "number"]),
        ("TASK SHOW t -1".to_owned(), ["task", "-1", "number"]),
        ("TASK SHOW t 18446744073709551616".to_owned(), ["task", "18446744073709551616", "number"]),
        ("TASK ACCEPT t 1 one".to_owned(), ["generation", "one", "number"]),
        ("TASK COMPLETE t 1 1.5 2\r\nhi".to_owned(), ["generation", "1.5", "number"]),
        ("TASK SUBMIT t a/b 2\r\nhi".to_owned(), ["queue", "'/'", "letters"]),
        ("TASK SUBMIT t café 2\r\nhi".to_owned(), ["queue", "'é'", "letters"]),
        (format!("TASK SUBMIT t {long} 2\r\nhi"), ["queue", "65", "64"]),
        ("TASK SUBMIT t q needs=a,b* 2\r\nhi".to_owned(), ["needs", "'*'", "letters"]),
        (format!("TASK SUBMIT t q needs={long} 2\r\nhi"), ["needs", "65", "64"]),
        (format!("TASK SUBMIT t q needs={many} 2\r\nhi"), ["needs", "21", "20"]),
        ("TASK SUBMIT t q priority=256 2\r\nhi".to_owned(), ["priority", "256", "255"]),
        ("TASK SUBMIT t q priority=-1 2\r\nhi".to_owned(), ["priority", "-1", "255"]),
        ("TASK SUBMIT t q priority=asap 2\r\nhi".to_owned(), ["priority", "asap", "urgent"]),
        ("TASK SUBMIT t q attempts=0 2\r\nhi".to_owned(), ["attempts", "0", "100"]),
        ("TASK SUBMIT t q attempts=101 2\r\nhi".to_owned(), ["attempts", "101", "100"]),
        ("TASK SUBMIT t q attempts=many 2\r\nhi".to_owned(), ["attempts", "many", "number"]),
        ("TASK SUBMIT t q lease_ms=999 2\r\nhi".to_owned(), ["lease_ms", "999", "1000"]),
        (
            "TASK SUBMIT t q lease_ms=86400001 2\r\nhi".to_owned(),
            ["lease_ms", "86400001", "86400000"],
        ),
        ("TASK FAIL t 1 1 class=maybe 2\r\nhi".to_owned(), ["class", "maybe", "fatal"]),
        (
            "TASK FAIL t 1 1 retry_after_ms=86400001 2\r\nhi".to_owned(),
            ["retry_after_ms", "86400001", "86400000"],
        ),
        (
            "TASK FAIL t 1 1 retry_after_ms=-1 2\r\nhi".to_owned(),
            ["retry_after_ms", "-1", "86400000"],
        ),
        ("TASK SUBMIT t q after=17:run 2\r\nhi".to_owned(), ["after", "17:run", ":cancel"]),
        ("TASK SUBMIT t q labels=os! 2\r\nhi".to_owned(), ["labels", "os!", ">="]),
        ("TASK SUBMIT t q limits=repo 2\r\nhi".to_owned(), ["limits", "repo", "repo:1"]),
        ("TASK SUBMIT t q uses=gpu 2\r\nhi".to_owned(), ["uses", "gpu", "gpu:2"]),
        ("TASK SUBMIT t q prefer=0:ssd 2\r\nhi".to_owned(), ["prefer", "0:ssd", "1000"]),
        ("TASK SUBMIT t q assign_ms=1000 2\r\nhi".to_owned(), ["assign_to", "missing", "agent"]),
        ("TASK SUBMIT t q rates=api:1 2\r\nhi".to_owned(), ["rates", "api:1", "api:60/60000"]),
        ("TASK SUBMIT t q headers=a:%zz 2\r\nhi".to_owned(), ["headers", "%zz", "hexadecimal"]),
        ("WORKER START t alice capacity=gpu:0".to_owned(), ["capacity", "gpu:0", "4294967295"]),
        (
            "TASK FAIL t 1 1 class=rate_limited 2\r\nhi".to_owned(),
            ["retry_after_ms", "missing", "milliseconds"],
        ),
        ("TASK SUBMIT t q delay_ms=1 at_ms=1 2\r\nhi".to_owned(), ["delay_ms", "at_ms", "both"]),
        (
            "TASK SUBMIT t q delay_ms=31536000001 2\r\nhi".to_owned(),
            ["delay_ms", "31536000001", "31536000000"],
        ),
        ("TASK SUBMIT t q dedup_mode=reject 2\r\nhi".to_owned(), ["dedup", "missing", "key"]),
        (
            "TASK SUBMIT t q dedup=k dedup_mode=once 2\r\nhi".to_owned(),
            ["dedup_mode", "once", "until_done"],
        ),
        (
            "TASK SUBMIT t q dedup=k dedup_ms=999 2\r\nhi".to_owned(),
            ["dedup_ms", "999", "2592000000"],
        ),
        ("TASK BATCH t 2\r\n{}".to_owned(), ["JSON", "array", "expected"]),
        ("TASK BATCH t 4\r\n[{}]".to_owned(), ["number 1", "queue", "missing"]),
        ("TASK AWAIT t 1 timeout_ms=3600001".to_owned(), ["timeout_ms", "3600001", "3600000"]),
        ("TASK BUSY t 1 1 0".to_owned(), ["for_ms", "0", "1000"]),
        ("TASK PROGRESS t 1 1 seq=x 0\r\n".to_owned(), ["seq", "x", "number"]),
        ("DEAD REDRIVE t 1 delay_ms=x".to_owned(), ["delay_ms", "x", "31536000000"]),
        ("QUEUE TAKE t q max=0".to_owned(), ["max", "0", "100"]),
        ("QUEUE TAKE t q max=101".to_owned(), ["max", "101", "100"]),
        ("QUEUE TAKE t q consumer=a@b".to_owned(), ["consumer", "'@'", "letters"]),
        ("QUEUE EXTEND t 1 1 999".to_owned(), ["lease_ms", "999", "1000"]),
        ("QUEUE LIST t limit=1001".to_owned(), ["limit", "1001", "1000"]),
        ("QUEUE SET t q order=random".to_owned(), ["order", "random", "fair"]),
        ("TASK LIST t state=asleep".to_owned(), ["state", "asleep", "running"]),
        ("DEAD LIST t reason=age".to_owned(), ["reason", "age", "timeout"]),
        ("TASK PARK t 1 1 2\r\n[]".to_owned(), ["body", "JSON", "expected"]),
        ("TASK PARK t 1 1 7\r\n{\"x\":1}".to_owned(), ["field", "x", "questions"]),
        ("TASK SPAWN t 1 1 detach=maybe 2\r\n[]".to_owned(), ["detach", "maybe", "true"]),
        ("SCHEDULE SET t s q 0\r\n".to_owned(), ["cron", "missing", "every_ms"]),
        ("SCHEDULE SET t s q cron=0_3_* 0\r\n".to_owned(), ["cron", "3 fields", "five"]),
        ("QUEUE PEEK t q limit=0".to_owned(), ["limit", "0", "100"]),
        ("WORKER START t alice holding=17".to_owned(), ["holding", "17", "17:3"]),
        ("WORKER START t alice labels=os:a,os:b".to_owned(), ["labels", "os", "one value"]),
        ("WORKER START t a@b".to_owned(), ["agent", "'@'", "letters"]),
        (format!("WORKER START t {long}"), ["agent", "65", "64"]),
        ("WORKER START t alice can=a,b:c".to_owned(), ["can", "':'", "letters"]),
        ("WORKER START t alice queues=*".to_owned(), ["queues", "'*'", "letters"]),
        ("WORKER START t alice credit=0".to_owned(), ["credit", "0", "1000"]),
        ("WORKER START t alice credit=1001".to_owned(), ["credit", "1001", "1000"]),
    ];
    let Some(broker) = broker() else { return };
    for (request, words) in requests {
        let mut wire = broker.connect(QUIET).case(&request);
        let sentence = wire.expect_declined(&format!("{request}\r\n"), "invalid");
        for word in words.into_iter().chain(["usage: "]) {
            assert!(sentence.contains(word), "{word:?} after {request:?}: {sentence}");
        }
        wire.expect_nothing();
    }
    worker(&broker, "alice can=a,b").expect_nothing();
}

#[test]
fn the_last_value_that_is_allowed_is_allowed() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let long = "n".repeat(64);
    let many = (0..20).map(|n| format!("n{n}")).collect::<Vec<_>>().join(",");
    for words in [
        "q priority=0",
        "q priority=255",
        "q attempts=1",
        "q attempts=100",
        "q lease_ms=1000",
        "q lease_ms=86400000",
        "q needs=",
        "A-Z_a.z0-9",
        // Of an option that is given twice, the last counts.
        "q attempts=101 attempts=1",
        &long,
        &format!("q needs={many}"),
    ] {
        wire.submit(words, "");
    }
    for words in ["alice credit=1", "alice credit=1000", "alice can= queues=", &long] {
        broker.connect(QUIET).start_worker(words);
    }
}

#[test]
fn a_line_that_is_no_text_is_declined_and_its_body_skipped() {
    let Some(broker) = broker() else { return };
    for name in [b"\xff".as_slice(), b"\0", b"a\x1b[2J", b"a\x7f"] {
        let mut wire = broker.connect(QUIET).case(&name.escape_ascii().to_string());
        wire.send([b"TASK SUBMIT 1 ", name, b" 6\r\nPING\r\n\r\n"].concat());
        wire.expect("ERR - invalid 'the line holds bytes that are not printable text'\r\n");
        wire.expect_nothing();
    }
    worker(&broker, "alice").expect_nothing();
}

#[test]
fn what_loses_the_frames_closes() {
    let options = Options::default().limit("payload_bytes_max", 100);
    let Some(broker) = broker_with(options) else { return };
    let long = format!("TASK SHOW {} 1\r\n", "x".repeat(5000));
    for (request, farewell) in [
        ("TASK SUBMIT 1 q 2\r\nhello\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("TASK SUBMIT 1 q 101\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        ("TASK COMPLETE 1 1 1 999999999\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        (&long, "-ERR 'maximum control line exceeded'\r\n"),
    ] {
        let mut wire = broker.connect(QUIET).case(request);
        wire.send(request);
        wire.expect_end(farewell);
    }
    worker(&broker, "alice").expect_nothing();
}

#[test]
fn verbs_may_be_written_as_freely_as_those_of_nats() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    for request in [
        "task submit s q 2\r\nhi\r\n",
        "Task\tSubMit  s \t q   000000002 \nhi\r\n",
        "TASK SUBMIT s q priority=high needs=a 2\r\nhi\r\n",
    ] {
        // The body is taken by its size, however it arrives.
        for piece in [request.len(), 1] {
            for part in request.as_bytes().chunks(piece) {
                wire.send(part);
            }
            let answer = wire.expect_line();
            assert!(answer.starts_with("OK s task="), "{request:?} by {piece}: {answer}");
        }
    }
}

#[test]
fn requests_may_be_pipelined() {
    const REQUESTS: usize = 100;
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let requests: String =
        (0..REQUESTS).map(|n| format!("TASK SUBMIT tag-{n} q 2\r\nhi\r\n")).collect();
    wire.send(requests + "TASK SHOW first 999999\r\nTASK FROB x\r\n");

    let mut tags = BTreeSet::new();
    let mut tasks = BTreeSet::new();
    let mut errors = Vec::new();
    for _ in 0..REQUESTS + 2 {
        let line = wire.expect_line();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["OK", tag, task, "state=ready", "generation=0"] => {
                assert!(tags.insert(tag.to_owned()), "answered twice: {line}");
                let task = task.strip_prefix("task=").expect("a task").to_owned();
                assert!(tasks.insert(task), "given out twice: {line}");
            }
            ["ERR", tag, code, ..] => errors.push(format!("{tag} {code}")),
            _ => panic!("{line}"),
        }
    }
    wire.expect_nothing();
    assert_eq!(tags, (0..REQUESTS).map(|n| format!("tag-{n}")).collect());
    errors.sort_unstable();
    assert_eq!(errors, ["- unknown_verb", "first not_found"]);
}

#[test]
fn help_explains_a_verb_and_quit_hangs_up() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    for topic in ["TASK SUBMIT", "task submit", "TASK"] {
        wire.send(format!("HELP {topic}\r\n"));
        let help = String::from_utf8(wire.read_to_pong()).expect("text");
        assert!(help.contains(SUBMIT_USAGE.trim_start_matches("usage: ")), "{topic}: {help}");
        for line in help.split_inclusive("\r\n") {
            assert!(line.starts_with("# ") && line.ends_with("\r\n"), "{topic}: {line:?}");
        }
    }
    wire.send("QUIT\r\n");
    wire.expect_closed();
}

#[test]
fn our_verbs_need_a_login_where_there_is_one_but_help_does_not() {
    let Some(broker) = broker_with(Options::default().user(User::new("alice", "pw"))) else {
        return;
    };
    for request in ["TASK SHOW 1 1\r\n", "WORKER START 1 alice\r\n", "TASK SUBMIT 1 q 0\r\n\r\n"] {
        let mut stranger = broker.connect_raw().case(request);
        stranger.send(request);
        stranger.expect_end("-ERR 'Authorization Violation'\r\n");
    }
    let mut stranger = broker.connect_raw();
    stranger.send("HELP TASK SHOW\r\nQUIT\r\n");
    let last = String::from_utf8(stranger.read_to_end()).expect("text");
    assert!(last.contains(SHOW_USAGE.trim_start_matches("usage: ")), "{last}");
}

#[test]
fn info_names_the_families_of_verbs() {
    let Some(broker) = broker() else { return };
    let info = broker.connect_raw().info();
    assert_eq!(info["x"]["name"], "agentcom", "{info}");
    for family in ["task1", "worker1", "dead1", "queue1", "schedule1"] {
        let verbs = info["x"]["verbs"].as_array().expect("a list");
        assert!(verbs.iter().any(|verb| verb == family), "{family} in {info}");
    }
    broker.connect(MODERN).expect_nothing();
}
