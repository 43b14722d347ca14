//! Who is in a room and what they may: members, lists, settings.

use super::{ASK_AGAIN_MS, Desk, LINKED_WITHIN_MS, PATIENCE, Room};
use crate::room::life::{Overrides, Settings};
use crate::room::lists::{ListChange, ListEntry, ListName};
use crate::room::members::{Change, ChangeKind, Effect, GatewayNo};
use crate::room::now::Now;
use crate::room::output::{Output, Record};
use crate::room::publish::Refusal;
use crate::room::quota::QuotaLimits;
use crate::{Millis, SessionId, UserId};

impl Room {
    /// Applies one change; refuses a blocked user. Returns what it did.
    pub(in crate::room) fn apply(&mut self, gateway: GatewayNo, change: &Change, now: Now) -> Result<Effect, Refusal> {
        if change.kind != ChangeKind::Leave && self.lists.has(ListName::Block, &change.user, now.unix) {
            return Err(Refusal::Blocked);
        }
        let effect = self.members.apply(gateway, change, now, self.ordered);
        match effect {
            Effect::Full => return Err(Refusal::TooManySessions),
            Effect::Joined { first: true } => self.entries.joined(&change.user, self.members.count()),
            Effect::Left { last: true } => self.left(&change.user, now),
            _ => {}
        }
        Ok(effect)
    }

    /// A gateway has listed all its members: the sessions it did not name are out. Returns how many were.
    pub(in crate::room) fn listed(
        &mut self,
        gateway: GatewayNo,
        list: &hashbrown::HashSet<SessionId>,
        now: Now,
    ) -> u64 {
        self.heard(gateway);
        if self.members.sessions_of(gateway) as usize <= list.len() {
            return 0;
        }
        let missing = self.members.missing_from(gateway, list);
        for (user, session) in &missing {
            if self.members.remove_session(user, *session) == (Effect::Left { last: true }) {
                self.left(user, now);
            }
        }
        missing.len() as u64
    }

    /// A gateway is not expected to list its members any more.
    pub(in crate::room) fn heard(&mut self, gateway: GatewayNo) {
        let before = self.unheard.len();
        self.unheard.retain(|other| *other != gateway);
        if before > 0 && self.unheard.is_empty() {
            self.entries.touch();
        }
    }

    /// A gateway has linked: while others are still being heard, or if its members were taken for away, it is asked for
    /// its list.
    pub(in crate::room) fn linked(&mut self, gateway: GatewayNo, was_gone: bool, out: &mut Vec<Output>) {
        if !self.unheard.is_empty() || (was_gone && self.members.sessions_of(gateway) > 0) {
            if !self.unheard.contains(&gateway) {
                self.unheard.push(gateway);
            }
            out.push(Output::ListRoom { gateways: vec![gateway], room: self.id.clone() });
        }
    }

    /// Asks gateways again that have not listed; waits no longer for those that should have linked by now, and in the end
    /// for none. A gateway whose link dies is not waited for anyway.
    pub(super) fn hear_no_longer(&mut self, desk: &mut Desk<'_>) {
        let waited_ms = desk.now.mono.since(self.opened);
        if waited_ms >= LINKED_WITHIN_MS {
            self.heard(GatewayNo::NOWHERE);
        }
        if waited_ms >= desk.options.lists_within_ms * PATIENCE {
            self.unheard.clear();
            self.entries.touch();
        } else if self.ask_at <= desk.now.mono {
            self.ask_at = desk.now.mono + ASK_AGAIN_MS;
            self.ask_for_lists(desk.out);
        }
    }

    pub(super) fn left(&mut self, user: &UserId, now: Now) {
        self.entries.left(user, self.members.count());
        if self.members.count() == 0 {
            self.idle_since = now.mono;
        }
    }

    pub(in crate::room) fn gateway_lost(&mut self, gateway: GatewayNo, since: Millis) {
        self.heard(gateway);
        if self.members.sessions_of(gateway) > 0 {
            self.members.gateway_lost(gateway, since, self.ordered);
        }
    }

    /// Takes a user out; false if it was not in.
    pub(in crate::room) fn remove(&mut self, user: &UserId, reason: &'static str, desk: &mut Desk<'_>) -> bool {
        let gateways = self.members.remove_user(user);
        if gateways.is_empty() {
            return false;
        }
        self.left(user, desk.now);
        let users = vec![user.clone()];
        desk.out.push(Output::Removed { gateways, room: self.id.clone(), users, reason: reason.into() });
        true
    }

    pub(in crate::room) fn change_list(&mut self, change: ListChange, desk: &mut Desk<'_>) -> Result<(), Refusal> {
        self.lists.change(&change)?;
        self.stays(desk);
        match change.list {
            ListName::Block => {
                let blocked = |entry: &&ListEntry| entry.until.is_none_or(|until| until > desk.now.unix);
                let users: Vec<_> = change.add.iter().filter(blocked).map(|entry| entry.user.clone()).collect();
                for user in users {
                    self.remove(&user, "blocked", desk);
                }
            }
            ListName::Allow => change.remove.iter().for_each(|user| self.members.reconsider(user, self.ordered)),
            _ => {}
        }
        desk.persist(&self.id, Record::List(change));
        Ok(())
    }

    pub(in crate::room) fn update(&mut self, change: Overrides, desk: &mut Desk<'_>) {
        self.fleeting = false;
        self.overrides.update(change);
        self.take_settings(&desk.options.defaults);
        self.persist_meta(desk);
    }

    /// Works out the settings in force anew.
    pub(in crate::room) fn take_settings(&mut self, defaults: &Settings) {
        self.settings = self.overrides.over(defaults);
        self.quota.set_limits(QuotaLimits::of_rate(self.settings.messages_per_s));
        self.user_limits.set_rate(self.settings.user_messages_per_s);
    }

    pub(super) fn persist_meta(&self, desk: &mut Desk<'_>) {
        let (created, fleeting) = (self.created, self.fleeting);
        desk.persist(&self.id, Record::Meta { created, fleeting, overrides: self.overrides.clone() });
    }

    /// It is more than what the next join would make, also when what made it so is gone.
    pub(super) fn stays(&mut self, desk: &mut Desk<'_>) {
        if std::mem::take(&mut self.fleeting) {
            self.persist_meta(desk);
        }
    }
}
