//! The loops of every scenario: waiting for connections, running for a while, waiting for quiet.

use std::ops::Range;
use std::time::Duration;

use super::clock::now_us;
use super::conn::ConnId;
use super::fleet::Fleet;
use super::opening::{Opening, Pace};
use super::progress::Progress;
use super::publisher::Publisher;

/// Longest wait for events, so that what is due is sent on time.
pub(super) const TURN: Duration = Duration::from_millis(1);
/// Opens `ids` and waits until all are ready.
pub(super) fn connect(fleet: &mut Fleet, ids: Range<ConnId>, pace: Pace, progress: &Progress) -> anyhow::Result<()> {
    let mut opening = Opening::new(ids, pace, now_us());
    while !opening.is_done() {
        let now = now_us();
        opening.pump(fleet, now)?;
        fleet.turn(TURN)?;
        for note in fleet.take_notes() {
            opening.note(&note, now)?;
        }
        progress.at(opening.ready.len() as u64, opening.wanted() as u64);
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
