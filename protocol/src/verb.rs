//! Our own verbs, in one table: what the parser accepts, what `HELP` says and what
//! `docs/protocol.md` documents come from the same rows.

use std::fmt::Write as _;

/// A verb of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `TASK SUBMIT`
    TaskSubmit,
    /// `TASK SHOW`
    TaskShow,
    /// `TASK ACCEPT`
    TaskAccept,
    /// `TASK DECLINE`
    TaskDecline,
    /// `TASK PROGRESS`
    TaskProgress,
    /// `TASK COMPLETE`
    TaskComplete,
    /// `TASK FAIL`
    TaskFail,
    /// `TASK BATCH`
    TaskBatch,
    /// `TASK AWAIT`
    TaskAwait,
    /// `TASK WATCH`
    TaskWatch,
    /// `TASK UNWATCH`
    TaskUnwatch,
    /// `TASK CANCEL`
    TaskCancel,
    /// `TASK RECLAIM`
    TaskReclaim,
    /// `TASK BUSY`
    TaskBusy,
    /// `TASK CHECKPOINT`
    TaskCheckpoint,
    /// `TASK RELEASE`
    TaskRelease,
    /// `TASK STOPPED`
    TaskStopped,
    /// `TASK WHY`
    TaskWhy,
    /// `TASK EDIT`
    TaskEdit,
    /// `TASK PARK`
    TaskPark,
    /// `TASK ANSWER`
    TaskAnswer,
    /// `TASK SPAWN`
    TaskSpawn,
    /// `TASK LIST`
    TaskList,
    /// `WORKER START`
    WorkerStart,
    /// `WORKER STOP`
    WorkerStop,
    /// `DEAD REDRIVE`
    DeadRedrive,
    /// `DEAD DISCARD`
    DeadDiscard,
    /// `DEAD LIST`
    DeadList,
    /// `QUEUE PUT`
    QueuePut,
    /// `QUEUE TAKE`
    QueueTake,
    /// `QUEUE ACK`
    QueueAck,
    /// `QUEUE NACK`
    QueueNack,
    /// `QUEUE EXTEND`
    QueueExtend,
    /// `QUEUE SHOW`
    QueueShow,
    /// `QUEUE LIST`
    QueueList,
    /// `QUEUE SET`
    QueueSet,
    /// `QUEUE PAUSE`
    QueuePause,
    /// `QUEUE RESUME`
    QueueResume,
    /// `QUEUE PEEK`
    QueuePeek,
    /// `QUEUE PURGE`
    QueuePurge,
    /// `SCHEDULE SET`
    ScheduleSet,
    /// `SCHEDULE SHOW`
    ScheduleShow,
    /// `SCHEDULE LIST`
    ScheduleList,
    /// `SCHEDULE REMOVE`
    ScheduleRemove,
}

/// Whether bytes follow the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The line is all.
    None,
    /// The last word of the line is the size of the body that follows.
    Sized,
}

struct Row {
    verb: Verb,
    family: &'static str,
    action: &'static str,
    arguments: &'static [&'static str],
    options: &'static [&'static str],
    body: Body,
    meaning: &'static str,
    example: &'static str,
}

/// What may be said about a task to keep.
const SUBMIT_OPTIONS: &[&str] = &[
    "needs",
    "labels",
    "uses",
    "prefer",
    "assign_to",
    "assign_ms",
    "sticky_ms",
    "limits",
    "rates",
    "priority",
    "attempts",
    "lease_ms",
    "attempt_ms",
    "progress_ms",
    "queue_ms",
    "total_ms",
    "delay_ms",
    "at_ms",
    "key",
    "dedup",
    "dedup_mode",
    "dedup_ms",
    "debounce_max_ms",
    "after",
    "headers",
];

/// What may be said about a task that anybody can do.
const PUT_OPTIONS: &[&str] = &[
    "limits",
    "rates",
    "priority",
    "attempts",
    "lease_ms",
    "delay_ms",
    "at_ms",
    "key",
    "dedup",
    "dedup_mode",
    "dedup_ms",
    "debounce_max_ms",
    "headers",
];

/// What may be changed about a task.
const EDIT_OPTIONS: &[&str] = &[
    "version",
    "priority",
    "key",
    "delay_ms",
    "at_ms",
    "attempts",
    "lease_ms",
    "attempt_ms",
    "progress_ms",
    "queue_ms",
    "total_ms",
];

