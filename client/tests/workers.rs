//! Working on tasks, against a broker that follows a script.

mod support;

use std::time::Duration;

use agentcom_client::{Client, JobError, SettleErrorKind, TaskId, Worker, WorkerErrorKind};
use support::{Broker, Peer, in_time, options_with_events};

/// A worker called alice, and the broker's end of it.
async fn alice(broker: &Broker) -> (Client, Worker, Peer) {
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let starting = client.worker("alice").concurrency(2).start();
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

/// The worker wants nothing more. Gives what it still holds: a job whose answer was said just
/// before may or may not be among it.
async fn expect_drain(peer: &mut Peer) -> String {
    let (tag, rest) = peer.expect_beginning("WORKER START", "alice credit=2 queues=unused-").await;
    let (_, found) = rest.split_once(' ').unwrap_or((&rest, ""));
    let continued = found.replace("holding", "continued");
    peer.say(&format!("OK {tag} agent=alice {continued}")).await;
    found.to_owned()
}

/// The worker holds nothing and says goodbye.
async fn expect_stop(peer: &mut Peer) {
    let tag = peer.expect_verb("WORKER STOP", "").await;
    peer.say(&format!("OK {tag}")).await;
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
        worker.shutdown().await;
    };
    let script = async {
        expect_accept(&mut peer, 17, 1).await;
        let tag = peer.expect_verb("TASK PROGRESS", "17 1 seq=1 4").await;
        peer.expect("half").await;
        peer.say(&format!("OK {tag} task=17 seq=1")).await;
        let tag = peer.expect_verb("TASK COMPLETE", "17 1 4").await;
        peer.expect("done").await;
        peer.say(&format!("OK {tag} task=17 state=completed")).await;
        expect_drain(&mut peer).await;
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
            2 => Err(JobError::fatal("hopeless")),
            3 => Err(JobError::retry("later").retry_after(Duration::from_millis(5))),
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
        expect_drain(&mut peer).await;
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
async fn after_a_lost_connection_a_result_is_said_again_although_its_lease_is_over() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    offer(&mut peer, 17, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 17, 1));
    let job = job.expect("not stopped").expect("a job");
    let completing = job.complete("done");
    let script = async {
        // The answer gets lost on its way.
        peer.expect_verb("TASK COMPLETE", "17 1 4").await;
        peer.expect("done").await;
        drop(peer);
        let mut peer = broker.accept().await;
        let tag = peer.expect_verb("WORKER START", "alice credit=2 holding=17:1").await;
        peer.say(&format!("OK {tag} agent=alice epoch=2 stopped=17:1")).await;
        let tag = peer.expect_verb("TASK COMPLETE", "17 1 4").await;
        peer.expect("done").await;
        peer.say(&format!("OK {tag} task=17 state=completed duplicate=true")).await;
        offer(&mut peer, 18, 1).await;
        peer
    };
    let (completed, mut peer) = in_time(async { tokio::join!(completing, script) }).await;
    completed.expect("completed");
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 18, 1));
    assert_eq!(job.expect("not stopped").expect("a job").task(), TaskId(18));
}

#[tokio::test]
async fn after_a_lost_connection_some_jobs_go_on_and_others_are_told_to_stop() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    let mut jobs = Vec::new();
    for task in [1, 2] {
        offer(&mut peer, task, 1).await;
        let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, task, 1));
        jobs.push(job.expect("not stopped").expect("a job"));
    }
    offer(&mut peer, 3, 1).await;
    peer.say("PING").await;
    peer.expect("PONG").await;
    drop(peer);
    let mut peer = broker.accept().await;
    let (tag, rest) = peer.expect_beginning("WORKER START", "alice credit=2 holding=3:1,").await;
    // Those that run stand in no order.
    assert!(["1:1,2:1", "2:1,1:1"].contains(&rest.as_str()), "{rest}");
    let lists = "continued=1:1 cancelling=1 stopped=2:1,3:1";
    peer.say(&format!("OK {tag} agent=alice epoch=2 {lists}")).await;
    for job in &jobs {
        in_time(job.cancelled()).await;
    }
    assert!(!jobs[0].is_revoked() && jobs[0].cancellation().is_some());
    assert!(jobs[1].is_revoked() && jobs[1].cancellation().is_none());
    // The offer that waited is gone; a new one is begun.
    offer(&mut peer, 4, 1).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 4, 1));
    assert_eq!(job.expect("not stopped").expect("a job").task(), TaskId(4));
}

