//! One room: everything its owner decides about it.

mod inherit;
mod messages;
mod people;

use super::entries::Entries;
use super::keys::Keys;
use super::life::{EndReason, Overrides, Settings};
use super::lists::{ListChange, ListName, Lists};
use super::members::{Effect, GatewayNo, Members};
use super::now::Now;
use super::open_slot::OpenSlot;
use super::output::{Output, Record, RelayNo};
use super::quota::{Quota, QuotaLimits};
use super::seals::Seals;
use super::state::RoomState;
use super::tick::Tick;
use super::user_limit::UserLimits;
use super::window::{Retention, Window};
use crate::{Cursor, Millis, RoomId, Seqs, UserId};

/// How often ended list entries, old messages and idleness are looked at.
const SWEEP_MS: u64 = 60_000;
/// A new owner gives gateways so long to link before it takes those that did for all: what a watch and a call need.
const LINKED_WITHIN_MS: u64 = 1_500;
/// A linked gateway that has not listed its members is asked again so often: it, or the link, was slow.
const ASK_AGAIN_MS: u64 = 1_000;
/// A room that people only looked into ends so soon after the last of them: who goes through thousands leaves few behind.
const FLEETING_MS: u64 = 10_000;
/// So many times [`RoomOptions::lists_within_ms`] a linked gateway is waited for.
const PATIENCE: u64 = 6;

/// Figures that hold for all rooms of a Pod.
#[derive(Clone, Debug)]
pub struct RoomOptions {
    /// Settings of a room that has none of its own.
    pub defaults: Settings,
    /// How many recent messages are kept.
    pub retention: Retention,
    /// Longest wait of a publish for the store.
    pub stored_within_ms: u64,
    /// A slot that was opened so short a time ago may have rooms and members that its owner has not heard of. It waits six
    /// times as long for the list of a gateway that is linked before it calls its count final.
    pub lists_within_ms: u64,
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self {
            defaults: Settings::default(),
            retention: Retention::default(),
            stored_within_ms: 5_000,
            lists_within_ms: 5_000,
        }
    }
}

/// A room, in memory. A new owner makes one from what the store, the relays and the gateways know.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: RoomId,
    pub(super) created: Millis,
    pub(super) overrides: Overrides,
    pub(super) settings: Settings,
    pub(super) lists: Lists,
    pub(super) members: Members,
    pub(super) relays: Vec<RelayNo>,
    pub(super) tick: Tick,
    /// When the Pod looks at it next; kept by the Pod.
    pub(super) scheduled: Option<Millis>,
    entries: Entries,
    quota: Quota,
    user_limits: UserLimits,
    keys: Keys,
    window: Window,
    seals: Seals,
    /// Up to here the relays have it.
    flushed: Seqs,
    flush_at: Option<Millis>,
    /// Messages ordered by this owner.
    ordered: u64,
    idle_since: Millis,
    /// A join made it, and nothing was said, listed or set since: the next join makes the same again.
    fleeting: bool,
    /// Gateways that have not listed their members yet; [`GatewayNo::NOWHERE`] stands for those not linked yet.
    unheard: Vec<GatewayNo>,
    /// When those are asked again.
    ask_at: Millis,
    /// When this Pod began to serve the room's slot.
    opened: Millis,
    sweep_at: Millis,
}

/// What a room needs of its surroundings for one step.
pub(super) struct Desk<'a> {
    pub(super) now: Now,
    pub(super) options: &'a RoomOptions,
    pub(super) slot: &'a mut OpenSlot,
    pub(super) out: &'a mut Vec<Output>,
    /// Load of the busiest gateway of the room, in percent, if known.
    pub(super) load_percent: Option<u8>,
}

impl Desk<'_> {
    fn persist(&mut self, room: &RoomId, record: Record) -> u64 {
        self.slot.persist(room, record, self.out)
    }
}

impl Room {
    /// A room from what is known of it; `unheard` are the gateways that may have members of it.
    pub(super) fn open(state: RoomState, unheard: Vec<GatewayNo>, desk: &mut Desk<'_>) -> Self {
        let (now, options) = (desk.now, desk.options);
        let fleeting = state.is_fleeting();
        let RoomState { room: id, created, fleeting: said, overrides, lists, ends, messages, keys, stored } = state;
        let settings = overrides.over(&options.defaults);
        let start = desk.slot.start;
        let mut room = Self {
            created: created.unwrap_or(now.unix),
            lists: Lists::default(),
            members: Members::default(),
            relays: Vec::new(),
            tick: Tick::new(&id),
            scheduled: None,
            entries: Entries::default(),
            quota: Quota::new(QuotaLimits::of_rate(settings.messages_per_s)),
            user_limits: UserLimits::new(settings.user_messages_per_s),
            keys: Keys::default(),
            window: Window::new(&id, desk.slot.epoch, start, options.retention),
            seals: Seals::new(desk.slot.epoch),
            flushed: start,
            flush_at: None,
            ordered: 0,
            idle_since: now.mono,
            fleeting,
            unheard,
            ask_at: now.mono + ASK_AGAIN_MS,
            opened: desk.slot.opened,
            sweep_at: now.mono + SWEEP_MS,
            overrides,
            settings,
            id,
        };
        for (list, entry) in lists {
            let change = ListChange { list, add: vec![entry], remove: vec![] };
            // A list that was stored fits; one that does not is cut at the limit.
            let _ = room.lists.change(&change);
        }
        room.inherit(messages, keys, &stored, desk);
        let seen: Vec<_> = room.window.ends().collect();
        let oldest_known = ends.iter().map(|(epoch, _)| *epoch).min();
        for (epoch, last) in ends.into_iter().chain(seen) {
            room.seals.learn(epoch, last);
        }
        room.ask_for_lists(desk.out);
        if created.is_none() || said != fleeting {
            room.persist_meta(desk);
        }
        for epoch in room.seals.epochs().collect::<Vec<_>>() {
            room.persist_seal(epoch, desk);
        }
        // What the seals have no place for any more, nobody asks for: a room that moved often does not grow in the store.
        if let Some(before) =
            room.seals.epochs().next().filter(|oldest| oldest_known.is_some_and(|known| known < *oldest))
        {
            desk.persist(&room.id, Record::Forgotten { before });
        }
        room
    }

