//! Actions against an API server of a few lines: it keeps objects, and knows of preconditions what is needed here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use throng_core::Role;
use throng_crds::validate;
use throng_plan::status::Utc;
use throng_plan::world::Object;
use throng_runtime::registry::Activities;
use tokio::time::Instant;

use super::*;
use crate::example::cluster;
use crate::kube_api::Observer;
use crate::options::Scope;
use crate::render::pod::Birth;
use crate::render::{budget, pod, policy, revision, service};
use crate::snapshot::{Sight, world};
use crate::watch::Hub;

/// What the API server keeps, by plural and name, and what it was asked for.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    calls: Vec<String>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |call: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = call.into_parts();
                let query = head.uri.query().unwrap_or_default();
                // Watches and what they list first: nothing is ever told.
                if head.method == Method::GET && !query.contains("fieldSelector=") {
                    std::future::pending::<()>().await;
                }
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.answer(&head.method, head.uri.path(), query, body);
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(service, "show")
    }

    fn answer(&self, method: &Method, path: &str, query: &str, body: Value) -> (u16, Value) {
        let kept = &mut *self.0.lock().unwrap();
        let mut parts = path.split("/namespaces/show/").nth(1).unwrap().split('/');
        let (plural, name) = (parts.next().unwrap(), parts.next().map(ToOwned::to_owned));
        let searched = || query.split("metadata.name%3D").nth(1)?.split('&').next().map(ToOwned::to_owned);
        let posted = body["metadata"]["name"].as_str().map(ToOwned::to_owned);
        let key = format!("{plural}/{}", name.or(posted).or_else(searched).unwrap());
        kept.calls.push(format!("{method} {key}"));
        let found = kept.objects.get(&key).cloned();
        if *method == Method::GET {
            let list = json!({"kind": "PartialObjectMetadataList", "metadata": {}, "items": found.as_slice()});
            return (200, list);
        }
        let uid = &body["metadata"]["uid"];
        let refused = |reason: &str| {
            let status =
                json!({"kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": 409});
            (409, status)
        };
        match (method, &found) {
            (&Method::POST, Some(_)) => return refused("AlreadyExists"),
            (&Method::PATCH, found)
                if !uid.is_null() && found.as_ref().is_none_or(|f| f["metadata"]["uid"] != *uid) =>
            {
                return refused("Conflict");
            }
            _ => {}
        }
        let mut object = found.unwrap_or_else(|| json!({"metadata": {"uid": "made"}}));
        merge(&mut object, body);
        kept.objects.insert(key, object.clone());
        (200, object)
    }

    fn keep(&self, plural: &str, object: &impl serde::Serialize) {
        let mut object = serde_json::to_value(object).unwrap();
        object["metadata"]["uid"] = json!("there");
        let name = object["metadata"]["name"].as_str().unwrap();
        let key = format!("{plural}/{name}");
        self.0.lock().unwrap().objects.insert(key, object);
    }

    fn kept(&self, key: &str) -> Value {
        self.0.lock().unwrap().objects[key].clone()
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

/// Does one action on what was seen.
async fn does(server: &Server, objects: &Objects, action: Action) -> Result<(), String> {
    let (cluster, observer) = (cluster(), Observer::default());
    let clients = Clients { usual: server.client(), strict: server.client() };
    let mut tasks = tokio::task::JoinSet::new();
    let scope = Scope::Namespaces(vec!["show".into()]);
    let watches = Watches::start(&clients.usual, &scope, &Hub::default(), &mut tasks);
    let validated = validate::cluster(&cluster.spec).unwrap();
    let world = world(&Sight {
        now: Utc::default(),
        cluster: &cluster,
        validated: &validated,
        leader_epoch: 0,
        objects,
        nodes: &[],
        operations: &[],
        has_keys: true,
        view: None,
        activities: &Activities::default(),
        samples: &BTreeMap::default(),
        conditions: &[],
    });
    let mut hands = Hands {
        clients: &clients,
        watches: &watches,
        term: Term { number: 1, until: Instant::now() + Duration::from_secs(10) },
        cluster: &cluster,
        objects,
        world: &world,
        registry: None,
        pod_key: None,
        heard: &Heard::default(),
        metrics: &Metrics::new(observer),
        before: Before { drains: &[], at_rest: &std::collections::BTreeSet::new() },
        told: Vec::new(),
    };
    let undone = hands.together(&[&action]).await.remove(0);
    undone.map_err(|undone| {
        let passing = if undone.failure.is_passing() { "passing: " } else { "" };
        format!("{passing}{}", undone.failure)
    })
}

/// What the operator writes by name, with how it is made: each as an action, its plural, and the object as it should be.
fn writes() -> Vec<(Action, &'static str, Value)> {
    let cluster = cluster();
    let owner = owner(&cluster);
    let name = "live-gateway".to_owned();
    let (hash, shape) = ("1".to_owned(), throng_crds::shape::hash(&cluster.spec));
    let birth = Birth { name: "live-gateway-1-0", role: Role::Gateway, revision: 1, index: 0, zone: "" };
    vec![
        (
            Action::Apply(Object::Service { name: name.clone(), hash: hash.clone() }),
            "services",
            value(&service::gateway(&owner)),
        ),
        (
            Action::Apply(Object::NetworkPolicy { name: name.clone(), hash }),
            "networkpolicies",
            value(&policy::policy(&owner, Role::Gateway)),
        ),
        (
            Action::Apply(Object::PodDisruptionBudget { name: name.clone(), role: Role::Gateway, min_available: 1 }),
            "poddisruptionbudgets",
            value(&budget::budget(&owner, &name, Role::Gateway, 1)),
        ),
        (
            Action::Apply(Object::ControllerRevision { name: "live-1".into(), number: 1, hash: shape.clone() }),
            "controllerrevisions",
            value(&revision::revision(&owner, "live-1", 1, &shape)),
        ),
        (
            Action::CreatePod { name: birth.name.into(), role: birth.role, revision: 1, index: 0, zone: String::new() },
            "pods",
            value(&pod::pod(&owner, &birth)),
        ),
    ]
}

fn value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

fn key(plural: &str, object: &Value) -> String {
    format!("{plural}/{}", object["metadata"]["name"].as_str().unwrap())
}

#[tokio::test]
async fn what_is_not_there_is_made() {
    for (action, plural, wanted) in writes() {
        let server = Server::default();
        assert_eq!(does(&server, &Objects::default(), action).await, Ok(()), "{plural}");
        assert_eq!(server.kept(&key(plural, &wanted))["metadata"]["ownerReferences"][0]["uid"], "c1", "{plural}");
    }
}

#[tokio::test]
async fn what_is_of_somebody_else_is_left_as_it_is_and_told_of() {
    let deployment =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true}]);
    for (action, plural, mut object) in writes() {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let (kind, server) = (object["kind"].as_str().unwrap().to_owned(), Server::default());
        object["metadata"] = json!({"name": name, "labels": {"app": "web"}});
        server.keep(plural, &object);
        let before = server.kept(&key(plural, &object));
        let told = does(&server, &Objects::default(), action.clone()).await;
        assert_eq!(told, Err(format!("{kind} {name} exists and is not ours: rename or delete it")));
        object["metadata"]["ownerReferences"] = deployment.clone();
        server.keep(plural, &object);
        let told = does(&server, &Objects::default(), action).await.unwrap_err();
        assert_eq!(told, format!("{kind} {name} exists and is not ours but of ReplicaSet web: rename or delete it"));
        object["metadata"]["ownerReferences"].take();
        let mut now = server.kept(&key(plural, &object));
        now["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        assert_eq!(now, before, "{plural}");
        assert!(server.calls().iter().all(|call| !call.starts_with("PATCH")), "{plural}");
    }
}

