//! Submitting tasks and working on them, against a broker that follows a script.

mod support;

use std::time::Duration;

use agentcom_client::{
    Client, ConnectOptions, Failure, Priority, TaskErrorKind, TaskId, TaskState, Worker,
    WorkerErrorKind,
};
use support::{Broker, Peer, in_time, options_with_events};

/// A worker called alice, and the broker's end of it.
async fn alice(broker: &Broker) -> (Client, Worker, Peer) {
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let starting = client.worker("alice").credit(2).start();
    let (worker, ()) = tokio::join!(starting, start(&mut peer));
    (client, worker.expect("started"), peer)
}

async fn start(peer: &mut Peer) {
    let tag = peer.expect_verb("WORKER START", "alice credit=2").await;
    peer.say(&format!("OK {tag} agent=alice")).await;
}

async fn offer(peer: &mut Peer, task: u64, generation: u64) {
    let fields = "queue=q attempt=1 offer_ms=10000 lease_ms=3000";
    peer.say(&format!("OFFER {task} {generation} {fields} 2\r\nhi")).await;
}

async fn expect_accept(peer: &mut Peer, task: u64, generation: u64) {
    let tag = peer.expect_verb("TASK ACCEPT", &format!("{task} {generation}")).await;
    peer.say(&format!("OK {tag} task={task} state=running")).await;
}

/// The worker is not told anything else in between.
async fn expect_stop(peer: &mut Peer) {
    let tag = peer.expect_verb("WORKER STOP", "").await;
    peer.say(&format!("OK {tag}")).await;
}

#[tokio::test]
async fn a_task_is_submitted_with_its_options() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let submit = client
        .tasks()
        .submit("resize", "hello".into())
        .needs(["gpu", "png"])
        .priority(Priority::HIGH)
        .attempts(5)
        .lease(Duration::from_secs(60));
    let script = async {
        let options = "needs=gpu,png priority=1 attempts=5 lease_ms=60000";
        let tag = peer.expect_verb("TASK SUBMIT", &format!("resize {options} 5")).await;
        peer.expect("hello").await;
        peer.say(&format!("OK {tag} task=17")).await;
    };
    let (task, ()) = tokio::join!(async { submit.await }, script);
    assert_eq!(task.expect("submitted"), TaskId(17));
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
    assert_eq!(missing.kind(), TaskErrorKind::NotFound);
    let cause = std::error::Error::source(&missing).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("there is no task 4"));
    let found = found.expect("shown");
    assert_eq!((found.state, found.result), (TaskState::Completed, Some("ok".into())));
}

#[tokio::test]
async fn a_plain_nats_server_has_no_tasks_and_no_workers() {
    let broker = Broker::nats().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    let submitted = client.tasks().submit("q", "".into()).await.map_err(|e| e.kind());
    assert_eq!(submitted, Err(TaskErrorKind::NotSupported));
    let started = client.worker("alice").start().await.map(drop).map_err(|e| e.kind());
    assert_eq!(started, Err(WorkerErrorKind::NotSupported));
}

#[tokio::test]
async fn words_that_would_break_the_line_are_refused() {
    let broker = Broker::agentcom().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    for queue in ["", "a b", "a\r\nTASK SHOW 1 2"] {
        let submitted = client.tasks().submit(queue, "".into()).await.map_err(|e| e.kind());
        assert_eq!(submitted, Err(TaskErrorKind::Invalid), "{queue:?}");
    }
    let submitted = client.tasks().submit("q", "".into()).needs(["a,b"]).await;
    assert_eq!(submitted.map_err(|e| e.kind()), Err(TaskErrorKind::Invalid));
}

