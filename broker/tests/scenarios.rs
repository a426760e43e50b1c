//! Scenarios of the core, as text: commands in, effects out, pretend time.
//!
//! Each file in `testdata/core/` is a list of blocks. A block is some lines of commands, a line
//! `----`, and the effects in the order in which they came, up to an empty line. After a change
//! of behaviour, `UPDATE_SCENARIOS=1 cargo test --release --test scenarios` writes the effects
//! anew; the difference is what to review.
//!
//! ```text
//! config  offer=10s grace=15s backoff=1s declines=2 ...   (first, if at all)
//! submit  q "payload" [band=0] [needs=a,b] [attempts=3] [lease=30s]
//! attach  alice [can=a,b] [queues=q] [credit=1] [login=l] [session=5]
//! detach  alice            heartbeat alice               (from its newest session, or session=5)
//! accept  1 gen=1 by=alice        progress 1 gen=1 by=alice "30 %"
//! complete 1 gen=1 by=alice "result"      decline 1 gen=1 by=alice "why"
//! fail    1 gen=1 by=alice "why" [fatal] [after=5s]
//! show    1
//! advance 10s              crash                         (time; loss of everything but the store)
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use agentcom_broker::core::Core;
use agentcom_broker::core::command::{
    Action, Attach, Command, Effect, Generation, LeaseOp, Name, Now, Push, Rejection, Reply,
    Request, RequestId, SessionId, Submit, TaskId, Tick,
};
use agentcom_broker::core::limits::CoreConfig;
use agentcom_broker::core::record::{BodyKind, Loaded, Phase, Record, TaskRow};
use agentcom_broker::store::Store;
use agentcom_broker::store::memory::{MemoryStore, Unsynced};

#[test]
fn every_scenario_tells_what_the_core_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/core");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the scenarios are in {}", folder.display());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if update {
            fs::write(&file, played).unwrap();
        } else {
            assert!(written == played, "{}\n{}", file.display(), difference(&written, &played));
        }
    }
}

