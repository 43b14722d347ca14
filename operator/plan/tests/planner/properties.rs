//! Random worlds, and planners that die between any two actions.

use proptest::prelude::*;
use throng_core::Role;
use throng_plan::spec::ShapeHash;
use throng_plan::world::Phase;

use crate::model::{Model, PER_POD};

/// Something that happens to a cluster.
#[derive(Clone, Debug)]
enum Happening {
    Size(usize, u32),
    Shape(u8),
    Users(usize, u64),
    Cordon(usize, bool),
    Fail(usize),
    Remove(usize),
    Evict(usize),
    RegistryGone,
    Silent(usize),
    Label(usize),
    Edited,
    Leader,
    /// Nobody leaves a draining Pod for the next half minute, or more.
    Stall(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0usize..3, 1u32..6).prop_map(|(role, size)| Happening::Size(role, size)),
        2 => (1u8..4).prop_map(Happening::Shape),
        4 => (0usize..20, 0u64..100).prop_map(|(pod, users)| Happening::Users(pod, users)),
        2 => (0usize..3, any::<bool>()).prop_map(|(node, cordoned)| Happening::Cordon(node, cordoned)),
        1 => (0usize..20).prop_map(Happening::Fail),
        1 => (0usize..20).prop_map(Happening::Remove),
        1 => (0usize..20).prop_map(Happening::Evict),
        1 => Just(Happening::RegistryGone),
        1 => (0usize..20).prop_map(Happening::Silent),
        1 => (0usize..20).prop_map(Happening::Label),
        1 => Just(Happening::Edited),
        1 => Just(Happening::Leader),
        2 => (20u32..70).prop_map(Happening::Stall),
    ]
}

fn happen(model: &mut Model, happening: &Happening) {
    let name = |model: &Model, n: usize| model.world.pods.keys().nth(n % model.world.pods.len().max(1)).cloned();
    let pod = match happening {
        Happening::Users(n, _)
        | Happening::Fail(n)
        | Happening::Remove(n)
        | Happening::Evict(n)
        | Happening::Silent(n)
        | Happening::Label(n) => {
            let Some(name) = name(model, *n) else { return };
            name
        }
        _ => String::new(),
    };
    let now = model.world.now;
    match happening {
        Happening::Size(role, size) => model.world.spec.pools.of_mut(Role::ALL[*role]).min = *size,
        Happening::Shape(shape) => model.world.spec.shape = ShapeHash::new(format!("shape-{shape}")),
        Happening::Users(_, users) => {
            let uid = model.uid(&pod);
            if model.world.pods[&pod].ready {
                model.users.insert(uid, *users);
                model.say_again();
            }
        }
        Happening::Cordon(node, cordoned) => {
            model.world.nodes.get_mut(&format!("node-{node}")).unwrap().cordoned = *cordoned;
        }
        Happening::Fail(_) => model.world.pods.get_mut(&pod).unwrap().phase = Phase::Failed,
        Happening::Remove(_) => {
            model.world.pods.remove(&pod);
            model.drop_strays();
        }
        Happening::Evict(_) => model.world.pods.get_mut(&pod).unwrap().terminating = Some(now),
        Happening::RegistryGone => {
            let plan_without = {
                let mut blind = model.clone();
                blind.world.registry = None;
                blind.plan()
            };
            model.perform(&plan_without, usize::MAX);
        }
        Happening::Silent(_) => drop(model.world.samples.remove(&model.world.pods[&pod].uid)),
        Happening::Label(_) => {
            let label = &mut model.world.pods.get_mut(&pod).unwrap().serving;
            *label = !*label;
        }
        Happening::Edited => model.world.owned.clear(),
        Happening::Leader => model.world.leader_epoch += 1,
        Happening::Stall(seconds) => {
            model.pace = 0;
            for _ in 0..*seconds {
                look(model, usize::MAX);
                model.tick();
            }
            model.pace = 30;
        }
    }
}

