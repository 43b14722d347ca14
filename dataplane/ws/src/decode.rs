//! The stream of a client's frames, cut anywhere, as messages.
//!
//! A frame that lies whole in the read buffer is unmasked there and handed out from there. Only what is cut by the end of
//! a read, or belongs to a fragmented message, is copied; its box is freed as soon as the connection is idle again.

use crate::assembly::Assembly;
use crate::head::{self, Context, Head, Opcode};
use crate::{Close, DecodeError, Limits, mask};

/// Something whole that the client said. It borrows from the read buffer or the decoder and lives for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// An answer to a ping, or unasked; both are signs of life.
    Pong(&'a [u8]),
    /// The last event: the client closes, perhaps without a reason. Answer with a close frame and close.
    Close(Option<Close<'a>>),
}

/// Whether the sink of events wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// The connection is done for: drop all the rest, now and later.
    Stop,
}

/// What one call of [`Decoder::feed`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Fed {
    /// Frames begun in this input, control frames and fragments included: for the limit of frames a second. A fragment
    /// gives no event, but [`Limits::fragments`] bounds those, so that a sink can also count and stop within one call.
    pub frames: u32,
    /// False once the client closed or the sink stopped: no event will ever follow.
    pub open: bool,
}

/// The frame reader of one connection: 16 bytes while it is idle, and at most one message and one control frame else.
/// A restart loses it together with its socket.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    done: bool,
}

/// What is kept between reads while a head, a frame or a message is incomplete.
#[derive(Debug, Default)]
struct Partial {
    head: [u8; head::MAX_BYTES],
    head_len: usize,
    frame: Option<Frame>,
    message: Option<Assembly>,
    control: Vec<u8>,
}

/// A frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Head,
    /// Payload bytes that came before.
    taken: usize,
}

/// A piece of payload, unmasked.
struct Piece<'a> {
    frame: Frame,
    payload: &'a [u8],
}

impl Piece<'_> {
    fn is_last(&self) -> bool {
        self.rest_bytes() == 0
    }

    fn is_whole_frame(&self) -> bool {
        self.payload.len() == self.frame.head.len
    }

    fn rest_bytes(&self) -> usize {
        self.frame.head.len - self.frame.taken - self.payload.len()
    }
}

