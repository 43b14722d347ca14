//! Pulls of what no ring holds any more: the room's owner reads them in the stored log.
//!
//! One question of a kind is on its way at a time, whoever waits for it. The owner may not answer at all: a reader's own
//! deadline gives it what the ring has.

use super::effect::{Downstream, Effect, LogPage, LogRange, Read, Upstream};
use super::packed::Codec;
use super::read::{Page, ReadError};
use super::ring::Ring;
use super::room::{Ctx, Pending, Room, Up};
use crate::{Epoch, Lane};

/// Questions of one room that its owner is asked at a time.
const MAX_ASKED: usize = 64;

impl Room {
    /// Asks the owner's log for what a pull lacks; true: the answer is worth waiting for.
    pub(crate) fn ask_log<C>(
        &mut self,
        range: LogRange,
        found: &Result<Page, ReadError>,
        ctx: &mut Ctx<'_, C>,
    ) -> bool {
        let lacks = match found {
            Ok(page) => !page.content.gaps.is_empty(),
            Err(error) => *error == ReadError::UnknownEpoch,
        };
        let Up::Live(link) = self.up else { return false };
        // Lane 3 is never stored.
        if !lacks || range.lane == Lane::Low {
            return false;
        }
        if self.logs.iter().any(|(asked, until)| *asked == range && *until > ctx.now) {
            return true;
        }
        self.logs.retain(|(_, until)| *until > ctx.now);
        if self.logs.len() >= MAX_ASKED {
            return false;
        }
        self.logs.push((range, ctx.now + ctx.options.read_ms));
        ctx.out.push(Effect::Up(link, Upstream::ReadLog(self.id.clone(), range)));
        true
    }

    /// The owner has read its log.
    pub(crate) fn log_read<C: Codec>(&mut self, range: LogRange, logged: &LogPage, ctx: &mut Ctx<'_, C>) {
        self.logs.retain(|(asked, _)| *asked != range);
        let Some(ring) = &self.ring else { return };
        let head = ring.head().epoch;
        let (here, others): (Vec<Pending>, Vec<Pending>) = std::mem::take(&mut self.reads)
            .into_iter()
            .partition(|pending| range_of(&pending.read, head) == Some(range));
        self.reads = others;
        let answer = ring.pull_with(range, logged, ctx.codec);
        for Pending { gateway, read, .. } in here {
            if let Read::Pull { request, .. } = read {
                ctx.down(gateway, Downstream::Pulled { request, answer: answer.clone() });
            }
        }
    }
}

/// What a pull asks of the log when the room's epoch is `head`.
pub(crate) fn range_of(read: &Read, head: Epoch) -> Option<LogRange> {
    let Read::Pull { epoch, lane, after, limit, .. } = *read else { return None };
    let epoch = if epoch == Epoch::NONE { head } else { epoch };
    Some(LogRange { epoch, lane, after, limit: limit.clamp(1, super::read::MAX_MESSAGES) })
}

impl Ring {
    /// What [`Ring::pull`] answers, with what the log has of it. A message that was deleted is in neither.
    pub(crate) fn pull_with<C: Codec>(&self, range: LogRange, logged: &LogPage, codec: &C) -> Result<Page, ReadError> {
        let LogRange { epoch, lane, after, limit } = range;
        let mut page = match self.pull(epoch, lane, after, limit, codec) {
            Err(ReadError::UnknownEpoch) if logged.last > 0 => Page { epoch, ..Page::default() },
            found => found?,
        };
        let known = page.content.gaps.last().map_or(0, |gap| gap.to);
        let mut bound = known.max(logged.last).max(page.content.messages.last().map_or(0, |message| message.seq));
        let messages = &mut page.content.messages;
        messages.extend(logged.messages.iter().filter(|message| message.lane == lane && message.seq > after).cloned());
        messages.sort_by_key(|message| message.seq);
        messages.dedup_by_key(|message| message.seq);
        let mut bytes = 0;
        let fits = messages.iter().take(limit).take_while(|message| {
            bytes += message.weight();
            bytes <= super::read::MAX_BYTES
        });
        let fits = fits.count().max(1);
        if messages.len() >= limit || messages.len() > fits {
            messages.truncate(fits);
            bound = messages.last().map_or(bound, |message| message.seq);
        }
        page.content.gaps = holes(epoch, lane, after, bound, messages.iter().map(|message| message.seq));
        Ok(page)
    }
}

/// The numbers behind `after` and up to `bound` that are not among `numbers`, which grow.
fn holes(epoch: Epoch, lane: Lane, after: u64, bound: u64, numbers: impl Iterator<Item = u64>) -> Vec<crate::Gap> {
    let mut next = after + 1;
    let mut gaps = Vec::new();
    for number in numbers.chain([bound + 1]) {
        if number > next {
            gaps.push(crate::Gap { epoch, lane, from: next, to: number - 1 });
        }
        next = next.max(number + 1);
    }
    gaps
}
