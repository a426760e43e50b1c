//! Plays commands: a core, a store behind it, and pretend time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use agentcom_broker::core::Core;
use agentcom_broker::core::command::{
    Action, After, AfterEnd, AfterTask, Attach, Command, Dedup, DedupMode, Effect, Generation,
    LeaseOp, Missed, Now, Overlap, Park, ParkTimeout, Patience, Question, QueueChange, Reply,
    Request, RequestId, Retry, Scarcity, Schedule, SessionId, Spawn, Spec, Start, Submit, Take,
    TaskChange, TaskId, Tick, WatchId, When,
};
use agentcom_broker::core::cron::Cron;
use agentcom_broker::core::limits::{CoreConfig, Order, Rate};
use agentcom_broker::core::record::{BodyKind, Record, TaskRow};
use agentcom_broker::store::memory::{MemoryStore, Unsynced};
use agentcom_broker::store::{Expired, Store};

use crate::line::{Line, millis, name};
use crate::show;

/// Who asks when the broker asks itself.
const NOBODY: RequestId = RequestId(u64::MAX);

pub(crate) struct Stage {
    core: Core,
    store: MemoryStore,
    config: CoreConfig,
    now: Now,
    sessions: u64,
    newest: HashMap<String, u64>,
    batch: Vec<Submit>,
    /// What was asked, by the number of the request.
    asked: Vec<String>,
    pub(crate) heard: String,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        // A retry waits for exactly as long as a scenario says, or not at all.
        let mut config = CoreConfig::default();
        config.backoff.base_ms = 0;
        Stage {
            core: Core::new(config.clone()),
            store: MemoryStore::new(),
            config,
            now: Now { tick: Tick(0), wall_ms: 1_000_000 },
            sessions: 0,
            newest: HashMap::new(),
            batch: Vec::new(),
            asked: Vec::new(),
            heard: String::new(),
        }
    }

    pub(crate) fn command(&mut self, line: &Line) {
        self.asked.push(line.whole.clone());
        let session = |stage: &Stage| stage.session(line, line.word(0));
        let command = match line.verb.as_str() {
            "config" => return self.configure(line),
            "advance" => return self.advance(millis(line.word(0))),
            "jump" => return self.jump(line.word(0)),
            "crash" => return self.crash(),
            "+" => {
                let submit = self.submit(line);
                return self.batch.push(submit);
            }
            "batch" => Command::SubmitBatch(std::mem::take(&mut self.batch)),
            "submit" => Command::Submit(Box::new(self.submit(line))),
            "attach" => self.attach(line),
            "take" => self.take(line),
            "detach" => Command::Detach { session: session(self) },
            "leave" => Command::Leave { session: session(self) },
            "heartbeat" => Command::Heartbeat { session: session(self) },
            "show" => Command::Show { task: line.task() },
            "await" => Command::Await {
                session: line.value("by").map(|by| self.speaker(line, by)),
                task: line.task(),
                timeout_ms: line.duration("timeout").unwrap_or(30_000),
            },
            "watch" => Command::Watch {
                watch: WatchId(self.asked.len() as u64),
                session: self.speaker(line, &line.text("by", "")),
                task: line.task(),
                from: line.number("from"),
            },
            "unwatch" => Command::Unwatch {
                session: self.speaker(line, &line.text("by", "")),
                task: line.task(),
            },
            "cancel" => Command::Cancel {
                task: line.task(),
                reason: line.text.as_str().into(),
                grace_ms: line.duration("grace"),
            },
            "reclaim" => Command::Reclaim { task: line.task() },
            "redrive" => Command::Redrive {
                task: line.task(),
                delay_ms: line.duration("delay").unwrap_or(0),
            },
            "discard" => Command::Discard { task: line.task() },
            "room" => Command::Room(line.number("free").map(|free_bytes| Scarcity {
                free_bytes,
                free_bytes_min: line.number("min").unwrap_or(0),
            })),
            "why" => Command::Why { task: line.task() },
            "answer" => Command::Answer {
                task: line.task(),
                key: name(line.word(1)),
                value: line.text.as_bytes().into(),
            },
            "edit" => self.edit(line),
            "schedule" => self.schedule(line),
            "unschedule" => Command::RemoveSchedule { name: name(line.word(0)) },
            "set" => Command::SetQueue { queue: line.queue(), change: change(line) },
            "queue" => Command::ShowQueue { queue: line.queue() },
            "queues" => Command::ListQueues {
                after: line.value("after").map(name),
                limit: line.number("limit").unwrap_or(100) as usize,
            },
            "peek" => Command::Peek {
                queue: line.queue(),
                limit: line.number("limit").unwrap_or(10) as usize,
            },
            "purge" => Command::Purge {
                queue: line.queue(),
                limit: line.number("limit").unwrap_or(10_000) as usize,
            },
            _ => self.lease(line),
        };
        self.handle(command);
    }

    fn configure(&mut self, line: &Line) {
        let config = &mut self.config;
        let set = |key, value: &mut u64| *value = line.duration(key).unwrap_or(*value);
        set("offer", &mut config.offer_ms);
        set("grace", &mut config.grace_ms);
        set("restart_grace", &mut config.restart_grace_ms);
        set("backoff", &mut config.backoff.base_ms);
        set("cancel", &mut config.cancel_ms);
        set("starve", &mut config.starve_ms);
        let set = |key, value: &mut u32| {
            *value = line.number(key).map_or(*value, |number| number as u32);
        };
        set("offers", &mut config.offers_max);
        set("declines", &mut config.declines_max);
        set("lost", &mut config.lost_max);
        set("releases", &mut config.releases_max);
        config.queue_tasks_max = line.number("open").unwrap_or(config.queue_tasks_max);
        config.events_max = line.number("events").map_or(config.events_max, |max| max as usize);
        self.core = Core::new(config.clone());
    }

    fn submit(&self, line: &Line) -> Submit {
        let start = match (line.duration("delay"), line.value("at")) {
            (Some(delay_ms), _) => Start::In(delay_ms),
            (_, Some(at)) => Start::At(moved(self.now.wall_ms, at)),
            _ => Start::Now,
        };
        let mode = |window_ms: u64| match line.text("mode", "return").as_str() {
            "return" => DedupMode::Return(window_ms),
            "reject" => DedupMode::Reject(window_ms),
            "replace" => DedupMode::Replace,
            "debounce" => DedupMode::Debounce {
                delay_ms: window_ms,
                max_ms: line.duration("max").unwrap_or(u64::MAX),
            },
            "until_done" => DedupMode::UntilDone,
            "while_running" => DedupMode::WhileRunning,
            other => panic!("there is no mode {other:?}"),
        };
        Submit {
            spec: Arc::new(Spec {
                queue: line.queue(),
                key: line.value("key").map(name),
                needs: line.names("needs").into(),
                labels: line.label_tests().into(),
                limits: line.limits().into(),
                rates: line.rates().into(),
                placement: line.placement().map(Arc::new),
                has_headers: line.value("headers").is_some(),
                band: line.number("band").unwrap_or(0) as u8,
                attempts_max: line.number("attempts").unwrap_or(3) as u32,
                patience: Patience {
                    lease_ms: line.duration("lease").unwrap_or(30_000),
                    attempt_ms: line.duration("attempt").unwrap_or(3_600_000),
                    progress_ms: line.duration("progress"),
                    queue_ms: line.duration("queue"),
                    total_ms: line.duration("total"),
                },
            }),
            payload: line.text.as_bytes().into(),
            headers: line.value("headers").map(|headers| headers.as_bytes().into()),
            start,
            dedup: line.value("dedup").map(|key| Dedup {
                key: name(key),
                mode: mode(line.duration("window").unwrap_or(3_600_000)),
            }),
            after: line.items("after").into_iter().map(edge).collect(),
        }
    }

    fn attach(&mut self, line: &Line) -> Command {
        let session = self.new_session(line, line.word(0));
        let label = |item: &str| {
            let (label, value) = item.split_once(':').unwrap_or((item, ""));
            (name(label), value.into())
        };
        let mut labels: Vec<_> = line.items("labels").into_iter().map(label).collect();
        labels.sort();
        Command::Attach(Attach {
            session,
            agent: name(line.word(0)),
            identity: line.text("login", "login").into(),
            capabilities: line.names("can"),
            labels,
            capacity: line.resources("capacity"),
            queues: line.names("queues"),
            credit: line.number("credit").unwrap_or(1) as u32,
            holding: line.holding(),
        })
    }

    fn take(&mut self, line: &Line) -> Command {
        let by = line.text("by", "");
        let session = match self.newest.get(&by) {
            Some(_) => self.session(line, &by),
            None => self.new_session(line, &by),
        };
        Command::Take(Take {
            session,
            consumer: name(&by),
            identity: line.text("login", "login").into(),
            queue: line.queue(),
            max: line.number("max").unwrap_or(1) as u32,
            wait_ms: line.duration("wait").unwrap_or(0),
            lease_ms: line.duration("lease"),
        })
    }

    fn lease(&mut self, line: &Line) -> Command {
        let text = line.text.as_str();
        let bytes = || text.as_bytes().into();
        let action = match line.verb.as_str() {
            "accept" => Action::Accept,
            "decline" => {
                Action::Decline { reason: text.into(), retry_after_ms: line.duration("after") }
            }
            "progress" => Action::Progress { seq: line.number("seq"), data: bytes() },
            "busy" => Action::Busy { for_ms: line.duration("for").expect("for=") },
            "checkpoint" => Action::Checkpoint { seq: line.number("seq"), data: bytes() },
            "extend" => Action::Extend { lease_ms: line.duration("lease").expect("lease=") },
            "complete" => Action::Complete { result: bytes() },
            "stopped" => Action::CancelAck { result: bytes() },
            "ack" => Action::Ack,
            "release" => Action::Release { delay_ms: line.duration("delay").unwrap_or(0) },
            "park" => Action::Park(Park {
                questions: line.items("ask").into_iter().map(question).collect(),
                children: line.value("children") == Some("true"),
                hold_ms: line.duration("hold").unwrap_or(0),
                park_ms: line.duration("park").unwrap_or(3_600_000),
                on_timeout: line.value("timeout").map_or(ParkTimeout::Fail, |timeout| {
                    let known = ParkTimeout::ALL.into_iter().find(|it| it.as_str() == timeout);
                    known.expect("default, fail, cancel or escalate")
                }),
            }),
            "spawn" => Action::Spawn(Spawn {
                children: std::mem::take(&mut self.batch),
                end_with_parent: line.value("detach") != Some("true"),
            }),
            "nack" => Action::Fail {
                error: text.into(),
                retry: Retry::In(line.duration("delay").unwrap_or(0)),
            },
            "fail" if line.value("throttled").is_some() => Action::Fail {
                error: text.into(),
                retry: Retry::Throttled(line.duration("throttled").expect("looked at above")),
            },
            "fail" if line.word(1) == "fatal" => {
                Action::Fail { error: text.into(), retry: Retry::Never }
            }
            "fail" => Action::Fail {
                error: text.into(),
                retry: Retry::Backoff { at_least_ms: line.duration("after").unwrap_or(0) },
            },
            other => panic!("there is no command {other:?}"),
        };
        let session = self.session(line, &line.text("by", ""));
        let generation = Generation(line.number("gen").unwrap_or(0));
        Command::Lease(LeaseOp { session, task: line.task(), generation, action })
    }

    fn edit(&self, line: &Line) -> Command {
        let change = TaskChange {
            band: line.number("band").map(|band| band as u8),
            key: line.value("key").map(name),
            start: line.duration("delay").map(Start::In),
            attempts_max: line.number("attempts").map(|attempts| attempts as u32),
            lease_ms: line.duration("lease"),
            attempt_ms: line.duration("attempt"),
            progress_ms: line.duration("progress"),
            queue_ms: line.duration("queue"),
            total_ms: line.duration("total"),
        };
        let version = line.number("version").map(|version| version as u32);
        Command::Edit { task: line.task(), version, change: Box::new(change) }
    }

    fn schedule(&self, line: &Line) -> Command {
        let when = match line.value("cron") {
            Some(cron) => When::Cron(Cron::parse(&cron.replace('_', " ")).expect("cron")),
            None => When::Every {
                period_ms: line.duration("every").expect("cron= or every="),
                offset_ms: line.duration("offset").unwrap_or(0),
            },
        };
        let queue = line.text("to", "q");
        let submit = self.submit(&line.about(queue));
        Command::SetSchedule(Box::new(Schedule {
            name: name(line.word(0)),
            when,
            spec: Arc::unwrap_or_clone(submit.spec),
            payload: submit.payload,
            missed: match line.value("missed") {
                Some("skip") => Missed::Skip,
                Some(all) if all.starts_with("all:") => Missed::All(all[4..].parse().unwrap()),
                _ => Missed::Once,
            },
            overlap: match line.value("overlap") {
                Some("skip") => Overlap::Skip,
                Some("replace") => Overlap::Replace,
                _ => Overlap::Allow,
            },
            is_paused: line.value("paused") == Some("true"),
        }))
    }

    fn new_session(&mut self, line: &Line, agent: &str) -> SessionId {
        self.sessions += 1;
        let session = line.number("session").unwrap_or(self.sessions);
        self.newest.insert(agent.to_owned(), session);
        SessionId(session)
    }

    fn session(&self, line: &Line, agent: &str) -> SessionId {
        let newest = self.newest.get(agent).copied().unwrap_or(0);
        SessionId(line.number("session").unwrap_or(newest))
    }

    /// The session of somebody who need not be an agent.
    fn speaker(&mut self, line: &Line, name: &str) -> SessionId {
        if self.newest.contains_key(name) {
            self.session(line, name)
        } else {
            self.new_session(line, name)
        }
    }

    /// Let time pass, from one deadline to the next.
    fn advance(&mut self, ms: u64) {
        let target = self.now.tick.0 + ms;
        while let Some(due) = self.core.next_deadline().filter(|due| due.0 <= target) {
            self.pass(due.0.max(self.now.tick.0));
            self.handle(Command::Tick);
        }
        self.pass(target);
    }

    fn pass(&mut self, tick: u64) {
        self.now.wall_ms += tick - self.now.tick.0;
        self.now.tick = Tick(tick);
    }

    /// Somebody sets the wall clock; the commit loop looks at it with the next turn.
    fn jump(&mut self, by: &str) {
        self.now.wall_ms = moved(self.now.wall_ms, by);
        self.handle(Command::Tick);
    }

    fn crash(&mut self) {
        self.store.crash(Unsynced::Lost);
        self.now.tick = Tick(0);
        let load = |each: &mut dyn FnMut(Record)| self.store.scan(each);
        self.core = Core::restore(self.config.clone(), self.now, load).unwrap();
    }

    fn handle(&mut self, command: Command) {
        let mut rows: Vec<TaskRow> = Vec::new();
        loop {
            let wanted = self.core.wants(&command, &rows);
            let is_new = |task: &TaskId| rows.iter().all(|row| row.task != *task);
            let wanted: Vec<TaskId> = wanted.into_iter().filter(is_new).collect();
            let found = wanted.into_iter().filter_map(|task| self.store.row(task).unwrap());
            let before = rows.len();
            rows.extend(found.collect::<Vec<_>>());
            if rows.len() == before {
                break;
            }
        }
        let is_own = matches!(command, Command::Retire { .. });
        let id = if is_own { NOBODY } else { RequestId(self.asked.len() as u64) };
        self.core.handle(Request { id, command }, rows, self.now);
        let mut retire = None;
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Retire { until_ms } => retire = Some(until_ms),
                Effect::Reply { request: NOBODY, .. } => {}
                effect => self.note(effect, id),
            }
        }
        if let Some(until_ms) = retire {
            let Expired { tasks, next_ms } = self.store.expired(until_ms, 100).unwrap();
            self.handle(Command::Retire { tasks, next_ms });
        }
    }

    /// Write down an effect, and do what the commit loop does with it.
    fn note(&mut self, mut effect: Effect, current: RequestId) {
        let mut behind = String::new();
        if let Effect::Reply { request, outcome } = &mut effect {
            if *request != current {
                behind = format!(" <- {}", self.asked[request.0 as usize - 1]);
            }
            if let Ok(Reply::Task(view)) = outcome
                && view.state.is_terminal()
            {
                view.result = self.store.body(view.task, BodyKind::Result).unwrap();
            }
        }
        writeln!(self.heard, "{}{behind}", show::effect(&effect)).unwrap();
        if let Effect::Persist(record) = effect {
            self.store.append(&[record]).unwrap();
            self.store.sync().unwrap();
        }
    }
}

