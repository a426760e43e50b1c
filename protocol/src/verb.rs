//! Our own verbs, in one table: what the parser accepts, what `HELP` says and what
//! `docs/protocol.md` documents come from the same rows.

mod rows;

use std::fmt::Write as _;

use rows::ROWS;

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
    /// `MESSAGE SEND`
    MessageSend,
    /// `MESSAGE HISTORY`
    MessageHistory,
    /// `MESSAGE THREAD`
    MessageThread,
    /// `MAILBOX POLL`
    MailboxPoll,
    /// `MAILBOX ACK`
    MailboxAck,
    /// `CHANNEL CREATE`
    ChannelCreate,
    /// `CHANNEL SHOW`
    ChannelShow,
    /// `CHANNEL LIST`
    ChannelList,
    /// `CHANNEL SUBSCRIBE`
    ChannelSubscribe,
    /// `CHANNEL UNSUBSCRIBE`
    ChannelUnsubscribe,
    /// `CHANNEL HISTORY`
    ChannelHistory,
    /// `PRESENCE LIST`
    PresenceList,
    /// `CONFIG GET`
    ConfigGet,
    /// `CONFIG SET`
    ConfigSet,
    /// `CONFIG LIST`
    ConfigList,
    /// `BACKUP CREATE`
    BackupCreate,
    /// `BACKUP LIST`
    BackupList,
    /// `BACKUP VERIFY`
    BackupVerify,
    /// `STORE SHOW`
    StoreShow,
    /// `STORE COMPACT`
    StoreCompact,
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

/// Verbs that have a name already and cannot be used yet.
const NOT_YET: &[(&str, &str)] = &[("TASK", "CHARGE"), ("TASK", "PREEMPT"), ("TASK", "EFFECT")];

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