#[tokio::test]
async fn what_is_ours_and_was_not_seen_is_taken_back() {
    for (action, plural, wanted) in writes() {
        for (at, metadata) in [
            // It has lost its labels, and then its owner instead.
            json!({"name": wanted["metadata"]["name"], "ownerReferences": wanted["metadata"]["ownerReferences"]}),
            json!({"name": wanted["metadata"]["name"], "labels": wanted["metadata"]["labels"]}),
        ]
        .into_iter()
        .enumerate()
        {
            let (server, mut object) = (Server::default(), wanted.clone());
            object["metadata"] = metadata;
            server.keep(plural, &object);
            assert_eq!(does(&server, &Objects::default(), action.clone()).await, Ok(()), "{plural} {at}");
            let now = server.kept(&key(plural, &wanted));
            for field in ["labels", "ownerReferences"] {
                assert_eq!(now["metadata"][field], wanted["metadata"][field], "{plural} {at}");
            }
            assert_eq!(now["metadata"]["uid"], "there", "{plural} {at}: it is the same");
        }
    }
}

#[tokio::test]
async fn a_pod_that_the_watch_has_not_told_of_yet_is_left_as_it_is() {
    let writes = writes();
    let (action, plural, wanted) = writes.last().unwrap();
    let server = Server::default();
    server.keep(plural, wanted);
    assert_eq!(does(&server, &Objects::default(), action.clone()).await, Ok(()));
    assert_eq!(server.calls(), ["POST pods/live-gateway-1-0", "GET pods/live-gateway-1-0"]);
}

