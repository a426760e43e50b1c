//! Frames of the binary framing: numbers to subjects and sids, then the same as for lines.

use std::sync::Arc;

use super::{Close, Decoder, Progress, Session};
use crate::core::command::Tick;
use crate::routing::{Dispatch, Origin, Place};
use agentcom_protocol::binary::{ClientDecoder, ClientFrame, Named, Publish};
use agentcom_protocol::encode::Decimal;
use agentcom_protocol::{Decoded, encode};

/// A subject that the client gave a number.
#[derive(Debug)]
pub(super) struct Alias {
    subject: Arc<[u8]>,
    known: Known,
}

/// What was found out about a subject when it was last published to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Where its route is.
    pub(super) place: Place,
    /// Nothing is left to do for a message to it but to deliver it: the login may publish to it, it
    /// is no subject of the broker's, and the client wants neither `+OK` nor warnings.
    pub(super) is_open: bool,
}

impl Session {
    /// Speak binary from now on: the client's next byte begins a frame, and so does what it is
    /// told behind the `+OK` that must stand in front of this.
    pub(super) fn change_over(&mut self) {
        self.outlet.speak_binary();
        self.decoder = Decoder::Binary(ClientDecoder::new(self.context.limits));
    }

    /// Work off the frame behind `progress`. If it is not all there, the bytes that it needs.
    #[inline]
    pub(super) fn take_frame(
        &mut self,
        decoder: ClientDecoder,
        input: &[u8],
        progress: &mut Progress,
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<Option<usize>, Close> {
        let rest = &input[progress.consumed..];
        if let Some((number, payload, consumed)) = decoder.whole_short_publish(rest) {
            progress.consumed += consumed;
            progress.publishes += 1;
            let subject = Named::Alias(number);
            let publish = Publish { subject, reply: None, header_bytes: None, payload };
            self.handle_named(&publish, dispatch)?;
            return Ok(None);
        }
        if let Some((publish, consumed)) = decoder.whole_publish(rest) {
            progress.consumed += consumed;
            progress.publishes += 1;
            self.handle_named(&publish, dispatch)?;
            return Ok(None);
        }
        self.take_other(decoder, rest, progress, now, dispatch)
    }

    fn take_other(
        &mut self,
        decoder: ClientDecoder,
        rest: &[u8],
        progress: &mut Progress,
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<Option<usize>, Close> {
        match decoder.decode(rest) {
            Ok(Decoded::Frame { frame, consumed }) => {
                progress.consumed += consumed;
                match frame {
                    ClientFrame::Publish(publish) => {
                        progress.publishes += 1;
                        self.handle_named(&publish, dispatch)?;
                    }
                    other => self.handle_numbers(other, now, dispatch)?,
                }
                Ok(None)
            }
            Ok(Decoded::Incomplete { needed }) => Ok(Some(needed)),
            Err(error) => Err(self.explain(&error, dispatch)),
        }
    }

    /// Most messages are to a number, by a client that wants nothing but to have them delivered, and
    /// have no reply subject that must be looked at.
    #[inline(always)]
    fn handle_named(
        &mut self,
        publish: &Publish<'_>,
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        let &Publish { subject: Named::Alias(number), reply: None, header_bytes, payload } =
            publish
        else {
            return self.handle_with_care(publish, dispatch);
        };
        let place = usize::from(number) - 1;
        match self.aliases.get_mut(place) {
            Some(Some(Alias { subject, known }))
                if known.is_open && (header_bytes.is_none() || self.wishes.headers) =>
            {
                let origin = Origin { outlet: &self.outlet, echo: self.wishes.echo };
                let publish =
                    agentcom_protocol::Publish { subject, reply: None, header_bytes, payload };
                dispatch.publish_at(Some(origin), &publish, &mut known.place);
                Ok(())
            }
            _ => self.handle_with_care(publish, dispatch),
        }
    }

    fn handle_with_care(
        &mut self,
        publish: &Publish<'_>,
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        let &Publish { subject, reply, header_bytes, payload } = publish;
        let to = |subject| agentcom_protocol::Publish { subject, reply, header_bytes, payload };
        match subject {
            Named::Full(subject) => self.handle_publish(&to(subject), None, dispatch),
            Named::Alias(number) => {
                let place = usize::from(number) - 1;
                // Taken out, so that its subject can be read while the session changes.
                let Some(mut alias) = self.aliases.get_mut(place).and_then(Option::take) else {
                    self.error(dispatch, "Unknown Alias");
                    return Err(Close::Protocol("PUB to a number that stands for no subject"));
                };
                let publish = to(&alias.subject);
                let handled = self.handle_publish(&publish, Some(&mut alias.known), dispatch);
                self.aliases[place] = Some(alias);
                handled
            }
        }
    }

    fn handle_numbers(
        &mut self,
        frame: ClientFrame<'_>,
        now: Tick,
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        use agentcom_protocol::ClientFrame as Line;
        match frame {
            ClientFrame::Publish(publish) => self.handle_named(&publish, dispatch),
            ClientFrame::Subscribe { sid, queue, filter } => {
                let sid = Decimal::new(u64::from(sid));
                let line = Line::Subscribe { filter, queue, sid: sid.as_bytes() };
                self.handle_other(line, now, dispatch)
            }
            ClientFrame::Unsubscribe { sid, max } => {
                let sid = Decimal::new(u64::from(sid));
                self.handle_other(Line::Unsubscribe { sid: sid.as_bytes(), max }, now, dispatch)
            }
            ClientFrame::Alias { number, subject } => self.handle_alias(number, subject, dispatch),
            ClientFrame::Connect(json) => self.handle_other(Line::Connect(json), now, dispatch),
            ClientFrame::Ping => self.handle_other(Line::Ping, now, dispatch),
            ClientFrame::Pong => self.handle_other(Line::Pong, now, dispatch),
            ClientFrame::Request(request) => {
                let tag = request.tag.to_string();
                self.handle_other(Line::Request(request.with_tag(&tag)), now, dispatch)
            }
            ClientFrame::Mistyped { tag, mistake } => {
                let tag = tag.to_string();
                self.handle_other(Line::Mistyped { tag: &tag, mistake }, now, dispatch)
            }
        }
    }

    fn handle_alias(
        &mut self,
        number: u16,
        subject: &[u8],
        dispatch: &mut Dispatch,
    ) -> Result<(), Close> {
        if usize::from(number) != self.aliases.len() + 1 {
            self.error(dispatch, "Invalid Alias");
            return Err(Close::Protocol("ALIAS with a number that is not the next one"));
        }
        if self.aliases.len() >= self.context.aliases_max {
            self.error(dispatch, "maximum aliases exceeded");
            return Err(Close::Protocol("more than aliases_max aliases"));
        }
        let subject: Arc<[u8]> = subject.into();
        if !self.outlet.add_alias(Arc::clone(&subject), number) {
            self.reject_for_memory(dispatch);
            return Err(Close::Memory);
        }
        if !self.subscriptions.is_empty() {
            self.context.router.forget(&subject);
        }
        self.aliases.push(Some(Alias { subject, known: Known::default() }));
        Ok(())
    }

    /// The client is somebody else from now on, and may want other things.
    pub(super) fn forget_permissions(&mut self) {
        self.verdicts.clear();
        for alias in self.aliases.iter_mut().flatten() {
            alias.known.is_open = false;
        }
    }

    /// Tell the client what `word` says in lines, in its framing.
    pub(super) fn tell(&self, dispatch: &mut Dispatch, word: impl FnOnce(&mut Vec<u8>)) {
        self.outlet.framing().worded(dispatch.buffer(&self.outlet), word);
    }

    pub(super) fn decline(&self, dispatch: &mut Dispatch, tag: &str, code: &str, sentence: &str) {
        self.tell(dispatch, |out| encode::declined(out, tag, code, sentence));
    }
}
