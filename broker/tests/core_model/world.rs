//! The real commit loop over a store that forgets, beside the model, and what is compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentcom_broker::commit::turn::Committer;
use agentcom_broker::core::command::{
    Action, Attach, Command, Effect, Epoch, Generation, LeaseOp, Name, Now, Offer, Push,
    QueueChange, Reply, Request, RequestId, Resource, SessionId, State, TaskEvent, TaskId, Tick,
};
use agentcom_broker::core::limits::{Backoff, CoreConfig};
use agentcom_broker::core::record::{BodyKind, Record};
use agentcom_broker::store::Store;
use agentcom_broker::store::memory::Unsynced;

use super::generator::{Crash, Turn};
use super::judge::{
    Thread, comparable, compare_lists, grant_in, is_same_cycle, is_unavailable, judge_pushes,
};
use super::menu::{Menu, word};
use super::model::{Grant, Model, Outcome};
use super::wire::{Outside, Tapped};

/// Timers of a few milliseconds, all different, so that every order of firing occurs; limits that
/// are reached all the time.
fn config() -> CoreConfig {
    CoreConfig {
        offer_ms: 5,
        grace_ms: 3,
        restart_grace_ms: 7,
        backoff: Backoff { base_ms: 2, factor: 2, cap_ms: 6 },
        offers_max: 3,
        declines_max: 2,
        lost_max: 3,
        cancel_ms: 4,
        releases_max: 2,
        starve_ms: 6,
        queue_tasks_max: 3,
        open_tasks_max: 5,
        waiting_max: 3,
        watches_max: 2,
        events_max: 4,
    }
}

pub(crate) struct World {
    tapped: Tapped,
    outside: Outside,
    committer: Committer<Tapped, Outside>,
    model: Model,
    menu: Menu,
    /// Every generation that was ever granted and kept, and to whom.
    grants: HashMap<(TaskId, u64), Name>,
    epoch: Epoch,
    requests: u64,
    wall_ms: u64,
}

impl World {
    pub(crate) fn new() -> World {
        let (tapped, outside) = (Tapped::default(), Outside::default());
        let wall_ms = 1_000_000_000;
        let now = Now { tick: Tick(0), wall_ms };
        let committer = Committer::restore(config(), tapped.clone(), outside.clone(), now);
        let committer = committer.expect("an empty store is readable");
        let mut model = Model::new(config());
        model.set_wall(wall_ms);
        World {
            tapped,
            outside,
            committer,
            model,
            menu: Menu::default(),
            grants: HashMap::new(),
            epoch: Epoch(0),
            requests: 0,
            wall_ms,
        }
    }

    pub(crate) fn turn(&mut self, turn: &Turn) -> Result<(), String> {
        self.pass(turn.wait_ms, turn.is_late)?;
        let mut commands = Vec::new();
        for step in &turn.steps {
            commands.extend(self.menu.command(*step, &self.model));
        }
        // What a tick starts (retention, for one) is over before anything else is asked.
        let has_tick = commands.iter().any(|command| matches!(command, Command::Tick));
        commands.retain(|command| !matches!(command, Command::Tick));
        if turn.jump_ms != 0 {
            self.wall_ms = self.wall_ms.saturating_add_signed(turn.jump_ms);
            self.model.set_wall(self.wall_ms);
        }
        if has_tick || turn.jump_ms != 0 {
            commands.push(Command::Tick);
        }
        self.run(commands, turn.crash)
    }

    /// Let time pass. The loop wakes for everything that is due, unless it is to oversleep a
    /// single timer.
    fn pass(&mut self, ms: u64, is_late: bool) -> Result<(), String> {
        let target = self.model.tick() + ms;
        if is_late && self.model.due_by(target) == 1 {
            self.advance(ms);
            return Ok(());
        }
        while self.model.tick() < target {
            let theirs = self.committer.next_deadline().map(|tick| tick.0);
            let next = self.model.next_deadline().into_iter().chain(theirs).min();
            let next = next.unwrap_or(target).min(target);
            self.advance(next.saturating_sub(self.model.tick()).max(1));
            self.run(Vec::new(), None)?;
        }
        Ok(())
    }

