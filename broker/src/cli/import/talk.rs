//! Channels and messages. They are sent again, in the old order and from the old senders; times and
//! ids are new. What was read on the hub is taken out of the mailboxes again.

use std::collections::{BTreeSet, HashSet};

use agentcom_client::{Agent, Recipient, TalkErrorKind};

use super::Import;
use super::hub::{Hub, HubChannel, HubMessage};
use super::tally::{Fate, Tally};
use super::tokens::KnownToken;

/// Noted once the mailboxes hold nothing but what is brought.
const EMPTIED: &str = "mailboxes emptied";
/// Who made a channel of which nobody knows who made it.
const NOBODY: &str = "hub";
/// Kinds of messages that there are; the hub took any word.
const KINDS: [&str; 7] = ["chat", "request", "response", "status", "ping", "task", "system"];

pub(super) async fn bring(
    hub: &Hub,
    tokens: &[KnownToken],
    import: &mut Import,
) -> Result<[Tally; 3], String> {
    let channels = hub.channels().await?;
    let history = hub.history().await?;
    let mut mailboxes = Vec::new();
    for known in tokens {
        // An agent may have several tokens; one opens its mailbox.
        if mailboxes.iter().all(|(agent, _)| *agent != known.agent) {
            mailboxes.push((known.agent.clone(), hub.mailbox(&known.agent, &known.token).await?));
        }
    }
    let mut agents: BTreeSet<&str> = tokens.iter().map(|known| &*known.agent).collect();
    agents.extend(channels.iter().flat_map(|channel| &channel.subscribers).map(String::as_str));
    agents.extend(history.iter().filter_map(|message| message.to.as_deref()));
    check_empty(&agents, import).await?;

    let channels = bring_channels(hub, &channels, import).await?;
    let waiting: HashSet<&str> =
        mailboxes.iter().flat_map(|(_, mail)| mail).map(|message| &*message.id).collect();
    let mut messages = Tally::of("messages");
    let bar = import.progress.bar("messages", history.len());
    for message in history.iter().filter(|message| !waiting.contains(&*message.id)) {
        let to = match message.to.as_deref() {
            None | Some("broadcast") => Recipient::Everybody,
            Some(agent) => Recipient::Agent(agent),
        };
        messages.count(send(import, format!("message:{}", message.id), to, message).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if import.journal.find(EMPTIED).is_none() {
        empty(&agents, import).await?;
    }
    let mut mail = Tally::of("mail");
    let bar = import.progress.bar("mail", mailboxes.iter().map(|(_, mail)| mail.len()).sum());
    for (agent, waiting) in &mailboxes {
        for message in waiting {
            let key = format!("mail:{agent}:{}", message.seq);
            mail.count(send(import, key, Recipient::Agent(agent), message).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok([channels, messages, mail])
}

/// What is in a mailbox already would be taken for what was read long ago.
async fn check_empty(agents: &BTreeSet<&str>, import: &Import) -> Result<(), String> {
    let Some(broker) = &import.broker else { return Ok(()) };
    if import.journal.find(STARTED).is_some() {
        return Ok(());
    }
    for agent in agents {
        match broker.agent(*agent).mailbox(0).await {
            Ok(mail) if mail.is_empty() => {}
            Ok(_) => {
                return Err(format!(
                    "messages for {agent} wait on this broker already; import before its agents \
                     move here, or leave messages out with --without-messages"
                ));
            }
            // What is no name of an agent has no mailbox here.
            Err(error) if error.kind() == TalkErrorKind::Invalid => {}
            Err(error) => return Err(format!("cannot look into mailboxes: {error}")),
        }
    }
    Ok(())
}

/// Take what was read on the hub out of the mailboxes again: what was brought, as far as nothing
/// else stands before it. What came from somebody else meanwhile stays.
async fn empty(agents: &BTreeSet<&str>, import: &mut Import) -> Result<(), String> {
    let Some(broker) = &import.broker else { return Ok(()) };
    for agent in agents {
        let agent = broker.agent(*agent);
        let emptied = async {
            let mail = agent.mailbox(0).await?;
            let brought = mail.iter().take_while(|message| import.journal.has_name(&message.id));
            match brought.last() {
                Some(last) => agent.ack(last.seq).await,
                None => Ok(()),
            }
        };
        match emptied.await {
            Ok(()) => {}
            // What is no name of an agent has no mailbox here.
            Err(error) if error.kind() == TalkErrorKind::Invalid => {}
            Err(error) => return Err(format!("cannot empty mailboxes: {error}")),
        }
    }
    import.journal.note(EMPTIED.to_owned(), "")
}

/// Noted with the first message.
const STARTED: &str = "messages started";

async fn bring_channels(
    hub: &Hub,
    channels: &[HubChannel],
    import: &mut Import,
) -> Result<Tally, String> {
    let mut tally = Tally::of("channels");
    let bar = import.progress.bar("channels", channels.len());
    for channel in channels {
        let fate = make(channel, import).await;
        let is_there = !matches!(fate, Fate::Refused(_));
        tally.count(fate);
        if is_there {
            for message in hub.channel_history(&channel.name).await? {
                let key = format!("channel message:{}:{}", channel.name, message.id);
                let to = Recipient::Channel(&channel.name);
                if let Fate::Refused(why) = send(import, key, to, &message).await? {
                    tally.count(Fate::Refused(why));
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(tally)
}

/// Make a channel, and subscribe whoever is.
async fn make(channel: &HubChannel, import: &mut Import) -> Fate {
    let Some(broker) = &import.broker else { return Fate::Left };
    let here = broker.channel(&channel.name);
    let description = channel.description.as_deref().unwrap_or_default();
    let by = channel.created_by.as_deref().unwrap_or(NOBODY);
    let mut made = here.create(by, description).await;
    if made.as_ref().is_err_and(|error| error.kind() == TalkErrorKind::Invalid) {
        // Perhaps it is the name of who made it that is none here.
        made = here.create(NOBODY, description).await;
    }
    let fate = match made {
        Ok(()) => Fate::Imported,
        Err(error) if error.kind() == TalkErrorKind::ChannelExists => Fate::Known,
        Err(error) => {
            let why = crate::cli::chain(&error);
            return Fate::Refused(format!("channel {:?}: {why}", channel.name));
        }
    };
    for agent in channel.subscribers.iter().rev() {
        if let Err(error) = here.subscribe(agent).await {
            let why = crate::cli::chain(&error);
            return Fate::Refused(format!("{agent:?} in channel {:?}: {why}", channel.name));
        }
    }
    fate
}

/// Send a message again, unless that was done.
async fn send(
    import: &mut Import,
    key: String,
    to: Recipient<'_>,
    message: &HubMessage,
) -> Result<Fate, String> {
    if import.journal.find(&key).is_some() {
        return Ok(Fate::Known);
    }
    let Some(broker) = import.broker.clone() else { return Ok(Fate::Left) };
    if import.journal.find(STARTED).is_none() {
        import.journal.note(STARTED.to_owned(), "")?;
    }
    let from: Agent = broker.agent(&message.from);
    let payload = serde_json::Value::Object(message.payload.clone()).to_string();
    let mut post = from.send(to, payload);
    if let Some(kind) = message.kind.as_deref().filter(|kind| KINDS.contains(kind)) {
        post = post.kind(kind);
    }
    if let Some(answered) = message.reply_to.as_deref().filter(|id| !id.is_empty()) {
        // What it answers has another id here, if it is here.
        let here = import.journal.find(&format!("message:{answered}"));
        post = post.reply_to(here.unwrap_or(answered));
    }
    match post.await {
        Ok(sent) => {
            import.journal.note(key, &sent.id)?;
            Ok(Fate::Imported)
        }
        Err(error) if is_refusal(&error.kind()) => {
            let why = crate::cli::chain(&error);
            Ok(Fate::Refused(format!("message {} from {:?}: {why}", message.id, message.from)))
        }
        Err(error) => Err(format!("a message could not be sent: {}", crate::cli::chain(&error))),
    }
}

/// Whether the broker will not take this one, whatever happens.
fn is_refusal(kind: &TalkErrorKind) -> bool {
    matches!(
        kind,
        TalkErrorKind::Invalid
            | TalkErrorKind::NoChannel
            | TalkErrorKind::LimitReached
            | TalkErrorKind::MaxPayloadExceeded
    )
}
