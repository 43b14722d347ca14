//! What pressure does to a pool, told one by one.

use throng_core::Role;
use throng_plan::plan::Reason;
use throng_plan::pools::Pools;
use throng_plan::spec::Event;
use throng_plan::status::{Condition, Holds, Utc};

use crate::pool::{Pool, utc};

fn condition<'a>(conditions: &'a [Condition], kind: &str) -> &'a Condition {
    conditions.iter().find(|condition| condition.kind == kind).unwrap()
}

#[test]
fn a_flash_crowd_of_twenty_times_in_a_minute_finds_room_soon_after_it_has_come() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    pool.run(120, |_| 150);
    assert_eq!(pool.wanted.last(), Some(&2));
    pool.run(60, |second| 150 + 2850 * (second + 1) / 60);
    let late = (0..120).take_while(|_| {
        pool.run(1, |_| 3000);
        pool.capacity() < 3000
    });
    let late = late.count() as u64;
    assert!(late <= pool.start_s + 3, "room for all {late} s after the last has come");
    pool.run(60, |_| 3000);
    let size = *pool.wanted.last().unwrap();
    assert!((34..=50).contains(&size), "{size} Pods for the load of 30: {}", pool.why());
    assert_eq!(pool.cut, 0);
}

#[test]
fn with_a_sawtooth_of_two_minutes_the_pool_keeps_the_size_of_its_peaks() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    let saw = |second: u64| 200 + (second % 120) * 10;
    pool.run(600, saw);
    let size = *pool.wanted.last().unwrap();
    pool.wanted.clear();
    pool.run(1200, saw);
    assert!(pool.wanted.iter().all(|wanted| *wanted == size), "it was {size}: {:?}", pool.wanted);
    assert_eq!(pool.turns(), (vec![], vec![]));
    pool.run(700, |_| 200);
    assert_eq!((pool.wanted.last(), pool.draining(), pool.cut), (Some(&3), 0, 0), "{}", pool.why());
}

#[test]
fn in_a_blackout_of_samples_nothing_shrinks_and_the_condition_says_so() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    pool.run(100, |_| 1000);
    let size = *pool.wanted.last().unwrap();
    pool.blackout = true;
    // Samples are believed for 15 s; by then everybody has gone, and nobody says so.
    pool.wanted.clear();
    let plan = pool.run(900, |_| 10);
    assert!(pool.wanted.iter().all(|wanted| *wanted == size), "{:?}", pool.wanted);
    assert_eq!(pool.draining(), 0);
    let stale = condition(&plan.conditions, "MetricsStale");
    assert_eq!((stale.status, stale.reason.as_str()), (Holds::True, Reason::SamplesMissing.as_str()));
    assert!(stale.message.ends_with("more of its pool; gateway does not shrink"), "{}", stale.message);
    assert!(pool.why().ends_with("do not say what they carry, so it does not shrink"), "{}", pool.why());
    assert!(plan.status.pools.gateway.memo.frozen_since.is_some());
    pool.blackout = false;
    let plan = pool.run(290, |_| 10);
    assert_eq!((pool.wanted.last(), &plan.status.pools.gateway.memo.frozen_since), (Some(&size), &None));
    assert_eq!(condition(&plan.conditions, "MetricsStale").status, Holds::False);
    pool.run(60, |_| 10);
    assert_eq!((pool.wanted.last(), pool.cut), (Some(&2), 0), "after the blackout a whole window must pass");
}

#[test]
fn a_drain_that_waits_when_the_samples_end_is_not_begun() {
    let mut pool = Pool::grown(2, 1000);
    pool.world.status.pools.gateway.wanted = 3;
    let mut blind = pool.world.clone();
    blind.samples.clear();
    assert_eq!(throng_plan::plan(&blind).status.drains, []);
    for sample in pool.world.samples.values_mut() {
        sample.load.insert("connections".into(), 10.0);
        sample.left = 10;
    }
    assert_ne!(throng_plan::plan(&pool.world).status.drains, []);
}