/// The first lines that differ, with what stands around them.
fn difference(written: &str, played: &str) -> String {
    let same = written.lines().zip(played.lines()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| {
        text.lines().skip(same.saturating_sub(4)).take(9).collect::<Vec<_>>().join("\n    ")
    };
    let (written, played) = (around(written), around(played));
    format!("line {}\nwritten:\n    {written}\nplayed:\n    {played}", same + 1)
}

/// The same text, with the effects as they are.
fn play(text: &str) -> String {
    let mut stage = Stage::new();
    let mut output = String::new();
    let mut in_effects = false;
    for line in text.lines() {
        if line.is_empty() {
            in_effects = false;
        }
        if in_effects {
            continue;
        }
        output.push_str(line);
        output.push('\n');
        if line == "----" {
            in_effects = true;
            output.push_str(&std::mem::take(&mut stage.heard));
        } else if !line.is_empty() && !line.starts_with('#') {
            stage.command(&Line::parse(line));
        }
    }
    output
}

/// `verb word word key=value "text"`
struct Line {
    verb: String,
    words: Vec<String>,
    pairs: HashMap<String, String>,
    text: String,
}

impl Line {
    fn parse(line: &str) -> Line {
        // What stands behind the text counts as if it stood before it.
        let (before, rest) = line.split_once('"').unwrap_or((line, "\""));
        let (text, behind) = rest.split_once('"').expect("a text ends with a quotation mark");
        let words = before.split_whitespace().chain(behind.split_whitespace());
        let mut words = words.map(str::to_owned);
        let verb = words.next().expect("a line has a verb");
        let (pairs, words): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        let pair = |word: &String| {
            word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        Line { verb, words, pairs: pairs.iter().filter_map(pair).collect(), text: text.to_owned() }
    }

    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.pairs.get(key).map_or(default, String::as_str).to_owned()
    }

    fn names(&self, key: &str) -> Vec<Name> {
        self.pairs.get(key).map_or(vec![], |list| list.split(',').map(name).collect())
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.pairs.get(key).map_or(default, |text| text.parse().expect("a number"))
    }

    fn duration(&self, key: &str, default: u64) -> u64 {
        self.pairs.get(key).map_or(default, |text| millis(text))
    }
}

/// `10s`, `5ms`, `2m`, `1h`
fn millis(text: &str) -> u64 {
    for (unit, ms) in [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)] {
        if let Some(Ok(count)) = text.strip_suffix(unit).map(str::parse::<u64>) {
            return count * ms;
        }
    }
    panic!("{text:?} is no duration such as 10s or 5ms");
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

struct Stage {
    core: Core,
    store: MemoryStore,
    config: CoreConfig,
    now: Now,
    sessions: u64,
    newest: HashMap<String, u64>,
    heard: String,
}

impl Stage {
    fn new() -> Stage {
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
            heard: String::new(),
        }
    }

    fn command(&mut self, line: &Line) {
        match line.verb.as_str() {
            "config" => {
                let config = &mut self.config;
                config.offer_ms = line.duration("offer", config.offer_ms);
                config.grace_ms = line.duration("grace", config.grace_ms);
                config.backoff.base_ms = line.duration("backoff", 0);
                config.offers_max = line.number("offers", config.offers_max.into()) as u32;
                config.declines_max = line.number("declines", config.declines_max.into()) as u32;
                config.lost_max = line.number("lost", config.lost_max.into()) as u32;
                config.queue_tasks_max = line.number("open", 1_000_000) as usize;
                self.core = Core::new(config.clone());
            }
            "advance" => self.advance(millis(line.word(0))),
            "crash" => self.crash(),
            "submit" => self.handle(Command::Submit(Submit {
                queue: name(line.word(0)),
                payload: line.text.as_bytes().into(),
                needs: line.names("needs"),
                band: line.number("band", 0) as u8,
                attempts_max: line.number("attempts", 3) as u32,
                lease_ms: line.duration("lease", 30_000),
            })),
            "attach" => self.attach(line),
            "detach" => {
                let session = self.session(line, line.word(0));
                self.handle(Command::Detach { session });
            }
            "heartbeat" => {
                let session = self.session(line, line.word(0));
                self.handle(Command::Heartbeat { session });
            }
            "show" => self.handle(Command::Show { task: TaskId(line.word(0).parse().unwrap()) }),
            verb => self.lease(verb, line),
        }
    }

    fn attach(&mut self, line: &Line) {
        self.sessions += 1;
        let session = line.number("session", self.sessions);
        self.newest.insert(line.word(0).to_owned(), session);
        self.handle(Command::Attach(Attach {
            session: SessionId(session),
            agent: name(line.word(0)),
            identity: line.text("login", "login").into(),
            capabilities: line.names("can"),
            queues: line.names("queues"),
            credit: line.number("credit", 1) as u32,
        }));
    }

    fn lease(&mut self, verb: &str, line: &Line) {
        let text = line.text.as_str();
        let action = match verb {
            "accept" => Action::Accept,
            "decline" => Action::Decline { reason: text.into() },
            "progress" => Action::Progress { data: text.as_bytes().into() },
            "complete" => Action::Complete { result: text.as_bytes().into() },
            "fail" => Action::Fail {
                error: text.into(),
                retryable: line.word(1) != "fatal",
                retry_after_ms: line.pairs.get("after").map(|text| millis(text)),
            },
            other => panic!("there is no command {other:?}"),
        };
        let session = self.session(line, &line.text("by", ""));
        let task = TaskId(line.word(0).parse().expect("the id of a task"));
        let generation = Generation(line.number("gen", 0));
        self.handle(Command::Lease(LeaseOp { session, task, generation, action }));
    }

    fn session(&self, line: &Line, agent: &str) -> SessionId {
        let newest = self.newest.get(agent).copied().unwrap_or(0);
        SessionId(line.number("session", newest))
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

    fn crash(&mut self) {
        self.store.crash(Unsynced::Lost);
        self.now.tick = Tick(0);
        let load = |each: &mut dyn FnMut(Record)| self.store.scan(each);
        self.core = Core::restore(self.config.clone(), self.now, load).unwrap();
    }

    fn handle(&mut self, command: Command) {
        let loaded = self.core.wants(&command).and_then(|wanted| {
            let row = self.store.row(wanted.task).unwrap()?;
            Some(Loaded { row, result: self.store.body(wanted.task, BodyKind::Result).unwrap() })
        });
        self.core.handle(Request { id: RequestId(1), command }, loaded, self.now);
        while let Some(effect) = self.core.poll_effect() {
            let line = self.effect(&effect);
            writeln!(self.heard, "{line}").unwrap();
            if let Effect::Persist(record) = effect {
                self.store.append(&[record]).unwrap();
                self.store.sync().unwrap();
            }
        }
    }

    fn effect(&self, effect: &Effect) -> String {
        match effect {
            Effect::Persist(Record::Task(row)) => format!("persist task {}", row_text(row)),
            Effect::Persist(Record::Body { task, kind, bytes }) => {
                let kind = if *kind == BodyKind::Payload { "payload" } else { "result" };
                format!("persist {kind} {} \"{}\"", task.0, text(bytes))
            }
            Effect::Persist(Record::TaskIdBound(bound)) => format!("persist ids below {}", bound.0),
            Effect::Reply { outcome, .. } => format!("reply {}", outcome_text(outcome)),
            Effect::Deliver { session, push } => {
                format!("deliver session={} {}", session.0, push_text(push))
            }
            Effect::Event(event) => {
                let agent = event.agent.as_ref().map_or(String::new(), |by| format!(" by={by}"));
                let progress = event.progress.as_ref();
                let progress = progress.map_or(String::new(), |it| format!(" \"{}\"", text(it)));
                let (task, gen_) = (event.task.0, event.generation.0);
                format!("event {task} {} gen={gen_}{agent}{progress}", event.state.as_str())
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn row_text(row: &TaskRow) -> String {
    let mut out = format!("{} {} gen={}", row.task.0, row.state().as_str(), row.generation.0);
    match &row.phase {
        Phase::Scheduled { delay_ms, .. } => write!(out, " wait={delay_ms}ms"),
        Phase::Ready => Ok(()),
        Phase::Offered(holder) | Phase::Running(holder) => write!(out, " by={}", holder.agent),
        Phase::Completed { by } => write!(out, " by={by}"),
        Phase::Dead { reason, by } => write!(out, " reason={} by={by}", reason.as_str()),
    }
    .unwrap();
    for (key, count) in [
        ("attempts", row.attempts),
        ("lost", row.lost),
        ("offers_expired", row.offers_expired),
        ("declines", row.declines),
    ] {
        if count > 0 {
            write!(out, " {key}={count}").unwrap();
        }
    }
    if !row.excluded.is_empty() {
        let excluded: Vec<&str> = row.excluded.iter().map(Name::as_str).collect();
        write!(out, " excluded={}", excluded.join(",")).unwrap();
    }
    out
}

fn outcome_text(outcome: &Result<Reply, Rejection>) -> String {
    match outcome {
        Ok(Reply::Submitted { task }) => format!("submitted {}", task.0),
        Ok(Reply::Attached { .. }) => "attached".to_owned(),
        Ok(Reply::Noted) => "noted".to_owned(),
        Ok(Reply::Done { task, state, duplicate }) => {
            let again = if *duplicate { " duplicate" } else { "" };
            format!("done {} {}{again}", task.0, state.as_str())
        }
        Ok(Reply::Task(view)) => {
            let mut out = format!("task {} {}", view.task.0, view.state.as_str());
            write!(out, " gen={} attempts={}", view.generation.0, view.attempts).unwrap();
            for (key, value) in [
                ("by", view.agent.as_ref().map(Name::to_string)),
                ("progress", view.progress.as_ref().map(|bytes| text(bytes))),
                ("result", view.result.as_ref().map(|bytes| text(bytes))),
                ("error", view.error.as_ref().map(ToString::to_string)),
                ("dead", view.dead.map(|reason| reason.as_str().to_owned())),
            ] {
                if let Some(value) = value {
                    write!(out, " {key}={value}").unwrap();
                }
            }
            out
        }
        Err(rejection) => format!("{}: {rejection}", rejection.code()),
    }
}

fn push_text(push: &Push) -> String {
    match push {
        Push::Offer(offer) => {
            format!("offer {} gen={} attempt={}", offer.task.0, offer.generation.0, offer.attempt)
        }
        Push::Revoked { task, generation, state } => {
            format!("revoked {} gen={} now={}", task.0, generation.0, state.as_str())
        }
        Push::Replaced => "replaced".to_owned(),
    }
}
