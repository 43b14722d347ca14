//! Bots: real clients over loopback that fill a room and talk, so that the page shows one that is alive.
//!
//! All of them live on one thread. They come once the cluster is ready, come back when a gateway dies, and end with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use throng_gateway::options::Limits;

use super::args::DevArgs;
use super::talk;
use crate::bench::crowd::{Crowd, Plan};
use crate::bench::recent::Lately;
use crate::roles::Config;
use crate::token;

/// Where bots are, and the two people of the page.
pub(crate) const LOBBY: &str = "lobby";
/// Bots that come in a second.
const COME_PER_S: u32 = 1_000;
/// Longest wait between two looks at the clock: what is due in between is said together.
const TURN: Duration = Duration::from_millis(10);
/// What is said too late by more than this is not said at all.
const LATE: Duration = Duration::from_millis(100);
/// Files of the process beside those of bots and their connections.
const OTHER_FILES: u64 = 1_000;

/// What the page shows of the bots.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct BotsRow {
    /// Where they are.
    pub(crate) room: &'static str,
    /// How many are wanted.
    pub(crate) wanted: usize,
    /// How many are there.
    pub(crate) ready: usize,
    /// Messages a second that they are to say.
    pub(crate) rate: u32,
    /// Sessions that went on after their connection was lost, and missed nothing.
    pub(crate) resumed: u64,
    /// What they said and heard lately.
    #[serde(flatten)]
    pub(crate) lately: Lately,
}

/// Running bots. Dropping them ends them.
pub(crate) struct Bots {
    row: Arc<Mutex<BotsRow>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Makes room for bots: every one of them comes from one address, and says more than a quiet room takes.
pub(crate) fn make_room(args: &DevArgs, config: &mut Config) -> Result<()> {
    if args.bots == 0 {
        return Ok(());
    }
    let Limits { connections_per_address, .. } = &mut config.gateway.limits;
    if *connections_per_address > 0 {
        *connections_per_address = connections_per_address.saturating_add(args.bots);
    }
    // A bot likes more than it chats at times, and people want to get a word in.
    config.chatroom.rooms.messages_per_second.get_or_insert((args.rate * 2).max(200));
    allow_files(u64::from(args.bots) * 2 + OTHER_FILES)
}

/// Both ends of each bot are in this process.
fn allow_files(needed: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(most) = maximum.filter(|most| *most < needed) {
        bail!(
            "so many bots need {needed} open files and this process may have {most}: ask for at most {} bots, or raise `ulimit -Hn`",
            most.saturating_sub(OTHER_FILES) / 2
        );
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("cannot raise the limit of open files")
}

impl Bots {
    /// Sends them to the lobby of a cluster that is ready.
    pub(crate) fn start(args: &DevArgs, url: &str) -> Result<Self> {
        let wanted = args.bots as usize;
        let plan = Plan {
            url: url.to_owned(),
            secret: token::DEV_SECRET.to_owned(),
            room: LOBBY.to_owned(),
            size: wanted,
            per_s: COME_PER_S,
        };
        let row = Arc::new(Mutex::new(BotsRow { room: LOBBY, wanted, rate: args.rate, ..BotsRow::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shown, stopped, rate) = (Arc::clone(&row), Arc::clone(&stop), args.rate);
        let thread = std::thread::Builder::new().name("dev-bots".to_owned()).spawn(move || {
            if let Err(error) = live(&plan, rate, &shown, &stopped) {
                eprintln!("bots: {error:#}; they are gone");
            }
        })?;
        Ok(Self { row, stop, thread: Some(thread) })
    }

    /// What the page shows.
    pub(crate) fn row(&self) -> BotsRow {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Bots {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The life of all bots, until stopped.
fn live(plan: &Plan, rate: u32, row: &Mutex<BotsRow>, stop: &AtomicBool) -> Result<()> {
    let mut crowd = Crowd::new(plan)?;
    let mut pace = Pace::new(rate, Instant::now());
    let mut second = Instant::now() + Duration::from_secs(1);
    let (mut number, mut told) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        crowd.turn(Instant::now() + TURN)?;
        let now = Instant::now();
        for _ in 0..pace.due(now) {
            number += 1;
            let (speaker, saying) = talk::saying(number, plan.size);
            crowd.say(speaker, saying);
        }
        if now >= second {
            second = now + Duration::from_secs(1);
            let ready = crowd.ready();
            let (lately, resumed) = (crowd.second(), crowd.resumed());
            if ready != told {
                eprintln!("bots: {ready} of {} in the room {}", plan.size, plan.room);
                told = ready;
            }
            let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
            *row = BotsRow { ready, resumed, lately, ..row.clone() };
        }
    }
    Ok(())
}

/// When the next message is due.
#[derive(Debug)]
struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: u32, now: Instant) -> Self {
        // No rate: never, as far as a program that people watch is concerned.
        let every = Duration::from_secs(1).checked_div(rate).unwrap_or(Duration::from_hours(365 * 24));
        Self { every, next: now + every }
    }

    /// How many are due now.
    fn due(&mut self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.next) > LATE {
            self.next = now;
        }
        let mut due = 0;
        while self.next <= now {
            self.next += self.every;
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_a_sleep_is_not_made_up_for() {
        let begun = Instant::now();
        let mut pace = Pace::new(200, begun);
        let said: u32 = (1..=100).map(|turn| pace.due(begun + turn * TURN)).sum();
        assert_eq!(said, 200);
        assert!(pace.due(begun + Duration::from_mins(1)) <= 1, "nobody makes up for a minute at once");
        assert_eq!(Pace::new(0, begun).due(begun + Duration::from_hours(1)), 0);
    }
}
