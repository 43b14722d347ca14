//! Histories of releases, operations and losses, drawn at random.

use proptest::prelude::*;

use super::*;

/// Something that happens to a cluster whose releases are careful.
#[derive(Clone, Debug)]
enum Happening {
    Release(u8),
    Broken(u8, bool),
    Ask(u8),
    Users(usize, u64),
    Arrive(u64),
    Cordon(usize, bool),
    Remove(usize),
    Slow(u8, bool),
    Blind,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1u8..5).prop_map(Happening::Release),
        1 => (1u8..5, any::<bool>()).prop_map(|(number, broken)| Happening::Broken(number, broken)),
        4 => (0u8..6).prop_map(Happening::Ask),
        3 => (0usize..20, 0u64..80).prop_map(|(pod, users)| Happening::Users(pod, users)),
        2 => (0u64..30).prop_map(Happening::Arrive),
        1 => (0usize..3, any::<bool>()).prop_map(|(node, cordoned)| Happening::Cordon(node, cordoned)),
        1 => (0usize..20).prop_map(Happening::Remove),
        1 => (1u8..5, any::<bool>()).prop_map(|(number, slow)| Happening::Slow(number, slow)),
        1 => Just(Happening::Blind),
    ]
}

fn happen(model: &mut Model, happening: &Happening, number: usize) {
    let pod = |model: &Model, n: usize| model.world.pods.keys().nth(n % model.world.pods.len().max(1)).cloned();
    match *happening {
        Happening::Release(shape) => release(model, &format!("shape-{shape}")),
        Happening::Broken(revision, true) => {
            model.broken.insert(u64::from(revision));
        }
        Happening::Broken(revision, false) => heal(model, u64::from(revision)),
        Happening::Slow(revision, true) => drop(model.says.insert(u64::from(revision), vec![("p99_ms", 900.0)])),
        Happening::Slow(revision, false) => drop(model.says.remove(&u64::from(revision))),
        Happening::Ask(what) => {
            let asks = match what {
                0 => Asks::Rollback { to: None, pace: Pace::Fast },
                1 => Asks::Rollback { to: Some(1), pace: Pace::Gentle },
                2 => Asks::Pause,
                3 => Asks::Resume,
                4 => Asks::Promote,
                _ => Asks::Rebalance,
            };
            model.ask(&format!("operation-{number:02}"), asks);
        }
        Happening::Users(n, users) => {
            let ready = pod(model, n).filter(|name| model.world.pods[name].ready && model.world.pods[name].serving);
            if let Some(name) = ready {
                model.users.insert(model.uid(&name), users);
                model.say_again();
            }
        }
        Happening::Arrive(users) => model.arriving += users,
        Happening::Cordon(node, cordoned) => {
            model.world.nodes.get_mut(&format!("node-{node}")).unwrap().cordoned = cordoned;
        }
        Happening::Remove(n) => {
            if let Some(name) = pod(model, n) {
                model.world.pods.remove(&name);
                model.drop_strays();
            }
        }
        Happening::Blind => {
            let mut blind = model.clone();
            blind.world.registry = None;
            let plan = blind.plan();
            model.perform(&plan, usize::MAX);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is released, asked for and lost, and wherever planners die: no own action takes a pool below its users, nobody
    /// is cut, a blocked revision gets nobody; in the end everybody is on the revision of the spec, or on the one that a
    /// rollback in force says, what is not needed is forgotten, and a second look does nothing.
    #[test]
    fn every_history_of_releases_and_operations_ends_on_one_revision(
        history in prop::collection::vec((happening(), 0usize..25, 0usize..20), 1..10),
    ) {
        let mut model = careful(10);
        model.world.spec.rollout.history = 2;
        for (number, (happening, looks, prefix)) in history.iter().enumerate() {
            happen(&mut model, happening, number);
            for round in 0..*looks {
                look(&mut model, if round % 3 == 0 { *prefix } else { usize::MAX });
                model.tick();
            }
        }
        model.says.clear();
        (1..99).for_each(|revision| heal(&mut model, revision));
        (0..3).for_each(|node| model.world.nodes.get_mut(&format!("node-{node}")).unwrap().cordoned = false);
        for users in model.users.values_mut() {
            *users = (*users).min(1);
        }
        model.world.spec.rollout.warm_ms = 0;
        model.tick();
        model.ask("operation-99", Asks::Resume);
        let ends = |model: &Model| phase(model).is_none()
            && model.world.status.rollback.as_ref().is_none_or(|rollback| rollback.done_at.is_some());
        model.step();
        until(&mut model, "it ends", ends);
        model.settle();
        let status = &model.world.status;
        let asked = model.world.revisions.iter().rev().find(|(_, known)| known.hash == model.world.spec.shape).unwrap();
        let end = status.rollback.as_ref().map_or(*asked.0, |rollback| rollback.to);
        prop_assert_eq!(status.revision, Some(end));
        prop_assert!(model.world.pods.values().all(|pod| pod.revision == end && pod.ready && pod.serving));
        prop_assert_eq!((model.world.pods.len(), model.cut), (8, 0));
        prop_assert!(model.world.operations.values().all(|asks| asks.status.phase.is_final()));
        prop_assert_eq!(&model.broken_promises, &Vec::<String>::new());
        prop_assert!(model.world.revisions.len() <= 3, "{:?}", model.world.revisions);
        let mut again = model.clone();
        again.world.status = model.plan().status;
        prop_assert_eq!(again.plan(), model.plan(), "the status is at rest too");
    }
}