    fn advance(&mut self, ms: u64) {
        self.model.advance(ms);
        self.wall_ms += ms;
        self.model.set_wall(self.wall_ms);
    }

    fn now(&self) -> Now {
        Now { tick: Tick(self.model.tick()), wall_ms: self.wall_ms }
    }

    fn run(&mut self, commands: Vec<Command>, crash: Option<Crash>) -> Result<(), String> {
        let requests: Vec<Request> = commands
            .into_iter()
            .map(|command| {
                self.requests += 1;
                Request { id: RequestId(self.requests), command }
            })
            .collect();
        let before =
            matches!(crash, Some(Crash::Unsynced { kept: false })).then(|| self.model.clone());
        match crash {
            Some(Crash::Unsynced { .. }) => self.tapped.store.fail_next_sync(),
            Some(Crash::Released(count)) => self.outside.die_after(Some(count)),
            Some(Crash::Restart) | None => {}
        }
        self.committer.turn(requests.clone(), self.now());
        let released = self.outside.drain();
        let records = self.tapped.drain();
        let is_refused = self.committer.refusing().is_some();
        if !is_refused && self.tapped.store.unsynced() > 0 {
            return Err("the turn is over and something is not synced".into());
        }
        let known = self.model.tasks.keys().copied().collect();
        self.follow(&requests, &records)
            .map_err(|failure| format!("{failure}\nrequests {requests:?}\nrecords {records:?}"))?;
        self.judge(&requests, &released, &records, crash.is_some(), is_refused).map_err(
            |failure| format!("{failure}\nrequests {requests:?}\nreleased {released:?}"),
        )?;
        if is_refused && let Some(before) = before {
            self.model = before;
        } else {
            self.keep_grants(&records)?;
        }
        let has_tick = requests.iter().any(|request| matches!(request.command, Command::Tick));
        if has_tick && crash.is_none() {
            self.model.check_retention()?;
        }
        let Some(crash) = crash else {
            return self
                .compare(known)
                .map_err(|failure| format!("{failure}\nrequests {requests:?}"));
        };
        self.outside.die_after(None);
        let kept = crash == Crash::Unsynced { kept: true };
        self.tapped.store.crash(if kept { Unsynced::Kept } else { Unsynced::Lost });
        self.restart()
    }

    /// The model follows what was asked, and is shown which grants were made.
    fn follow(&mut self, requests: &[Request], records: &[Record]) -> Result<(), String> {
        let mut granted: BTreeSet<(TaskId, u64)> = BTreeSet::new();
        let mut is_new = |grant: &Grant| {
            let at = (grant.task, grant.generation);
            let before = self.model.tasks.get(&grant.task);
            let is_known = before.is_some_and(|task| {
                task.generation > grant.generation
                    || (task.generation == grant.generation && task.is_leased())
            });
            !is_known && granted.insert(at)
        };
        let grants = records.iter().filter_map(grant_in).filter(|grant| is_new(grant)).collect();
        self.model.seen = grants;
        self.model.said = Default::default();
        for request in requests {
            self.model.request(request.id, &request.command)?;
        }
        self.model.let_time_act()?;
        for record in records {
            self.model.retired(record)?;
        }
        match self.model.seen.pop_front() {
            Some(grant) => Err(format!("{grant:?} for no reason")),
            None => Ok(()),
        }
    }

    fn keep_grants(&mut self, records: &[Record]) -> Result<(), String> {
        for Grant { task, generation, agent, .. } in records.iter().filter_map(grant_in) {
            let former = self.grants.insert((task, generation), agent.clone());
            if let Some(former) = former.filter(|former| *former != agent) {
                return Err(format!("{task:?} generation {generation} was {former}'s already"));
            }
        }
        Ok(())
    }