/// What may be said about a schedule and its tasks.
const SCHEDULE_OPTIONS: &[&str] = &[
    "cron",
    "every_ms",
    "offset_ms",
    "missed",
    "overlap",
    "paused",
    "needs",
    "labels",
    "uses",
    "prefer",
    "assign_to",
    "assign_ms",
    "sticky_ms",
    "limits",
    "rates",
    "priority",
    "key",
    "attempts",
    "lease_ms",
    "attempt_ms",
    "progress_ms",
    "queue_ms",
    "total_ms",
];

/// Verbs that have a name already and cannot be used yet.
const NOT_YET: &[(&str, &str)] = &[("TASK", "CHARGE"), ("TASK", "PREEMPT"), ("TASK", "EFFECT")];

const ROWS: &[Row] = &[
    Row {
        verb: Verb::TaskSubmit,
        family: "TASK",
        action: "SUBMIT",
        arguments: &["queue"],
        options: SUBMIT_OPTIONS,
        body: Body::Sized,
        meaning: "keep a task; the answer comes when it is on disk",
        example: "TASK SUBMIT 1 resize needs=gpu,png priority=high 5\\r\\nhello\\r\\n",
    },
    Row {
        verb: Verb::TaskShow,
        family: "TASK",
        action: "SHOW",
        arguments: &["task"],
        options: &[],
        body: Body::None,
        meaning: "show a task: its state, generation and result",
        example: "TASK SHOW 2 17\\r\\n",
    },
    Row {
        verb: Verb::TaskAccept,
        family: "TASK",
        action: "ACCEPT",
        arguments: &["task", "generation"],
        options: &[],
        body: Body::None,
        meaning: "take an offered task",
        example: "TASK ACCEPT 3 17 1\\r\\n",
    },
    Row {
        verb: Verb::TaskDecline,
        family: "TASK",
        action: "DECLINE",
        arguments: &["task", "generation"],
        options: &["reason", "retry_after_ms"],
        body: Body::None,
        meaning: "refuse an offered task; it goes to another agent",
        example: "TASK DECLINE 4 17 1 reason=busy\\r\\n",
    },
    Row {
        verb: Verb::TaskProgress,
        family: "TASK",
        action: "PROGRESS",
        arguments: &["task", "generation"],
        options: &["seq"],
        body: Body::Sized,
        meaning: "report on a running task",
        example: "TASK PROGRESS 5 17 1 3\\r\\n50%\\r\\n",
    },
    Row {
        verb: Verb::TaskComplete,
        family: "TASK",
        action: "COMPLETE",
        arguments: &["task", "generation"],
        options: &[],
        body: Body::Sized,
        meaning: "finish a task with its result; the answer comes when it is on disk",
        example: "TASK COMPLETE 6 17 1 4\\r\\ndone\\r\\n",
    },
    Row {
        verb: Verb::TaskFail,
        family: "TASK",
        action: "FAIL",
        arguments: &["task", "generation"],
        options: &["class", "retry_after_ms"],
        body: Body::Sized,
        meaning: "give up on an attempt, with the error; class=fatal means no retry can help",
        example: "TASK FAIL 7 17 1 class=fatal 7\\r\\nno file\\r\\n",
    },
    Row {
        verb: Verb::TaskBatch,
        family: "TASK",
        action: "BATCH",
        arguments: &[],
        options: &[],
        body: Body::Sized,
        meaning: "keep several tasks or none of them; the body is a JSON array of them",
        example: "TASK BATCH 10 15\\r\\n[{\"queue\":\"q\"}]\\r\\n",
    },
    Row {
        verb: Verb::TaskAwait,
        family: "TASK",
        action: "AWAIT",
        arguments: &["task"],
        options: &["timeout_ms"],
        body: Body::None,
        meaning: "show a task once it is over, or once the time is",
        example: "TASK AWAIT 11 17 timeout_ms=60000\\r\\n",
    },
    Row {
        verb: Verb::TaskWatch,
        family: "TASK",
        action: "WATCH",
        arguments: &["task"],
        options: &["from"],
        body: Body::None,
        meaning: "show a task, then hear of every change of it: EVENT lines follow",
        example: "TASK WATCH 12 17\\r\\n",
    },
    Row {
        verb: Verb::TaskUnwatch,
        family: "TASK",
        action: "UNWATCH",
        arguments: &["task"],
        options: &[],
        body: Body::None,
        meaning: "hear no more of a task",
        example: "TASK UNWATCH 13 17\\r\\n",
    },
    Row {
        verb: Verb::TaskCancel,
        family: "TASK",
        action: "CANCEL",
        arguments: &["task"],
        options: &["grace_ms", "reason"],
        body: Body::None,
        meaning: "call a task off; whoever works on it is asked to stop",
        example: "TASK CANCEL 14 17 reason=late\\r\\n",
    },
    Row {
        verb: Verb::TaskReclaim,
        family: "TASK",
        action: "RECLAIM",
        arguments: &["task"],
        options: &[],
        body: Body::None,
        meaning: "take a task away from its agent; it goes to another",
        example: "TASK RECLAIM 15 17\\r\\n",
    },
    Row {
        verb: Verb::TaskBusy,
        family: "TASK",
        action: "BUSY",
        arguments: &["task", "generation", "for_ms"],
        options: &[],
        body: Body::None,
        meaning: "say that no progress will be reported for so long",
        example: "TASK BUSY 16 17 1 60000\\r\\n",
    },
    Row {
        verb: Verb::TaskCheckpoint,
        family: "TASK",
        action: "CHECKPOINT",
        arguments: &["task", "generation"],
        options: &["seq"],
        body: Body::Sized,
        meaning: "keep where the work stands, for whoever takes the task next",
        example: "TASK CHECKPOINT 17 17 1 6\\r\\npage 3\\r\\n",
    },
    Row {
        verb: Verb::TaskRelease,
        family: "TASK",
        action: "RELEASE",
        arguments: &["task", "generation"],
        options: &["delay_ms"],
        body: Body::None,
        meaning: "hand a task back without using up an attempt",
        example: "TASK RELEASE 18 17 1 delay_ms=5000\\r\\n",
    },
    Row {
        verb: Verb::TaskStopped,
        family: "TASK",
        action: "STOPPED",
        arguments: &["task", "generation"],
        options: &[],
        body: Body::Sized,
        meaning: "say that the work stopped because of a CANCEL, with what there is of a result",
        example: "TASK STOPPED 19 17 1 4\\r\\nhalf\\r\\n",
    },
    Row {
        verb: Verb::TaskWhy,
        family: "TASK",
        action: "WHY",
        arguments: &["task"],
        options: &[],
        body: Body::None,
        meaning: "say why a task is not being done",
        example: "TASK WHY 34 17\\r\\n",
    },
    Row {
        verb: Verb::TaskEdit,
        family: "TASK",
        action: "EDIT",
        arguments: &["task"],
        options: EDIT_OPTIONS,
        body: Body::None,
        meaning: "change what a task asks for",
        example: "TASK EDIT 35 17 priority=urgent\\r\\n",
    },
    Row {
        verb: Verb::TaskPark,
        family: "TASK",
        action: "PARK",
        arguments: &["task", "generation"],
        options: &[],
        body: Body::Sized,
        meaning: "wait for answers to questions, or for the parts of a task",
        example: "TASK PARK 36 17 1 47\\r\\n{\"questions\":[{\"key\":\"color\",\"text\":\"which?\"}]}\\r\\n",
    },
    Row {
        verb: Verb::TaskAnswer,
        family: "TASK",
        action: "ANSWER",
        arguments: &["task", "key"],
        options: &[],
        body: Body::Sized,
        meaning: "answer a question of a task",
        example: "TASK ANSWER 37 17 color 3\\r\\nred\\r\\n",
    },
    Row {
        verb: Verb::TaskSpawn,
        family: "TASK",
        action: "SPAWN",
        arguments: &["task", "generation"],
        options: &["detach"],
        body: Body::Sized,
        meaning: "keep tasks that are parts of this one; the body is as for TASK BATCH",
        example: "TASK SPAWN 38 17 1 15\\r\\n[{\"queue\":\"q\"}]\\r\\n",
    },
    Row {
        verb: Verb::TaskList,
        family: "TASK",
        action: "LIST",
        arguments: &[],
        options: &["queue", "state", "done", "after", "limit"],
        body: Body::None,
        meaning: "show tasks, in the order of their numbers",
        example: "TASK LIST 43 queue=mail limit=10\\r\\n",
    },
    Row {
        verb: Verb::WorkerStart,
        family: "WORKER",
        action: "START",
        arguments: &["agent"],
        options: &["can", "labels", "capacity", "queues", "credit", "holding"],
        body: Body::None,
        meaning: "take work as an agent on this connection: OFFER lines follow",
        example: "WORKER START 8 alice can=gpu,png credit=2\\r\\n",
    },
    Row {
        verb: Verb::WorkerStop,
        family: "WORKER",
        action: "STOP",
        arguments: &[],
        options: &[],
        body: Body::None,
        meaning: "take no more work; tasks that are held come back after their grace period",
        example: "WORKER STOP 9\\r\\n",
    },
    Row {
        verb: Verb::DeadRedrive,
        family: "DEAD",
        action: "REDRIVE",
        arguments: &["task"],
        options: &["delay_ms"],
        body: Body::None,
        meaning: "give a dead task another life",
        example: "DEAD REDRIVE 20 17\\r\\n",
    },
    Row {
        verb: Verb::DeadDiscard,
        family: "DEAD",
        action: "DISCARD",
        arguments: &["task"],
        options: &[],
        body: Body::None,
        meaning: "give a dead task up for good",
        example: "DEAD DISCARD 21 17\\r\\n",
    },
    Row {
        verb: Verb::DeadList,
        family: "DEAD",
        action: "LIST",
        arguments: &[],
        options: &["queue", "reason", "after", "limit"],
        body: Body::None,
        meaning: "show dead tasks, in the order of their numbers",
        example: "DEAD LIST 44 reason=timeout\\r\\n",
    },
    Row {
        verb: Verb::QueuePut,
        family: "QUEUE",
        action: "PUT",
        arguments: &["queue"],
        options: PUT_OPTIONS,
        body: Body::Sized,
        meaning: "keep a task that needs nothing, for whoever takes it",
        example: "QUEUE PUT 22 mail 5\\r\\nhello\\r\\n",
    },
    Row {
        verb: Verb::QueueTake,
        family: "QUEUE",
        action: "TAKE",
        arguments: &["queue"],
        options: &["max", "wait_ms", "lease_ms", "consumer"],
        body: Body::None,
        meaning: "take tasks that wait: ITEM lines come, then OK",
        example: "QUEUE TAKE 23 mail max=10 wait_ms=30000\\r\\n",
    },
    Row {
        verb: Verb::QueueAck,
        family: "QUEUE",
        action: "ACK",
        arguments: &["task", "generation"],
        options: &[],
        body: Body::None,
        meaning: "done; nothing of the task is kept",
        example: "QUEUE ACK 24 17 1\\r\\n",
    },
    Row {
        verb: Verb::QueueNack,
        family: "QUEUE",
        action: "NACK",
        arguments: &["task", "generation"],
        options: &["delay_ms", "error"],
        body: Body::None,
        meaning: "not done; it is tried again after the delay, if it has attempts left",
        example: "QUEUE NACK 25 17 1 delay_ms=5000\\r\\n",
    },
    Row {
        verb: Verb::QueueExtend,
        family: "QUEUE",
        action: "EXTEND",
        arguments: &["task", "generation", "lease_ms"],
        options: &[],
        body: Body::None,
        meaning: "keep a taken task for so long from now",
        example: "QUEUE EXTEND 26 17 1 60000\\r\\n",
    },
    Row {
        verb: Verb::QueueShow,
        family: "QUEUE",
        action: "SHOW",
        arguments: &["queue"],
        options: &[],
        body: Body::None,
        meaning: "show a queue: its settings, and how many tasks stand where",
        example: "QUEUE SHOW 27 mail\\r\\n",
    },
    Row {
        verb: Verb::QueueList,
        family: "QUEUE",
        action: "LIST",
        arguments: &[],
        options: &["after", "limit"],
        body: Body::None,
        meaning: "show queues, in the order of their names",
        example: "QUEUE LIST 28 limit=10\\r\\n",
    },
    Row {
        verb: Verb::QueueSet,
        family: "QUEUE",
        action: "SET",
        arguments: &["queue"],
        options: &[
            "leases_max",
            "rate_max",
            "rate_ms",
            "order",
            "weights",
            "keep_ms",
            "keep_dead_ms",
        ],
        body: Body::None,
        meaning: "change settings of a queue",
        example: "QUEUE SET 29 mail leases_max=5\\r\\n",
    },
    Row {
        verb: Verb::QueuePause,
        family: "QUEUE",
        action: "PAUSE",
        arguments: &["queue"],
        options: &[],
        body: Body::None,
        meaning: "give no task of a queue to anybody",
        example: "QUEUE PAUSE 30 mail\\r\\n",
    },
    Row {
        verb: Verb::QueueResume,
        family: "QUEUE",
        action: "RESUME",
        arguments: &["queue"],
        options: &[],
        body: Body::None,
        meaning: "give out tasks of a queue again",
        example: "QUEUE RESUME 31 mail\\r\\n",
    },
    Row {
        verb: Verb::QueuePeek,
        family: "QUEUE",
        action: "PEEK",
        arguments: &["queue"],
        options: &["limit"],
        body: Body::None,
        meaning: "show the tasks that go next",
        example: "QUEUE PEEK 32 mail limit=3\\r\\n",
    },
    Row {
        verb: Verb::QueuePurge,
        family: "QUEUE",
        action: "PURGE",
        arguments: &["queue"],
        options: &["limit"],
        body: Body::None,
        meaning: "cancel and forget the tasks of a queue that nobody holds",
        example: "QUEUE PURGE 33 mail\\r\\n",
    },
    Row {
        verb: Verb::ScheduleSet,
        family: "SCHEDULE",
        action: "SET",
        arguments: &["schedule", "queue"],
        options: SCHEDULE_OPTIONS,
        body: Body::Sized,
        meaning: "submit a task again and again; _ stands for the blanks of cron",
        example: "SCHEDULE SET 39 nightly reports cron=0_3_*_*_* 3\\r\\nall\\r\\n",
    },
    Row {
        verb: Verb::ScheduleShow,
        family: "SCHEDULE",
        action: "SHOW",
        arguments: &["schedule"],
        options: &[],
        body: Body::None,
        meaning: "show a schedule",
        example: "SCHEDULE SHOW 40 nightly\\r\\n",
    },
    Row {
        verb: Verb::ScheduleList,
        family: "SCHEDULE",
        action: "LIST",
        arguments: &[],
        options: &["after", "limit"],
        body: Body::None,
        meaning: "show schedules, in the order of their names",
        example: "SCHEDULE LIST 41\\r\\n",
    },
    Row {
        verb: Verb::ScheduleRemove,
        family: "SCHEDULE",
        action: "REMOVE",
        arguments: &["schedule"],
        options: &[],
        body: Body::None,
        meaning: "forget a schedule; its tasks stay",
        example: "SCHEDULE REMOVE 42 nightly\\r\\n",
    },
];