/// `colour` or `colour:red`, with a default
fn question(item: &str) -> Question {
    let (key, default) = match item.split_once(':') {
        Some((key, default)) => (key, Some(default.as_bytes().into())),
        None => (item, None),
    };
    Question { key: name(key), text: format!("{key}?").as_bytes().into(), default }
}

fn change(line: &Line) -> QueueChange {
    QueueChange {
        paused: line.value("paused").map(|paused| paused == "true"),
        leases_max: line.number("leases"),
        rate: line.value("rate").map(|rate| {
            let (grants, period) = rate.split_once('/')?;
            Some(Rate { grants: grants.parse().expect("a number"), period_ms: millis(period) })
        }),
        order: line.value("order").map(|order| {
            let found = Order::ALL.into_iter().find(|known| known.as_str() == order);
            found.expect("deadline or fair")
        }),
        weights: None,
        keep_ms: line.duration("keep"),
        keep_dead_ms: line.duration("keep_dead"),
    }
}

/// `1`, `1:any`, `1:cancel`, `1:fail`; `#1` is the first task of the batch
fn edge(item: &str) -> After {
    let (task, on) = item.split_once(':').unwrap_or((item, "block"));
    let task = match task.strip_prefix('#') {
        Some(position) => AfterTask::InBatch(position.parse::<usize>().unwrap() - 1),
        None => AfterTask::Kept(TaskId(task.parse().unwrap())),
    };
    let on = match on {
        "any" => AfterEnd::Any,
        "cancel" => AfterEnd::SuccessElseCancel,
        "fail" => AfterEnd::SuccessElseFail,
        _ => AfterEnd::SuccessElseBlock,
    };
    After { task, on }
}

/// `+1h`, `-1h`
fn moved(wall_ms: u64, by: &str) -> u64 {
    match by.strip_prefix('-') {
        Some(back) => wall_ms.saturating_sub(millis(back)),
        None => wall_ms + millis(by.trim_start_matches('+')),
    }
}