    /// Was said what had to be said? After a crash the end of it may be missing.
    fn judge(
        &mut self,
        requests: &[Request],
        released: &[Effect],
        records: &[Record],
        is_crash: bool,
        is_refused: bool,
    ) -> Result<(), String> {
        if is_refused {
            let told = released.iter().find(|effect| !is_unavailable(effect));
            return match told {
                Some(told) => Err(format!("released although the sync failed: {told:?}")),
                None => Ok(()),
            };
        }
        let said = self.model.said.clone();
        let mut replies: BTreeMap<RequestId, Outcome> = BTreeMap::new();
        let mut events: BTreeMap<TaskId, Vec<TaskEvent>> = BTreeMap::new();
        let mut pushes: BTreeMap<(SessionId, Thread), Vec<Push>> = BTreeMap::new();
        for effect in released {
            match effect {
                Effect::Reply { request, outcome } => {
                    if replies.insert(*request, outcome.clone()).is_some() {
                        return Err(format!("{request:?} was answered twice"));
                    }
                }
                Effect::Event(event) => events.entry(event.task).or_default().push(event.clone()),
                Effect::Deliver { session, push } => {
                    pushes.entry((*session, Thread::of(push))).or_default().push(push.clone());
                }
                Effect::Persist(_)
                | Effect::Retire { .. }
                | Effect::Tell { .. }
                | Effect::Configured(_)
                | Effect::TokenIssued { .. }
                | Effect::TokenRevoked { .. }
                | Effect::Posted { .. }
                | Effect::Presence(_) => {
                    return Err(format!("left the loop: {effect:?}"));
                }
            }
        }
        for (request, expected) in &said.replies {
            let Some(outcome) = replies.remove(request) else {
                if is_crash {
                    continue;
                }
                return Err(format!("{request:?} was not answered; expected {expected:?}"));
            };
            self.check_epoch(&outcome)?;
            let mut outcome = comparable(outcome);
            let mut expected = comparable(expected.clone());
            self.settle_taken(&mut outcome, false);
            self.settle_taken(&mut expected, true);
            if outcome != expected && !is_same_cycle(requests, *request, &outcome, &expected) {
                return Err(format!("answered {outcome:?}\nexpected {expected:?}"));
            }
        }
        if let Some(answer) = replies.into_iter().next() {
            return Err(format!("answered without being asked, or too early: {answer:?}"));
        }
        let mut expected: BTreeMap<TaskId, Vec<TaskEvent>> = BTreeMap::new();
        for event in said.events {
            expected.entry(event.task).or_default().push(event);
        }
        compare_lists(events, expected, is_crash)?;
        for list in pushes.values_mut() {
            list.retain(|push| self.has_body(push));
            list.iter_mut().for_each(|push| self.settle_pushed(push, false));
        }
        let mut expected = said.pushes;
        expected.retain(|pushed| self.has_body(&pushed.push));
        expected.iter_mut().for_each(|pushed| self.settle_pushed(&mut pushed.push, true));
        judge_pushes(pushes, expected, is_crash)?;
        let is_refusal = |(_, outcome): &(RequestId, Outcome)| outcome.is_err();
        let is_idle = requests.len() == 1 && !said.stirred && said.replies.iter().all(is_refusal);
        let is_quiet = is_idle && !said.replies.is_empty();
        if is_quiet && !records.is_empty() && self.model.said.events.is_empty() {
            return Err(format!("refused, and yet it wrote {records:?}"));
        }
        Ok(())
    }

    fn settle_taken(&self, outcome: &mut Outcome, is_expected: bool) {
        if let Ok(Reply::Taken(offers)) = outcome {
            offers.retain(|offer| self.model.tasks.contains_key(&offer.task));
            offers.iter_mut().for_each(|offer| self.settle(offer, is_expected));
        }
    }

    fn settle_pushed(&self, push: &mut Push, is_expected: bool) {
        if let Push::Offer(offer) = push {
            self.settle(offer, is_expected);
        }
    }

    /// What is forgotten by the end of its turn is not offered any more.
    fn has_body(&self, push: &Push) -> bool {
        !matches!(push, Push::Offer(offer) if !self.model.tasks.contains_key(&offer.task))
    }

