use std::path::Path;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use throng_core::Role;
use throng_crds::admit::admit;
use throng_crds::{ChatroomCluster, ChatroomClusterSpec, shape};
use throng_plan::spec::ShapeHash;

use super::pod::Birth;
use super::*;

/// The cluster of an example, as an API server stores it.
fn example(name: &str) -> ChatroomCluster {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_value(admit(serde_saphyr::from_str(&text).unwrap(), None).unwrap()).unwrap()
}

fn owner(spec: &ChatroomClusterSpec) -> Owner<'_> {
    Owner { namespace: "show", name: "live", uid: "0000-11", spec }
}

fn yaml(object: &impl Serialize) -> String {
    // Through a value, so that fields stand in one order whatever the types do.
    serde_saphyr::to_string(&serde_json::to_value(object).unwrap()).unwrap()
}

fn birth(role: Role) -> Birth<'static> {
    let name = match role {
        Role::Gateway => "live-gateway-3-0",
        Role::Chatroom => "live-chatroom-3-0",
        Role::Message => "live-message-3-0",
    };
    Birth { name, role, revision: 3, index: 0, zone: "eu-1a" }
}

#[test]
fn the_pods_of_the_examples_are_these() {
    for example_name in ["minimal", "event", "canary"] {
        let cluster = example(&format!("{example_name}.yaml"));
        for role in Role::ALL {
            let pod = pod::pod(&owner(&cluster.spec), &birth(role));
            insta::assert_snapshot!(format!("{example_name}-{role}"), yaml(&pod));
        }
    }
}

#[test]
fn what_stands_beside_the_pods_of_an_event_is_this() {
    let cluster = example("event.yaml");
    let owner = owner(&cluster.spec);
    let hash = shape::hash(&cluster.spec);
    let all = [
        yaml(&service::gateway(&owner)),
        yaml(&budget::budget(&owner, "live-gateway", Role::Gateway, 2)),
        yaml(&policy::policy(&owner, Role::Gateway)),
        yaml(&policy::policy(&owner, Role::Chatroom)),
        yaml(&revision::revision(&owner, "live-3", 3, &hash)),
        yaml(&keys::secret(&owner, "live-pod-key", [[7; 32], [8; 32]])),
    ];
    insta::assert_snapshot!("event-objects", all.join("---\n"));
}

#[test]
fn every_pod_meets_restricted_pod_security() {
    for example_name in ["minimal.yaml", "event.yaml", "canary.yaml"] {
        let cluster = example(example_name);
        for role in Role::ALL {
            let pod = serde_json::to_value(pod::pod(&owner(&cluster.spec), &birth(role))).unwrap();
            let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]["securityContext"]);
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(container["allowPrivilegeEscalation"], false);
            assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
            assert_eq!(container["readOnlyRootFilesystem"], true);
            assert_eq!(spec["automountServiceAccountToken"], false);
            assert!(["hostNetwork", "hostPID", "hostIPC"].iter().all(|host| spec[host].is_null()));
            let volumes = spec["volumes"].as_array().unwrap();
            assert!(volumes.iter().all(|volume| volume["secret"].is_object()), "only Secrets are mounted");
        }
    }
}

#[test]
fn a_pod_gets_its_drain_and_a_minute_to_end() {
    let mut cluster = example("minimal.yaml");
    cluster.spec.drain.deadline = throng_crds::span::Span::new("90s");
    let pod = pod::pod(&owner(&cluster.spec), &birth(Role::Message));
    assert_eq!(pod.spec.unwrap().termination_grace_period_seconds, Some(150));
}

#[test]
fn a_toleration_of_people_replaces_that_of_the_operator() {
    let mut cluster = example("minimal.yaml");
    let key = Some("node.kubernetes.io/unreachable".to_owned());
    let given = k8s_openapi::api::core::v1::Toleration {
        key: key.clone(),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(300),
        ..Default::default()
    };
    cluster.spec.gateway.template.tolerations = vec![given.clone()];
    let pod = pod::pod(&owner(&cluster.spec), &birth(Role::Gateway));
    let tolerations = pod.spec.unwrap().tolerations.unwrap();
    let unreachable: Vec<_> = tolerations.iter().filter(|toleration| toleration.key == key).collect();
    assert_eq!(unreachable, [&given]);
    assert_eq!(tolerations.len(), 2);
}

#[test]
fn labels_of_people_never_replace_those_of_the_operator() {
    let mut cluster = example("minimal.yaml");
    let labels = &mut cluster.spec.gateway.template.labels;
    labels.insert("team".into(), "live".into());
    labels.insert(crate::names::ROLE.into(), "chatroom".into());
    let pod = pod::pod(&owner(&cluster.spec), &birth(Role::Gateway));
    let labels = pod.metadata.labels.unwrap();
    assert_eq!((labels["team"].as_str(), labels[crate::names::ROLE].as_str()), ("live", "gateway"));
}

