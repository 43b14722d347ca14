//! Where a user may have one session, the newest wins.

use smallvec::SmallVec;

use super::{GatewayKey, HomeEffect, Homes, SessionChange, SessionPolicy};
use crate::{SessionId, UserId};

impl<W: Clone> Homes<W> {
    /// Since when a session is connected, by the clock of this process, which most often began later; none: its gateway did not
    /// say.
    pub(super) fn connected(&self, key: GatewayKey, change: &SessionChange) -> Option<i64> {
        self.gateways.get(&key)?.lag.here(change.connected?)
    }

    /// A session has connected, or is known here from now on because its gateway listed all that it has: then it may be the
    /// older one, for a home that takes over hears of all of them at once.
    pub(super) fn newest_wins(&mut self, change: &SessionChange, listed: bool) {
        if self.options.sessions != SessionPolicy::NewestWins {
            return;
        }
        let newest = if listed { self.newest(&change.user) } else { Some(change.session) };
        if let Some(newest) = newest {
            self.replace_others(&change.user, newest);
        }
    }

    /// A gateway can be told again which of its sessions have to end: it could not, or the word was lost with its stream.
    pub(super) fn newest_wins_again(&mut self, key: GatewayKey) {
        let Some(gateway) = self.gateways.get(&key).filter(|_| self.options.sessions == SessionPolicy::NewestWins)
        else {
            return;
        };
        let mut users: Vec<UserId> = gateway
            .sessions
            .iter()
            .filter_map(|session| self.sessions.get(session))
            .map(|session| &session.user)
            .filter(|user| self.sessions_of(user).nth(1).is_some())
            .cloned()
            .collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            if let Some(newest) = self.newest(&user) {
                self.replace_others(&user, newest);
            }
        }
    }

    fn newest(&self, user: &UserId) -> Option<SessionId> {
        let since = |session: &SessionId| self.sessions.get(session).filter(|one| one.online).map(|one| one.since);
        self.sessions_of(user).filter_map(|session| Some((since(&session)?, session))).max().map(|(_, session)| session)
    }

    fn replace_others(&mut self, user: &UserId, newest: SessionId) {
        let others: SmallVec<[SessionId; 4]> = self.sessions_of(user).filter(|session| *session != newest).collect();
        for session in others {
            let Some((stream, true)) = self.sessions.get(&session).map(|s| (self.stream(s.gateway), s.online)) else {
                continue;
            };
            if let Some(gateway) = stream {
                self.out.push(HomeEffect::Replace { gateway, user: user.clone(), session });
            }
        }
    }
}