/// What the binary framing calls the verb of each row.
const CODES: [u32; ROWS.len()] = {
    let mut codes = [0; ROWS.len()];
    let mut at = 0;
    while at < ROWS.len() {
        codes[at] = code(ROWS[at].family, ROWS[at].action);
        at += 1;
    }
    codes
};

/// FNV-1a of both words with a blank between them. It follows from the name, so that a row keeps its
/// code whatever is added beside it; a test looks whether two rows meet.
const fn code(family: &str, action: &str) -> u32 {
    hashed(hashed(hashed(0x811c_9dc5, family.as_bytes()), b" "), action.as_bytes())
}

const fn hashed(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

impl Verb {
    /// The verb that the binary framing calls `code`.
    #[must_use]
    pub fn of_code(code: u32) -> Option<Verb> {
        CODES.iter().position(|&found| found == code).map(|at| ROWS[at].verb)
    }

    /// What the binary framing calls the verb.
    #[must_use]
    pub fn code(self) -> u32 {
        let row = self.row();
        code(row.family, row.action)
    }

    /// Every verb, in the order of the table.
    pub fn all() -> impl Iterator<Item = Verb> {
        ROWS.iter().map(|row| row.verb)
    }

    /// The verb made of two words, in any case.
    #[must_use]
    pub fn find(family: &str, action: &str) -> Option<Verb> {
        ROWS.iter()
            .find(|row| {
                row.family.eq_ignore_ascii_case(family) && row.action.eq_ignore_ascii_case(action)
            })
            .map(|row| row.verb)
    }

    /// The verb of a request on the subject `$AC.API.` + `endpoint`.
    #[must_use]
    pub fn at(endpoint: &str) -> Option<Verb> {
        let (family, action) = endpoint.split_once('.')?;
        ROWS.iter().find(|row| row.family == family && row.action == action).map(|row| row.verb)
    }

    /// The name of a verb that will be there and is not yet, made of two words in any case.
    #[must_use]
    pub fn find_not_yet(family: &str, action: &str) -> Option<String> {
        NOT_YET
            .iter()
            .find(|found| {
                found.0.eq_ignore_ascii_case(family) && found.1.eq_ignore_ascii_case(action)
            })
            .map(|(family, action)| format!("{family} {action}"))
    }

    /// The first word of a verb family as the table spells it, if `word` is one.
    #[must_use]
    pub fn family(word: &str) -> Option<&'static str> {
        ROWS.iter().find(|row| row.family.eq_ignore_ascii_case(word)).map(|row| row.family)
    }

    /// The second words that exist for a family, for a sentence.
    #[must_use]
    pub fn actions(family: &str) -> String {
        let actions: Vec<&str> =
            ROWS.iter().filter(|row| row.family == family).map(|row| row.action).collect();
        actions.join(", ")
    }

    /// Names of the arguments behind the tag, in order.
    #[must_use]
    pub fn arguments(self) -> &'static [&'static str] {
        self.row().arguments
    }

    /// Keys of the options.
    #[must_use]
    pub fn options(self) -> &'static [&'static str] {
        self.row().options
    }

    /// Whether a body follows.
    #[must_use]
    pub fn body(self) -> Body {
        self.row().body
    }

    /// Both words of the verb.
    #[must_use]
    pub fn name(self) -> String {
        format!("{} {}", self.row().family, self.row().action)
    }

    /// The same request as a subject has it, behind `$AC.API.`.
    #[must_use]
    pub fn endpoint(self) -> String {
        format!("{}.{}", self.row().family, self.row().action)
    }

    /// The shape of the line.
    #[must_use]
    pub fn usage(self) -> String {
        let row = self.row();
        let mut usage = format!("{} {} tag", row.family, row.action);
        for argument in row.arguments {
            let _ = write!(usage, " {argument}");
        }
        for option in row.options {
            let _ = write!(usage, " [{option}=...]");
        }
        if row.body == Body::Sized {
            usage.push_str(" size");
        }
        usage
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.verb == self).expect("every verb has a row in the table")
    }
}

