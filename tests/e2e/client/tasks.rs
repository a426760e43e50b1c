//! Tasks through the client crate.

use std::time::Duration;

use agentcom_client::{
    After, AwaitErrorKind, CancelErrorKind, DeadErrorKind, JobError, Outcome, TaskId, TaskState,
};
use futures_util::StreamExt;

use super::{PATIENCE, connected, in_time, reconnect};

#[tokio::test]
async fn a_graph_runs_in_the_order_of_its_edges() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks
        .graph()
        .task("fetch", tasks.submit("q").payload("1"))
        .task("resize", tasks.submit("q").payload("2").after("fetch"))
        .task("report", tasks.submit("q").payload("3").after(After::any("resize")))
        .await
        .expect("kept");
    let states = [TaskState::Ready, TaskState::Held, TaskState::Held];
    for (task, state) in kept.ids().iter().zip(states) {
        assert_eq!(tasks.show(*task).await.expect("shown").state, state);
    }
    let why = tasks.why(kept["report"]).await.expect("explained");
    assert_eq!(why.state, TaskState::Held);
    assert!(why.reasons[0].sentence.contains(&kept["resize"].to_string()), "{why:?}");

    let agent = super::client(&broker).await;
    let mut worker = agent.worker("alice").start().await.expect("started");
    for payload in ["1", "2", "3"] {
        let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
        assert_eq!(&job.payload()[..], payload.as_bytes());
        match payload {
            "2" => job.fail(JobError::fatal("no cat in it")).await.expect("failed"),
            _ => job.complete(payload).await.expect("completed"),
        }
    }
    let outcome = tasks.await_result(kept["resize"], PATIENCE).await.expect("over");
    let Outcome::Dead { reason, failures } = outcome else { panic!("{outcome:?}") };
    assert_eq!((reason.as_str(), failures[0].error.as_str()), ("non_retryable", "no cat in it"));
    let outcome = tasks.await_result(kept["report"], PATIENCE).await.expect("over");
    assert_eq!(outcome, Outcome::Completed("3".into()));

    let dead = tasks.list_dead().queue("q").await.expect("listed");
    assert_eq!(dead.tasks[0].task, kept["resize"]);
    tasks.redrive(kept["resize"], Duration::ZERO).await.expect("another life");
    let again = tasks.redrive(kept["resize"], Duration::ZERO).await;
    assert_eq!(again.map_err(|error| error.kind()), Err(DeadErrorKind::NotDead));
}

#[tokio::test]
async fn a_watch_follows_a_task_across_connections() {
    let Some((broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks.submit("q").await.expect("kept");
    let mut watch = tasks.watch(kept).from(0).await.expect("watching");
    let agent = super::client(&broker).await;
    let mut worker = agent.worker("alice").start().await.expect("started");
    let job = in_time(worker.next()).await.expect("not stopped").expect("a job");
    reconnect(&client).await;
    job.progress("half").await.expect("reported");
    let mut seqs = Vec::new();
    loop {
        let event = in_time(watch.next()).await.expect("not over").expect("watching");
        seqs.push(event.seq);
        if let Some(progress) = event.progress {
            assert_eq!(&progress.data[..], b"half");
            break;
        }
    }
    reconnect(&client).await;
    job.complete("done").await.expect("completed");
    let mut last = None;
    while let Some(event) = in_time(watch.next()).await {
        let event = event.expect("watching");
        seqs.push(event.seq);
        last = Some(event.state);
    }
    // The broker remembers events of a task that is not over, so none is missed. The first one,
    // that it was submitted, is in the view.
    assert_eq!(watch.view().event_seq, 1);
    assert_eq!(seqs, (2..).take(seqs.len()).collect::<Vec<u64>>());
    assert_eq!(last, Some(TaskState::Completed));
}

#[tokio::test]
async fn waiting_for_a_task_survives_a_lost_connection() {
    let Some((_broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let kept = tasks.submit("q").await.expect("kept");
    let early = tasks.await_result(kept, Duration::from_millis(1)).await;
    assert_eq!(early.map_err(|error| error.kind()), Err(AwaitErrorKind::NotOver));
    let waiting = tasks.await_result(kept, PATIENCE);
    let cancelling = async {
        reconnect(&client).await;
        tasks.cancel(kept, "nobody needs it", None).await
    };
    let (outcome, cancelled) = in_time(async { tokio::join!(waiting, cancelling) }).await;
    cancelled.expect("called off");
    let Outcome::Cancelled { reason, .. } = outcome.expect("over") else { panic!("not cancelled") };
    assert_eq!(reason, "nobody needs it");
    let again = tasks.cancel(kept, "", None).await.map_err(|error| error.kind());
    assert_eq!(again, Err(CancelErrorKind::Over));
    let missing = tasks.cancel(TaskId(1_000_000), "", None).await.map_err(|error| error.kind());
    assert_eq!(missing, Err(CancelErrorKind::NotFound));
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let Some((_broker, client)) = connected().await else { return };
    let tasks = client.tasks();
    let graph = (0..5).fold(tasks.graph(), |graph, _| graph.unnamed(tasks.submit("q")));
    let kept = graph.await.expect("kept");
    let mut found = Vec::new();
    let mut list = tasks.list().queue("q").limit(2);
    loop {
        let page = list.await.expect("listed");
        assert!(page.tasks.len() <= 2);
        found.extend(page.tasks.iter().map(|view| view.task));
        let Some(next) = page.next else { break };
        list = tasks.list().queue("q").limit(2).after(next);
    }
    assert_eq!(found, kept.ids());
}
