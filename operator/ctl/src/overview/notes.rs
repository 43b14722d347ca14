//! What an overview could not see, or should not be believed without a word.

use throng_plan::status::{ClusterStatus, Holds, Utc};

use crate::seen::Seen;
use crate::text::span;

/// An operator writes down something every ten seconds; one that did not for so long is not there.
const SILENT_MS: u64 = 120_000;

pub(super) fn notes(seen: &Seen, status: &ClusterStatus) -> Vec<String> {
    let mut notes = Vec::new();
    let generation = seen.cluster.metadata.generation.unwrap_or(0);
    if status.conditions.is_empty() {
        notes.push("no operator has looked at this cluster yet; see what is missing: throng check".to_owned());
    } else if status.observed_generation < generation {
        let seen = status.observed_generation;
        notes.push(format!("the operator has seen generation {seen} of the spec, not yet generation {generation}"));
    }
    // Of a spec that cannot be followed it says so once, and is silent then.
    let follows = |status: &&ClusterStatus| {
        status.conditions.iter().any(|condition| condition.kind == "SpecValid" && condition.status == Holds::True)
    };
    let last = Some(status).filter(follows).and_then(last_look);
    if let Some(last) = last.filter(|last| seen.now.0.since(last.0) > SILENT_MS) {
        let silent = span(seen.now.0.since(last.0));
        notes.push(format!("no operator has written anything for {silent}, so this may be old: throng check"));
    }
    notes.extend(seen.pods.as_ref().err().map(|why| format!("Pods are not shown: {why}")));
    let no_nodes = seen.nodes.as_ref().err().filter(|_| seen.pods.is_ok());
    notes.extend(
        no_nodes.map(|why| format!("zones are those that Pods were made for, not those that they run in: {why}")),
    );
    notes.extend(seen.operations.as_ref().err().map(|why| format!("operations are not shown: {why}")));
    notes
}

/// When an operator wrote its history last.
fn last_look(status: &ClusterStatus) -> Option<Utc> {
    let last = |(_, pool): (_, &throng_plan::status::PoolStatus)| Some(pool.memo.buckets.last()?.at);
    status.pools.iter().filter_map(last).max()
}