#[tokio::test]
async fn a_job_is_accepted_reported_on_and_completed() {
    let broker = Broker::agentcom().await;
    let (client, mut worker, mut peer) = alice(&broker).await;
    let again = client.worker("bob").start().await.map(drop).map_err(|e| e.kind());
    assert_eq!(again, Err(WorkerErrorKind::AlreadyStarted));
    offer(&mut peer, 17, 1).await;
    let working = async {
        let job = worker.next().await.expect("not stopped").expect("a job");
        assert_eq!((job.task(), job.generation(), job.attempt()), (TaskId(17), 1, 1));
        assert_eq!((job.queue(), &job.payload()[..]), ("q", &b"hi"[..]));
        job.progress("half").await.expect("reported");
        job.complete("done").await.expect("completed");
        drop(job);
        worker.drain().await;
    };
    let script = async {
        expect_accept(&mut peer, 17, 1).await;
        let tag = peer.expect_verb("TASK PROGRESS", "17 1 4").await;
        peer.expect("half").await;
        peer.say(&format!("OK {tag} task=17 state=running")).await;
        let tag = peer.expect_verb("TASK COMPLETE", "17 1 4").await;
        peer.expect("done").await;
        peer.say(&format!("OK {tag} task=17 state=completed")).await;
        expect_stop(&mut peer).await;
    };
    in_time(async { tokio::join!(working, script) }).await;
}

#[tokio::test]
async fn a_handler_decides_between_result_retry_and_fatal() {
    let broker = Broker::agentcom().await;
    let (_client, worker, mut peer) = alice(&broker).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let running = worker.run_until(shutdown, |job| async move {
        match job.task().0 {
            1 => Ok("fine"),
            2 => Err(Failure::fatal("hopeless")),
            3 => Err(Failure::retry("later").retry_after(Duration::from_millis(5))),
            4 => Err("x".parse::<u8>().expect_err("no number").into()),
            _ => panic!("a bug"),
        }
    });
    let script = async {
        let answers = [
            ("TASK COMPLETE", "1 1 4", "fine"),
            ("TASK FAIL", "2 1 class=fatal 8", "hopeless"),
            ("TASK FAIL", "3 1 class=retry retry_after_ms=5 5", "later"),
            ("TASK FAIL", "4 1 class=retry 29", "invalid digit found in string"),
            ("TASK FAIL", "5 1 class=retry 44", "the worker dropped the job without an answer"),
        ];
        for (task, (verb, arguments, body)) in (1..).zip(answers) {
            offer(&mut peer, task, 1).await;
            expect_accept(&mut peer, task, 1).await;
            let tag = peer.expect_verb(verb, arguments).await;
            peer.expect(body).await;
            peer.say(&format!("OK {tag} task={task} state=any")).await;
        }
        drop(stop);
        expect_stop(&mut peer).await;
    };
    let (ran, ()) = in_time(async { tokio::join!(running, script) }).await;
    ran.expect("stopped in order");
}

#[tokio::test]
async fn a_revoked_job_is_told_and_a_revoked_offer_is_never_begun() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 1, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 1, 1));
    let job = job.expect("not stopped").expect("a job");
    offer(&mut peer, 2, 1).await;
    peer.say("REVOKED 2 1 state=ready").await;
    peer.say("REVOKED 1 1 state=ready").await;
    in_time(job.cancelled()).await;
    drop(job);
    offer(&mut peer, 1, 3).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 1, 3));
    assert_eq!(job.expect("not stopped").expect("a job").generation(), 3);
}

#[tokio::test]
async fn an_offer_that_is_gone_is_skipped() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 1, 1).await;
    offer(&mut peer, 2, 1).await;
    let script = async {
        let tag = peer.expect_verb("TASK ACCEPT", "1 1").await;
        peer.say(&format!("ERR {tag} stale_generation 'task 1 is at generation 2'")).await;
        expect_accept(&mut peer, 2, 1).await;
    };
    let (job, ()) = in_time(async { tokio::join!(worker.next(), script) }).await;
    assert_eq!(job.expect("not stopped").expect("a job").task(), TaskId(2));
}

#[tokio::test]
async fn after_a_lost_connection_a_running_job_is_not_begun_again_and_its_result_arrives() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 17, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 17, 1));
    let job = job.expect("not stopped").expect("a job");
    let completing = job.complete("done");
    let script = async {
        // The result gets lost on its way.
        peer.expect_verb("TASK COMPLETE", "17 1 4").await;
        peer.expect("done").await;
        drop(peer);
        let mut peer = broker.accept().await;
        // The worker names what it still holds, and says the result again.
        let tag = peer.expect_verb("WORKER START", "alice credit=2 holding=17:1").await;
        peer.say(&format!("OK {tag} agent=alice epoch=8 continued=17:1")).await;
        offer(&mut peer, 18, 1).await;
        let tag = peer.expect_verb("TASK COMPLETE", "17 1 4").await;
        peer.expect("done").await;
        peer.say(&format!("OK {tag} task=17 state=completed")).await;
        peer
    };
    let (completed, mut peer) = in_time(async { tokio::join!(completing, script) }).await;
    completed.expect("completed");
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 18, 1));
    assert_eq!(job.expect("not stopped").expect("a job").task(), TaskId(18));
}