    fn ask_for_lists(&self, out: &mut Vec<Output>) {
        let linked = self.unheard.iter().copied().filter(|gateway| *gateway != GatewayNo::NOWHERE);
        let gateways: Vec<_> = linked.collect();
        if !gateways.is_empty() {
            out.push(Output::ListRoom { gateways, room: self.id.clone() });
        }
    }

    pub(super) fn last(&self) -> Seqs {
        self.window.last()
    }

    pub(super) fn flushed(&self) -> Cursor {
        Cursor { epoch: self.window.epoch(), seq: self.flushed }
    }

    /// The count may still grow.
    pub(super) fn is_provisional(&self) -> bool {
        !self.unheard.is_empty()
    }

    pub(super) fn rate_per_s(&mut self, now: Now) -> f64 {
        self.tick.rate_per_s(now.mono)
    }

    /// Does what is due. Some: the room's time has come, with the reason.
    pub(super) fn run(&mut self, desk: &mut Desk<'_>) -> Option<EndReason> {
        let now = desk.now;
        self.flush_if_due(desk);
        if self.is_provisional() {
            self.hear_no_longer(desk);
        }
        self.take_overdue(desk);
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono + SWEEP_MS;
            self.window.trim(now.unix);
            for user in self.lists.sweep(now.unix) {
                self.members.reconsider(&user, self.ordered);
            }
        }
        let provisional = self.is_provisional();
        if let Some(event) = self.entries.flush(&self.id, self.members.count(), provisional, now.mono) {
            let gateways: Vec<_> = self.members.gateways().iter().map(|(gateway, _)| *gateway).collect();
            if !gateways.is_empty() {
                desk.out.push(Output::Event { gateways, event });
            }
        }
        if self.settings.destroy_at.is_some_and(|at| at <= now.unix) {
            return Some(EndReason::Expired);
        }
        self.idle_due().is_some_and(|due| due <= now.mono).then_some(EndReason::Idle)
    }

    fn take_overdue(&mut self, desk: &mut Desk<'_>) {
        let (rule, lists, unix) = (self.settings.offline_rule(), &self.lists, desk.now.unix);
        let keep = |user: &UserId| lists.has(ListName::Allow, user, unix);
        let overdue = self.members.take_overdue(rule, desk.now.mono, self.ordered, keep);
        for gone in overdue {
            let effect = self.members.remove_session(&gone.user, gone.session);
            if effect == (Effect::Left { last: true }) {
                self.left(&gone.user, desk.now);
                let (gateways, users) = (vec![gone.gateway], vec![gone.user]);
                desk.out.push(Output::Removed { gateways, room: self.id.clone(), users, reason: "offline".into() });
            }
        }
    }

    /// When the Pod has to look at the room next.
    pub(super) fn due(&self, now: Now, options: &RoomOptions) -> Option<Millis> {
        let linked = self.unheard.contains(&GatewayNo::NOWHERE).then_some(self.opened + LINKED_WITHIN_MS);
        let lists = self.is_provisional().then_some(self.ask_at.min(self.opened + options.lists_within_ms * PATIENCE));
        let sweep = (!self.lists.is_empty() || !self.window.is_empty()).then_some(self.sweep_at.max(now.mono));
        // The wall clock may be set: look again within a minute.
        let destroy = self.settings.destroy_at.map(|at| now.mono_of(at).min(now.mono + SWEEP_MS));
        let offline = self.members.due(self.settings.offline_rule(), self.ordered);
        [self.flush_at, self.entries.due(), self.idle_due(), linked, lists, sweep, destroy, offline]
            .into_iter()
            .flatten()
            .min()
    }

    fn idle_due(&self) -> Option<Millis> {
        if self.members.count() > 0 || self.is_provisional() {
            return None;
        }
        let kept_ms = Some(self.settings.idle_ms).filter(|idle_ms| *idle_ms > 0);
        let after = if self.fleeting { Some(kept_ms.unwrap_or(u64::MAX).min(FLEETING_MS)) } else { kept_ms };
        after.map(|after| self.idle_since + after)
    }

    /// Tells everybody that the room is over. The Pod drops it then.
    pub(super) fn end(&mut self, reason: EndReason, desk: &mut Desk<'_>) {
        self.flush(desk.out);
        let gateways: Vec<_> = self.members.gateways().iter().map(|(gateway, _)| *gateway).collect();
        let (room, relays) = (self.id.clone(), self.relays.clone());
        if !gateways.is_empty() {
            let users = Vec::new();
            desk.out.push(Output::Removed { gateways, room: room.clone(), users, reason: reason.as_str().into() });
        }
        if !relays.is_empty() {
            desk.out.push(Output::Closed { relays, room, reason: reason.clone() });
        }
        desk.persist(&self.id, Record::Ended(reason));
    }
}
