//! Policy that a running process follows: what the registry says of rooms, in the words of its role.

use std::sync::Arc;

use throng_core::policy::{Policy, Rooms};
use throng_gateway::options::Downstream;
use throng_registry::{Registry, View};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Follows the policy as long as the registry shows views: `apply` is called with each that differs from the one before.
/// Until there is one the process goes by its configuration, and one that vanishes stays in force.
pub(super) fn follow(registry: &dyn Registry, stop: CancellationToken, apply: impl Fn(&Rooms) + Send + 'static) {
    let mut views = registry.watch();
    let mut known: Option<Rooms> = None;
    tokio::spawn(async move {
        loop {
            let policy = said(&views.borrow_and_update());
            if let Some(policy) = policy.filter(|policy| known.as_ref() != Some(&policy.rooms)) {
                apply(&policy.rooms);
                info!(version = policy.version, leader_epoch = policy.leader_epoch, "the policy of rooms is followed");
                known = Some(policy.rooms.clone());
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = views.changed() => if changed.is_err() { return },
            }
        }
    });
}

fn said(view: &View) -> Option<Arc<Policy>> {
    view.policy()?.policy.clone()
}

/// What the owner of rooms follows.
pub(super) fn of_chatroom(rooms: &Rooms) -> throng_chatroom::Rooms {
    throng_chatroom::Rooms {
        messages_per_second: Some(rooms.messages_per_s),
        user_messages_per_second: Some(rooms.user_messages_per_s),
        idle_ms: Some(rooms.idle_ms),
        protected_types: rooms.protected_types.clone(),
        offline_after_ms: Some(rooms.offline_after_ms),
        offline_after_messages: Some(rooms.offline_after_messages),
    }
}

/// What a gateway follows. Whether a client may ask for no budget at all stays as it is configured.
pub(super) const fn of_gateway(rooms: &Rooms, configured: Downstream) -> Downstream {
    Downstream {
        messages_per_second: rooms.downstream_per_s,
        max_messages_per_second: rooms.max_downstream_per_s,
        allow_unlimited: configured.allow_unlimited,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use throng_registry::MemoryRegistry;

    use super::*;

    #[tokio::test]
    async fn every_change_is_followed_once_and_what_vanishes_stays() {
        let registry = MemoryRegistry::new();
        let followed: Arc<Mutex<Vec<u32>>> = Arc::default();
        let (stop, noted) = (CancellationToken::new(), Arc::clone(&followed));
        follow(&registry, stop.clone(), move |rooms| noted.lock().unwrap().push(rooms.messages_per_s));
        let leader_epoch = registry.next_leader_epoch(0).await.unwrap();
        let mut after = None;
        // The third says what the second said.
        for (version, messages_per_s) in [(1, 100), (2, 50), (3, 50), (4, 70)] {
            let rooms = Rooms { messages_per_s, ..Rooms::default() };
            after = Some(registry.put_policy(&Policy { leader_epoch, version, rooms }, after).await.unwrap());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        registry.wipe();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(*followed.lock().unwrap(), [100, 50, 70]);
        stop.cancel();
    }

    #[test]
    fn a_policy_says_all_that_a_role_can_be_told() {
        let rooms = Rooms { messages_per_s: 7, downstream_per_s: 5, idle_ms: 0, ..Rooms::default() };
        let settings = of_chatroom(&rooms);
        assert_eq!((settings.messages_per_second, settings.idle_ms), (Some(7), Some(0)));
        let configured = Downstream { allow_unlimited: true, ..Downstream::default() };
        let downstream = of_gateway(&rooms, configured);
        assert_eq!((downstream.messages_per_second, downstream.allow_unlimited), (5, true));
    }
}
