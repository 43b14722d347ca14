//! What a new owner reads. Plain commands: nothing is written, so nothing has to be fenced; the reader has raised the fence
//! before, and nobody else writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use redis::{Cmd, Value, cmd};
use throng_core::{Epoch, Lane, Message, Millis, RoomId, Seqs, Slot, UserId};

use super::{RedisStore, reply, text};
use crate::StoreError;
use crate::image::{MemberCursor, MemberPage, RoomImage, StoredRoom};
use crate::write::{List, Member};
use crate::{LogPage, LogRange};

/// Fields a step of a scan: a few milliseconds of Redis's time at most.
const SCAN_COUNT: u32 = 5_000;

/// The fields of a step, and where the next one begins; 0: there is none.
type Step = (Vec<(String, Vec<u8>)>, u64);

impl RedisStore {
    pub(super) async fn load_rooms(&self, slot: Slot) -> Result<Vec<StoredRoom>, StoreError> {
        let mut rooms = BTreeMap::new();
        let mut position = 0;
        loop {
            let (fields, next) = self.scan(&self.names.rooms(slot), position).await?;
            for (room, meta) in fields {
                match RoomId::new(&room) {
                    Ok(room) => {
                        rooms.insert(room, Bytes::from(meta));
                    }
                    Err(_) => skipped("room"),
                }
            }
            position = next;
            if position == 0 {
                return Ok(rooms.into_iter().map(|(room, meta)| StoredRoom { room, meta }).collect());
            }
        }
    }

    pub(super) async fn load_room(&self, room: &RoomId, tail: usize) -> Result<Option<RoomImage>, StoreError> {
        let slot = Slot::of(room.as_str());
        let commands = [
            with(cmd("HGET"), &[&self.names.rooms(slot), room.as_str()]),
            with(cmd("HGETALL"), &[&self.names.sealed(slot, room)]),
            with(cmd("HGETALL"), &[&self.names.ends(slot, room)]),
            with(cmd("ZRANGE"), &[&self.names.remembered(slot, room), "0", "-1", "WITHSCORES"]),
            scan_command(&self.names.lists(slot, room), 0),
        ];
        let mut replies = self.bulk.in_order(self.options.load_ms, &commands).await?.into_iter();
        let meta = match reply::next(&mut replies)? {
            Value::Nil => return Ok(None),
            meta => Bytes::from(reply::bytes(meta)?),
        };
        let mut image = RoomImage { meta, ..RoomImage::default() };
        for (epoch, value) in reply::pairs(reply::next(&mut replies)?)? {
            keep(text::parse_sealed(&epoch, &value), "seal", |sealed| image.sealed.push(sealed));
        }
        image.sealed.sort_by_key(|sealed| sealed.epoch);
        image.ends = ends(reply::pairs(reply::next(&mut replies)?)?);
        for (value, until) in reply::pairs(reply::next(&mut replies)?)? {
            let until_ms = super::command::millis(&until);
            let remembered = until_ms.and_then(|until_ms| text::parse_remembered(&value, until_ms));
            keep(remembered, "key of a publish", |remembered| image.remembered.push(remembered));
        }
        image.lists = self.load_lists(slot, room, reply::next(&mut replies)?).await?;
        image.tail = self.load_tail(slot, room, &image.ends, tail).await?;
        Ok(Some(image))
    }

    /// Reads the lists to their end. Nearly always that is in the first step of the scan.
    async fn load_lists(
        &self,
        slot: Slot,
        room: &RoomId,
        first: Value,
    ) -> Result<BTreeMap<(List, UserId), Millis>, StoreError> {
        let mut lists = BTreeMap::new();
        let (mut fields, mut position) = scanned(first)?;
        loop {
            for (entry, until) in fields {
                let until_ms = String::from_utf8(until).ok().and_then(|until| super::command::millis(&until));
                keep(text::parse_entry(&entry).zip(until_ms), "list entry", |(entry, until_ms)| {
                    lists.insert(entry, until_ms);
                });
            }
            if position == 0 {
                return Ok(lists);
            }
            (fields, position) = self.scan(&self.names.lists(slot, room), position).await?;
        }
    }

    async fn load_tail(
        &self,
        slot: Slot,
        room: &RoomId,
        ends: &BTreeMap<Epoch, Seqs>,
        tail: usize,
    ) -> Result<Vec<(Epoch, Message)>, StoreError> {
        let streams: Vec<(Epoch, Lane)> = ends
            .iter()
            .flat_map(|(epoch, seqs)| Lane::ALL.map(|lane| (*epoch, lane, seqs[lane])))
            .filter(|(_, lane, last)| *last > 0 && self.options.limits.keep_ms(*lane).is_some())
            .map(|(epoch, lane, _)| (epoch, lane))
            .collect();
        if tail == 0 || streams.is_empty() {
            return Ok(Vec::new());
        }
        let commands: Vec<Cmd> = streams
            .iter()
            .map(|(epoch, lane)| {
                let log = self.names.log_prefix(slot, room) + &text::stream(*epoch, *lane);
                with(cmd("XREVRANGE"), &[&log, "+", "-", "COUNT", &tail.to_string()])
            })
            .collect();
        let replies = self.bulk.in_order(self.options.load_ms, &commands).await?;
        let mut messages = Vec::new();
        for ((epoch, lane), reply) in streams.into_iter().zip(replies) {
            let newest_first = messages_of(lane, reply)?;
            messages.extend(newest_first.into_iter().rev().map(|message| (epoch, message)));
        }
        Ok(messages)
    }

