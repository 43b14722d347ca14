//! What the operator would do, world by world, with its own planner.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use throng_operator::render;
use throng_operator::snapshot::owner;

use super::*;
use crate::seen::Seen;
use crate::text::{Style, render as draw};
use crate::worlds;

/// The cluster at rest as the operator left it, with its Pods, its revision and a finalizer.
fn rest() -> (ChatroomCluster, Live) {
    let Seen { mut cluster, pods, .. } = worlds::at_rest();
    cluster.metadata.finalizers = Some(vec![throng_operator::names::FINALIZER.to_owned()]);
    let reference = json!([{"apiVersion": "throng.dev/v1alpha1", "kind": "ChatroomCluster", "name": "live", "uid": "c1", "controller": true}]);
    let owned = |pod: &Pod| {
        let mut pod = pod.clone();
        pod.metadata.owner_references = serde_json::from_value(reference.clone()).unwrap();
        Arc::new(pod)
    };
    let pods = pods.unwrap().iter().map(owned).collect();
    let hash = throng_crds::shape::hash(&cluster.spec);
    let revision: ControllerRevision = render::revision::revision(&owner(&cluster), "live-7", 7, &hash);
    let objects = Objects { pods, revisions: vec![Arc::new(revision)], ..Objects::default() };
    (cluster, Live { objects, objects_known: false, nodes: None, ..Live::default() })
}

fn report(change: impl FnOnce(&mut ChatroomCluster)) -> Report {
    let (stored, live) = rest();
    let mut wanted = stored.clone();
    change(&mut wanted);
    Report::of(Some(&stored), &wanted, "show", &live, worlds::now()).unwrap()
}

#[test]
fn the_same_yaml_changes_nothing() {
    let report = report(|_| ());
    assert_eq!((report.changes.len(), report.revision, report.next_revision), (0, Some(7), Some(7)));
    assert!(report.steps.iter().all(|step| step.anyway), "{:?}", report.steps);
    let same = |(_, pool): (Role, &Resize)| pool.wanted == pool.then && pool.then == 2;
    assert!(report.pools.iter().all(same), "{:?}", report.pools);
}

#[test]
fn a_hot_change_makes_no_new_revision_and_a_larger_pool_makes_pods() {
    let report = report(|wanted| wanted.spec.gateway.replicas.min = 5);
    assert_eq!((report.revision, report.next_revision), (Some(7), Some(7)));
    assert_eq!((report.pools.gateway.wanted, report.pools.gateway.then), (2, 5));
    assert!(report.steps.iter().any(|step| !step.anyway && step.what.starts_with("make gateway Pods of revision 7")));
    insta::assert_snapshot!("more-gateways", draw(&[report.tree()], Style::PLAIN));
}

#[test]
fn another_image_makes_a_new_revision() {
    let report = report(|wanted| wanted.spec.image = "throng:0.2.0".into());
    assert!(report.changes[0].makes_new_pods);
    assert!(report.steps.iter().any(|step| step.what == "store revision 8"), "{:?}", report.steps);
    assert!(report.steps.iter().any(|step| step.what.contains("Pods of revision 8")), "{:?}", report.steps);
    assert!(!report.steps.iter().any(|step| step.what.starts_with("delete")), "nobody goes before others are there");
}

#[test]
fn a_cluster_that_is_not_there_is_made() {
    let wanted = worlds::cluster(&json!({}));
    let live = Live { objects_known: true, nodes: Some(vec![]), ..Live::default() };
    let report = Report::of(None, &wanted, "show", &live, worlds::now()).unwrap();
    assert_eq!((report.new, report.revision, report.next_revision), (true, None, Some(1)));
    assert!(report.steps.iter().any(|step| step.what.starts_with("make gateway Pods of revision 1: live-gateway-1-0")));
    insta::assert_snapshot!("new", draw(&[report.tree()], Style::PLAIN));
}

#[test]
fn pressure_counts_against_the_bounds_of_the_new_spec() {
    // 24,113 users on two gateways: at 4,000 a Pod they need seven.
    let report = report(|wanted| wanted.spec.gateway.pressure.connections = 4_000);
    assert!(report.pools.gateway.then > 2, "{:?}", report.pools.gateway);
}

#[test]
fn what_no_api_server_would_take_is_refused_and_a_flaw_is_told() {
    let (stored, live) = rest();
    let mut wanted = stored.clone();
    wanted.spec.drain.deadline = throng_crds::span::Span::new("soon");
    let problems = Report::of(Some(&stored), &wanted, "show", &live, worlds::now()).unwrap_err();
    assert_eq!(problems[0].path, "spec.drain.deadline");
    let event = json!({"name": "final", "start": "2027-12-31T20:00:00", "timeZone": "Asia/Atlantis", "hold": "1h", "floor": {"gateway": 4}});
    let flawed = report(|wanted| wanted.spec.events.push(serde_json::from_value(event).unwrap()));
    assert!(flawed.flaws[0].contains("Asia/Atlantis"), "{:?}", flawed.flaws);
}
