//! A message that does not lie in one read: its pieces, kept until it is whole.

use crate::utf8::{Text, reserve_ahead};
use crate::{DecodeError, Event, Limits};

/// The message that a connection is in the middle of. Owned by its decoder; gone with the connection.
#[derive(Debug)]
pub(crate) struct Assembly {
    body: Body,
    /// Frames begun, the first one included.
    fragments: u32,
}

#[derive(Debug)]
enum Body {
    Text(Text),
    Binary(Vec<u8>),
}

impl Assembly {
    pub(crate) fn text() -> Self {
        Self { body: Body::Text(Text::default()), fragments: 1 }
    }

    pub(crate) fn binary() -> Self {
        Self { body: Body::Binary(Vec::new()), fragments: 1 }
    }

    /// A further frame of this message begins.
    pub(crate) fn begin_fragment(&mut self, limits: &Limits) -> Result<(), DecodeError> {
        self.fragments = self.fragments.saturating_add(1);
        if self.fragments > limits.fragments {
            return Err(DecodeError::TooManyFragments { limit: limits.fragments });
        }
        Ok(())
    }

    /// Takes unmasked payload; at most `may_follow_bytes` come after it.
    pub(crate) fn push(&mut self, payload: &[u8], may_follow_bytes: usize) -> Result<(), DecodeError> {
        match &mut self.body {
            Body::Text(text) => text.push(payload, may_follow_bytes),
            Body::Binary(bytes) => {
                bytes.reserve_exact(reserve_ahead(bytes.len(), bytes.capacity(), payload.len(), may_follow_bytes));
                bytes.extend_from_slice(payload);
                Ok(())
            }
        }
    }

    /// The message, once its last frame is whole.
    pub(crate) fn finish(&self) -> Result<Event<'_>, DecodeError> {
        match &self.body {
            Body::Text(text) => text.finish().map(Event::Text),
            Body::Binary(bytes) => Ok(Event::Binary(bytes)),
        }
    }

    /// Payload bytes taken so far.
    pub(crate) fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Binary(bytes) => bytes.len(),
        }
    }

    /// Heap held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.capacity(),
            Body::Binary(bytes) => bytes.capacity(),
        }
    }
}
