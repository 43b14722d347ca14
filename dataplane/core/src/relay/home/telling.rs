//! What is said to a user: to every connection that was there when it was said, known here by then or not.

use super::{GatewayKey, HomeEffect, Homes, SessionChange, Whereabouts};
use crate::relay::recent::Reported;
use crate::{InstanceId, Millis, SessionId, UserId};

impl<W: Clone> Homes<W> {
    /// A user, or one session, is told `word`, of about so many `bytes`. The caller sends it to the sessions of the answer, and
    /// to no others of their gateways: who comes in meanwhile is not meant. Sessions that connected before `now` and are reported later get it as [`HomeEffect::Late`], for
    /// two seconds. None: the user's home is not here, and nothing is kept.
    pub fn tell(
        &mut self,
        user: &UserId,
        session: Option<SessionId>,
        (word, bytes): (W, usize),
        now: Millis,
    ) -> Option<Whereabouts> {
        let found = self.find(user, session)?;
        let key_of = |session: &SessionId| Some((*session, self.sessions.get(session)?.gateway));
        let told = found.sessions.iter().filter_map(|(_, session)| key_of(session)).collect();
        self.recent.expire(now);
        self.recent.keep(user, session, (word, bytes), told, now);
        Some(found)
    }

    /// A gateway sent something at `sent`, by its own clock; it is here `now`. To be called before [`Homes::apply`], which
    /// cannot tell without it when sessions connected.
    pub fn heard(&mut self, instance: &InstanceId, sent: Millis, now: Millis) {
        let key = self.key(instance);
        if let Some(gateway) = self.gateways.get_mut(&key) {
            gateway.lag.observe(sent, now);
        }
    }

    /// A session is connected: it gets what was said before it was known.
    pub(super) fn tell_late(&mut self, key: GatewayKey, change: &SessionChange, now: Millis) {
        if self.recent.is_empty() {
            return;
        }
        let Some((gateway, there)) = self.gateways.get(&key).zip(change.connected) else { return };
        let Some((stream, connected)) = gateway.stream.zip(gateway.lag.here(there)) else { return };
        // Nothing was said before this process began.
        let connected = Millis(connected.max(0).cast_unsigned());
        let SessionChange { user, session, .. } = change;
        let who = Reported { user, session: *session, gateway: key, connected };
        for word in self.recent.missed(&who, now) {
            self.out.push(HomeEffect::Late { gateway: stream, session: *session, word });
        }
    }
}
