//! The answer of `throng plan`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde::Serialize;
use throng_core::Role;
use throng_crds::admit::Problem;
use throng_crds::validate::{self, Validated};
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_operator::snapshot::{Objects, Sight, world};
use throng_plan::plan::Plan;
use throng_plan::pools::Pools;
use throng_plan::status::{Condition, Utc};
use throng_plan::{World, plan};
use throng_runtime::registry::Activities;

use super::assumed;
use super::changes::{Change, changes, short};
use super::steps::steps;
use crate::error::of_flaw;
use crate::overview::is_bad;
use crate::text::{Branch, Cell, Tone};

/// What was read of the cluster that a plan is for.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Its objects.
    pub objects: Objects,
    /// Services, policies and budgets could be listed.
    pub objects_known: bool,
    /// The nodes; none if they may not be listed.
    pub nodes: Option<Vec<Arc<Node>>>,
    /// Its operations.
    pub operations: Vec<Arc<ChatroomOperation>>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// What the operator would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Namespace of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// There is no such cluster yet.
    pub new: bool,
    /// Fields that differ from the stored spec.
    pub changes: Vec<Change>,
    /// The revision that has the users, if there is one.
    pub revision: Option<u64>,
    /// The revision that Pods would be of.
    pub next_revision: Option<u64>,
    /// Sizes of the pools.
    pub pools: Pools<Resize>,
    /// What happens first.
    pub steps: Vec<Step>,
    /// Why.
    pub why: Vec<String>,
    /// Conditions that somebody should look at, as they would be; not whether all is ready yet.
    pub conditions: Vec<Condition>,
    /// What the spec says and cannot be followed.
    pub flaws: Vec<String>,
    /// What is assumed because it cannot be known from here.
    pub assumed: Vec<String>,
}

/// Size of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resize {
    /// Pods that serve now.
    pub ready: u32,
    /// Pods wanted now.
    pub wanted: u32,
    /// Pods wanted with the new spec.
    pub then: u32,
    /// Why so many.
    pub why: String,
}

/// Something that would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What.
    pub what: String,
    /// It would be done with the stored spec too.
    pub anyway: bool,
}

impl Report {
    /// Plans with `wanted` in place of what is stored.
    ///
    /// # Errors
    /// What of the new spec no API server would take.
    pub fn of(
        stored: Option<&ChatroomCluster>,
        wanted: &ChatroomCluster,
        namespace: &str,
        live: &Live,
        now: Utc,
    ) -> Result<Self, Vec<Problem>> {
        let validated = checked(wanted)?;
        let next = replaced(stored, wanted, namespace);
        let mut before = stored.and_then(|stored| Some(see(stored, &checked(stored).ok()?, live, now)));
        let mut then = see(&next, &validated, live, now);
        if let Some(before) = &mut before {
            assumed::settle(before, live.objects_known);
            // Pods carry what they carry, and objects are as they are, whatever the spec says.
            then.samples.clone_from(&before.samples);
            then.registry.clone_from(&before.registry);
            then.owned.clone_from(&before.owned);
        }
        let usual = before.as_ref().map(plan);
        let planned = plan(&then);
        Ok(Self {
            namespace: namespace.to_owned(),
            name: wanted.metadata.name.clone().unwrap_or_default(),
            new: stored.is_none(),
            changes: stored.map_or_else(Vec::new, |stored| changes(&stored.spec, &wanted.spec)),
            revision: then.status.revision.filter(|_| stored.is_some()),
            next_revision: leads_to(&planned),
            pools: Pools::from_fn(|role| resize(role, &then, usual.as_ref(), &planned)),
            steps: told(&planned, usual.as_ref(), now),
            conditions: planned.conditions.iter().filter(|it| it.kind != "Ready" && is_bad(it)).cloned().collect(),
            why: planned.why,
            flaws: validated.flaws.iter().map(ToString::to_string).collect(),
            assumed: assumed::WORDS.iter().map(|word| (*word).to_owned()).chain(live.notes.clone()).collect(),
        })
    }

    /// As a tree.
    #[must_use]
    pub fn tree(&self) -> Branch {
        let state = if self.new { "would be made" } else { "with this spec" };
        let head = Branch::of(vec![
            Cell::new(Tone::Strong, &self.name),
            Cell::new(Tone::Dim, format!("in {}", self.namespace)),
            Cell::plain(state),
        ]);
        let mut below = vec![self.changed(), self.revisions(), self.sizes()];
        below.push(section("first", self.steps.iter().map(Step::line).collect(), "nothing is to be done"));
        let line = |line: &String| Branch::text(line);
        let bad = |condition: &Condition| {
            Branch::of(vec![
                Cell::new(Tone::Bad, &condition.kind),
                Cell::plain(&condition.reason),
                Cell::plain(&condition.message),
            ])
        };
        let flaw = |flaw: &String| Branch::of(vec![Cell::new(Tone::Bad, flaw)]);
        let assumed = |text: &String| Branch::of(vec![Cell::new(Tone::Dim, text)]);
        for (name, lines) in [
            ("to look at", self.conditions.iter().map(bad).chain(self.flaws.iter().map(flaw)).collect::<Vec<_>>()),
            ("why", self.why.iter().map(line).collect()),
            ("assumed", self.assumed.iter().map(assumed).collect()),
        ] {
            if !lines.is_empty() {
                below.push(section(name, lines, ""));
            }
        }
        head.with(below)
    }

