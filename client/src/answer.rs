//! The broker's answer to one of our own verbs, and how to ask.

use bytes::Bytes;

use crate::error::{TaskError, TaskErrorKind};
use crate::event::State;
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
}

impl Granted {
    /// The value of a field.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }
}

impl From<Declined> for TaskError {
    fn from(declined: Declined) -> TaskError {
        TaskError::with_source(TaskErrorKind::from_code(&declined.code), declined.sentence)
    }
}

impl From<Refusal> for TaskError {
    fn from(refusal: Refusal) -> TaskError {
        TaskError::new(match refusal {
            Refusal::Closed => TaskErrorKind::Closed,
            Refusal::LinkChanged | Refusal::Full => TaskErrorKind::Disconnected,
            Refusal::Header(_) => TaskErrorKind::Invalid,
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
    ) -> Result<Granted, TaskError> {
        let asking = self.ask_untimed(verb, arguments, body, terms);
        match self.options.request_timeout {
            Some(timeout) => tokio::time::timeout(timeout, asking)
                .await
                .map_err(|_| TaskError::new(TaskErrorKind::TimedOut))?,
            None => asking.await,
        }
    }

    async fn ask_untimed(
        &self,
        verb: [&str; 2],
        arguments: &[&str],
        body: Option<&[u8]>,
        terms: Terms,
    ) -> Result<Granted, TaskError> {
        self.supports(verb[0]).await?;
        if body.is_some_and(|body| body.len() > self.payload_bytes_max()) {
            return Err(TaskErrorKind::MaxPayloadExceeded.into());
        }
        let mut ticket = self.answers.ticket();
        let tag = ticket.key();
        self.outbound.append(terms.link, |out| out.request(verb, tag, arguments, body))?;
        match ticket.answered().await {
            Some(answer) => Ok(answer?),
            None if self.outbound.is_closed() => Err(TaskErrorKind::Closed.into()),
            None => Err(TaskErrorKind::Disconnected.into()),
        }
    }

    /// Tell the broker, and do not wait for what it says. Nothing is sent while the link is down.
    pub(crate) fn tell(&self, verb: [&str; 2], arguments: &[&str], body: Option<&[u8]>) {
        let tag = self.answers.key();
        self.outbound.append_if_up(|out| out.request(verb, tag, arguments, body));
    }

    /// Whether the server knows our verbs of this family. Waits for the first connection.
    async fn supports(&self, family: &str) -> Result<(), TaskError> {
        let mut status = self.watch_status();
        let known = status.wait_for(|status| status.state != State::Pending).await;
        if known.map_or(State::Closed, |status| status.state) == State::Closed {
            return Err(TaskErrorKind::Closed.into());
        }
        let info = self.info();
        let verbs = info.x.as_ref().map_or(&[][..], |x| x.verbs.as_slice());
        let family = family.to_ascii_lowercase();
        if verbs.iter().any(|verb| verb.trim_end_matches(|c: char| c.is_ascii_digit()) == family) {
            return Ok(());
        }
        Err(TaskErrorKind::NotSupported.into())
    }
}

/// `word` if it can stand on a line of ours as one word.
pub(crate) fn word<'a>(what: &str, word: &'a str) -> Result<&'a str, TaskError> {
    if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(TaskError::with_source(
            TaskErrorKind::Invalid,
            format!("{what} {word:?} must be one word without blanks"),
        ));
    }
    Ok(word)
}

/// `words` joined by commas, `None` if there are none.
pub(crate) fn word_list(what: &str, words: &[String]) -> Result<Option<String>, TaskError> {
    for item in words {
        word(what, item)?;
        if item.contains(',') {
            return Err(TaskError::with_source(
                TaskErrorKind::Invalid,
                format!("{what} {item:?} must not hold a comma; give two items instead"),
            ));
        }
    }
    Ok((!words.is_empty()).then(|| words.join(",")))
}