#[test]
fn samples_that_contradict_themselves_are_not_believed() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    pool.run(100, |_| 1000);
    let size = *pool.wanted.last().unwrap();
    for _ in 0..400 {
        pool.run(1, |_| 1000);
        // As after a restart of what counts: zero, while the connections are all there.
        for sample in pool.world.samples.values_mut() {
            sample.load.insert("connections".into(), 0.0);
            sample.left = 100;
        }
        let plan = throng_plan::plan(&pool.world);
        assert_eq!(plan.status.pools.gateway.wanted, size);
        assert_eq!(condition(&plan.conditions, "MetricsStale").reason, Reason::SamplesContradict.as_str());
        pool.world.status = plan.status;
    }
    for (load, left) in [(f64::NAN, 5), (f64::INFINITY, 5), (-1.0, 5), (500.0, 0)] {
        let mut world = pool.world.clone();
        for sample in world.samples.values_mut() {
            sample.load.insert("connections".into(), load);
            sample.left = left;
        }
        let plan = throng_plan::plan(&world);
        assert_eq!(condition(&plan.conditions, "MetricsStale").reason, Reason::SamplesContradict.as_str(), "{load}");
    }
}

#[test]
fn a_hot_pod_makes_the_pool_grow_while_the_mean_is_low_and_not_without_end() {
    let mut pool = Pool::new(Role::Gateway, 5, 60);
    pool.run(40, |_| 350);
    let uid = pool.serving()[0].clone();
    pool.users.insert(uid, 170);
    pool.run(5, |_| 450);
    assert!(pool.wanted.last() > Some(&5), "{}", pool.why());
    assert!(pool.why().contains("the hottest Pods carry 170 %"), "{}", pool.why());
    pool.run(200, |_| 450);
    assert_eq!(pool.wanted.last(), Some(&8), "half as much again as the load asks for, at most");
}

#[test]
fn a_slot_that_is_too_hot_counts_for_one_pod_and_is_told_of() {
    let mut pool = Pool::new(Role::Chatroom, 3, 60);
    pool.run(30, |_| 0);
    let uid = pool.serving()[0].clone();
    pool.heat(&uid, 900);
    let plan = pool.run(60, |_| 900);
    assert_eq!(pool.wanted.last(), Some(&3), "{}", pool.why());
    let hot = condition(&plan.conditions, "RoomTooHot");
    assert_eq!((hot.status, hot.reason.as_str()), (Holds::True, Reason::SlotTooHot.as_str()));
    assert_eq!(hot.message, "slot 17 on live-chatroom-1-0 carries 900 % of what one Pod should");
    pool.heat(&uid, 60);
    let plan = pool.run(1, |_| 60);
    assert_eq!(condition(&plan.conditions, "RoomTooHot").status, Holds::False);
}

#[test]
fn draining_pods_come_back_when_demand_returns_and_no_pod_is_made() {
    let mut pool = Pool::grown(2, 1000);
    let made = pool.made;
    pool.pace = 0;
    pool.run(330, |_| 150);
    let draining = pool.draining();
    assert!(draining >= 6, "{draining} are drained: {}", pool.why());
    pool.run(5, |_| 600);
    assert!(pool.undrained >= 2, "{} came back: {}", pool.undrained, pool.why());
    assert_eq!(pool.made, made, "those without users had gone already, and nobody took their place");
}

#[test]
fn the_load_of_draining_pods_counts_so_that_scale_in_does_not_run_away() {
    let mut pool = Pool::grown(1, 1000);
    pool.pace = 1;
    pool.run(400, |_| 500);
    // Six by the load; one more while those that take the users in are the hottest.
    let size = *pool.wanted.last().unwrap();
    assert!((6..=7).contains(&size), "{size}: {}", pool.why());
    assert!(pool.wanted.iter().all(|wanted| *wanted >= 6), "{:?}", pool.wanted);
}

