//! A message that arrived.

use agentcom_protocol as protocol;
use bytes::Bytes;

use crate::headers::HeaderMap;
use crate::subject::Subject;

/// A received message.
///
/// `subject`, `reply` and `payload` are slices of the buffer that the socket was read into: they
/// cost nothing to make and to clone, and one of them keeps its whole buffer (64 KiB or more)
/// alive. Copy what you keep for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub subject: Subject,
    /// Where an answer is expected.
    pub reply: Option<Subject>,
    /// The body.
    pub payload: Bytes,
    /// The headers, where it has any.
    pub headers: Option<HeaderMap>,
    /// The status code of a message that the server itself made; 503 means that nobody took a
    /// request.
    pub status: Option<u16>,
    /// The words behind the status code.
    pub description: Option<String>,
    /// Bytes of subject, reply, headers and payload together.
    pub length: usize,
}

impl Message {
    /// A message whose parts, but perhaps the subject, lie in `chunk`.
    pub(crate) fn slice(
        chunk: &Bytes,
        subject: Subject,
        reply: Option<&[u8]>,
        header_bytes: Option<usize>,
        payload: &[u8],
    ) -> Message {
        let (block, body) = payload.split_at(header_bytes.unwrap_or(0));
        let headers = (!block.is_empty()).then(|| protocol::HeaderMap::parse(block));
        let headers = match headers {
            Some(Ok(headers)) => Some(headers),
            Some(Err(error)) => {
                tracing::debug!(%error, "a header block was skipped");
                None
            }
            None => None,
        };
        let status = headers.as_ref().and_then(|headers| headers.status().cloned());
        Message {
            reply: reply.map(|reply| Subject::slice(chunk, reply)),
            payload: chunk.slice_ref(body),
            headers: headers.map(HeaderMap::received).filter(|headers| !headers.is_empty()),
            description: status
                .as_ref()
                .filter(|status| !status.text.is_empty())
                .map(|status| status.text.clone()),
            status: status.map(|status| status.code),
            length: subject.len() + reply.map_or(0, <[u8]>::len) + payload.len(),
            subject,
        }
    }

    /// Whether this is the server's word that nobody took a request.
    pub(crate) fn is_no_responders(&self) -> bool {
        self.status == Some(NO_RESPONDERS) && self.payload.is_empty()
    }
}

/// Status of the answer to a request that nobody took (NATS client protocol, "no responders").
const NO_RESPONDERS: u16 = 503;