    pub(super) async fn load_log(&self, room: &RoomId, range: LogRange) -> Result<LogPage, StoreError> {
        let slot = Slot::of(room.as_str());
        let stream = text::stream(range.epoch, range.lane);
        let log = self.names.log_prefix(slot, room) + &stream;
        let after = format!("({}-0", range.after);
        let commands = [
            with(cmd("HGET"), &[&self.names.ends(slot, room), &stream]),
            with(cmd("XRANGE"), &[&log, &after, "+", "COUNT", &range.limit.to_string()]),
        ];
        let mut replies = self.bulk.in_order(self.options.load_ms, &commands).await?.into_iter();
        let last = reply::number(reply::next(&mut replies)?)?;
        Ok(LogPage { last, messages: messages_of(range.lane, reply::next(&mut replies)?)? })
    }

    pub(super) async fn load_members(&self, room: &RoomId, from: MemberCursor) -> Result<MemberPage, StoreError> {
        let (fields, position) = self.scan(&self.names.members(room, from.shard), from.position).await?;
        let mut members: Vec<Member> = Vec::with_capacity(fields.len());
        for (session, value) in fields {
            let member = String::from_utf8(value).ok().and_then(|value| text::parse_member(&session, &value));
            keep(member, "member", |member| members.push(member));
        }
        let next = (position != 0).then_some(MemberCursor { shard: from.shard, position });
        Ok(MemberPage { members, next })
    }

    /// One step through a hash.
    async fn scan(&self, key: &str, position: u64) -> Result<Step, StoreError> {
        scanned(self.bulk.one(self.options.load_ms, &scan_command(key, position)).await?)
    }
}

fn scan_command(key: &str, position: u64) -> Cmd {
    with(cmd("HSCAN"), &[key, &position.to_string(), "COUNT", &SCAN_COUNT.to_string()])
}

fn scanned(reply: Value) -> Result<Step, StoreError> {
    let mut reply = reply::array(reply)?.into_iter();
    let position = reply::number(reply::next(&mut reply)?)?;
    Ok((reply::byte_pairs(reply::next(&mut reply)?)?, position))
}

fn with(mut command: Cmd, args: &[&str]) -> Cmd {
    for arg in args {
        command.arg(*arg);
    }
    command
}

/// Uses a value that could be read, and says so when one could not.
fn keep<T>(value: Option<T>, what: &str, with: impl FnOnce(T)) {
    match value {
        Some(value) => with(value),
        None => skipped(what),
    }
}

fn skipped(what: &str) {
    tracing::warn!(target: "throng::store", "a {what} in Redis does not read and was skipped");
}

fn ends(fields: Vec<(String, String)>) -> BTreeMap<Epoch, Seqs> {
    let mut ends: BTreeMap<Epoch, Seqs> = BTreeMap::new();
    for (field, value) in fields {
        // Fields that end in `:w` are weights.
        if let (Some((epoch, lane)), Ok(seq)) = (text::parse_stream(&field), value.parse()) {
            ends.entry(epoch).or_default()[lane] = seq;
        }
    }
    ends
}

fn messages_of(lane: Lane, entries: Value) -> Result<Vec<Message>, StoreError> {
    let mut messages = Vec::new();
    for entry in reply::array(entries)? {
        let mut entry = reply::array(entry)?.into_iter();
        let id = reply::text(reply::next(&mut entry)?)?;
        let fields = reply::byte_pairs(reply::next(&mut entry)?)?;
        keep(message(lane, &id, fields), "message", |message| messages.push(message));
    }
    Ok(messages)
}

fn message(lane: Lane, id: &str, fields: Vec<(String, Vec<u8>)>) -> Option<Message> {
    let seq = id.split_once('-')?.0.parse().ok()?;
    let (mut at_ms, mut from, mut kind, mut data) = (None, None, None, None);
    for (name, value) in fields {
        match name.as_str() {
            "t" => at_ms = super::command::millis(std::str::from_utf8(&value).ok()?),
            "f" => from = UserId::new(std::str::from_utf8(&value).ok()?).ok(),
            "k" => kind = Some(std::str::from_utf8(&value).ok()?.into()),
            "d" => data = Some(Bytes::from(value)),
            _ => {}
        }
    }
    Some(Message { lane, seq, from: from?, kind: kind?, data: data?, at_ms: at_ms? })
}