#[tokio::test]
async fn what_an_earlier_cluster_of_this_name_left_is_waited_for() {
    for (action, plural, mut object) in writes() {
        let server = Server::default();
        object["metadata"]["ownerReferences"][0]["uid"] = json!("c0");
        server.keep(plural, &object);
        let told = does(&server, &Objects::default(), action).await.unwrap_err();
        assert!(
            told.starts_with("passing: ") && told.ends_with("of an earlier cluster of this name, and goes"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_was_seen_is_written_without_a_look_and_only_that() {
    let cluster = cluster();
    let mut service = service::gateway(&owner(&cluster));
    service.metadata.uid = Some("there".into());
    let seen = |service| Objects { services: vec![Arc::new(service)], ..Objects::default() };
    let action = writes().remove(0).0;
    let server = Server::default();
    server.keep("services", &service);
    assert_eq!(does(&server, &seen(service.clone()), action.clone()).await, Ok(()));
    assert_eq!(server.calls(), ["PATCH services/live-gateway"]);
    // It was deleted, and another was made by somebody else.
    service.metadata.uid = Some("gone".into());
    let told = does(&server, &seen(service.clone()), action.clone()).await.unwrap_err();
    assert_eq!(told, "passing: the world has changed: Conflict");
    // It has our label and somebody else's owner.
    service.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
    service.metadata.owner_references.as_mut().unwrap()[0].name = "other".into();
    server.calls();
    let told = does(&server, &seen(service), action).await.unwrap_err();
    assert_eq!(told, "Service live-gateway exists and is not ours but of ChatroomCluster other: rename or delete it");
    assert_eq!(server.calls(), [""; 0]);
}

#[tokio::test]
async fn a_pod_whose_image_or_owner_somebody_changed_is_written_as_it_was_made() {
    let cluster = cluster();
    let shape = throng_crds::shape::hash(&cluster.spec);
    let mut stored = revision::revision(&owner(&cluster), "live-1", 1, &shape);
    stored.metadata.uid = Some("r1".into());
    let (_, plural, as_made) = writes().pop().unwrap();
    let mut pod = as_made.clone();
    pod["metadata"]["uid"] = json!("there");
    pod["metadata"]["ownerReferences"] = json!([]);
    pod["metadata"]["managedFields"] = json!([{"manager": "kubectl-set"}]);
    pod["spec"]["containers"][0]["image"] = json!("throng:edited");
    let server = Server::default();
    server.keep(plural, &pod);
    let objects = Objects {
        pods: vec![Arc::new(serde_json::from_value(pod).unwrap())],
        revisions: vec![Arc::new(stored)],
        ..Objects::default()
    };
    let edited = Edited::Pod { name: "live-gateway-1-0".into(), uid: "there".into() };
    assert_eq!(does(&server, &objects, Action::Restore(edited)).await, Ok(()));
    assert_eq!(server.calls(), ["PATCH pods/live-gateway-1-0"]);
    let now = server.kept("pods/live-gateway-1-0");
    assert_eq!(now["metadata"]["ownerReferences"], as_made["metadata"]["ownerReferences"]);
    assert_eq!(now["spec"]["containers"][0]["image"], "throng:0.1.0");
}
