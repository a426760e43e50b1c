//! A request of either spelling to the command that it asks for.

use agentcom_protocol::{Request, Verb};

use super::fields::{Fields, wrong};
use super::usual::Usual;
use super::{
    Invalid, lease, list, message, park, queue, schedule, submit, talk, task, upkeep, worker,
};
use crate::core::command::{Command, Name, SessionId};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker<'a> {
    /// On which connection.
    pub session: SessionId,
    /// Who authenticated.
    pub identity: &'a str,
    /// The agent whose token the connection showed.
    pub agent: Option<Name>,
    /// Names this process among all that ever ran on the store; part of the name of consumers that
    /// give none themselves.
    pub process: &'a str,
}

impl Asker<'_> {
    /// Refuse to speak for another agent than the one whose token the connection showed.
    pub(super) fn check_speaker(&self, key: &'static str, named: &Name) -> Result<(), Invalid> {
        match &self.agent {
            Some(own) if own != named => {
                let allowed = format!("{own}, whose token this connection showed");
                Err(wrong(key, named.as_str(), &allowed))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is whoever runs the broker.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.identity == message::OPERATOR
    }
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The command.
    pub command: Command,
    /// The subject that pushes are published to, if the request names one.
    pub deliver: Option<Box<str>>,
    /// The names of the tasks of a batch, in its order.
    pub names: TaskNames,
}

/// Names of tasks, in their order; few have one.
pub type TaskNames = Box<[Option<Name>]>;

impl From<Command> for Asked {
    fn from(command: Command) -> Asked {
        Asked { command, deliver: None, names: TaskNames::default() }
    }
}

/// What a request in words asks for. `usual` is that of the connection.
///
/// # Errors
/// [`Invalid`]: an argument or option has a value that is not allowed.
pub fn of_words(
    request: &Request<'_>,
    asker: &Asker<'_>,
    usual: &mut Usual,
) -> Result<Asked, Invalid> {
    match request.verb {
        Verb::TaskSubmit | Verb::QueuePut => {
            Ok(Command::Submit(Box::new(submit::submit_usual(request, usual)?)).into())
        }
        Verb::TaskBatch => submit::batch(&Fields::Words(request).objects("tasks")?),
        verb => of_fields(verb, Fields::Words(request), asker),
    }
}

/// The command of every verb but `TASK BATCH`, whose tasks have fields each.
pub(super) fn of_fields(
    verb: Verb,
    fields: Fields<'_>,
    asker: &Asker<'_>,
) -> Result<Asked, Invalid> {
    let command = match verb {
        Verb::TaskBatch => unreachable!("it has no fields of its own"),
        Verb::TaskSpawn => return park::spawn(fields, asker),
        Verb::TaskSubmit | Verb::QueuePut => {
            submit::submit(fields).map(|submit| Command::Submit(Box::new(submit)))
        }
        Verb::TaskShow
        | Verb::TaskAwait
        | Verb::TaskWatch
        | Verb::TaskUnwatch
        | Verb::TaskCancel
        | Verb::TaskReclaim
        | Verb::TaskWhy
        | Verb::TaskEdit
        | Verb::TaskAnswer
        | Verb::DeadRedrive
        | Verb::DeadDiscard => task::command(verb, fields, asker),
        Verb::TaskAccept
        | Verb::TaskDecline
        | Verb::TaskProgress
        | Verb::TaskBusy
        | Verb::TaskCheckpoint
        | Verb::TaskComplete
        | Verb::TaskFail
        | Verb::TaskRelease
        | Verb::TaskStopped
        | Verb::QueueAck
        | Verb::QueueNack
        | Verb::QueueExtend => lease::operation(verb, fields, asker),
        Verb::TaskPark => park::park(fields, asker),
        Verb::TaskList | Verb::DeadList => list::command(verb, fields),
        Verb::WorkerStart => worker::start(fields, asker),
        Verb::WorkerStop => Ok(Command::Leave { session: asker.session }),
        Verb::QueueTake => lease::take(fields, asker),
        Verb::QueueShow
        | Verb::QueueList
        | Verb::QueueSet
        | Verb::QueuePause
        | Verb::QueueResume
        | Verb::QueuePeek
        | Verb::QueuePurge => queue::command(verb, fields),
        Verb::ScheduleSet | Verb::ScheduleShow | Verb::ScheduleList | Verb::ScheduleRemove => {
            schedule::command(verb, fields)
        }
        Verb::MessageSend
        | Verb::MessageHistory
        | Verb::MessageThread
        | Verb::MailboxPoll
        | Verb::MailboxAck
        | Verb::ChannelCreate
        | Verb::ChannelShow
        | Verb::ChannelList
        | Verb::ChannelSubscribe
        | Verb::ChannelUnsubscribe
        | Verb::ChannelHistory
        | Verb::PresenceList => talk::command(verb, fields, asker),
        Verb::ConfigGet | Verb::ConfigSet | Verb::ConfigList => talk::config(verb, fields),
        Verb::BackupCreate
        | Verb::BackupList
        | Verb::BackupVerify
        | Verb::StoreShow
        | Verb::StoreCompact => upkeep::command(verb, fields),
    };
    command.map(Asked::from)
}
