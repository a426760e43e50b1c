//! The loop against a store that forgets and fails on demand, without a single sleep.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::turn::{Committer, Voice};
use super::*;
use crate::core::command::{
    Action, Attach, Command, Generation, LeaseOp, Name, Now, Patience, Push, Rejection, Reply,
    RequestId, SessionId, Spec, Start, State, Submit, Take, TaskEvent, TaskId,
};
use crate::core::limits::QueueSettings;
use crate::core::record::BodyKind;
use crate::store::Expired;
use crate::store::memory::{MemoryStore, Unsynced};
use crate::store::record::Table;

/// Long enough that only a test that hangs ever waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq)]
enum Heard {
    Reply(u64, Result<Reply, Rejection>),
    Push(u64, Push),
    Event(State),
    Unreadable(u64),
}

/// Hears what is released, and minds if anything of it could still be lost.
struct Ear {
    store: MemoryStore,
    heard: Sender<Heard>,
}

impl Ear {
    fn hear(&self, heard: Heard) {
        let promises_nothing = match &heard {
            Heard::Reply(_, Err(rejection)) => {
                matches!(rejection.code(), "unavailable" | "uncertain" | "not_found")
            }
            Heard::Reply(_, Ok(reply)) => matches!(reply, Reply::Task(_)),
            _ => false,
        };
        let safe = self.store.unsynced() == 0;
        assert!(safe || promises_nothing, "released before the sync: {heard:?}");
        self.heard.send(heard).expect("the test listens");
    }
}

impl Voice for Ear {
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>) {
        self.hear(Heard::Reply(request.0, outcome));
    }
    fn deliver(&mut self, session: SessionId, push: Push) {
        self.hear(Heard::Push(session.0, push));
    }
    fn event(&mut self, event: TaskEvent) {
        self.hear(Heard::Event(event.state));
    }
    fn flush(&mut self) {}
    fn unreadable(&mut self, task: TaskId, _: &StoreError) {
        self.hear(Heard::Unreadable(task.0));
    }
}

