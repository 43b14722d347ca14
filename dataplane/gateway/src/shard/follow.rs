//! A new downstream policy: every client that is here gets what it would get if it came now.

use super::conn::Group;
use super::hello::class_of;
use super::{Shard, Transport};
use crate::options::Downstream;

impl<T: Transport> Shard<T> {
    /// Follows a policy, between two segments: what was left out before is declared as it would have been anyway. Costs a
    /// look at every connection and every membership, and nothing if nothing changes.
    pub(super) fn follow_downstream(&mut self, downstream: Downstream) {
        if self.downstream == downstream {
            return;
        }
        // What has arrived is handed out under the old one.
        self.flush_arrived();
        self.downstream = downstream;
        for (_, conn) in self.conns.iter_mut().filter(|(_, conn)| conn.user.is_some()) {
            let class = class_of(conn.declared.max_rate(), &downstream);
            conn.group = Group::new(conn.format(), class, conn.group.cohort());
        }
        for (_, room) in &mut self.rooms {
            for sub in &mut room.subs {
                if let Some(conn) = self.conns.get(sub.conn as usize) {
                    sub.group = conn.group;
                }
            }
        }
    }
}
