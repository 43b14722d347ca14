//! The document as bytes: little-endian, a tag first, so that a reader of another version says so instead of guessing.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{LIST, NOBODY, PlacedPod, Placement};
use crate::slot::SLOTS;

const TAG: [u8; 4] = *b"TPL1";

/// Why bytes are not a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first four bytes say something else.
    #[error("not a placement document, or one of a later version: upgrade this Pod")]
    Tag,
    /// It ends early, goes on too long, or names Pods that its table does not hold.
    #[error("a placement document of the wrong length or with indices outside its table")]
    Shape,
    /// A name is not UTF-8.
    #[error("a placement document with a name that is not UTF-8")]
    Text,
}

impl Placement {
    /// As bytes: about 24 KiB of lists and the table of Pods.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.lists.len() * 2 * LIST + self.pods.len() * 48);
        out.put_slice(&TAG);
        out.put_u64_le(self.version);
        out.put_u64_le(self.leader_epoch);
        put_texts(&mut out, self.blocked.iter());
        put_texts(&mut out, self.pods.iter().flat_map(|pod| [&pod.pod, &pod.revision]));
        for place in self.lists.iter().flatten() {
            out.put_u16_le(*place);
        }
        out.freeze()
    }

    /// Reads what [`Placement::encode`] wrote.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let tag = bytes.split_off(..TAG.len()).ok_or(DecodeError::Tag)?;
        if tag != TAG {
            return Err(DecodeError::Tag);
        }
        let version = bytes.try_get_u64_le().map_err(|_| DecodeError::Shape)?;
        let leader_epoch = bytes.try_get_u64_le().map_err(|_| DecodeError::Shape)?;
        let blocked: BTreeSet<_> = texts(&mut bytes)?.into_iter().collect();
        let pods = pods(texts(&mut bytes)?)?;
        if bytes.len() != usize::from(SLOTS) * 2 * LIST {
            return Err(DecodeError::Shape);
        }
        let mut lists = Vec::with_capacity(usize::from(SLOTS));
        while bytes.has_remaining() {
            let mut list = [NOBODY; LIST];
            for place in &mut list {
                *place = bytes.try_get_u16_le().map_err(|_| DecodeError::Shape)?;
                if *place != NOBODY && usize::from(*place) >= pods.len() {
                    return Err(DecodeError::Shape);
                }
            }
            lists.push(list);
        }
        Ok(Self { version, leader_epoch, blocked, pods, lists })
    }
}

fn pods(texts: Vec<Arc<str>>) -> Result<Vec<PlacedPod>, DecodeError> {
    let mut pods = Vec::with_capacity(texts.len() / 2);
    let mut texts = texts.into_iter();
    while let Some(pod) = texts.next() {
        pods.push(PlacedPod { pod, revision: texts.next().ok_or(DecodeError::Shape)? });
    }
    if pods.len() >= usize::from(NOBODY) { Err(DecodeError::Shape) } else { Ok(pods) }
}

/// A count of four bytes, then each text after its length of two. Names are far shorter; a longer one is cut short.
fn put_texts<'a>(out: &mut BytesMut, texts: impl Iterator<Item = &'a Arc<str>> + Clone) {
    out.put_u32_le(u32::try_from(texts.clone().count()).unwrap_or(u32::MAX));
    for text in texts {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        out.put_u16_le(length);
        out.put_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
    }
}

fn texts(bytes: &mut &[u8]) -> Result<Vec<Arc<str>>, DecodeError> {
    let count = bytes.try_get_u32_le().map_err(|_| DecodeError::Shape)?;
    // Each text takes two bytes at least: a count from a stranger reserves no more than the bytes can hold.
    let mut texts = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(bytes.len() / 2));
    for _ in 0..count {
        let length = bytes.try_get_u16_le().map_err(|_| DecodeError::Shape)?;
        let text = bytes.split_off(..usize::from(length)).ok_or(DecodeError::Shape)?;
        texts.push(std::str::from_utf8(text).map_err(|_| DecodeError::Text)?.into());
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;
    use proptest::prelude::*;

    fn sample(pods: usize) -> Placement {
        let pods = (0..pods).map(|i| PlacedPod { pod: format!("live-chatroom-r7-{i}").into(), revision: "r7".into() });
        let mut placement = Placement::over(pods.collect()).unwrap();
        placement.version = 12;
        placement.leader_epoch = 3;
        placement.blocked.insert("r6".into());
        let n = placement.pods().len();
        for slot in Slot::all() {
            placement.set(slot, (0..LIST.min(n)).map(|i| (slot.index() + i) % n));
        }
        placement
    }

    #[test]
    fn what_was_written_is_read() {
        for pods in [0, 1, 2, 3, 20] {
            let placement = sample(pods);
            assert_eq!(Placement::decode(&placement.encode()), Ok(placement));
        }
    }

    #[test]
    fn a_document_is_about_24_kib() {
        assert!(sample(20).encode().len() < 26 * 1024);
    }

    #[test]
    fn other_bytes_are_refused_with_a_reason() {
        assert_eq!(Placement::decode(b"TPL9rest"), Err(DecodeError::Tag));
        assert_eq!(Placement::decode(b"TP"), Err(DecodeError::Tag));
        let bytes = sample(2).encode();
        assert_eq!(Placement::decode(&bytes[..bytes.len() - 1]), Err(DecodeError::Shape));
        let mut outside = bytes.to_vec();
        *outside.last_mut().unwrap() = 0;
        assert_eq!(Placement::decode(&outside), Err(DecodeError::Shape));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = TAG.to_vec();
            bytes.extend(tail);
            let _ = Placement::decode(&bytes);
        }
    }
}