fn ear() -> (MemoryStore, Ear, Receiver<Heard>) {
    let (sender, receiver) = channel();
    let store = MemoryStore::new();
    (store.clone(), Ear { store, heard: sender }, receiver)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn request(id: u64, command: Command) -> Request {
    Request { id: RequestId(id), command }
}

fn submit(id: u64, payload: &str) -> Request {
    let mut request = submit_to("q", id);
    if let Command::Submit(submit) = &mut request.command {
        submit.payload = payload.as_bytes().into();
    }
    request
}

pub(crate) fn submit_to(queue: &str, id: u64) -> Request {
    let patience = Patience {
        lease_ms: 30_000,
        attempt_ms: 3_600_000,
        progress_ms: None,
        queue_ms: None,
        total_ms: None,
    };
    let spec = Arc::new(Spec {
        rates: Arc::default(),
        placement: None,
        has_headers: false,
        queue: name(queue),
        key: None,
        needs: Arc::default(),
        labels: Arc::default(),
        limits: Arc::default(),
        band: 0,
        attempts_max: 3,
        patience,
    });
    let payload = Arc::default();
    let submit =
        Submit { spec, payload, headers: None, start: Start::Now, dedup: None, after: vec![] };
    request(id, Command::Submit(Box::new(submit)))
}

fn attach(id: u64) -> Request {
    let attach = Attach {
        session: SessionId(9),
        agent: name("alice"),
        identity: "login".into(),
        capabilities: vec![],
        labels: vec![],
        capacity: vec![],
        queues: vec![],
        credit: 1,
        holding: vec![],
    };
    request(id, Command::Attach(attach))
}

fn complete(id: u64, task: u64, result: &str) -> Request {
    let action = Action::Complete { result: result.as_bytes().into() };
    let (task, generation) = (TaskId(task), Generation(1));
    request(id, Command::Lease(LeaseOp { session: SessionId(9), task, generation, action }))
}

fn show(id: u64, task: u64) -> Request {
    request(id, Command::Show { task: TaskId(task) })
}

fn committer(store: &MemoryStore, ear: Ear) -> Committer<MemoryStore, Ear> {
    Committer::restore(CoreConfig::default(), store.clone(), ear, Now::default()).unwrap()
}

/// Replies only, as `id:code-or-state`.
fn replies(heard: &Receiver<Heard>) -> Vec<String> {
    let text = |outcome: Result<Reply, Rejection>| match outcome {
        Ok(Reply::Submitted { .. }) => "submitted".to_owned(),
        Ok(Reply::Task(view)) => view.state.as_str().to_owned(),
        Ok(Reply::Attached { .. }) => "attached".to_owned(),
        Ok(Reply::Done { state, duplicate: false, .. }) => state.as_str().to_owned(),
        Ok(Reply::Done { .. }) => "duplicate".to_owned(),
        Ok(Reply::Noted) => "noted".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(rejection) => rejection.code().to_owned(),
    };
    let reply = |heard| match heard {
        Heard::Reply(id, outcome) => Some(format!("{id}:{}", text(outcome))),
        _ => None,
    };
    heard.try_iter().filter_map(reply).collect()
}

#[test]
fn a_turn_syncs_once_and_speaks_afterwards() {
    let (store, ear, heard) = ear();
    let mut committer = committer(&store, ear);
    committer.turn((0..100).map(|id| submit(id, "x")), Now::default());
    assert_eq!(store.syncs(), 1);
    assert_eq!(replies(&heard).len(), 100);
}

#[test]
fn a_task_that_is_given_away_at_once_is_kept_once() {
    let records = |agents: Vec<Request>| {
        let (store, ear, heard) = ear();
        let counters = Arc::new(Counters::default());
        let mut committer = committer(&store, ear).counting(counters.clone());
        committer.turn(agents, Now::default());
        let before = counters.records.load(Ordering::Relaxed);
        committer.turn([submit(2, "x"), submit(3, "y")], Now::default());
        drop(heard);
        let row = |task| store.row(TaskId(task)).unwrap().unwrap().state();
        (counters.records.load(Ordering::Relaxed) - before, row(1), row(2))
    };
    assert_eq!(records(vec![]), (5, State::Ready, State::Ready), "a bound of ids, two of each");
    assert_eq!(records(vec![attach(1)]), (5, State::Offered, State::Ready));
}

#[test]
fn a_turn_that_keeps_nothing_does_not_sync() {
    let (store, ear, heard) = ear();
    committer(&store, ear).turn([show(1, 1), show(2, 7)], Now::default());
    assert_eq!(store.syncs(), 0);
    assert_eq!(replies(&heard), ["1:not_found", "2:not_found"]);
}

#[test]
fn a_failed_store_answers_everybody_and_delivers_nothing() {
    for fail in [MemoryStore::fail_next_append, MemoryStore::fail_next_sync] {
        let (store, ear, heard) = ear();
        let mut committer = committer(&store, ear);
        committer.turn([submit(1, "kept")], Now::default());
        assert_eq!(replies(&heard), ["1:submitted"]);
        fail(&store);
        committer.turn([attach(2), submit(3, "x"), show(4, 1)], Now::default());
        let all: Vec<Heard> = heard.try_iter().collect();
        assert_eq!(all.len(), 3, "replies and nothing else: {all:?}");
        for heard in all {
            // What was granted in the failed turn may or may not be on disk.
            assert!(
                matches!(heard, Heard::Reply(_, Err(Rejection::Uncertain { .. }))),
                "{heard:?}"
            );
        }
        assert!(committer.refusing().is_some());
        committer.turn([submit(5, "x"), show(6, 1), show(7, 2)], Now::default());
        assert_eq!(replies(&heard), ["5:unavailable", "6:ready", "7:not_found"]);
    }
}

#[test]
fn who_waits_is_told_when_the_store_fails() {
    let (store, ear, heard) = ear();
    let mut committer = committer(&store, ear);
    let wait = Command::Await { session: None, task: TaskId(1), timeout_ms: 60_000 };
    let take = Take {
        session: SessionId(5),
        consumer: name("bob"),
        identity: "login".into(),
        queue: name("empty"),
        max: 1,
        wait_ms: 60_000,
        lease_ms: None,
    };
    committer.turn([submit(1, "x"), request(2, wait)], Now::default());
    committer.turn([request(3, Command::Take(take))], Now::default());
    assert_eq!(replies(&heard), ["1:submitted"]);
    store.fail_next_sync();
    committer.turn([submit(4, "x")], Now::default());
    assert_eq!(replies(&heard), ["4:uncertain", "2:unavailable", "3:unavailable"]);
    committer.turn([submit(5, "x")], Now::default());
    assert_eq!(replies(&heard), ["5:unavailable"], "and once is enough");
}

#[test]
fn a_refused_turn_is_not_in_the_store_and_the_next_start_goes_on_before_it() {
    let (store, ear_of_first, _heard) = ear();
    let mut first = committer(&store, ear_of_first);
    first.turn([submit(1, "kept")], Now::default());
    store.fail_next_sync();
    first.turn([submit(2, "lost")], Now::default());
    store.crash(Unsynced::Lost);
    let (_, ear_of_second, _heard) = ear();
    assert_eq!(committer(&store, ear_of_second).core().open_tasks(), 1);
}

#[test]
fn what_ended_in_this_very_turn_can_be_shown_and_repeated() {
    let (store, ear, heard) = ear();
    let mut committer = committer(&store, ear);
    let turn = [
        attach(1),
        submit(2, "x"),
        complete(3, 1, "done"),
        complete(4, 1, "done"),
        complete(5, 1, "other"),
        show(6, 1),
    ];
    committer.turn(turn, Now::default());
    let expected =
        ["1:attached", "2:submitted", "3:completed", "4:duplicate", "5:conflict", "6:completed"];
    assert_eq!(replies(&heard), expected);
    committer.turn([complete(7, 1, "done"), show(8, 1)], Now::default());
    let last = heard.try_iter().last().unwrap();
    let Heard::Reply(8, Ok(Reply::Task(view))) = last else { panic!("{last:?}") };
    assert_eq!(view.result.as_deref(), Some(&b"done"[..]));
}

#[test]
fn what_is_over_its_time_is_forgotten_by_itself() {
    let (store, ear, heard) = ear();
    let mut committer = committer(&store, ear);
    let at = |wall_ms| Now { tick: Tick(wall_ms), wall_ms };
    committer.turn([attach(1), submit(2, "x"), complete(3, 1, "done")], at(1_000));
    committer.turn([show(4, 1)], at(2_000));
    let keep_ms = QueueSettings::default().keep_ms;
    let due = committer.next_deadline().expect("the wall clock is looked at now and then");
    assert!(due <= Tick(2_000 + 60_000), "{due:?}");
    committer.turn([show(5, 1)], at(keep_ms + 999));
    committer.turn([], at(keep_ms + 1_000));
    committer.turn([show(6, 1)], at(keep_ms + 1_000));
    assert_eq!(replies(&heard)[3..], ["4:completed", "5:completed", "6:gone"]);
    assert_eq!(store.body(TaskId(1), BodyKind::Payload), Ok(None));
    assert_eq!(store.clone().expired(u64::MAX, 9), Ok(Expired::default()));
}

#[test]
fn a_checkpoint_travels_with_the_next_offer() {
    let (store, ear, heard) = ear();
    let mut committer = committer(&store, ear);
    let lease = |id, generation, action| {
        let (session, task) = (SessionId(9), TaskId(1));
        let generation = Generation(generation);
        request(id, Command::Lease(LeaseOp { session, task, generation, action }))
    };
    let checkpoint = Action::Checkpoint { seq: None, data: b"half".as_slice().into() };
    let turn = [
        attach(1),
        submit(2, "x"),
        lease(3, 1, checkpoint),
        lease(4, 1, Action::Release { delay_ms: 0 }),
    ];
    committer.turn(turn, Now::default());
    let offers: Vec<_> = heard
        .try_iter()
        .filter_map(|heard| match heard {
            Heard::Push(9, Push::Offer(offer)) => Some(offer.checkpoint),
            _ => None,
        })
        .collect();
    assert_eq!(offers, [None, Some(b"half".as_slice().into())]);
}

#[test]
fn offers_carry_the_payload_from_this_turn_and_from_the_store() {
    for turns in
        [vec![vec![attach(1), submit(2, "hi")]], vec![vec![submit(2, "hi")], vec![attach(1)]]]
    {
        let (store, ear, heard) = ear();
        let mut committer = committer(&store, ear);
        for turn in turns {
            committer.turn(turn, Now::default());
        }
        let offered = heard.try_iter().find_map(|heard| match heard {
            Heard::Push(9, Push::Offer(offer)) => Some(offer.payload),
            _ => None,
        });
        assert_eq!(offered.as_deref(), Some(&b"hi"[..]));
    }
}

#[test]
fn a_damaged_payload_is_reported_and_not_served() {
    let (store, ear, heard) = ear();
    let mut committer = committer(&store, ear);
    committer.turn([submit(1, "hi")], Now::default());
    store.damage(Table::TaskBody);
    committer.turn([attach(2)], Now::default());
    let all: Vec<Heard> = heard.try_iter().collect();
    assert!(all.contains(&Heard::Unreadable(1)), "{all:?}");
    assert!(!all.iter().any(|heard| matches!(heard, Heard::Push(..))), "{all:?}");
}

#[test]
fn a_damaged_row_is_left_out_and_counted_and_whoever_asks_is_told() {
    let (store, ear, _heard) = ear();
    committer(&store, ear).turn([submit(1, "hi")], Now::default());
    store.damage(Table::TaskQueue);
    let (sender, heard) = channel();
    let ear = Ear { store: store.clone(), heard: sender };
    let durable = Durable::start(CoreConfig::default(), store, ear).unwrap();
    assert_eq!(durable.figures().damaged_rows, 1);
    for request in [attach(2), show(3, 1), complete(4, 1, "done")] {
        durable.send(request).unwrap();
    }
    durable.stop();
    assert_eq!(replies(&heard), ["2:attached", "3:unreadable", "4:unreadable"]);
}

#[test]
fn stop_commits_and_answers_what_waits() {
    let (store, ear, heard) = ear();
    let durable = Durable::start(CoreConfig::default(), store.clone(), ear).unwrap();
    for id in 0..1_000 {
        durable.send(submit(id, "x")).unwrap();
    }
    durable.stop();
    assert_eq!(durable.health(), Health::Stopped);
    assert_eq!(durable.send(submit(1_000, "x")), Err(SendError::Stopped));
    assert_eq!(replies(&heard).len(), 1_000);
    let figures = durable.figures();
    assert_eq!(figures.requests, 1_000);
    assert_eq!(figures.commits, store.syncs());
}

#[test]
fn a_timer_fires_without_any_request() {
    let (store, ear, heard) = ear();
    let config = CoreConfig { offer_ms: 1, ..CoreConfig::default() };
    let durable = Durable::start(config, store, ear).unwrap();
    durable.send(attach(1)).unwrap();
    durable.send(submit(2, "x")).unwrap();
    loop {
        let heard = heard.recv_timeout(PATIENCE).expect("the offer expires");
        if matches!(heard, Heard::Push(9, Push::Revoked { .. })) {
            break;
        }
    }
    durable.stop();
}

#[test]
fn a_failing_sync_shows_in_the_health() {
    let (store, ear, heard) = ear();
    let durable = Durable::start(CoreConfig::default(), store.clone(), ear).unwrap();
    assert_eq!(durable.health(), Health::Healthy);
    store.fail_next_sync();
    durable.send(submit(1, "x")).unwrap();
    let answer = heard.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(answer, Heard::Reply(1, Err(Rejection::Uncertain { .. }))));
    durable.stop();
    assert!(matches!(durable.health(), Health::Refusing { .. }));
}

