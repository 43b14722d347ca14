//! What an operation would do to the users who are there now, said before it is asked for.

use std::fmt;

use throng_core::Role;
use throng_crds::operation::Pace;
use throng_plan::status::{RevisionState, RevisionStatus, RolloutPhase};

use super::intent::{Intent, Target};
use crate::error::Error;
use crate::overview::Overview;
use crate::overview::pods::{PodView, State};
use crate::overview::pools::PoolView;
use crate::text::{count, left, many};

/// What is said of the Pods of a zone to whoever may not list nodes.
const MADE_FOR: &str =
    "nodes may not be listed, so these are the Pods that were made for the zone; those on its nodes are emptied";

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// What is wanted, of which cluster.
    pub title: String,
    /// What it does.
    pub lines: Vec<String>,
    /// What people should know before they say yes.
    pub warnings: Vec<String>,
    /// What they are asked.
    pub question: String,
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        self.warnings.iter().try_for_each(|line| writeln!(f, "  but: {line}"))
    }
}

impl Preview {
    /// Looks ahead.
    ///
    /// # Errors
    /// What is wanted is impossible: a revision or a Pod that is not there.
    pub fn of(intent: &Intent, overview: &Overview) -> Result<Self, Error> {
        let mut preview = match intent {
            Intent::Rollback { to, pace } => rollback(*to, *pace, overview)?,
            Intent::Pause => pause(overview),
            Intent::Resume => resume(overview),
            Intent::Promote => promote(overview),
            Intent::Drain(target) => drain(target, overview)?,
        };
        preview.warnings.extend(on_its_way(overview));
        Ok(preview)
    }
}

/// What else is on its way.
fn on_its_way(overview: &Overview) -> Vec<String> {
    let open = overview.operations.iter().filter(|operation| !operation.phase.is_final());
    let mut all: Vec<String> =
        open.map(|one| format!("the operation {} ({}) is not at its end", one.name, one.action)).collect();
    if overview.phase == crate::overview::Phase::Paused {
        all.push("spec.paused is true: nothing is changed until it is not".to_owned());
    }
    all
}

fn rollback(to: Option<u64>, pace: Pace, overview: &Overview) -> Result<Preview, Error> {
    let (leaves, default) = ends(overview);
    let leaves = leaves.ok_or_else(|| Error::NotDone("the cluster has no revision yet".to_owned()))?;
    let target = to.or(default).ok_or_else(|| {
        Error::NotDone(format!("there is no revision before {leaves} that could serve: change the spec instead"))
    })?;
    if target == leaves {
        return Err(Error::NotDone(format!("revision {target} is the present one; known are {}", known(overview))));
    }
    let Some(found) = overview.revision_of(target) else {
        return Err(Error::NotDone(format!("there is no revision {target}; known are {}", known(overview))));
    };
    let users = overview.revision_of(leaves).map_or(overview.users, |revision| revision.users);
    let how = match pace {
        Pace::Fast => "as fast as the fleet takes them in",
        Pace::Gentle => "at the pace of any other drain",
    };
    let mut preview = Preview {
        title: format!("rollback of {} in {}: revision {leaves} -> {}", overview.name, overview.namespace, name(found)),
        lines: vec![
            format!("{} on revision {leaves} move to revision {target}, {how}", many(users, "user")),
            format!("{} of {} of revision {target} serve now", found.ready, many(found.pods.into(), "Pod")),
            format!("revision {leaves} gets no users until the spec asks for other Pods"),
        ],
        question: format!("Roll {} back to revision {target}?", overview.name),
        ..Preview::default()
    };
    if let Some(until) = found.warm_until.filter(|_| found.pods > 0) {
        preview.lines.insert(2, format!("it is kept warm: {}", left(until, overview.now)));
    }
    if found.ready == 0 {
        preview
            .warnings
            .push(format!("revision {target} has no serving Pod: its Pods are made first, which takes longer"));
    }
    if found.state == RevisionState::Blocked {
        preview.warnings.push(format!("revision {target} was itself rolled back before"));
    }
    if let Some(before) = overview.rollback.as_ref().filter(|before| before.done_at.is_none()) {
        preview.warnings.push(format!("a rollback to revision {} is on its way already", before.to));
    }
    Ok(preview)
}

/// The revision that a rollback leaves, and the one that it goes to by default.
fn ends(overview: &Overview) -> (Option<u64>, Option<u64>) {
    if let Some(rollout) = &overview.rollout {
        return (Some(rollout.status.to), Some(rollout.status.from));
    }
    let leaves = overview.revision;
    let could =
        |revision: &&RevisionStatus| Some(revision.number) != leaves && revision.state != RevisionState::Blocked;
    let warm = overview.revisions.iter().filter(could).find(|revision| revision.state == RevisionState::Warm);
    let before = overview.revisions.iter().filter(could).filter(|revision| Some(revision.number) < leaves);
    let target = warm.or_else(|| before.max_by_key(|revision| revision.number));
    (leaves, target.map(|revision| revision.number))
}

fn name(revision: &RevisionStatus) -> String {
    if revision.image.is_empty() {
        revision.number.to_string()
    } else {
        format!("{} ({})", revision.number, revision.image)
    }
}

