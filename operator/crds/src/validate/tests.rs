//! What the planner gets: units resolved, local times as instants, and flaws instead of panics.

use serde_json::{Value, json};
use throng_core::{Millis, Role};
use throng_plan::spec::operation::{Action, Pace, Whom};
use throng_plan::spec::pool::{Change, Policy, Select};

use super::*;
use crate::ChatroomOperation;

fn spec(change: impl FnOnce(&mut Value)) -> ChatroomClusterSpec {
    let mut object = json!({
        "image": "throng:0.1.0",
        "redis": {"url": "redis://redis:6379"},
        "etcd": {"endpoints": ["http://etcd:2379"]},
        "auth": {"jwt": {"secretRef": {"name": "live-auth"}}},
    });
    change(&mut object);
    serde_json::from_value(object).unwrap()
}

fn event(start: &str, zone: &str) -> Value {
    json!({"name": "final", "start": start, "timeZone": zone, "ramp": "10m", "hold": "2h", "floor": {"gateway": 5}})
}

/// The instant that a local time means, as text.
fn instant_of(start: &str, zone: &str) -> Result<String, Reason> {
    let validated = cluster(&spec(|spec| spec["events"] = json!([event(start, zone)]))).unwrap();
    match (validated.spec.events.first(), validated.flaws.first()) {
        (Some(event), None) => {
            let ms = i64::try_from(event.starts_at.0).unwrap();
            Ok(jiff::Timestamp::from_millisecond(ms).unwrap().to_string())
        }
        (None, Some(flaw)) => Err(flaw.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn local_times_become_instants() {
    for (start, zone, utc) in [
        ("2026-12-31T20:00:00", "Asia/Shanghai", "2026-12-31T12:00:00Z"),
        ("2026-12-31T20:00", "UTC", "2026-12-31T20:00:00Z"),
        ("2026-07-01T12:00:30", "America/New_York", "2026-07-01T16:00:30Z"),
        ("2026-07-01T12:00:00", "Asia/Kathmandu", "2026-07-01T06:15:00Z"),
    ] {
        assert_eq!(instant_of(start, zone), Ok(utc.into()), "{start} {zone}");
    }
}

#[test]
fn in_a_gap_of_daylight_saving_the_later_instant_counts() {
    // Clocks go from 02:00 to 03:00: 02:30 before the change would be 01:30 UTC in winter time, which reads 03:30 in summer.
    assert_eq!(instant_of("2027-03-28T02:30:00", "Europe/Berlin"), Ok("2027-03-28T01:30:00Z".into()));
    assert_eq!(instant_of("2027-03-14T02:30:00", "America/New_York"), Ok("2027-03-14T07:30:00Z".into()));
}

#[test]
fn in_a_fold_of_daylight_saving_the_earlier_instant_counts() {
    assert_eq!(instant_of("2027-10-31T02:30:00", "Europe/Berlin"), Ok("2027-10-31T00:30:00Z".into()));
    assert_eq!(instant_of("2027-11-07T01:30:00", "America/New_York"), Ok("2027-11-07T05:30:00Z".into()));
}

#[test]
fn a_time_that_cannot_be_told_costs_its_event_only() {
    assert_eq!(instant_of("2026-12-31T20:00", "Asia/Atlantis"), Err(Reason::UnknownTimeZone));
    assert_eq!(instant_of("2027-02-29T20:00", "UTC"), Err(Reason::ImpossibleTime));
    assert_eq!(instant_of("2027-02-28T25:00", "UTC"), Err(Reason::ImpossibleTime));
    assert_eq!(instant_of("1901-01-01T00:00", "UTC"), Err(Reason::ImpossibleTime));
    let events = json!([event("2026-12-31T20:00", "Nowhere/City"), event("2026-12-31T20:00", "UTC")]);
    let validated = cluster(&spec(|spec| spec["events"] = events)).unwrap();
    assert_eq!(validated.spec.events.len(), 1);
    assert_eq!(validated.flaws.len(), 1);
    assert_eq!(validated.flaws[0].path, "spec.events[0].timeZone");
    assert!(validated.flaws[0].to_string().contains("Nowhere/City"));
}

#[test]
fn a_floor_counts_from_its_ramp_to_the_end_of_its_hold() {
    let validated = cluster(&spec(|spec| spec["events"] = json!([event("2026-12-31T20:00", "UTC")]))).unwrap();
    let event = &validated.spec.events[0];
    assert_eq!(event.starts_at, Millis(1_798_747_200_000));
    assert_eq!(event.starts_at.since(event.ramp_at), 600_000);
    assert_eq!(event.ends_at.since(event.starts_at), 7_200_000);
    assert_eq!(event.floor, Pools { gateway: 5, chatroom: 0, message: 0 });
}

#[test]
fn defaults_arrive_with_their_units() {
    let validated = cluster(&spec(|_| ())).unwrap();
    assert_eq!(validated.flaws, []);
    let spec = validated.spec;
    assert_eq!((spec.drain.deadline_ms, spec.drain.users_per_s), (1_800_000, None));
    assert_eq!((spec.rollout.hold_ms, spec.rollout.warm_ms), (300_000, 3_600_000));
    assert_eq!(spec.rollout.canary_percent, [5, 25]);
    assert_eq!(spec.rollout.halt.p99_ms, Some(500));
    assert_eq!((spec.rooms.offline_after_ms, spec.rooms.idle_ms), (30_000, 3_600_000));
    let up = &spec.pools.gateway.scale_up;
    assert_eq!((up.window_ms, up.select), (0, Select::Max));
    let fours = Policy { change: Change::Pods(4), period_ms: 15_000 };
    assert_eq!(up.policies, [fours, Policy { change: Change::Percent(100), period_ms: 15_000 }]);
    assert_eq!(spec.pools.message.scale_down.window_ms, 300_000);
}

#[test]
fn the_loads_of_the_targets_are_those_of_pressure_samples() {
    let pools = cluster(&spec(|_| ())).unwrap().spec.pools;
    let loads = |role| pools.of(role).targets.iter().map(|target| target.load).collect::<Vec<_>>();
    assert_eq!(loads(Role::Gateway), ["connections", "egress_mbps", "cpu_percent"]);
    assert_eq!(loads(Role::Chatroom), ["members", "joins_per_second", "cpu_percent"]);
    assert_eq!(loads(Role::Message), ["users", "deliveries_per_second", "cpu_percent"]);
}

#[test]
fn a_spec_that_is_refused_still_says_how_its_cluster_ends() {
    let wrong = spec(|spec| {
        spec["chatroom"] = json!({"replicas": {"min": 3, "max": 2}});
        spec["drain"] = json!({"deadline": "5m", "usersPerSecond": 7});
    });
    let refused = cluster(&wrong).unwrap_err();
    let parting = super::parting(&wrong, refused.clone()).unwrap();
    assert_eq!((parting.spec.drain.deadline_ms, parting.spec.drain.users_per_s), (300_000, Some(7)));
    assert_eq!((&parting.flaws, &parting.spec.shape), (&refused, &shape::hash(&wrong)));
    let worse = spec(|spec| spec["drain"] = json!({"deadline": "soon"}));
    let parting = super::parting(&worse, cluster(&worse).unwrap_err()).unwrap();
    assert_eq!(parting.spec.drain.deadline_ms, 1_800_000);
}

#[test]
fn zero_turns_a_reason_to_halt_off() {
    let halt = json!({"haltWhen": {"errorPercent": 0, "p99Ms": 0, "restarts": 0}});
    let validated = cluster(&spec(|spec| spec["rollout"] = halt)).unwrap();
    let off = HaltWhen { error_percent: None, p99_ms: None, restarts: None };
    assert_eq!(validated.spec.rollout.halt, off);
}

#[test]
fn what_an_older_crd_let_through_is_refused_as_a_whole() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|spec| spec["drain"] = json!({"deadline": "soon"}), "spec.drain.deadline"),
        (|spec| spec["gateway"] = json!({"replicas": {"min": 0}}), "spec.gateway.replicas"),
        (|spec| spec["message"] = json!({"replicas": {"min": 9, "max": 3}}), "spec.message.replicas"),
        (|spec| spec["chatroom"] = json!({"pressure": {"members": 0}}), "spec.chatroom.pressure"),
        (|spec| spec["gateway"] = json!({"behavior": {"scaleUp": {"policies": []}}}), "spec.gateway.behavior"),
        (|spec| spec["events"] = json!([event("2026-12-31T20:00:00Z", "UTC")]), "spec.events[0].start"),
    ];
    for (change, path) in cases {
        let refused = cluster(&spec(change)).unwrap_err();
        assert_eq!(
            refused.iter().map(|flaw| (flaw.path.as_str(), flaw.reason)).collect::<Vec<_>>(),
            [(path, Reason::NotAdmitted)]
        );
    }
}

