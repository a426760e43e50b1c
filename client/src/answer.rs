//! The broker's answer to one of our own verbs, and how to ask.

use std::time::Duration;

use bytes::Bytes;

use crate::event::State;
use crate::operation_error::{Trouble, TroubleKind};
use crate::outbound::Refusal;
use crate::shared::Shared;

/// `OK` or `ERR`.
pub(crate) type Answer = Result<Granted, Declined>;

/// `OK tag key=value ... [size]`.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// `ERR tag code 'sentence'`.
#[derive(Debug)]
pub(crate) struct Declined {
    pub(crate) code: String,
    pub(crate) sentence: String,
}

/// What a question must hold to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Ask on exactly this link, and fail at once if it is not up.
    pub(crate) link: Option<u64>,
    /// How long the broker itself may take, beyond what any answer may.
    pub(crate) patience: Duration,
}

impl Terms {
    /// To be asked on this link and no other.
    pub(crate) fn on_link(link: u64) -> Terms {
        Terms { link: Some(link), ..Terms::default() }
    }

    /// To be answered only after the broker waited for something, for as long as this.
    pub(crate) fn patient(patience: Duration) -> Terms {
        Terms { patience, ..Terms::default() }
    }
}

impl Granted {
    /// The value of a field.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must be there, as a number.
    pub(crate) fn number(&self, key: &str) -> Result<u64, Trouble> {
        let number = self.field(key).and_then(|value| value.parse().ok());
        number.ok_or_else(|| Trouble::protocol(format!("the answer has no number {key}")))
    }
}

impl From<Declined> for Trouble {
    fn from(declined: Declined) -> Trouble {
        Trouble::with_source(TroubleKind::Declined(declined.code), declined.sentence)
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        Trouble::from(match refusal {
            Refusal::Closed => TroubleKind::Closed,
            Refusal::LinkChanged | Refusal::Full => TroubleKind::Disconnected,
            Refusal::Header(_) => TroubleKind::Invalid,
        })
    }
}

impl Shared {
    /// Ask the broker: `verb` is both words, `arguments` go behind the tag.
    ///
    /// Cancel-safe for this process: a dropped question leaves nothing behind here, but the broker
    /// may have it already.
    pub(crate) async fn ask(
        &self,
        verb: [&str; 2],
        arguments: &[&str],
        body: Option<&[u8]>,
        terms: Terms,
    ) -> Result<Granted, Trouble> {
        let tag = self.answers.key();
        self.ask_tagged(tag, verb, arguments, body, terms).await
    }

    /// [`Shared::ask`] under a tag that was drawn before.
    pub(crate) async fn ask_tagged(
        &self,
        tag: u32,
        verb: [&str; 2],
        arguments: &[&str],
        body: Option<&[u8]>,
        terms: Terms,
    ) -> Result<Granted, Trouble> {
        let asking = self.ask_untimed(tag, verb, arguments, body, terms);
        match self.options.request_timeout {
            Some(timeout) => tokio::time::timeout(timeout + terms.patience, asking)
                .await
                .map_err(|_| Trouble::from(TroubleKind::TimedOut))?,
            None => asking.await,
        }
    }

    /// Ask as often as it takes: a question whose answer was lost with the connection is asked
    /// again on the next one. Only for what may be done twice. Cancel-safe.
    pub(crate) async fn ask_repeatedly(
        &self,
        verb: [&str; 2],
        arguments: &[&str],
        terms: Terms,
    ) -> Result<Granted, Trouble> {
        loop {
            let link = self.link_settled().await?;
            let asked = self.ask(verb, arguments, None, Terms { link: Some(link), ..terms }).await;
            match asked {
                Err(trouble) if trouble.kind == TroubleKind::Disconnected => {
                    self.link_after(link).await?;
                }
                settled => return settled,
            }
        }
    }

    async fn ask_untimed(
        &self,
        tag: u32,
        verb: [&str; 2],
        arguments: &[&str],
        body: Option<&[u8]>,
        terms: Terms,
    ) -> Result<Granted, Trouble> {
        self.supports(verb[0]).await?;
        if body.is_some_and(|body| body.len() > self.payload_bytes_max()) {
            return Err(TroubleKind::MaxPayloadExceeded.into());
        }
        let mut ticket = self.answers.ticket(tag);
        self.outbound.append(terms.link, |out| out.request(verb, tag, arguments, body))?;
        match ticket.answered().await {
            Some(answer) => Ok(answer?),
            None if self.outbound.is_closed() => Err(TroubleKind::Closed.into()),
            None => Err(TroubleKind::Disconnected.into()),
        }
    }

    /// Tell the broker, and do not wait for what it says. Nothing is sent while the link is down.
    pub(crate) fn tell(&self, verb: [&str; 2], arguments: &[&str], body: Option<&[u8]>) {
        let tag = self.answers.key();
        self.outbound.append_if_up(|out| out.request(verb, tag, arguments, body));
    }

    /// The number of the link that is up; waits until one is. Cancel-safe.
    pub(crate) async fn link_settled(&self) -> Result<u64, Trouble> {
        self.link_after(0).await
    }

    /// The number of the link that is up, once it is a later one than `before`. Cancel-safe.
    pub(crate) async fn link_after(&self, before: u64) -> Result<u64, Trouble> {
        let mut status = self.watch_status();
        let found = status
            .wait_for(|now| match now.state {
                State::Closed => true,
                State::Connected => now.link > before,
                State::Pending | State::Disconnected => false,
            })
            .await;
        match found {
            Ok(now) if now.state == State::Connected => Ok(now.link),
            _ => Err(TroubleKind::Closed.into()),
        }
    }

    /// Whether the server knows our verbs of this family. Waits for the first connection.
    async fn supports(&self, family: &str) -> Result<(), Trouble> {
        let mut status = self.watch_status();
        let known = status.wait_for(|status| status.state != State::Pending).await;
        if known.map_or(State::Closed, |status| status.state) == State::Closed {
            return Err(TroubleKind::Closed.into());
        }
        let info = self.info();
        let verbs = info.x.as_ref().map_or(&[][..], |x| x.verbs.as_slice());
        let family = family.to_ascii_lowercase();
        if verbs.iter().any(|verb| verb.trim_end_matches(|c: char| c.is_ascii_digit()) == family) {
            return Ok(());
        }
        Err(TroubleKind::NotSupported.into())
    }
}

/// `word` if it can stand on a line of ours as one word.
pub(crate) fn word<'a>(what: &str, word: &'a str) -> Result<&'a str, Trouble> {
    if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Trouble::invalid(format!("{what} {word:?} must be one word without blanks")));
    }
    Ok(word)
}

/// `words` joined by commas, `None` if there are none.
pub(crate) fn word_list(what: &str, words: &[String]) -> Result<Option<String>, Trouble> {
    for item in words {
        word(what, item)?;
        if item.contains(',') {
            return Err(Trouble::invalid(format!(
                "{what} {item:?} must not hold a comma; give two items instead"
            )));
        }
    }
    Ok((!words.is_empty()).then(|| words.join(",")))
}

/// `duration` in the milliseconds of an option; more than fit are as many as fit.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `key=value` for a line.
pub(crate) fn option(key: &str, value: impl std::fmt::Display) -> String {
    format!("{key}={value}")
}

/// The words that name a held task on every line about it.
pub(crate) fn names(task: u64, generation: u64) -> [String; 2] {
    [task.to_string(), generation.to_string()]
}
