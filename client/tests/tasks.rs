//! Submitting tasks and looking at them, against a broker that follows a script.

mod support;

use std::time::Duration;

use agentcom_client::{
    After, AwaitErrorKind, CancelErrorKind, ConnectOptions, Dedup, Outcome, Priority,
    ShowErrorKind, SubmitErrorKind, TaskId, TaskState, WorkerErrorKind,
};
use support::{Broker, in_time, options_with_events};

#[tokio::test]
async fn a_task_is_submitted_with_its_options() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let submit = client
        .tasks()
        .submit("resize")
        .payload("hello")
        .needs(["gpu", "png"])
        .priority(Priority::HIGH)
        .attempts(5)
        .lease(Duration::from_secs(60))
        .labels(["mem>=16", "ssd"])
        .dedup(
            "cat",
            Dedup::Debounce { delay: Duration::from_secs(1), max: Duration::from_secs(9) },
        )
        .after(TaskId(3))
        .after(After::any(TaskId(4)));
    let script = async {
        // In the order of their names, but for the edges.
        let options = "attempts=5 debounce_max_ms=9000 dedup=cat dedup_mode=debounce dedup_ms=1000 \
            labels=mem>=16,ssd lease_ms=60000 needs=gpu,png priority=1 after=3,4:any";
        let tag = peer.expect_verb("TASK SUBMIT", &format!("resize {options} 5")).await;
        peer.expect("hello").await;
        peer.say(&format!("OK {tag} task=17 state=held generation=0 existing=true")).await;
    };
    let (kept, ()) = tokio::join!(async { submit.await }, script);
    let kept = kept.expect("submitted");
    assert_eq!((kept.task, kept.state, kept.existing), (TaskId(17), TaskState::Held, true));
}

#[tokio::test]
async fn what_is_said_by_name_is_a_list_on_the_line() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let submit = client
        .tasks()
        .submit("train")
        .uses("gpu", 2)
        .uses("mem", 64)
        .prefer(["5:ssd", "mem>=64"])
        .assign_to_for("alice", Duration::from_secs(60))
        .sticky(Duration::from_secs(5))
        .limit("repo", 1)
        .rate("api", 60, Duration::from_secs(60))
        .header("note", "50 %, größer");
    let script = async {
        let options = "assign_ms=60000 assign_to=alice headers=note:50%20%25%2C%20größer \
            limits=repo:1 prefer=5:ssd,mem>=64 rates=api:60/60000 sticky_ms=5000 uses=gpu:2,mem:64";
        let tag = peer.expect_verb("TASK SUBMIT", &format!("train {options} 0")).await;
        peer.expect("").await;
        peer.say(&format!("OK {tag} task=17 state=ready generation=0")).await;
    };
    let (kept, ()) = tokio::join!(async { submit.await }, script);
    assert_eq!(kept.expect("submitted").task, TaskId(17));
}

#[tokio::test]
async fn a_declined_request_has_the_kind_of_its_code() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let script = async {
        let tag = peer.expect_verb("TASK SHOW", "4").await;
        peer.say(&format!("ERR {tag} not_found 'there is no task 4'")).await;
        let tag = peer.expect_verb("TASK SHOW", "5").await;
        let view = r#"{"task":5,"queue":"q","state":"completed","generation":1,"priority":2,"result":"ok"}"#;
        peer.say(&format!("OK {tag} {}\r\n{view}", view.len())).await;
    };
    let tasks = client.tasks();
    let showing = async { (tasks.show(TaskId(4)).await, tasks.show(TaskId(5)).await) };
    let ((missing, found), ()) = tokio::join!(showing, script);
    let missing = missing.expect_err("no such task");
    assert_eq!(missing.kind(), ShowErrorKind::NotFound);
    let cause = std::error::Error::source(&missing).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("there is no task 4"));
    let found = found.expect("shown");
    assert_eq!((found.state, found.result), (TaskState::Completed, Some("ok".into())));
}

#[tokio::test]
async fn a_plain_nats_server_has_no_tasks_and_no_workers() {
    let broker = Broker::nats().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    let submitted = client.tasks().submit("q").await.map_err(|e| e.kind());
    assert_eq!(submitted, Err(SubmitErrorKind::NotSupported));
    let started = client.worker("alice").start().await.map(drop).map_err(|e| e.kind());
    assert_eq!(started, Err(WorkerErrorKind::NotSupported));
}

#[tokio::test]
async fn words_that_would_break_the_line_are_refused() {
    let broker = Broker::agentcom().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    for queue in ["", "a b", "a\r\nTASK SHOW 1 2"] {
        let submitted = client.tasks().submit(queue).await.map_err(|e| e.kind());
        assert_eq!(submitted, Err(SubmitErrorKind::Invalid), "{queue:?}");
    }
    let submitted = client.tasks().submit("q").needs(["a,b"]).await;
    assert_eq!(submitted.map_err(|e| e.kind()), Err(SubmitErrorKind::Invalid));
}