/// An voice that waits until the test lets it go, or breaks when the test does.
struct Gate(Receiver<()>);

impl Voice for Gate {
    fn reply(&mut self, _: RequestId, _: Result<Reply, Rejection>) {
        self.0.recv().expect("the test lets replies go");
    }
    fn deliver(&mut self, _: SessionId, _: Push) {}
    fn event(&mut self, _: TaskEvent) {}
    fn flush(&mut self) {}
}

#[test]
fn a_full_inbox_says_so_and_takes_requests_again_later() {
    let (open, gate) = channel();
    let durable = Durable::start(CoreConfig::default(), MemoryStore::new(), Gate(gate)).unwrap();
    let mut taken = 0;
    let full = loop {
        match durable.send(show(taken, 1)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, SendError::Full { requests: INBOX_REQUESTS_MAX, bytes: 0 });
    for _ in 0..taken {
        open.send(()).unwrap();
    }
    durable.stop();
    assert_eq!(durable.figures().requests, taken);
}

#[test]
fn a_loop_that_breaks_is_not_waited_for() {
    let (open, gate) = channel();
    let durable = Durable::start(CoreConfig::default(), MemoryStore::new(), Gate(gate)).unwrap();
    durable.send(show(1, 1)).unwrap();
    drop(open);
    durable.stop();
    assert!(matches!(durable.health(), Health::Refusing { .. }));
    assert_eq!(durable.send(show(2, 1)), Err(SendError::Stopped));
}

#[test]
fn bodies_that_wait_are_bounded_in_bytes() {
    let (open, gate) = channel();
    let durable = Durable::start(CoreConfig::default(), MemoryStore::new(), Gate(gate)).unwrap();
    let big = |number| {
        let mut request = submit(number, "");
        if let Command::Submit(submit) = &mut request.command {
            submit.payload = vec![0; 16 << 20].into();
        }
        request
    };
    // The loop is held at the gate by the first answer, so the others wait.
    let mut taken = 0;
    let full = loop {
        match durable.send(big(taken)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    let SendError::Full { requests, bytes } = full else { panic!("{full:?}") };
    assert_eq!((requests, bytes), (INBOX_BYTES_MAX / (16 << 20), INBOX_BYTES_MAX));
    for _ in 0..taken {
        open.send(()).unwrap();
    }
    durable.stop();
}

/// A voice that notes who is to send.
struct Postman(Sender<&'static str>);

impl Voice for Postman {
    fn reply(&mut self, _: RequestId, _: Result<Reply, Rejection>) {}
    fn deliver(&mut self, _: SessionId, _: Push) {}
    fn event(&mut self, _: TaskEvent) {}
    fn flush(&mut self) {
        self.0.send("sent").expect("the test listens");
    }
    fn leave(&mut self) {
        self.0.send("left").expect("the test listens");
    }
}

#[test]
fn what_is_left_to_others_is_sent_at_the_end() {
    let (postman, post) = channel();
    let store = MemoryStore::new();
    let restored =
        Committer::restore(CoreConfig::default(), store, Postman(postman), Now::default());
    let mut committer = restored.unwrap();
    committer.turn([submit(1, "x")], Now::default());
    committer.leave_sending(true);
    committer.turn([submit(2, "x")], Now::default());
    committer.close();
    assert_eq!(post.try_iter().collect::<Vec<_>>(), ["sent", "left", "sent"]);
}
