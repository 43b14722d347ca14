//! Opening many connections at a pace, and again those that were refused.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use anyhow::bail;

use super::conn::ConnId;
use super::fleet::Fleet;
use super::notes::{Closing, Note, Opened};

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
    /// Tries for one connection before the bench gives up.
    pub(super) tries: u32,
}

/// Connections on their way to being ready.
#[derive(Debug)]
pub(super) struct Opening {
    pace: Pace,
    begun_us: u64,
    fresh: VecDeque<ConnId>,
    again: BTreeSet<(u64, ConnId)>,
    tries: BTreeMap<ConnId, u32>,
    opened: u64,
    under_way: HashSet<ConnId>,
    wanted: usize,
    /// How those that are ready came in, and when.
    pub(super) ready: Vec<(Opened, u64)>,
    last_failure: Option<Closing>,
}

impl Opening {
    /// Begins at `now_us` with these.
    pub(super) fn new(ids: impl IntoIterator<Item = ConnId>, pace: Pace, now_us: u64) -> Self {
        let fresh: VecDeque<ConnId> = ids.into_iter().collect();
        Self {
            pace,
            begun_us: now_us,
            wanted: fresh.len(),
            fresh,
            again: BTreeSet::new(),
            tries: BTreeMap::new(),
            opened: 0,
            under_way: HashSet::new(),
            ready: Vec::new(),
            last_failure: None,
        }
    }

    /// All are ready.
    pub(super) fn is_done(&self) -> bool {
        self.ready.len() >= self.wanted
    }

    /// Connections that are wanted.
    pub(super) const fn wanted(&self) -> usize {
        self.wanted
    }

    /// Opens what is due. An error if the deadline is over or one connection failed too often.
    pub(super) fn pump(&mut self, fleet: &mut Fleet, now_us: u64) -> anyhow::Result<()> {
        let (ready, wanted, deadline) = (self.ready.len(), self.wanted, self.pace.deadline);
        if !self.is_done() && now_us > self.begun_us + super::drive::micros(deadline) {
            let why = self.last_failure.as_ref().map_or_else(|| "no answer".to_owned(), Closing::to_string);
            bail!("only {ready} of {wanted} connections were ready after {deadline:?}; last failure: {why}");
        }
        let allowed = now_us.saturating_sub(self.begun_us) * u64::from(self.pace.per_s) / 1_000_000 + 1;
        while self.opened < allowed && self.under_way.len() < self.pace.in_flight {
            let retry = self.again.first().copied().filter(|(due_us, _)| *due_us <= now_us);
            if let Some(retry) = retry {
                self.again.remove(&retry);
            }
            let Some(id) = retry.map(|(_, id)| id).or_else(|| self.fresh.pop_front()) else { return Ok(()) };
            fleet.open(id)?;
            self.under_way.insert(id);
            self.opened += 1;
        }
        Ok(())
    }

    /// Takes note of what became of a connection. One that was open already and is cut off is wanted again.
    pub(super) fn note(&mut self, note: &Note, now_us: u64) -> anyhow::Result<()> {
        match note {
            Note::Ready { conn, how } => {
                self.ready.push((*how, now_us));
                self.under_way.remove(conn);
            }
            Note::Closed { conn, .. } if !self.under_way.remove(conn) => {
                self.wanted += 1;
                self.fresh.push_back(*conn);
            }
            Note::Closed { conn, closing } => {
                let tries = self.tries.entry(*conn).or_default();
                *tries += 1;
                if *tries >= self.pace.tries {
                    bail!("connection {conn} failed {tries} times: {closing}");
                }
                let due_us = now_us + closing.retry_ms().map_or(RETRY_US, |ms| ms * 1000);
                self.again.insert((due_us, *conn));
                self.last_failure = Some(closing.clone());
            }
            _ => {}
        }
        Ok(())
    }
}