impl Decoder {
    /// Takes what was read from the socket, all of it, and tells `sink` each whole thing in it, in order.
    ///
    /// `input` is scratch: payloads are unmasked in place. After an error, a close or a [`Flow::Stop`] further input is
    /// ignored, so a caller may go on reading until the peer has closed too.
    ///
    /// # Errors
    /// The first rule that the client broke, at the first byte that shows it. Events before it were told.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        sink: &mut impl FnMut(Event<'_>) -> Flow,
    ) -> Result<Fed, DecodeError> {
        let mut input = input;
        let mut frames = 0;
        while !self.done && !input.is_empty() {
            let step = self.step(input, limits, &mut frames, sink);
            if !matches!(step, Ok((_, Flow::Continue))) {
                self.done = true;
                self.partial = None;
            }
            let (used, _) = step?;
            input = input.get_mut(used..).unwrap_or_default();
        }
        Ok(Fed { frames, open: !self.done })
    }

    /// Whether nothing is incomplete. One that stays otherwise for long is stalling, and the caller's deadline is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Heap held for this connection, in bytes: 0 while idle, else at most the limit of a message and a few hundred.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message_bytes = partial.message.as_ref().map_or(0, Assembly::capacity);
            size_of::<Partial>() + message_bytes + partial.control.capacity()
        })
    }

    /// Takes at most one frame from the front of `input`: how many bytes it used and whether to go on.
    fn step(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        frames: &mut u32,
        sink: &mut impl FnMut(Event<'_>) -> Flow,
    ) -> Result<(usize, Flow), DecodeError> {
        let begun = self.partial.as_mut().and_then(|partial| partial.frame.take());
        let (frame, head_bytes) = match begun {
            Some(frame) => (frame, 0),
            None => match self.read_head(input, limits)? {
                Some((head, size)) => {
                    *frames += 1;
                    self.begin(head, limits)?;
                    (Frame { head, taken: 0 }, size)
                }
                None => return Ok((input.len(), Flow::Continue)),
            },
        };
        let payload = input.get_mut(head_bytes..).unwrap_or_default();
        let size = payload.len().min(frame.head.len - frame.taken);
        let payload = payload.get_mut(..size).unwrap_or_default();
        mask::apply(payload, frame.head.mask, frame.taken);
        let flow = self.take(&Piece { frame, payload }, limits, sink)?;
        Ok((head_bytes + size, flow))
    }

    /// The next head, and how many bytes of `input` belong to it. When it is incomplete all of `input` is kept.
    fn read_head(&mut self, input: &[u8], limits: &Limits) -> Result<Option<(Head, usize)>, DecodeError> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let context = Context { open_message_bytes: message.map(Assembly::len), limit_bytes: limits.message_bytes };
        match &mut self.partial {
            Some(partial) if partial.head_len > 0 => {
                let kept = partial.head_len;
                let room = partial.head.get_mut(kept..).unwrap_or_default();
                let size = room.len().min(input.len());
                for (to, from) in room.iter_mut().zip(input) {
                    *to = *from;
                }
                partial.head_len = kept + size;
                let parsed = head::parse(partial.head.get(..kept + size).unwrap_or_default(), context)?;
                Ok(parsed.map(|(head, size)| {
                    partial.head_len = 0;
                    (head, size - kept)
                }))
            }
            _ => {
                let parsed = head::parse(input, context)?;
                if parsed.is_none() {
                    let partial = self.partial.get_or_insert_default();
                    for (to, from) in partial.head.iter_mut().zip(input) {
                        *to = *from;
                    }
                    partial.head_len = input.len();
                }
                Ok(parsed)
            }
        }
    }

    /// A frame begins: counts it, if it belongs to a message that is open.
    fn begin(&mut self, head: Head, limits: &Limits) -> Result<(), DecodeError> {
        match self.partial.as_mut().and_then(|partial| partial.message.as_mut()) {
            Some(message) if head.opcode == Opcode::Continuation => message.begin_fragment(limits),
            _ => Ok(()),
        }
    }

    /// Hands out what the piece completes and keeps the rest.
    fn take(
        &mut self,
        piece: &Piece<'_>,
        limits: &Limits,
        sink: &mut impl FnMut(Event<'_>) -> Flow,
    ) -> Result<Flow, DecodeError> {
        let head = piece.frame.head;
        let flow = if piece.payload.is_empty() && !piece.is_last() {
            // Only the head has come. With luck the next read holds the whole payload, which then needs no copy.
            self.partial.get_or_insert_default();
            Flow::Continue
        } else if head.opcode.is_control() {
            self.take_control(piece, sink)?
        } else if piece.is_whole_frame() && head.fin && head.opcode != Opcode::Continuation {
            sink(message_event(head.opcode, piece.payload)?)
        } else {
            self.take_data(piece, limits, sink)?
        };
        if let Some(partial) = &mut self.partial {
            if !piece.is_last() {
                partial.frame = Some(Frame { head, taken: piece.frame.taken + piece.payload.len() });
            } else if partial.message.is_none() {
                self.partial = None;
            }
        }
        Ok(flow)
    }

    fn take_control(
        &mut self,
        piece: &Piece<'_>,
        sink: &mut impl FnMut(Event<'_>) -> Flow,
    ) -> Result<Flow, DecodeError> {
        let opcode = piece.frame.head.opcode;
        if piece.is_whole_frame() {
            return tell_control(opcode, piece.payload, sink);
        }
        let partial = self.partial.get_or_insert_default();
        partial.control.reserve_exact(piece.payload.len() + piece.rest_bytes());
        partial.control.extend_from_slice(piece.payload);
        if !piece.is_last() {
            return Ok(Flow::Continue);
        }
        let payload = std::mem::take(&mut partial.control);
        tell_control(opcode, &payload, sink)
    }

    fn take_data(
        &mut self,
        piece: &Piece<'_>,
        limits: &Limits,
        sink: &mut impl FnMut(Event<'_>) -> Flow,
    ) -> Result<Flow, DecodeError> {
        let head = piece.frame.head;
        let partial = self.partial.get_or_insert_default();
        let message = partial.message.get_or_insert_with(|| match head.opcode {
            Opcode::Text => Assembly::text(),
            _ => Assembly::binary(),
        });
        let may_follow_bytes = if head.fin {
            piece.rest_bytes()
        } else {
            limits.message_bytes.saturating_sub(message.len() + piece.payload.len())
        };
        message.push(piece.payload, may_follow_bytes)?;
        if !(piece.is_last() && head.fin) {
            return Ok(Flow::Continue);
        }
        let flow = sink(message.finish()?);
        partial.message = None;
        Ok(flow)
    }
}

/// A message in a single frame that lies whole in the read buffer.
fn message_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, DecodeError> {
    if opcode == Opcode::Text {
        simdutf8::basic::from_utf8(payload).map(Event::Text).map_err(|_| DecodeError::BadUtf8)
    } else {
        Ok(Event::Binary(payload))
    }
}

fn tell_control(opcode: Opcode, payload: &[u8], sink: &mut impl FnMut(Event<'_>) -> Flow) -> Result<Flow, DecodeError> {
    match opcode {
        Opcode::Ping => Ok(sink(Event::Ping(payload))),
        Opcode::Pong => Ok(sink(Event::Pong(payload))),
        _ => {
            let _ = sink(Event::Close(Close::parse(payload)?));
            Ok(Flow::Stop)
        }
    }
}
