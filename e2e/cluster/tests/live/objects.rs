//! Objects that the operator owns: people touch them, two clusters have theirs beside each other, and nothing stays.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{
    EVERYBODY, NAMESPACE, World, apply, call, get, is, items, kubectl, metric, names_and_uids, pods, rest, set_pools,
    spec, until,
};

/// What the operator makes for a cluster.
const KINDS: [&str; 6] =
    ["pods", "services", "poddisruptionbudgets", "networkpolicies", "controllerrevisions", "secrets"];
/// An edit is undone and a deletion made good by then.
const SOON: Duration = Duration::from_secs(20);
/// The operator reads Secrets twice a minute, as it may not watch them.
const SECRET_SOON: Duration = Duration::from_secs(90);
/// So often something is touched, that the operator looks.
const TOUCH: Duration = Duration::from_secs(3);
/// A kubelet brings a Secret to its Pods, and Pods look every five seconds.
const DELIVERED: Duration = Duration::from_secs(15);
/// Entry of the Secret that Pods prove themselves to each other with.
const POD_KEY: &str = "pod-key";

/// Edits are undone, what is deleted comes back, a deleted Pod is replaced; people notice nothing of it.
pub(crate) fn edits(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: EVERYBODY, name: "edits", may_cut: false })?;
    let began = Instant::now();
    let key = second_key("live-pod-key")?;
    edit("service/live-gateway", r#"{"spec":{"selector":{"throng.dev/role":"nobody"}}}"#, "/spec/selector")?;
    edit("poddisruptionbudget/live-chatroom", r#"{"spec":{"minAvailable":9}}"#, "/spec/minAvailable")?;
    edit("networkpolicy/live-message", r#"{"spec":{"ingress":[]}}"#, "/spec/ingress")?;
    let gateways = pods("throng.dev/cluster=live,throng.dev/role=gateway")?;
    let gateway = gateways.first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no gateway")?;
    let unlabel = r#"{"metadata":{"labels":{"throng.dev/serving":null}}}"#;
    edit(&format!("pod/{gateway}"), unlabel, "/metadata/labels/throng.dev~1serving")?;
    labels(gateway)?;
    for object in ["service/live-gateway", "poddisruptionbudget/live-gateway", "networkpolicy/live-chatroom"] {
        comes_back(object)?;
    }
    revision()?;
    for role in ["message", "chatroom", "gateway"] {
        let pod = get(&format!("pods -l throng.dev/cluster=live,throng.dev/role={role}"))?;
        let name = items(&pod).first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no Pod")?.to_owned();
        kubectl(&format!("delete pod {name} --wait=false"))?;
        until("the deleted Pod is noticed", SOON, || {
            let pods = get("pods -l throng.dev/cluster=live")?;
            let others = items(&pods).iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count();
            ensure!(others >= 6, "{others} Pods stay");
            Ok(())
        })?;
        rest("live")?;
    }
    let took = began.elapsed();
    // What people put into a Secret of keys is theirs: it is followed, not undone.
    ensure!(get("secret/live-pod-key")?["data"] == key, "the keys were written anew");
    let report = people.leave()?;
    Ok(Said::Well(format!("all as it was after {:.0} s; {}", took.as_secs_f64(), words(&report))))
}

/// Two clusters share a namespace, Redis and etcd. One is deleted while people are on it: they are asked to go, all of it goes, and
/// the other is as before.
pub(crate) fn two_clusters(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    apply(&spec("other", [2, 1, 1], 30081, "").replace("deadline: 60s", "deadline: 20s"))?;
    rest("other")?;
    let (served, keys) = (names_and_uids("other")?, get("secret/other-pod-key")?);
    kubectl("delete secret other-pod-key")?;
    let here = world.people(Wish { cluster: "live", count: 250, name: "same", may_cut: false })?;
    let there = world.people(Wish { cluster: "other", count: 250, name: "same", may_cut: true })?;
    let connections = |cluster: &str| -> Result<f64> {
        Ok(metric(cluster, "gateway", "throng_gateway_connections")?.iter().map(|(_, count)| *count).sum())
    };
    until("each has its own people", Duration::from_secs(20), || {
        let (live, other) = (connections("live")?, connections("other")?);
        ensure!((live - 250.0).abs() < 0.5 && (other - 250.0).abs() < 0.5, "{live} and {other} people");
        Ok(())
    })?;
    new_keys("other", &keys)?;
    ensure!(served == names_and_uids("other")?, "new keys have changed Pods: {served:?}");
    let noticed = there.count("disconnects") + there.count("silences");
    ensure!(noticed == 0, "people noticed that the keys of their Pods are others: {}", there.now());
    let (before, stored) = (names("live")?, in_etcd("live")?);
    ensure!(!in_etcd("other")?.is_empty(), "nothing of it is in etcd");
    let began = Instant::now();
    kubectl("delete chatroomcluster other --wait=false")?;
    until("people are asked to go", SOON, || {
        ensure!(there.count("goaways") > 0, "{}", there.now());
        Ok(())
    })?;
    until("nothing is left of it", Duration::from_mins(2), || {
        let left = names("other")?;
        ensure!(left.is_empty() && get("crc/other").is_err(), "{left:?}");
        Ok(())
    })?;
    let took = began.elapsed();
    let (asked, unasked) = (there.count("goaways"), there.count("disconnects"));
    ensure!(asked >= 250 && unasked == 0, "{asked} were asked to go, {unasked} were not: {}", there.now());
    drop(there);
    let left = in_etcd("other")?;
    ensure!(left.is_empty(), "keys are left in etcd: {left:?}");
    let now = in_etcd("live")?;
    let lost: Vec<_> = stored.iter().filter(|key| !now.contains(key)).collect();
    ensure!(!stored.is_empty() && lost.is_empty(), "the other cluster has lost keys in etcd: {lost:?}");
    ensure!(before == names("live")?, "the other cluster has changed: {before:?}, now {:?}", names("live")?);
    let report = here.leave()?;
    Ok(Said::Well(format!(
        "deleted with 250 people on it after {:.1} s, {} keys of the other are still in etcd; {}",
        took.as_secs_f64(),
        stored.len(),
        words(&report)
    )))
}

/// Changes a field of an object, and waits until it is what it was.
fn edit(object: &str, patch: &str, field: &str) -> Result<()> {
    let read = || -> Result<Value> { Ok(get(object)?.pointer(field).cloned().unwrap_or_default()) };
    let before = read()?;
    kubectl(&format!("patch {object} --type merge -p {patch}"))?;
    until(&format!("the edit of {object} is undone"), SOON, || {
        let now = read()?;
        ensure!(now == before, "{field} is {now}, was {before}");
        Ok(())
    })
}

/// Deletes an object, and waits for another of its name.
fn comes_back(object: &str) -> Result<()> {
    let before = get(object)?["metadata"]["uid"].clone();
    kubectl(&format!("delete {object}"))?;
    until(&format!("{object} is back"), SOON, || {
        ensure!(get(object)?["metadata"]["uid"] != before, "it is the old one");
        Ok(())
    })
}

/// Labels and the owner that a Pod was made with come back, and it is the same Pod: none takes its place.
fn labels(gateway: &str) -> Result<()> {
    let before = names_and_uids("live")?;
    for label in ["cluster", "role", "revision", "index"] {
        let unlabel = format!(r#"{{"metadata":{{"labels":{{"throng.dev/{label}":null}}}}}}"#);
        edit(&format!("pod/{gateway}"), &unlabel, &format!("/metadata/labels/throng.dev~1{label}"))?;
    }
    let disown = r#"{"metadata":{"ownerReferences":null}}"#;
    for object in [&format!("pod/{gateway}"), "service/live-gateway"] {
        edit(object, disown, "/metadata/ownerReferences")?;
    }
    rest("live")?;
    let now = names_and_uids("live")?;
    ensure!(now == before, "the Pods are others: {before:?}, now {now:?}");
    Ok(())
}

/// What a revision holds cannot be edited; what can be, comes back under its number, and one that is deleted with what it held.
fn revision() -> Result<()> {
    let number = get("crc/live")?["status"]["revision"].as_u64().context("the cluster has no revision")?;
    let object = format!("controllerrevision/live-{number}");
    let before = get(&object)?;
    let edited = kubectl(&format!(r#"patch {object} --type merge -p {{"data":{{"image":"throng:edited"}}}}"#));
    let refused = edited.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("immutable"), "what {object} holds was edited: {refused}");
    for (patch, field) in [
        (r#"{"revision":99}"#, "/revision"),
        (r#"{"metadata":{"annotations":{"throng.dev/shape":"edited"}}}"#, "/metadata/annotations/throng.dev~1shape"),
        (r#"{"metadata":{"labels":{"throng.dev/cluster":null}}}"#, "/metadata/labels/throng.dev~1cluster"),
    ] {
        edit(&object, patch, field)?;
    }
    let kept = get(&object)?["metadata"]["uid"].clone();
    ensure!(kept == before["metadata"]["uid"], "it is another object");
    let status = get("crc/live")?["status"].clone();
    ensure!(status["revision"] == number && status["rollout"].is_null(), "the edits began a release: {status}");
    comes_back(&object)?;
    let after = get(&object)?;
    for field in ["data", "revision"] {
        ensure!(before[field] == after[field], "{field} of {object} was {}, is {}", before[field], after[field]);
    }
    Ok(())
}

/// Puts a key behind that of a Secret, as at the beginning of a rotation: it counts too. What the Secret holds then.
fn second_key(secret: &str) -> Result<Value> {
    let first = get(&format!("secret/{secret}"))?["data"][POD_KEY].as_str().context("there is no key")?.to_owned();
    let first = String::from_utf8(BASE64.decode(first)?)?;
    let both = BASE64.encode(format!("{}\n{}", first.trim_end(), "5a".repeat(32)));
    let patch = json!({"data": {POD_KEY: both}});
    kubectl(&format!("patch secret {secret} --type merge -p {patch}"))?;
    let now = get(&format!("secret/{secret}"))?["data"].clone();
    ensure!(now[POD_KEY] == both, "the key was not edited");
    Ok(now)
}

/// Waits until a cluster whose Secret was deleted has new keys, and its Pods and the operator know each other by them.
fn new_keys(cluster: &str, before: &Value) -> Result<()> {
    let (mut touched, mut times) = (Instant::now(), 0);
    until("there are new keys", SECRET_SOON, || {
        if touched.elapsed() > TOUCH {
            (touched, times) = (Instant::now(), times + 1);
            kubectl(&format!("annotate service {cluster}-gateway throng.test/touched={times} --overwrite"))?;
        }
        let now = get(&format!("secret/{cluster}-pod-key"))?;
        ensure!(now["metadata"]["uid"] != before["metadata"]["uid"], "it is the old Secret");
        ensure!(now["data"][POD_KEY] != before["data"][POD_KEY], "the key is the old one");
        Ok(())
    })?;
    std::thread::sleep(DELIVERED);
    until("the operator hears the Pods", SECRET_SOON, || {
        let status = get(&format!("crc/{cluster}"))?["status"].clone();
        ensure!(is(&status, "MetricsStale", "False"), "{}", status["conditions"]);
        Ok(())
    })
}

/// Keys that a cluster has in etcd. Asked through the API server, which reaches the Service of the trial's etcd.
fn in_etcd(cluster: &str) -> Result<Vec<String>> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/etcd:2379/proxy/v3/kv/range");
    // A zero is what follows a slash.
    let [from, to] = ["/", "0"].map(|end| BASE64.encode(format!("{NAMESPACE}/{cluster}{end}")));
    let answer = call("POST", &path, Some(&json!({"key": from, "range_end": to, "keys_only": true})))?;
    ensure!(answer.status == 200, "etcd: {} {}", answer.status, answer.body);
    let stored = answer.body["kvs"].as_array().into_iter().flatten().filter_map(|one| one["key"].as_str());
    stored.map(|key| Ok(String::from_utf8(BASE64.decode(key)?)?)).collect()
}

/// Names of all that belongs to a cluster, with uids.
fn names(cluster: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for kind in KINDS {
        let list = get(&format!("{kind} -l throng.dev/cluster={cluster}"))?;
        let name = |object: &Value| format!("{kind} {} {}", object["metadata"]["name"], object["metadata"]["uid"]);
        names.extend(items(&list).iter().map(name));
    }
    names.sort();
    Ok(names)
}
