//! Workers of the client crate.

use std::time::Duration;

use agentcom_client::{JobError, Outcome, TaskState};

use super::{PATIENCE, connected, in_time, reconnect};

#[tokio::test]
async fn a_job_goes_on_over_a_lost_connection_and_its_result_counts_once() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks.submit("q").needs(["gpu"]).labels(["mem>=16"]).await.expect("kept");
    let agent = super::client(&broker).await;
    let worker = agent.worker("alice").can(["gpu"]).labels([("mem", "32")]);
    let mut worker = worker.start().await.expect("started");
    let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
    reconnect(&agent).await;
    in_time(job.progress("half")).await.expect("it is still ours");
    // Whether the first one arrives is a matter of luck; saying it again is harmless.
    let completing = job.complete("done");
    agent.force_reconnect();
    in_time(completing).await.expect("completed");
    in_time(job.complete("done")).await.expect("the same again");
    let outcome = tasks.await_result(kept, PATIENCE).await.expect("over");
    assert_eq!(outcome, Outcome::Completed("done".into()));
    let view = tasks.show(kept).await.expect("shown");
    assert_eq!((view.generation, view.attempts, view.lost), (1, 0, 0));
}

#[tokio::test]
async fn a_job_that_was_taken_away_meanwhile_is_told_after_the_reconnect() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks.submit("q").await.expect("kept");
    let agent = super::client(&broker).await;
    let mut worker = agent.worker("alice").concurrency(2).start().await.expect("started");
    let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
    tasks.reclaim(kept).await.expect("taken away");
    in_time(job.cancelled()).await;
    assert!(job.is_revoked());
    drop(job);
    let again = in_time(worker.next()).await.expect("not stopped").expect("the same task");
    assert_eq!(again.task(), kept.task);
    again.complete("").await.expect("completed");
}

#[tokio::test]
async fn a_cancelled_job_stops_and_leaves_what_it_has() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let agent = super::client(&broker).await;
    let worker = agent.worker("alice").start().await.expect("started");
    let handle = worker.handle();
    let running = worker.run(|job| async move {
        job.cancelled().await;
        let reason = job.cancellation().map(|cancellation| cancellation.reason.clone());
        job.stopped(reason.unwrap_or_default()).await?;
        Err::<String, _>(JobError::retry("stopped"))
    });
    let script = async {
        let kept = tasks.submit("q").await.expect("kept");
        let mut watch = tasks.watch(kept).from(0).await.expect("watching");
        let mut is_asked = false;
        while let Some(event) = futures_util::StreamExt::next(&mut watch).await {
            // There is another such event when it is asked to stop.
            if event.expect("watching").state == TaskState::Running && !is_asked {
                is_asked = true;
                tasks.cancel(kept, "too late", None).await.expect("asked to stop");
            }
        }
        let outcome = tasks.await_result(kept, PATIENCE).await.expect("over");
        let result = Some("too late".into());
        assert_eq!(outcome, Outcome::Cancelled { reason: "too late".to_owned(), result });
        handle.shutdown().await;
    };
    let (ran, ()) = in_time(async { tokio::join!(running, script) }).await;
    ran.expect("stopped in order");
}

#[tokio::test]
async fn what_a_worker_does_not_finish_goes_to_another_unharmed() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks.submit("q").await.expect("kept");
    let waiting = tasks.submit("q").await.expect("kept");
    let agent = super::client(&broker).await;
    // It has room for a second task, which it is offered and never begins.
    let worker = agent.worker("alice").concurrency(1).drain_timeout(Duration::ZERO);
    let worker = worker.start().await.expect("started");
    let handle = worker.handle();
    let running = worker.run(move |job| {
        let handle = handle.clone();
        async move {
            tokio::spawn(async move { handle.shutdown().await });
            job.cancelled().await;
            std::future::pending::<Result<&str, JobError>>().await
        }
    });
    in_time(running).await.expect("stopped in order");
    let other = super::client(&broker).await;
    let mut other = other.worker("bob").concurrency(2).start().await.expect("started");
    let mut found = Vec::new();
    for _ in 0..2 {
        let job = in_time(other.next()).await.expect("not stopped").expect("a job");
        assert_eq!(job.attempt(), 1, "being handed back uses up no attempt");
        job.complete("done").await.expect("completed");
        found.push(job.task());
    }
    found.sort();
    assert_eq!(found, [kept.task, waiting.task]);
    other.shutdown().await;
}

#[tokio::test]
async fn a_checkpoint_reaches_the_next_attempt() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks.submit("q").payload("book").await.expect("kept");
    let agent = super::client(&broker).await;
    let mut worker = agent.worker("alice").start().await.expect("started");
    let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
    assert!(job.last_checkpoint().is_none());
    job.checkpoint("page 3").await.expect("kept");
    job.fail(JobError::retry("tired").retry_after(Duration::ZERO)).await.expect("failed");
    let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
    assert_eq!((job.task(), job.attempt()), (kept.task, 2));
    assert_eq!(job.last_checkpoint().map(|bytes| &bytes[..]), Some(&b"page 3"[..]));
    assert_eq!(&job.payload()[..], b"book");
    job.release(Duration::ZERO).await.expect("handed back");
}

#[tokio::test]
async fn a_worker_gets_what_it_has_room_for_and_what_is_for_it() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let agent = super::client(&broker).await;
    let worker = agent.worker("alice").capacity([("cores", 2), ("seats", 1)]).concurrency(9);
    let mut worker = worker.start().await.expect("started");
    let both = tasks.submit("q").uses("cores", 2).header("lang", "de").sticky(PATIENCE);
    let both = both.await.expect("kept");
    let first = in_time(worker.next()).await.expect("not stopped").expect("a job");
    assert_eq!((first.task(), first.headers()["lang"].as_str()), (both.task, "de"));
    let waiting = tasks.submit("q").uses("cores", 1).uses("seats", 1).prefer(["5:ssd", "hdd"]);
    let waiting = waiting.assign_to_for("alice", PATIENCE).await.expect("kept");
    let view = tasks.show(waiting).await.expect("shown");
    assert_eq!((view.state, view.assign_to.as_deref()), (TaskState::Ready, Some("alice")));
    assert_eq!((view.uses["cores"], view.uses["seats"]), (1, 1));
    let why = tasks.why(waiting).await.expect("told");
    assert!(
        why.reasons.iter().any(|reason| reason.sentence.contains("too little left")),
        "{why:?}"
    );
    first.fail(JobError::rate_limited("429", PATIENCE)).await.expect("noted");
    let second = in_time(worker.next()).await.expect("not stopped").expect("a job");
    assert_eq!(second.task(), waiting.task);
    second.complete("").await.expect("completed");
    let view = tasks.show(both).await.expect("shown");
    assert_eq!((view.state, view.attempts, view.releases), (TaskState::Scheduled, 0, 1));
}