#[tokio::test]
async fn a_graph_is_kept_at_once_and_its_tasks_are_found_by_name() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let tasks = client.tasks();
    let graph = tasks
        .graph()
        .task("fetch", tasks.submit("fetch").payload(&b"\xff"[..]))
        .task("resize", tasks.submit("resize").needs(["gpu"]).after("fetch"))
        .unnamed(tasks.submit("files").after(After::from("resize").else_cancel()).after(TaskId(3)));
    let body = r#"[{"name":"fetch","payload_base64":"/w==","queue":"fetch"},{"after":["fetch"],"name":"resize","needs":["gpu"],"payload":"","queue":"resize"},{"after":[{"else":"cancel","task":"resize"},3],"payload":"","queue":"files"}]"#;
    let script = async {
        let tag = peer.expect_verb("TASK BATCH", &body.len().to_string()).await;
        peer.expect(body).await;
        peer.say(&format!("OK {tag} tasks=17,18,19")).await;
    };
    let (kept, ()) = in_time(async { tokio::join!(async { graph.await }, script) }).await;
    let kept = kept.expect("submitted");
    assert_eq!((kept["fetch"], kept.get("resize")), (TaskId(17), Some(TaskId(18))));
    assert_eq!((kept.get("files"), kept.ids().len()), (None, 3));
}

#[tokio::test]
async fn only_tasks_of_a_graph_have_names() {
    let broker = Broker::agentcom().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    let submitted = client.tasks().submit("q").after("fetch").await.map_err(|e| e.kind());
    assert_eq!(submitted, Err(SubmitErrorKind::Invalid));
}

#[tokio::test]
async fn an_outcome_is_awaited_across_a_lost_connection() {
    let broker = Broker::agentcom().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let tasks = client.tasks();
    let waiting = tasks.await_result(TaskId(17), Duration::from_secs(60));
    let script = async {
        peer.expect_beginning("TASK AWAIT", "17 timeout_ms=").await;
        drop(peer);
        let mut peer = broker.accept().await;
        let (tag, _) = peer.expect_beginning("TASK AWAIT", "17 timeout_ms=").await;
        let view = r#"{"task":17,"queue":"q","state":"dead","generation":3,"priority":2,"dead":"failed","errors":[{"generation":1,"agent":"alice","at_ms":5,"error":"no"}]}"#;
        peer.say(&format!("OK {tag} {}\r\n{view}", view.len())).await;
        peer
    };
    let (outcome, _peer) = in_time(async { tokio::join!(waiting, script) }).await;
    let Outcome::Dead { reason, failures } = outcome.expect("over") else { panic!("not dead") };
    assert_eq!((reason.as_str(), failures[0].agent.as_str()), ("failed", "alice"));
}

#[tokio::test]
async fn a_task_that_is_not_over_in_time_is_an_error_of_its_own() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let tasks = client.tasks();
    let waiting = tasks.await_result(TaskId(17), Duration::ZERO);
    let script = async {
        let tag = peer.expect_verb("TASK AWAIT", "17 timeout_ms=0").await;
        let view = r#"{"task":17,"queue":"q","state":"running","generation":3,"priority":2}"#;
        peer.say(&format!("OK {tag} {}\r\n{view}", view.len())).await;
    };
    let (outcome, ()) = in_time(async { tokio::join!(waiting, script) }).await;
    assert_eq!(outcome.map_err(|error| error.kind()), Err(AwaitErrorKind::NotOver));
}

#[tokio::test]
async fn a_reason_of_several_words_travels_as_json() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let tasks = client.tasks();
    let script = async {
        let tag = peer.expect_verb("TASK CANCEL", "17 grace_ms=5000 reason=late").await;
        peer.say(&format!("OK {tag} task=17 state=running")).await;
        peer.expect_beginning("SUB", "").await;
        let line = peer.line().await;
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[..2], ["PUB", "$AC.API.TASK.CANCEL"]);
        peer.expect(r#"{"grace_ms":null,"reason":"too late","task":17}"#).await;
        let answer = r#"{"error":{"code":"terminal","sentence":"it is over"}}"#;
        peer.say(&format!("MSG {} 0 {}\r\n{answer}", words[2], answer.len())).await;
    };
    let cancelling = async {
        let grace = Some(Duration::from_secs(5));
        let first = tasks.cancel(TaskId(17), "late", grace).await;
        (first, tasks.cancel(TaskId(17), "too late", None).await)
    };
    let ((first, second), ()) = in_time(async { tokio::join!(cancelling, script) }).await;
    first.expect("asked to stop");
    assert_eq!(second.map_err(|error| error.kind()), Err(CancelErrorKind::Over));
}