    /// Bodies are read when an offer leaves: what the task carries at the end of the turn.
    fn settle(&self, offer: &mut Offer, is_expected: bool) {
        match self.model.tasks.get(&offer.task) {
            Some(task) if is_expected => {
                let kept = task.checkpoint.as_ref().map(|(_, bytes)| bytes.clone());
                offer.payload = task.payload.clone();
                offer.headers = task.headers.clone().filter(|_| offer.headers.is_some());
                offer.checkpoint = kept.filter(|_| offer.checkpoint_seq.is_some());
            }
            _ => {}
        }
    }

    fn check_epoch(&mut self, outcome: &Outcome) -> Result<(), String> {
        if let Ok(Reply::Attached { session, .. }) = outcome {
            if session.epoch <= self.epoch {
                return Err(format!("{session:?} after {:?}", self.epoch));
            }
            self.epoch = session.epoch;
        }
        Ok(())
    }

    /// Ask the loop something that changes nothing.
    fn ask(&mut self, commands: Vec<Command>) -> Result<Vec<Outcome>, String> {
        let count = commands.len();
        let requests = commands.into_iter().enumerate();
        let requests = requests
            .map(|(at, command)| Request { id: RequestId(u64::MAX / 2 + at as u64), command });
        self.committer.turn(requests.collect::<Vec<_>>(), self.now());
        let written = self.tapped.drain();
        if !written.is_empty() {
            return Err(format!("looking wrote {written:?}"));
        }
        let mut answers = Vec::new();
        for effect in self.outside.drain() {
            match effect {
                Effect::Reply { outcome, .. } => answers.push(outcome),
                effect => return Err(format!("looking released {effect:?}")),
            }
        }
        if answers.len() != count {
            return Err(format!("{count} questions, {} answers", answers.len()));
        }
        Ok(answers)
    }

    /// Every open task, everything that ended just now and some more, the queues, the alarm.
    fn compare(&mut self, known: BTreeSet<TaskId>) -> Result<(), String> {
        let is_shown = |(id, task): (&TaskId, &super::model::Task)| {
            let by_chance = (self.requests + id.0).is_multiple_of(16);
            (!task.is_over() || !known.contains(id) || by_chance).then_some(*id)
        };
        let shown: Vec<TaskId> = self.model.tasks.iter().filter_map(is_shown).collect();
        self.compare_tasks(&shown)?;
        self.compare_forgotten(&known)
    }

    fn compare_tasks(&mut self, shown: &[TaskId]) -> Result<(), String> {
        let mut commands: Vec<Command> =
            shown.iter().map(|id| Command::Show { task: *id }).collect();
        commands.push(Command::ListQueues { after: None, limit: 9 });
        let mut answers = self.ask(commands)?.into_iter();
        for id in shown {
            let expected = self.model.view(*id);
            match answers.next() {
                Some(Ok(Reply::Task(view))) if *view == expected => {}
                other => {
                    return Err(format!("{id:?} is shown as {other:?}\nexpected {expected:?}"));
                }
            }
        }
        let views = self.model.queue_views();
        match answers.next() {
            Some(Ok(Reply::Queues(found))) if found == views => {}
            other => return Err(format!("queues are {other:?}\nexpected {views:?}")),
        }
        let (ours, theirs) = (self.model.queued(), self.committer.core().queued());
        if ours != theirs {
            return Err(format!("{ours:?} wait by band, the core counts {theirs:?}"));
        }
        let (ours, theirs) = (self.model.next_deadline(), self.committer.next_deadline());
        if ours.is_some_and(|ours| theirs.is_none_or(|theirs| theirs.0 > ours)) {
            return Err(format!("something is due at {ours:?}, the core wakes at {theirs:?}"));
        }
        Ok(())
    }