/// Enough of a wrong topic to recognise it by.
const TOPIC_EXCERPT_CHARS: usize = 32;

/// The text of `HELP`, or of `HELP topic`: lines that end in CR LF. `topic` is a verb's first
/// word, both words, or empty.
#[must_use]
pub fn help(topic: &str) -> String {
    let topic = topic.trim();
    let wanted: Vec<&Row> = ROWS
        .iter()
        .filter(|row| {
            let name = format!("{} {}", row.family, row.action);
            name.eq_ignore_ascii_case(topic) || row.family.eq_ignore_ascii_case(topic)
        })
        .collect();
    let mut text = String::new();
    if wanted.is_empty() {
        if !topic.is_empty() {
            let excerpt: String = topic.chars().take(TOPIC_EXCERPT_CHARS).collect();
            let _ = write!(text, "# there is no verb {excerpt:?}\r\n");
        }
        text.push_str("# AgentCom speaks the NATS client protocol and these verbs:\r\n");
        text.push_str(
            "#   CONNECT {\"verbose\":false}   SUB subject [queue] sid   UNSUB sid [max]\r\n",
        );
        text.push_str("#   PUB subject [reply] size     then the payload   PING   QUIT\r\n");
        for row in ROWS {
            let _ = write!(text, "#   {} {}: {}\r\n", row.family, row.action, row.meaning);
        }
        text.push_str("# HELP verb shows its usage and an example; tag is any word, it comes back in the answer\r\n");
    } else {
        for row in wanted {
            let _ = write!(text, "# {}\r\n", row.verb.usage());
            let _ = write!(text, "#   {}\r\n#   example: {}\r\n", row.meaning, row.example);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_in_the_table_parses_as_its_verb() {
        for row in ROWS {
            let bytes = row.example.replace("\\r\\n", "\r\n").into_bytes();
            let decoder = crate::ClientDecoder::new(crate::Limits::default());
            let decoded = decoder.decode(&bytes).expect("an example decodes");
            let crate::Decoded::Frame { frame, consumed } = decoded else {
                panic!("{} is incomplete", row.example);
            };
            assert_eq!(consumed, bytes.len(), "{}", row.example);
            assert!(
                matches!(&frame, crate::ClientFrame::Request(r) if r.verb == row.verb),
                "{frame:?}"
            );
        }
    }

    #[test]
    fn no_two_verbs_have_one_code() {
        for verb in Verb::all() {
            assert_eq!(Verb::of_code(verb.code()), Some(verb), "{}", verb.name());
        }
    }

    #[test]
    fn help_on_a_verb_shows_usage_and_example() {
        let text = help("task submit");
        assert!(text.contains("TASK SUBMIT tag queue [needs=...]"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
}
