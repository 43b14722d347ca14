//! A whole installation of the commit before, kinds included, becomes one of this commit.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use throng_cluster::api::{Namespace, helm, repository};
use throng_cluster::images::PREVIOUS;

use crate::Said;
use crate::world::{IMAGE, World, install_kinds, install_operator, is, items, spec, until};

/// Beside the installation that all scenarios share.
const ELSEWHERE: &str = "throng-before";
/// Everything starts within this time.
const SOON: Duration = Duration::from_mins(3);

/// Kinds, operator and Pods were made by the commit before. The charts are upgraded, and no Pod changes its uid; then the image is,
/// and every Pod is another.
pub(crate) fn from_before(_: &World) -> Result<Said> {
    let Some(before) = World::previous() else {
        return Ok(Said::NotRun("the commit before is not known here"));
    };
    let namespace = Namespace::make(ELSEWHERE, "restricted")?;
    let looked = upgraded(&namespace, &before);
    // Whatever came of it: the kinds are those of this commit, and no operator is left without its clusters.
    let kinds = install_kinds(&repository());
    let gone = namespace.kubectl("delete crc --all --timeout=180s");
    let uninstalled = helm(&format!("uninstall throng --namespace {ELSEWHERE} --wait"));
    let (same, anew) = looked?;
    kinds.and(gone.map(drop)).and(uninstalled.map(drop))?;
    Ok(Said::Well(format!(
        "after {:.0} s kinds and operator are of this commit, and no Pod has changed; after {:.0} s more all Pods are",
        same.as_secs_f64(),
        anew.as_secs_f64()
    )))
}

fn upgraded(namespace: &Namespace, before: &Path) -> Result<(Duration, Duration)> {
    install_kinds(before)?;
    install(before, "previous")?;
    let old = spec("old", [1, 1, 1], 30083, "").replace(IMAGE, PREVIOUS);
    namespace.apply(&old)?;
    rest(namespace)?;
    let made = uids(namespace)?;
    let began = Instant::now();
    install_kinds(&repository())?;
    install(&repository(), "")?;
    // It has looked at all there is when it has written what it saw.
    namespace.kubectl("annotate crc old throng.test/look=again")?;
    std::thread::sleep(Duration::from_secs(3));
    rest(namespace)?;
    let now = uids(namespace)?;
    ensure!(made == now, "the upgrade has changed Pods: {made:?}, now {now:?}");
    let same = began.elapsed();
    namespace.apply(&spec("old", [1, 1, 1], 30083, ""))?;
    until("all Pods are of this commit", SOON, || {
        let now = uids(namespace)?;
        ensure!(now.len() == made.len() && now.iter().all(|uid| !made.contains(uid)), "{made:?}, now {now:?}");
        Ok(())
    })?;
    rest(namespace)?;
    Ok((same, began.elapsed().saturating_sub(same)))
}

fn install(sources: &Path, tag: &str) -> Result<()> {
    let flags = format!("--set image.tag={tag} --set peopleRoles.create=false --wait --timeout 3m");
    install_operator(ELSEWHERE, sources, &flags)
}

/// Waits until the cluster is whole and nothing is on its way.
fn rest(namespace: &Namespace) -> Result<()> {
    until("the cluster of the commit before is at rest", SOON, || {
        let cluster: Value = serde_json::from_str(&namespace.kubectl("get crc old -o json")?)?;
        let status = &cluster["status"];
        let read = status["observedGeneration"] == cluster["metadata"]["generation"];
        let calm = is(status, "Ready", "True") && is(status, "Progressing", "False");
        ensure!(read && calm && status["ready"] == "3/3", "{status}");
        Ok(())
    })
}

fn uids(namespace: &Namespace) -> Result<Vec<String>> {
    let pods: Value = serde_json::from_str(&namespace.kubectl("get pods -l throng.dev/cluster=old -o json")?)?;
    let uid = |pod: &Value| Ok(pod["metadata"]["uid"].as_str().context("a Pod has a uid")?.to_owned());
    let mut uids = items(&pods).iter().map(uid).collect::<Result<Vec<_>>>()?;
    uids.sort();
    Ok(uids)
}
