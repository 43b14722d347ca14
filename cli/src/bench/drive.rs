//! The loops of every scenario: opening connections at a pace, running for a while, waiting for quiet.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use anyhow::bail;

use super::clock::now_us;
use super::conn::ConnId;
use super::fleet::Fleet;
use super::notes::{Closing, Note};
use super::progress::Progress;
use super::publisher::Publisher;

/// Longest wait for events, so that what is due is sent on time.
pub(super) const TURN: Duration = Duration::from_millis(1);
/// Tries for one connection before the bench gives up.
const TRIES: u32 = 5;
/// Wait before another try, if the server names none.
const RETRY_US: u64 = 200_000;

/// How connections are opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Connections opened a second, at most.
    pub(super) per_s: u32,
    /// Connections under way at once, at most.
    pub(super) in_flight: usize,
    /// All must be ready by then.
    pub(super) deadline: Duration,
}

/// Opens `ids` and waits until all are ready. Refused ones are tried again, as the server asks.
pub(super) fn connect(fleet: &mut Fleet, ids: Range<ConnId>, pace: Pace, progress: &Progress) -> anyhow::Result<()> {
    let begun_us = now_us();
    let deadline_us = begun_us + micros(pace.deadline);
    let wanted = ids.len();
    let mut fresh = ids;
    let mut again: VecDeque<(u64, ConnId)> = VecDeque::new();
    let mut tries: Vec<u32> = vec![0; fleet.conns().len()];
    let (mut ready, mut under_way, mut opened) = (0, 0, 0u64);
    let mut last_failure: Option<Closing> = None;
    while ready < wanted {
        let now = now_us();
        if now > deadline_us {
            let why = last_failure.map_or_else(|| "no answer".to_owned(), |closing| closing.to_string());
            bail!("only {ready} of {wanted} connections were ready after {:?}; last failure: {why}", pace.deadline);
        }
        let allowed = (now - begun_us) * u64::from(pace.per_s) / 1_000_000 + 1;
        while opened < allowed && under_way < pace.in_flight {
            let retry = again.front().filter(|(due, _)| *due <= now).map(|(_, id)| *id);
            if retry.is_some() {
                again.pop_front();
            }
            let Some(id) = retry.or_else(|| fresh.next()) else { break };
            fleet.open(id)?;
            under_way += 1;
            opened += 1;
        }
        fleet.turn(TURN)?;
        for note in fleet.take_notes() {
            match note {
                Note::Ready => {
                    ready += 1;
                    under_way -= 1;
                }
                Note::Closed { conn, closing } => {
                    under_way = under_way.saturating_sub(1);
                    let failed = tries.get_mut(conn).map_or(TRIES, |tries| {
                        *tries += 1;
                        *tries
                    });
                    if failed >= TRIES {
                        bail!("connection {conn} failed {TRIES} times: {closing}");
                    }
                    again.push_back((now + closing.retry_ms().map_or(RETRY_US, |ms| ms * 1000), conn));
                    last_failure = Some(closing);
                }
                _ => {}
            }
        }
        progress.at(ready as u64, wanted as u64);
    }
    Ok(())
}

/// Runs until `end_us`: publishes what is due, handles what comes.
pub(super) fn run(
    fleet: &mut Fleet,
    publisher: &mut Publisher,
    end_us: u64,
    progress: &Progress,
) -> anyhow::Result<()> {
    let begun_us = now_us();
    loop {
        let now = now_us();
        if now >= end_us {
            return Ok(());
        }
        publisher.pump(fleet, now);
        fleet.turn(TURN)?;
        for note in fleet.take_notes() {
            publisher.note(&note, &mut fleet.shared);
        }
        progress.at((now - begun_us) / 1_000_000, (end_us - begun_us) / 1_000_000);
    }
}

/// Runs until `done`, or until nothing more came for `quiet`, at most for `most`.
pub(super) fn settle(
    fleet: &mut Fleet,
    publisher: &mut Publisher,
    quiet: Duration,
    most: Duration,
    done: impl Fn(&Fleet, &Publisher) -> bool,
) -> anyhow::Result<()> {
    let begun_us = now_us();
    let (mut received, mut changed_us) = (fleet.shared.stats.received, begun_us);
    loop {
        let now = now_us();
        if fleet.shared.stats.received != received {
            (received, changed_us) = (fleet.shared.stats.received, now);
        }
        if done(fleet, publisher) || now - changed_us > micros(quiet) || now - begun_us > micros(most) {
            return Ok(());
        }
        publisher.pump(fleet, now);
        fleet.turn(TURN)?;
        for note in fleet.take_notes() {
            publisher.note(&note, &mut fleet.shared);
        }
    }
}

/// A span in microseconds.
pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