    fn changed(&self) -> Branch {
        let line = |change: &Change| {
            let effect = if change.makes_new_pods { "makes new Pods" } else { "no new Pods" };
            Branch::row(vec![
                Cell::plain(&change.path),
                Cell::plain(format!("{} -> {}", short(change.from.as_ref()), short(change.to.as_ref()))),
                Cell::new(if change.makes_new_pods { Tone::Busy } else { Tone::Dim }, effect),
            ])
        };
        section("changes", self.changes.iter().map(line).collect(), if self.new { "all of it is new" } else { "none" })
    }

    fn revisions(&self) -> Branch {
        let text = match (self.revision, self.next_revision) {
            (Some(now), Some(then)) if now == then => format!("revision {now} stays"),
            (Some(now), Some(then)) => format!("revision {now} -> {then}"),
            (None, Some(then)) => format!("revision {then}"),
            _ => "no revision".to_owned(),
        };
        Branch::of(vec![Cell::plain(text)])
    }

    fn sizes(&self) -> Branch {
        let line = |(role, size): (Role, &Resize)| {
            let number = if size.wanted == size.then || self.new {
                format!("{} Pods", size.then)
            } else {
                format!("{} -> {} Pods", size.wanted, size.then)
            };
            Branch::row(vec![
                Cell::new(Tone::Strong, role.to_string()),
                Cell::plain(number),
                Cell::plain(format!("{} serve", size.ready)),
                Cell::new(Tone::Dim, &size.why),
            ])
        };
        section("pools", self.pools.iter().map(line).collect(), "")
    }
}

impl Step {
    fn line(&self) -> Branch {
        let mut cells = vec![Cell::plain(&self.what)];
        if self.anyway {
            cells.push(Cell::new(Tone::Dim, "(with the stored spec too)"));
        }
        Branch::of(cells)
    }
}

fn section(name: &str, lines: Vec<Branch>, empty: &str) -> Branch {
    if lines.is_empty() {
        return Branch::of(vec![Cell::new(Tone::Strong, name), Cell::plain(empty)]);
    }
    Branch::of(vec![Cell::new(Tone::Strong, name)]).with(lines)
}

fn checked(cluster: &ChatroomCluster) -> Result<Validated, Vec<Problem>> {
    validate::cluster(&cluster.spec).map_err(|flaws| flaws.iter().map(of_flaw).collect())
}

/// The stored object with another spec, as an API server would store it.
fn replaced(stored: Option<&ChatroomCluster>, wanted: &ChatroomCluster, namespace: &str) -> ChatroomCluster {
    let mut next = stored.unwrap_or(wanted).clone();
    next.metadata.namespace = Some(namespace.to_owned());
    if next.spec != wanted.spec || stored.is_none() {
        next.metadata.generation = Some(next.metadata.generation.unwrap_or(0) + 1);
    }
    next.spec = wanted.spec.clone();
    next
}

/// The world as the operator would see it, with what is assumed.
fn see(cluster: &ChatroomCluster, validated: &Validated, live: &Live, now: Utc) -> World {
    let status = cluster.status.as_ref();
    let mut world = world(&Sight {
        now,
        cluster,
        validated,
        leader_epoch: 0,
        objects: &live.objects,
        nodes: live.nodes.as_deref().unwrap_or_default(),
        operations: &live.operations,
        has_keys: status.is_some_and(|status| !status.revisions.is_empty()),
        view: None,
        activities: &Activities::default(),
        samples: &std::collections::BTreeMap::new(),
        conditions: &[],
    });
    assumed::fill(&mut world, live.nodes.is_some());
    world
}

/// The revision that a plan leads to: that of the rollout on its way, or the one that has the users.
fn leads_to(plan: &Plan) -> Option<u64> {
    plan.status.rollout.as_ref().map(|rollout| rollout.to).or(plan.status.revision)
}

fn resize(role: Role, world: &World, usual: Option<&Plan>, planned: &Plan) -> Resize {
    let pool = planned.status.pools.of(role);
    let now = usual.map_or(0, |plan| plan.status.pools.of(role).wanted);
    Resize { ready: world.status.pools.of(role).ready, wanted: now, then: pool.wanted, why: pool.why.clone() }
}

fn told(planned: &Plan, usual: Option<&Plan>, now: Utc) -> Vec<Step> {
    let usual = usual.map_or_else(Vec::new, |plan| steps(&plan.actions, now));
    let all = steps(&planned.actions, now);
    all.into_iter().map(|what| Step { anyway: usual.contains(&what), what }).collect()
}

#[cfg(test)]
mod tests;