#[test]
fn every_secret_that_is_mounted_is_named_and_looked_for() {
    let cluster = example("event.yaml");
    let named: Vec<&str> = secrets(&cluster.spec).iter().map(|named| named.name).collect();
    for role in Role::ALL {
        let pod = pod::pod(&owner(&cluster.spec), &birth(role));
        for volume in pod.spec.unwrap().volumes.unwrap() {
            let secret = volume.secret.unwrap().secret_name.unwrap();
            assert!(secret == "live-pod-key" || named.contains(&secret.as_str()), "{secret}");
        }
    }
    assert_eq!(named, ["live-auth", "live-api", "redis", "etcd-ca", "etcd-client", "redis-ca"]);
}

#[test]
fn an_old_revision_is_restored_with_the_hot_fields_of_today() {
    let old = example("minimal.yaml").spec;
    let mut present = example("event.yaml").spec;
    present.gateway.settings.insert("limits.frames_per_s".into(), "50".into());
    let restored = revision::restored(&present, &revision::shaping(&old)).unwrap();
    assert_eq!(shape::hash(&restored), shape::hash(&old));
    assert_eq!(restored.image, old.image);
    assert_eq!(restored.gateway.settings, old.gateway.settings);
    assert_eq!((&restored.events, &restored.gateway.replicas), (&present.events, &present.gateway.replicas));
    assert_eq!(revision::restored(&present, &json!({"image": 7})), None);
}

#[test]
fn an_object_as_an_api_server_completes_it_is_as_it_was_written() {
    let cluster = example("event.yaml");
    let wanted = service::gateway(&owner(&cluster.spec));
    let mut found = serde_json::to_value(&wanted).unwrap();
    found["metadata"]["resourceVersion"] = json!("77");
    found["metadata"]["annotations"]["cloud/id"] = json!("lb-1");
    found["spec"]["clusterIP"] = json!("10.0.0.9");
    found["spec"]["ports"][0]["nodePort"] = json!(31234);
    found["status"] = json!({"loadBalancer": {}});
    assert!(drift::is_as_rendered(&wanted, &found));
}

#[test]
fn every_edit_of_what_the_operator_wrote_is_seen() {
    let cluster = example("event.yaml");
    let wanted = serde_json::to_value(service::gateway(&owner(&cluster.spec))).unwrap();
    let edits: [(&str, Value); 6] = [
        ("/spec/selector", json!({"throng.dev/cluster": "live"})),
        (
            "/spec/selector",
            json!({"throng.dev/cluster": "live", "throng.dev/role": "gateway",
            "throng.dev/serving": "true", "extra": "label"}),
        ),
        ("/spec/ports/0/port", json!(81)),
        ("/spec/ports", json!([])),
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/labels", json!({})),
    ];
    for (place, value) in edits {
        let mut found = wanted.clone();
        *found.pointer_mut(place).unwrap() = value;
        assert!(!drift::is_as_rendered(&wanted, &found), "{place}");
    }
}

proptest! {
    /// A text comes out of its quotes as it went in, whatever is in it.
    #[test]
    fn settings_survive_the_reader(audience in "[ -~]{1,40}", origin in "[!-~]{1,40}") {
        let mut cluster = example("minimal.yaml");
        cluster.spec.auth.jwt.audience = Some(audience.clone());
        cluster.spec.auth.origins = vec![origin.clone(), "https://b".into()];
        let pod = pod::pod(&owner(&cluster.spec), &birth(Role::Gateway));
        let args = pod.spec.unwrap().containers.remove(0).args.unwrap();
        let sets: Vec<String> = args[1..].iter().filter(|arg| *arg != "--set").cloned().collect();
        let read: Value = {
            #[derive(Default, serde::Serialize, serde::Deserialize)]
            struct Any { #[serde(flatten)] all: std::collections::BTreeMap<String, Value> }
            let sources = throng_node::config::Sources { file: None, sets };
            serde_json::to_value(throng_node::config::load::<Any>(&sources).unwrap().all).unwrap()
        };
        prop_assert_eq!(&read["gateway"]["auth"]["audience"], &json!(audience));
        prop_assert_eq!(&read["gateway"]["origins"], &json!([origin, "https://b"]));
        prop_assert_eq!(&read["node"]["revision"], &json!("3"));
    }
}

#[test]
fn the_hash_of_a_rendered_object_changes_with_it_alone() {
    let cluster = example("event.yaml");
    let mut other = cluster.clone();
    other.spec.gateway.service.port = 444;
    let hash = |spec: &ChatroomClusterSpec| drift::hash(&service::gateway(&owner(spec)));
    assert_eq!(hash(&cluster.spec), hash(&cluster.spec.clone()));
    assert_ne!(hash(&cluster.spec), hash(&other.spec));
    let hash = ShapeHash::new("abc");
    let stored = revision::revision(&owner(&cluster.spec), "live-3", 3, &hash);
    assert_eq!(stored.revision, 3);
}