fn action_of(spec: &Value) -> Result<Action, Vec<Flaw>> {
    let object = json!({
        "apiVersion": "throng.dev/v1alpha1",
        "kind": "ChatroomOperation",
        "metadata": {"name": "one", "uid": "u1", "creationTimestamp": "2026-12-31T12:00:00Z"},
        "spec": spec,
    });
    let object: ChatroomOperation = serde_json::from_value(object).unwrap();
    let operation = operation(&object)?;
    assert_eq!((operation.name.as_str(), operation.uid.as_str()), ("one", "u1"));
    assert_eq!((operation.asked_at, operation.ttl_ms), (Millis(1_798_718_400_000), 86_400_000));
    Ok(operation.action)
}

#[test]
fn an_operation_is_one_action() {
    let drain = |whom: &Value| action_of(&json!({"cluster": "live", "drain": whom}));
    assert_eq!(action_of(&json!({"cluster": "live", "pause": {}})), Ok(Action::Pause));
    assert_eq!(action_of(&json!({"cluster": "live", "promote": {}})), Ok(Action::Promote));
    assert_eq!(action_of(&json!({"cluster": "live", "resume": {}})), Ok(Action::Resume));
    assert_eq!(action_of(&json!({"cluster": "live", "rebalance": {}})), Ok(Action::Rebalance));
    let rollback = Action::Rollback { to: Some(3), pace: Pace::Gentle };
    assert_eq!(action_of(&json!({"cluster": "live", "rollback": {"to": 3, "pace": "Gentle"}})), Ok(rollback));
    let rollback = Action::Rollback { to: None, pace: Pace::Fast };
    assert_eq!(action_of(&json!({"cluster": "live", "rollback": {}})), Ok(rollback));
    assert_eq!(drain(&json!({"pods": ["a", "b"]})), Ok(Action::Drain(Whom::Pods(vec!["a".into(), "b".into()]))));
    assert_eq!(drain(&json!({"zone": "a"})), Ok(Action::Drain(Whom::Zone("a".into()))));
    let nodes = Whom::Nodes(vec![("pool".into(), "old".into())]);
    assert_eq!(drain(&json!({"nodeSelector": {"pool": "old"}})), Ok(Action::Drain(nodes)));
}

#[test]
fn an_operation_that_is_none_or_two_actions_is_refused() {
    assert!(action_of(&json!({"cluster": "live"})).is_err());
    assert!(action_of(&json!({"cluster": "live", "pause": {}, "resume": {}})).is_err());
    assert!(action_of(&json!({"cluster": "live", "drain": {}})).is_err());
    assert!(action_of(&json!({"cluster": "live", "drain": {"zone": "a", "pods": ["b"]}})).is_err());
}

#[test]
fn every_reason_has_a_text_of_one_word() {
    for reason in Reason::ALL {
        assert_eq!(reason.as_str(), format!("{reason:?}"));
    }
}