#[tokio::test]
async fn a_lease_that_was_given_to_somebody_else_meanwhile_is_dropped() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 17, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 17, 1));
    let job = job.expect("not stopped").expect("a job");
    drop(peer);
    let mut peer = broker.accept().await;
    let tag = peer.expect_verb("WORKER START", "alice credit=2 holding=17:1").await;
    peer.say(&format!("OK {tag} agent=alice epoch=8 stopped=17:1")).await;
    in_time(job.cancelled()).await;
}

#[tokio::test]
async fn a_checkpoint_and_answers_stand_before_the_payload() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    let fields = "queue=q attempt=1 lease_ms=3000 answers_bytes=2 checkpoint_bytes=6";
    peer.say(&format!("OFFER 17 1 {fields} 10\r\n{{}}page 3hi")).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 17, 1));
    let job = job.expect("not stopped").expect("a job");
    assert_eq!(
        (job.checkpoint().map(|it| &it[..]), &job.payload()[..]),
        (Some(&b"page 3"[..]), &b"hi"[..])
    );
}

#[tokio::test]
async fn a_dropped_wait_for_a_job_loses_nothing() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 1, 1).await;
    // Wait only until the acceptance is on its way, then drop the call.
    let tag = tokio::select! {
        _ = worker.next() => panic!("the broker has not answered yet"),
        tag = peer.expect_verb("TASK ACCEPT", "1 1") => tag,
    };
    peer.say(&format!("OK {tag} task=1 state=running")).await;
    let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
    assert_eq!(job.task(), TaskId(1));
}

#[tokio::test]
async fn a_replaced_worker_ends_with_the_reason() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 1, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 1, 1));
    let job = job.expect("not stopped").expect("a job");
    peer.say("REPLACED").await;
    in_time(job.cancelled()).await;
    let end = in_time(worker.next()).await.expect("the reason");
    assert_eq!(end.map(drop).map_err(|error| error.kind()), Err(WorkerErrorKind::Replaced));
    assert!(in_time(worker.next()).await.is_none());
    let completed = job.complete("late").await.map_err(|error| error.kind());
    assert_eq!(completed, Err(TaskErrorKind::NotOwner));
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let broker = Broker::agentcom().await;
    let (_client, worker, mut peer) = alice(&broker).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (release, released) = tokio::sync::watch::channel(false);
    let running = worker.run_until(async { drop(stopped.await) }, move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.expect("released");
            Ok("done")
        }
    });
    let script = async {
        offer(&mut peer, 1, 1).await;
        expect_accept(&mut peer, 1, 1).await;
        drop(stop);
        tokio::task::yield_now().await;
        offer(&mut peer, 2, 1).await;
        tokio::task::yield_now().await;
        release.send(true).expect("a handler waits");
        let tag = peer.expect_verb("TASK COMPLETE", "1 1 4").await;
        peer.expect("done").await;
        peer.say(&format!("OK {tag} task=1 state=completed")).await;
        expect_stop(&mut peer).await;
    };
    let (ran, ()) = in_time(async { tokio::join!(running, script) }).await;
    ran.expect("stopped in order");
}

#[tokio::test]
async fn a_running_job_is_kept_alive_three_times_a_lease() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 1, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 1, 1));
    let job = job.expect("not stopped").expect("a job");
    // From here on time jumps to the next timer whenever nothing else happens.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    for _ in 0..3 {
        peer.pong().await;
    }
    let waited = before.elapsed();
    // The clock of the runtime ticks in milliseconds and rounds up.
    assert!(
        waited <= job.lease() + Duration::from_millis(10),
        "three signs of life took {waited:?}"
    );
}