#[test]
fn an_event_across_daylight_saving_has_its_pods_from_its_ramp_to_its_end() {
    // Local time in Berlin, 2027-03-28: 02:30 is skipped, so the event begins at 03:30 in summer time. Its ramp began before
    // the change of clocks, and an hour of wall clock between them is none.
    let event = |name: &str, ramp: &str, start: &str, end: &str, floor| Event {
        name: name.into(),
        ramp_at: utc(ramp),
        starts_at: utc(start),
        ends_at: utc(end),
        floor: Pools { gateway: floor, ..Pools::default() },
    };
    let mut pool = Pool::new(Role::Gateway, 2, 30);
    pool.world.spec.events = vec![
        event("night", "2027-03-28T00:45:00Z", "2027-03-28T01:30:00Z", "2027-03-28T02:30:00Z", 9),
        event("encore", "2027-03-28T02:00:00Z", "2027-03-28T02:10:00Z", "2027-03-28T03:00:00Z", 40),
    ];
    for (at, wanted, why) in [
        ("2027-03-28T00:44:57Z", 2, "the smallest number of the spec"),
        ("2027-03-28T00:44:59Z", 9, "the event night asks for them"),
        ("2027-03-28T00:59:59Z", 9, "the event night asks for them"),
        ("2027-03-28T01:00:00Z", 9, "the event night asks for them"),
        ("2027-03-28T01:59:57Z", 9, "the event night asks for them"),
        ("2027-03-28T01:59:59Z", 30, "the largest number of the spec, although 40 are asked for"),
        ("2027-03-28T02:30:00Z", 30, "the largest number of the spec, although 40 are asked for"),
        ("2027-03-28T02:59:57Z", 30, "the largest number of the spec, although 40 are asked for"),
    ] {
        // The look is a second later.
        pool.world.now = Utc(utc(at));
        pool.run(1, |_| 20);
        assert_eq!(pool.wanted.last(), Some(&wanted), "{at}: {}", pool.why());
        pool.run(1, |_| 20);
        assert_eq!(pool.why(), format!("{wanted} wanted: {why}"), "{at}");
    }
    pool.run(400, |_| 20);
    assert_eq!((pool.wanted.last(), pool.draining(), pool.cut), (Some(&2), 0, 0), "then pressure decides");
}

#[test]
fn an_operator_that_lost_its_status_or_slept_begins_with_the_size_that_it_finds() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    pool.run(100, |_| 1000);
    let size = *pool.wanted.last().unwrap();
    let mut slept = pool.clone();
    slept.world.now = Utc(slept.world.now.0 + 3_600_000);
    pool.world.status = throng_plan::status::ClusterStatus::default();
    for mut pool in [pool, slept] {
        pool.wanted.clear();
        pool.run(280, |_| 10);
        assert!(pool.wanted.iter().all(|wanted| *wanted == size), "{:?}", pool.wanted);
        pool.run(60, |_| 10);
        assert_eq!(pool.wanted.last(), Some(&2), "{}", pool.why());
    }
}

#[test]
fn a_second_look_at_the_same_world_changes_nothing_more() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    for load in [150, 1000, 400, 3000, 10] {
        for _ in 0..40 {
            let plan = pool.run(1, |_| load);
            let mut again = pool.world.clone();
            again.status = plan.status.clone();
            let second = throng_plan::plan(&again);
            assert_eq!(second.status.pools.gateway.wanted, plan.status.pools.gateway.wanted);
        }
    }
    assert!(pool.names().len() > 30);
}

#[test]
fn the_start_of_pods_is_learned_and_the_history_stays_small() {
    let mut pool = Pool::new(Role::Gateway, 2, 60);
    pool.start_s = 12;
    pool.run(120, |_| 1000);
    let memo = &pool.world.status.pools.gateway.memo;
    assert_eq!(memo.starts_ms.last(), Some(&12_000));
    pool.run(2000, |second| 200 + (second * 37) % 900);
    let memo = &pool.world.status.pools.gateway.memo;
    assert!(memo.buckets.len() <= 32 && memo.starts_ms.len() <= 20);
    let text = serde_json::to_string(memo).unwrap();
    assert!(text.len() < 5000, "{} bytes", text.len());
}