    /// Nothing is left of what is forgotten.
    fn compare_forgotten(&mut self, known: &BTreeSet<TaskId>) -> Result<(), String> {
        for id in known.iter().filter(|id| !self.model.tasks.contains_key(id)) {
            let read = |kind| self.tapped.body(*id, kind).map_err(|error| error.to_string());
            for kind in BodyKind::ALL {
                if read(kind)?.is_some() {
                    return Err(format!("{id:?} is forgotten, and its {kind:?} is still there"));
                }
            }
            if self.tapped.row(*id).map_err(|error| error.to_string())?.is_some() {
                return Err(format!("{id:?} is forgotten, and its row is still there"));
            }
        }
        Ok(())
    }

    /// A new process over what the store kept. It knows every task as it was.
    fn restart(&mut self) -> Result<(), String> {
        let now = Now { tick: Tick(0), wall_ms: self.wall_ms };
        let (store, outside) = (self.tapped.clone(), self.outside.clone());
        let committer = Committer::restore(config(), store, outside, now);
        self.committer = committer.map_err(|error| error.to_string())?;
        self.model.restart();
        // What is due by now would move tasks on, so it waits until they were compared.
        if self.model.due_by(0) > 0 {
            self.run(Vec::new(), None)?;
        }
        let all: Vec<TaskId> = self.model.tasks.keys().copied().collect();
        self.compare_tasks(&all)
    }

    /// No limbo: with able agents, open queues and enough time, every task ends that does not wait
    /// for one that ended badly.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        // Whatever was done to the wall clock, no wait is left.
        self.wall_ms += 1_000_000_000;
        self.model.set_wall(self.wall_ms);
        self.run(vec![Command::Tick], None)?;
        for queue in ["a", "b"] {
            let change = QueueChange {
                paused: Some(false),
                leases_max: Some(0),
                rate: Some(None),
                order: None,
                weights: None,
                keep_ms: Some(1),
                keep_dead_ms: Some(1),
            };
            self.run(vec![Command::SetQueue { queue: word(queue), change }], None)?;
        }
        // The latter two are there for what is for nobody else.
        for name in ["carol", "dave", "erin", "alice", "bob"] {
            let identity = self.model.identity(&word(name)).unwrap_or_else(|| "owner".into());
            let attach = Attach {
                session: self.menu.session(word(name)),
                agent: word(name),
                identity,
                capabilities: vec![word("gpu")],
                labels: vec![(
                    word("mem"),
                    if name < "e" && name > "c" { "16" } else { "32" }.into(),
                )],
                capacity: [("cores", 9), ("seats", 9)]
                    .map(|(name, amount)| Resource { name: word(name), amount })
                    .into(),
                queues: vec![],
                credit: 9,
                holding: vec![],
            };
            self.run(vec![Command::Attach(attach)], None)?;
        }
        for _ in 0..40 {
            let held = self.model.open().filter(|(_, task)| task.is_leased());
            let held: Vec<(TaskId, u64, Name)> = held
                .map(|(id, task)| (id, task.generation, task.agent.clone().expect("leased")))
                .collect();
            for (task, generation, holder) in held {
                let Some(session) = self.menu.newest(&holder) else { continue };
                let action = Action::Complete { result: b"at last".as_slice().into() };
                let generation = Generation(generation);
                let op = LeaseOp { session, task, generation, action };
                self.run(vec![Command::Lease(op)], None)?;
            }
            self.pass(3, false)?;
        }
        let blocked = |task: &super::model::Task| task.after.iter().any(|edge| edge.is_blocked);
        let mut stuck = self.model.open().filter(|(_, task)| !blocked(task));
        match stuck.find(|(_, task)| task.state != State::Held) {
            Some((id, task)) => Err(format!("{id:?} never ended: {task:?}")),
            None => Ok(()),
        }
    }

    /// Retention ends.
    pub(crate) fn expire_all(&mut self) -> Result<(), String> {
        self.wall_ms += 3_000_000_000;
        self.model.set_wall(self.wall_ms);
        for _ in 0..4 {
            self.run(vec![Command::Tick], None)?;
            self.pass(2_000, false)?;
        }
        Ok(())
    }
}