#[tokio::test]
async fn a_job_that_is_called_off_is_told_why_and_says_that_it_stopped() {
    let broker = Broker::agentcom().await;
    let (_client, worker, mut peer) = alice(&broker).await;
    let handle = worker.handle();
    let running = worker.run(|job| async move {
        job.cancelled().await;
        let cancellation = job.cancellation().expect("called off").clone();
        assert_eq!(cancellation.grace, Some(Duration::from_secs(5)));
        if job.task() == TaskId(1) {
            job.stopped(cancellation.reason).await?;
        }
        Err::<&str, _>(JobError::retry("stopped"))
    });
    let script = async {
        for (task, result) in [(1, "too late"), (2, "")] {
            offer(&mut peer, task, 1).await;
            expect_accept(&mut peer, task, 1).await;
            peer.say(&format!("CANCEL {task} 1 grace_ms=5000 8\r\ntoo late")).await;
            let line = format!("{task} 1 {}", result.len());
            let tag = peer.expect_verb("TASK STOPPED", &line).await;
            peer.expect(result).await;
            peer.say(&format!("OK {tag} task={task} state=cancelled")).await;
        }
        let stopping = async {
            expect_drain(&mut peer).await;
            expect_stop(&mut peer).await;
        };
        tokio::join!(handle.shutdown(), stopping);
    };
    let (ran, ()) = in_time(async { tokio::join!(running, script) }).await;
    ran.expect("stopped in order");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_handed_back() {
    let broker = Broker::agentcom().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let starting = client.worker("alice").concurrency(2).drain_timeout(Duration::ZERO).start();
    let (worker, ()) = tokio::join!(starting, start(&mut peer));
    let worker = worker.expect("started");
    let handle = worker.handle();
    let running = worker.run(|_job| std::future::pending::<Result<&str, JobError>>());
    let script = async {
        offer(&mut peer, 1, 1).await;
        expect_accept(&mut peer, 1, 1).await;
        let stopping = async {
            assert_eq!(expect_drain(&mut peer).await, "holding=1:1");
            let tag = peer.expect_verb("TASK RELEASE", "1 1").await;
            peer.say(&format!("OK {tag} task=1 state=ready")).await;
            expect_stop(&mut peer).await;
        };
        tokio::join!(handle.shutdown(), stopping);
    };
    let (ran, ()) = in_time(async { tokio::join!(running, script) }).await;
    ran.expect("stopped in order");
}

#[tokio::test]
async fn json_goes_in_and_comes_out() {
    let broker = Broker::agentcom().await;
    let (_client, worker, mut peer) = alice(&broker).await;
    let handle = worker.handle();
    let running = worker.run_json(|_job, numbers: Vec<u32>| async move {
        numbers.iter().max().copied().ok_or_else(|| JobError::retry("there are none"))
    });
    let script = async {
        let answers = [
            ("[3,5]", "TASK COMPLETE", "1 1 1", "5"),
            ("[]", "TASK FAIL", "2 1 class=retry 14", "there are none"),
            ("{}", "TASK FAIL", "3 1 class=fatal", "the payload does not fit: "),
        ];
        for (task, (payload, verb, arguments, body)) in (1..).zip(answers) {
            let fields = "queue=q attempt=1 offer_ms=10000 lease_ms=3000";
            let line = format!("OFFER {task} 1 {fields} {}\r\n{payload}", payload.len());
            peer.say(&line).await;
            expect_accept(&mut peer, task, 1).await;
            let (tag, _) = peer.expect_beginning(verb, arguments).await;
            let found = peer.line().await;
            assert!(found.starts_with(body), "{found}");
            peer.say(&format!("OK {tag} task={task} state=any")).await;
        }
        let stopping = async {
            expect_drain(&mut peer).await;
            expect_stop(&mut peer).await;
        };
        tokio::join!(handle.shutdown(), stopping);
    };
    let (ran, ()) = in_time(async { tokio::join!(running, script) }).await;
    ran.expect("stopped in order");
}

#[tokio::test]
async fn reports_are_numbered_unless_it_is_not_known_what_arrived() {
    let broker = Broker::agentcom().await;
    let (_client, mut worker, mut peer) = alice(&broker).await;
    let fields =
        "queue=q attempt=2 lease_ms=3000 progress_seq=4 checkpoint_seq=1 checkpoint_bytes=6";
    peer.say(&format!("OFFER 17 1 {fields} 8\r\npage 3hi")).await;
    let (job, ()) = tokio::join!(worker.next(), expect_accept(&mut peer, 17, 1));
    let job = job.expect("not stopped").expect("a job");
    assert_eq!(job.last_checkpoint().map(|bytes| &bytes[..]), Some(&b"page 3"[..]));
    // A report that is dropped on its way may or may not have arrived.
    tokio::select! {
        _ = job.progress("a") => panic!("the broker has not answered yet"),
        _ = peer.expect_verb("TASK PROGRESS", "17 1 seq=5 1") => {}
    }
    peer.expect("a").await;
    let reporting = async {
        job.progress("b").await.expect("reported");
        job.progress("c").await.expect("reported");
        job.checkpoint("page 4").await.expect("kept");
        job.busy(Duration::from_secs(60)).await.expect("noted");
    };
    let script = async {
        let answers = [
            ("TASK PROGRESS", "17 1 1", Some("b"), "seq=6"),
            ("TASK PROGRESS", "17 1 seq=7 1", Some("c"), "seq=7"),
            ("TASK CHECKPOINT", "17 1 6", Some("page 4"), "seq=2"),
            ("TASK BUSY", "17 1 60000", None, "state=running"),
        ];
        for (verb, arguments, body, answer) in answers {
            let tag = peer.expect_verb(verb, arguments).await;
            if let Some(body) = body {
                peer.expect(body).await;
            }
            peer.say(&format!("OK {tag} task=17 {answer}")).await;
        }
    };
    in_time(async { tokio::join!(reporting, script) }).await;
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
    assert_eq!(completed, Err(SettleErrorKind::NotOwner));
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
        assert_eq!(expect_drain(&mut peer).await, "holding=1:1");
        // One that crossed the news goes back at once.
        offer(&mut peer, 2, 1).await;
        peer.expect_verb("TASK RELEASE", "2 1").await;
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
