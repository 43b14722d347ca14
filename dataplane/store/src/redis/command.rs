//! A batch of one tag as the keys and arguments of one call of `functions.lua`.

use std::collections::HashMap;

use bytes::Bytes;
use throng_core::{Epoch, Lane, Millis, RoomId, Slot};

use super::names::Names;
use super::text;
use crate::limits::LogLimits;
use crate::write::{Tag, Write};

/// Most keys of publishes that a room remembers.
const MAX_REMEMBERED: &str = "20000";
/// How long writers of smaller epochs are still refused at a shard that was cleared: an hour is far beyond any call.
const CLEARED_FENCE_MS: &str = "3600000";

/// One call of a function.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// All keys, each once; the first decides the node.
    pub(super) keys: Vec<String>,
    /// All arguments.
    pub(super) args: Vec<Bytes>,
}

/// The call of `write` for a tag, with the number of the call within the epoch.
pub(super) fn write_call<'a>(
    names: &Names,
    tag: &Tag,
    epoch: Epoch,
    number: u64,
    writes: impl IntoIterator<Item = &'a Write>,
    limits: &LogLimits,
) -> Call {
    let head =
        [epoch.0, number, limits.lossless_keep_ms, limits.lossless_bytes, limits.sampled_keep_ms, limits.sampled_bytes];
    let mut encoder = Encoder { names, limits, keys: Vec::new(), places: HashMap::new(), args: Vec::new() };
    let _ = encoder.place(names.write_fence(tag));
    encoder.args.extend(head.map(|number| Bytes::from(number.to_string())));
    for write in writes {
        encoder.write(write, Slot::of(write.room().as_str()));
    }
    Call { keys: encoder.keys, args: encoder.args }
}

struct Encoder<'a> {
    names: &'a Names,
    limits: &'a LogLimits,
    keys: Vec<String>,
    places: HashMap<String, usize>,
    args: Vec<Bytes>,
}

impl Encoder<'_> {
    /// The place of a key among the keys, counted from one as Lua does.
    fn place(&mut self, key: String) -> usize {
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        self.keys.push(key.clone());
        self.places.insert(key, self.keys.len());
        self.keys.len()
    }

    fn command<const K: usize, const A: usize>(&mut self, name: &'static str, keys: [String; K], args: [Bytes; A]) {
        self.args.push(Bytes::from_static(name.as_bytes()));
        for key in keys {
            let place = self.place(key);
            self.args.push(Bytes::from(place.to_string()));
        }
        self.args.extend(args);
    }

    fn write(&mut self, write: &Write, slot: Slot) {
        let names = self.names;
        match write {
            Write::PutRoom { room, meta } => {
                self.command("put_room", [names.rooms(slot)], [id(room), meta.clone()]);
            }
            Write::DeleteRoom { room } => {
                let keys = [
                    names.rooms(slot),
                    names.lists(slot, room),
                    names.sealed(slot, room),
                    names.ends(slot, room),
                    names.remembered(slot, room),
                    names.log_prefix(slot, room),
                ];
                self.command("delete_room", keys, [id(room)]);
            }
            Write::SetEntry { room, list, user, until_ms } => {
                let args = [id(room), text::entry(*list, user).into(), until_ms.0.to_string().into()];
                self.command("set_entry", [names.rooms(slot), names.lists(slot, room)], args);
            }
            Write::RemoveEntry { room, list, user } => {
                self.command("remove_entry", [names.lists(slot, room)], [text::entry(*list, user).into()]);
            }
            Write::Append { .. } | Write::End { .. } | Write::DeleteMessage { .. } => self.log_write(write, slot),
            Write::Seal { room, sealed } => {
                let args = [id(room), sealed.epoch.0.to_string().into(), text::sealed(sealed).into()];
                self.command("seal", [names.rooms(slot), names.sealed(slot, room)], args);
            }
            Write::ForgetEpochs { room, before } => {
                let keys = [names.sealed(slot, room), names.ends(slot, room), names.log_prefix(slot, room)];
                self.command("forget", keys, [before.0.to_string().into()]);
            }
            Write::Remember { room, remembered, at_ms } => {
                let args = [
                    id(room),
                    remembered.until_ms.0.to_string().into(),
                    text::remembered(remembered).into(),
                    at_ms.0.to_string().into(),
                    remembered.until_ms.since(*at_ms).max(1).to_string().into(),
                    Bytes::from_static(MAX_REMEMBERED.as_bytes()),
                ];
                self.command("remember", [names.rooms(slot), names.remembered(slot, room)], args);
            }
            Write::SetMember { room, shard, member } => {
                let args = [text::session(member.session).into(), text::member(member).into()];
                self.command("set_member", [names.members(room, *shard)], args);
            }
            Write::RemoveMember { room, shard, session } => {
                self.command("remove_member", [names.members(room, *shard)], [text::session(*session).into()]);
            }
            Write::ClearMembers { room, shard } => {
                let args = [Bytes::from_static(CLEARED_FENCE_MS.as_bytes())];
                self.command("clear_members", [names.members(room, *shard)], args);
            }
        }
    }

    fn log_write(&mut self, write: &Write, slot: Slot) {
        let names = self.names;
        match write {
            Write::Append { room, epoch, message } => match self.limits.keep_ms(message.lane) {
                Some(keep_ms) => {
                    let keys = [names.rooms(slot), names.ends(slot, room), names.log_prefix(slot, room)];
                    let args = [
                        id(room),
                        text::stream(*epoch, message.lane).into(),
                        message.seq.to_string().into(),
                        message.at_ms.0.to_string().into(),
                        Bytes::copy_from_slice(message.from.as_str().as_bytes()),
                        Bytes::copy_from_slice(message.kind.as_bytes()),
                        message.data.clone(),
                        keep_ms.to_string().into(),
                    ];
                    self.command("append", keys, args);
                }
                None => self.end(room, slot, *epoch, message.lane, message.seq),
            },
            Write::End { room, epoch, lane, seq } => self.end(room, slot, *epoch, *lane, *seq),
            Write::DeleteMessage { room, stamp } => {
                let args = [text::stream(stamp.epoch, stamp.lane).into(), stamp.seq.to_string().into()];
                self.command("delete_message", [names.ends(slot, room), names.log_prefix(slot, room)], args);
            }
            _ => {}
        }
    }

    fn end(&mut self, room: &RoomId, slot: Slot, epoch: Epoch, lane: Lane, seq: u64) {
        let args = [id(room), text::stream(epoch, lane).into(), seq.to_string().into()];
        self.command("end", [self.names.rooms(slot), self.names.ends(slot, room)], args);
    }
}

