//! What a change costs when all 8,192 slots are claimed: the write, the new view, and the routes made of it.
//! `cargo run -p throng-registry --example view_cost [--release]` prints microseconds.

use std::time::Instant;

use throng_core::{InstanceId, Millis, Slot};
use throng_registry::{ClaimKey, Holder, MAX_BATCH, MemoryRegistry, Outcome, Own, Registry};

const ROUNDS: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = MemoryRegistry::driven(Millis::ZERO);
    let views = registry.watch();
    registry.create_incarnation(1).await?;
    let lease = registry.grant(60_000).await?.id;
    let holder = |n: usize| -> Result<Holder, throng_core::IdError> {
        let instance = InstanceId::new(&format!("chatroom-{n}"))?;
        Ok(Holder { instance, address: format!("10.0.0.{n}:7000").into(), revision: "r1".into() })
    };
    let slots: Vec<Slot> = Slot::all().collect();
    for (n, slots) in slots.chunks(MAX_BATCH).enumerate() {
        let rooms: Vec<_> = slots.iter().copied().map(ClaimKey::Rooms).collect();
        let users: Vec<_> = slots.iter().copied().map(ClaimKey::Users).collect();
        registry.claim(&rooms, &holder(n % 20)?, lease, 1).await?;
        registry.claim(&users, &holder(n % 20)?, lease, 1).await?;
    }
    let (mut change_us, mut routes_us) = (0, 0);
    for _ in 0..ROUNDS {
        let view = views.borrow().clone();
        let (slot, claim) = view.claims(throng_core::Role::Chatroom).next().ok_or("no claim")?;
        let own = Own { key: ClaimKey::Rooms(slot), mod_revision: claim.mod_revision, lease: claim.lease };
        let start = Instant::now();
        let Outcome::Known(_) = registry.bump(&[own], &claim.holder, 1).await? else { return Err("no answer".into()) };
        change_us += start.elapsed().as_micros();
        let view = views.borrow().clone();
        let start = Instant::now();
        let routes = view.routes();
        routes_us += start.elapsed().as_micros();
        assert_eq!(routes.rooms.iter().count() + routes.users.iter().count(), 8192);
    }
    let mean = |sum: u128| sum / u128::from(ROUNDS);
    println!("{{\"claims\":8192,\"change_and_view_us\":{},\"routes_us\":{}}}", mean(change_us), mean(routes_us));
    Ok(())
}