/// A look whose plan keeps what is promised of every plan; its first `prefix` steps are done.
pub(crate) fn look(model: &mut Model, prefix: usize) {
    let plan = model.plan();
    let before = model.clone();
    model.perform(&plan, prefix);
    for role in Role::ALL {
        let needed = usize::try_from(before.users_of(role).div_ceil(PER_POD)).unwrap();
        let (was, is) = (before.serving(role), model.serving(role));
        assert!(is >= was.min(needed), "{role}: {was} Pods served, now {is} for {needed}: {:#?}", plan.actions);
    }
    assert_eq!(model.broken_promises, Vec::<String>::new());
}

/// What a person would compare: everything but the time, the uids and the history.
fn outcome(model: &Model) -> impl PartialEq + std::fmt::Debug {
    let pods =
        |role| model.pods(role).into_iter().map(|(_, pod)| (pod.revision, pod.ready, pod.serving)).collect::<Vec<_>>();
    (
        Role::ALL.map(pods),
        model.world.owned.clone(),
        model.world.status.drains.clone(),
        model.world.status.ready.clone(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, and wherever planners die: it comes to rest at what the spec asks for, a second look does nothing,
    /// nobody is cut before his deadline, and no own action takes a pool below its users.
    #[test]
    fn every_history_comes_to_rest_at_the_spec_and_keeps_its_promises(
        history in prop::collection::vec((happening(), 0usize..6, 0usize..20), 1..12),
    ) {
        let mut model = Model::new([3, 2, 2]);
        for (happening, looks, prefix) in &history {
            happen(&mut model, happening);
            for _ in 0..*looks {
                look(&mut model, *prefix);
                model.tick();
            }
        }
        for users in model.users.values_mut() {
            *users = (*users).min(1);
        }
        model.tick();
        model.settle();
        for role in Role::ALL {
            prop_assert_eq!(model.pods(role).len(), model.world.spec.pools.of(role).min as usize);
            prop_assert!(model.pods(role).iter().all(|(_, pod)| pod.ready && pod.serving));
        }
        prop_assert_eq!(&model.broken_promises, &Vec::<String>::new());
        prop_assert_eq!(model.plan().actions, vec![]);
        let mut again = model.clone();
        again.world.status = model.plan().status;
        prop_assert_eq!(again.plan(), model.plan(), "the status is at rest too");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// A planner dies after every prefix of its plan; the next one goes on, and the end is the same.
    #[test]
    fn a_crash_after_any_action_of_any_plan_ends_in_the_same_world(
        history in prop::collection::vec((happening(), 1usize..4), 1..4),
    ) {
        let mut model = Model::new([2, 1, 1]);
        for (happening, looks) in &history {
            happen(&mut model, happening);
            for _ in 0..*looks {
                model.step();
            }
        }
        let plan = model.plan();
        let mut whole = model.clone();
        whole.perform(&plan, usize::MAX);
        whole.settle();
        for prefix in 0..=plan.actions.len() {
            let mut crashed = model.clone();
            crashed.perform(&plan, prefix);
            crashed.settle();
            prop_assert_eq!(outcome(&crashed), outcome(&whole), "after {} of {:?}", prefix, plan.actions);
        }
    }

    /// An action that is done twice, or long after its plan, does no harm.
    #[test]
    fn a_plan_that_is_done_twice_is_as_good_as_once(history in prop::collection::vec((happening(), 1usize..4), 1..6)) {
        let mut model = Model::new([2, 1, 1]);
        for (happening, looks) in &history {
            happen(&mut model, happening);
            for _ in 0..*looks {
                let plan = model.plan();
                model.perform(&plan, usize::MAX);
                let once = model.world.clone();
                for action in plan.actions.iter().filter(|action| !is_revision(action)) {
                    model.act_again(action);
                }
                prop_assert_eq!(&once, &model.world);
                model.tick();
            }
        }
    }
}

fn is_revision(action: &throng_plan::Action) -> bool {
    matches!(action, throng_plan::Action::Apply(throng_plan::world::Object::ControllerRevision { .. }))
}