fn known(overview: &Overview) -> String {
    let all: Vec<String> = overview.revisions.iter().map(name).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Of a rollout: what it is, in a line; and that there is none, as a warning.
fn rollout(overview: &Overview) -> (Vec<String>, Vec<String>) {
    match &overview.rollout {
        None => (vec![], vec!["no rollout is on its way".to_owned()]),
        Some(rollout) => {
            let status = &rollout.status;
            let line = format!(
                "rollout {} -> {}: {} % of users are on revision {}, {} % aimed at",
                status.from, status.to, status.users_percent, status.to, status.target_percent
            );
            let halted = status.halted_because.iter().map(|because| format!("it was halted: {because}"));
            (vec![line], halted.collect())
        }
    }
}

fn pause(overview: &Overview) -> Preview {
    let (mut lines, warnings) = rollout(overview);
    lines.push("the rollout stays where it is; scaling and drains go on".to_owned());
    Preview {
        title: format!("pause of the rollout of {} in {}", overview.name, overview.namespace),
        lines,
        warnings,
        question: format!("Hold the rollout of {}?", overview.name),
    }
}

fn resume(overview: &Overview) -> Preview {
    let (mut lines, mut warnings) = rollout(overview);
    lines.push("the rollout goes on from the step where it stands".to_owned());
    let runs = |phase| !matches!(phase, RolloutPhase::Paused | RolloutPhase::Halted);
    if overview.rollout.as_ref().is_some_and(|rollout| runs(rollout.status.phase)) {
        warnings.push("it is neither held nor halted".to_owned());
    }
    Preview {
        title: format!("resume of the rollout of {} in {}", overview.name, overview.namespace),
        lines,
        warnings,
        question: format!("Go on with the rollout of {}?", overview.name),
    }
}

fn promote(overview: &Overview) -> Preview {
    let (mut lines, warnings) = rollout(overview);
    if let Some(rollout) = &overview.rollout {
        let (from, to) = (rollout.status.from, rollout.status.to);
        let users = overview.revision_of(from).map_or(overview.users, |revision| revision.users);
        lines.push(format!(
            "{} on revision {from} move to revision {to} now, without the steps that are left",
            many(users, "user")
        ));
    }
    Preview {
        title: format!("promotion of the new revision of {} in {}", overview.name, overview.namespace),
        lines,
        warnings,
        question: format!("Give everybody of {} the new revision?", overview.name),
    }
}

fn drain(target: &Target, overview: &Overview) -> Result<Preview, Error> {
    let place = format!("{} in {}", overview.name, overview.namespace);
    let (title, found) = match target {
        Target::Pods(names) => {
            (format!("drain of {} of {place}", many(names.len() as u64, "Pod")), named(names, overview)?)
        }
        Target::Node(node) => (format!("drain of the Pods of {place} on node {node}"), None),
        Target::Zone(zone) => {
            let pods = all(overview).filter(|(_, pod)| pod.zone == *zone).collect();
            (format!("drain of the Pods of {place} in zone {zone}"), Some(pods).filter(|_| overview.pods_listed))
        }
    };
    let mut preview = Preview {
        title,
        question: format!("Empty them, and replace them in {}?", overview.name),
        ..Preview::default()
    };
    match &found {
        None => preview.warnings.push("Pods may not be listed, so it is not shown which these are".to_owned()),
        Some(pods) => {
            preview.lines = pods.iter().map(|(role, pod)| pod_line(*role, pod, overview)).collect();
            preview.warnings = doubts(pods, overview);
            if matches!(target, Target::Zone(_)) && !overview.nodes_listed {
                preview.warnings.push(MADE_FOR.to_owned());
            }
        }
    }
    let deadline = &overview.drain_deadline;
    preview.lines.push(format!("others take their place; users are moved, idle ones first, for at most {deadline}"));
    Ok(preview)
}

type Found<'a> = Vec<(Role, &'a PodView)>;

fn all(overview: &Overview) -> impl Iterator<Item = (Role, &PodView)> {
    overview.pools.iter().flat_map(|(role, pool)| pool.pods.iter().map(move |pod| (role, pod)))
}

/// The Pods of these names; none if Pods may not be listed.
fn named<'a>(names: &[String], overview: &'a Overview) -> Result<Option<Found<'a>>, Error> {
    if !overview.pods_listed {
        return Ok(None);
    }
    let find = |name: &String| {
        all(overview).find(|(_, pod)| pod.name == *name).ok_or_else(|| {
            Error::NotDone(format!(
                "{} has no Pod {name}; throng status {} shows those it has",
                overview.name, overview.name
            ))
        })
    };
    names.iter().map(find).collect::<Result<Found<'_>, Error>>().map(Some)
}

fn pod_line(role: Role, pod: &PodView, overview: &Overview) -> String {
    let pool: &PoolView = overview.pools.of(role);
    let node = pod.node.as_ref().map_or_else(String::new, |node| format!(" on {node}"));
    let users = match (&pod.drain, pod.state) {
        (Some(drain), _) => count(drain.users_left),
        (None, State::Serves) => format!("about {}", count(pool.per_pod.mean)),
        (None, _) => "no".to_owned(),
    };
    format!("{}  {}{node}, {users} {}", pod.name, pod.state, pool.per_pod.load)
}

fn doubts(pods: &Found<'_>, overview: &Overview) -> Vec<String> {
    let mut doubts = Vec::new();
    if pods.is_empty() {
        doubts.push("there is none now: nothing would happen".to_owned());
    }
    for (role, pool) in overview.pools.iter() {
        let go = pods.iter().filter(|(of, pod)| *of == role && pod.state == State::Serves).count();
        if go > 0 && go >= usize::try_from(pool.ready).unwrap_or(usize::MAX) {
            doubts.push(format!("these are all serving Pods of {role}: each waits until another can take its users"));
        }
    }
    let already = pods.iter().filter(|(_, pod)| matches!(pod.state, State::Draining | State::Ends));
    doubts.extend(already.map(|(_, pod)| format!("{} is drained already", pod.name)));
    doubts
}

#[cfg(test)]
mod tests;