fn id(room: &RoomId) -> Bytes {
    Bytes::copy_from_slice(room.as_str().as_bytes())
}

/// The name of a function as it was loaded: with a hash of the library's text.
pub(super) fn function(name: &str) -> String {
    format!("throng_{}_{name}", library().0)
}

/// Version and text of the library.
pub(super) fn library() -> &'static (String, String) {
    static LIBRARY: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = include_str!("functions.lua");
        let version = format!("{:08x}", xxhash_rust::xxh3::xxh3_64(source.as_bytes()) >> 32);
        let text = source.replace("throng_VERSION", &format!("throng_{version}"));
        (version, text)
    })
}

/// Unix time of a text.
pub(super) fn millis(text: &str) -> Option<Millis> {
    text.parse().ok().map(Millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::List;
    use throng_core::UserId;

    fn text_of(call: &Call) -> Vec<&str> {
        call.args.iter().map(|arg| std::str::from_utf8(arg).unwrap()).collect()
    }

    #[test]
    fn a_batch_names_each_key_once_and_refers_to_it_by_place() {
        let (room, ana) = (RoomId::new("final").unwrap(), UserId::new("ana").unwrap());
        let writes = [
            Write::PutRoom { room: room.clone(), meta: Bytes::from_static(b"{}") },
            Write::SetEntry { room: room.clone(), list: List::Mute, user: ana.clone(), until_ms: Millis(9) },
            Write::RemoveEntry { room, list: List::Mute, user: ana },
        ];
        let names = Names::new("n", "c").unwrap();
        let tag = Tag::Slot(Slot::of("final"));
        let call = write_call(&names, &tag, Epoch(7), 3, &writes, &LogLimits::default());
        assert_eq!(call.keys, ["n/c/{r:1764}:fence", "n/c/{r:1764}:rooms", "n/c/{r:1764}:lists:final"]);
        assert_eq!(text_of(&call)[..2], ["7", "3"]);
        assert_eq!(
            text_of(&call)[6..],
            [
                "put_room",
                "2",
                "final",
                "{}",
                "set_entry",
                "2",
                "3",
                "final",
                "mute/ana",
                "9",
                "remove_entry",
                "3",
                "mute/ana"
            ]
        );
    }

    #[test]
    fn the_library_is_named_by_its_text() {
        let (version, text) = library();
        assert_eq!(version.len(), 8);
        assert!(text.starts_with(&format!("#!lua name=throng_{version}\n")));
        assert!(!text.contains("throng_VERSION"));
        assert_eq!(function("write"), format!("throng_{version}_write"));
    }
}
