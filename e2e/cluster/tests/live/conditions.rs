//! What is wrong and no schema can know: a condition says what, and what runs goes on.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::Said;
use crate::people::{Wish, words};
use crate::world::{World, apply, get, kubectl, names_and_uids, rest, set_pools, spec, until};

const SOON: Duration = Duration::from_secs(30);

/// An operation on a cluster that does not exist.
const ON_NOBODY: &str = "
apiVersion: throng.dev/v1alpha1
kind: ChatroomOperation
metadata: {name: on-nobody}
spec: {cluster: nobody, pause: {}, ttl: 5s}
";

/// A Secret whose key is too short to sign with.
const WEAK: &str = "
---
apiVersion: v1
kind: Secret
metadata: {name: weak-auth}
stringData: {main: short}
";

/// Each wrong thing, the condition that shows it, and a word of its message.
pub(crate) fn shown(world: &World) -> Result<Said> {
    set_pools([2, 2, 2])?;
    let people = world.people(Wish { cluster: "live", count: 100, name: "wrong", may_cut: false })?;
    let good = spec("live", [2, 2, 2], 30080, "");
    let zone = "  events: [{name: final, start: \"2027-01-01T20:00:00\", timeZone: Mars/Olympus, hold: 1h, floor: {gateway: 2}}]";
    let wrong = [
        ("UnknownTimeZone", "Mars/Olympus", spec("live", [2, 2, 2], 30080, zone)),
        (
            "SecretMissing",
            "nobody",
            good.replace("apiKeysSecretRef: {name: live-api}", "apiKeysSecretRef: {name: nobody}"),
        ),
        ("RegistryUnreachable", "http://nowhere:2379", good.replace("http://etcd:2379", "http://nowhere:2379")),
        // Its chatroom Pods tell it, and never serve.
        ("StoreUnreachable", "redis://nowhere:6379", good.replace("redis://redis:6379", "redis://nowhere:6379")),
        (
            "SecretUnusable",
            "weak-auth",
            good.replace("secretRef: {name: live-auth}", "secretRef: {name: weak-auth}") + WEAK,
        ),
    ];
    let before = names_and_uids("live")?;
    for (reason, word, spec) in &wrong {
        apply(spec)?;
        until(&format!("the condition {reason}"), world.within(SOON), || {
            let status = get("crc/live")?["status"].clone();
            let all = status["conditions"].as_array().cloned().unwrap_or_default();
            let told = all.iter().any(|one| {
                one["reason"] == *reason && one["message"].as_str().is_some_and(|message| message.contains(word))
            });
            ensure!(told, "{all:?}");
            Ok(())
        })?;
        let now = names_and_uids("live")?;
        ensure!(before.iter().all(|pod| now.contains(pod)), "{reason}: Pods have changed: {before:?}, now {now:?}");
        until("everybody is there", Duration::from_secs(10), || people.all_there(100))?;
        apply(&good)?;
        rest("live")?;
        let now = names_and_uids("live")?;
        ensure!(before == now, "after {reason} Pods are others: {before:?}, now {now:?}");
    }
    kubectl("delete secret weak-auth")?;
    apply(ON_NOBODY)?;
    until("the operation on no cluster fails", SOON, || {
        let status = get("cro/on-nobody")?["status"].clone();
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(status["phase"] == "Failed" && message.contains("nobody"), "{status}");
        Ok(())
    })?;
    until("it goes when its time to live is over", SOON, || {
        let left = kubectl("get cro on-nobody --ignore-not-found -o name")?;
        ensure!(left.is_empty(), "{left} is still there");
        Ok(())
    })?;
    let report = people.leave()?;
    let reasons: Vec<_> = wrong.iter().map(|(reason, ..)| *reason).collect();
    Ok(Said::Well(format!("{}; an operation on no cluster fails; {}", reasons.join(", "), words(&report))))
}
