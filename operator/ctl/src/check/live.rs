//! What was read of a cluster, judged.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use throng_crds::rules::Kind;
use throng_crds::validate::Reason as Flaw;
use throng_crds::{ChatroomCluster, GROUP, VERSION, schema};
use throng_operator::cluster::secrets::Secrets;
use throng_operator::cluster::statements;
use throng_operator::lease::decide::VALID;
use throng_operator::render::Named;
use throng_plan::status::{ClusterStatus, Condition, Holds, Utc};

use super::finding::Finding;
use crate::error::Error;
use crate::overview::is_bad;
use crate::text::{ago, span};

/// How to install the kinds. Helm first: what somebody applied by hand it takes over only when it is told to.
const INSTALL: &str = "helm upgrade --install throng-crds helm/throng-crds, or if nobody here uses Helm: throng crds | kubectl apply --server-side -f -";

/// Name of the definition of a kind.
#[must_use]
pub fn crd_name(kind: Kind) -> String {
    let plural = match kind {
        Kind::Cluster => "chatroomclusters",
        Kind::Operation => "chatroomoperations",
    };
    format!("{plural}.{GROUP}")
}

/// Whether a kind is installed and is that of this program. `served` is what everybody may ask.
#[must_use]
pub fn kind(
    kind: Kind,
    stored: &Result<Option<CustomResourceDefinition>, Error>,
    served: &Result<Vec<String>, Error>,
) -> Finding {
    let what = format!("kind {}", kind.as_str());
    match stored {
        Ok(None) => Finding::problem(&what, "is not installed", INSTALL),
        Ok(Some(stored)) if is_same(kind, stored) => {
            Finding::fine(&what, format!("installed, of this version ({})", env!("CARGO_PKG_VERSION")))
        }
        Ok(Some(_)) => {
            let found = format!("installed, but not that of this program ({})", env!("CARGO_PKG_VERSION"));
            Finding::warning(&what, found, format!("if the operator is of this version: {INSTALL}"))
        }
        Err(error) => match served {
            Ok(kinds) if kinds.iter().any(|served| served == kind.as_str()) => {
                Finding::unknown(&what, format!("installed; whether it is of this version is not known: {error}"))
            }
            Ok(_) | Err(Error::KindsMissing(_)) => Finding::problem(&what, "is not installed", INSTALL),
            Err(error) => Finding::unknown(&what, error.to_string()),
        },
    }
}

/// Whether the schemas are the same; API servers add nothing to them.
fn is_same(kind: Kind, stored: &CustomResourceDefinition) -> bool {
    let ours = serde_json::from_value::<CustomResourceDefinition>(schema::crd(kind).clone()).ok();
    let version = |crd: &CustomResourceDefinition| -> Option<CustomResourceDefinitionVersion> {
        crd.spec.versions.iter().find(|version| version.name == VERSION).cloned()
    };
    let ours = ours.as_ref().and_then(version).and_then(|version| version.schema);
    ours.is_some() && ours == version(stored).and_then(|version| version.schema)
}

/// When a Lease was renewed last.
#[must_use]
pub fn renewed(lease: &Lease) -> Option<Utc> {
    Some(Utc::of(lease.spec.as_ref()?.renew_time.as_ref()?.0))
}

/// Whether a Lease was renewed lately, by the clock of whoever asks.
#[must_use]
pub fn is_fresh(lease: &Lease, now: Utc) -> bool {
    renewed(lease).is_some_and(|at| now.0.since(at.0) <= u64::try_from(VALID.as_millis()).unwrap_or(u64::MAX))
}

/// Whether an operator leads. `moves`: the Lease was renewed while it was looked at, whatever the clocks say.
#[must_use]
pub fn operator(lease: &Result<Option<Lease>, Error>, name: &str, moves: bool, now: Utc) -> Finding {
    let (what, remedy) = ("operator", "helm upgrade --install throng helm/throng, or look at the log of its Pods");
    let lease = match lease {
        Err(error) => return Finding::unknown(what, format!("whether one runs is not known: {error}")),
        Ok(None) => return Finding::problem(what, format!("there is no Lease {name}: none has ever run"), remedy),
        Ok(Some(lease)) => lease,
    };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let place = lease.metadata.namespace.as_deref().unwrap_or_default();
    match renewed(lease) {
        Some(at) if holder.is_empty() => Finding::problem(
            what,
            format!("nobody leads in namespace {place}; the last one left {}", ago(at, now)),
            remedy,
        ),
        Some(_) if moves || is_fresh(lease, now) => {
            Finding::fine(what, format!("{holder} leads, in namespace {place}"))
        }
        Some(at) => {
            let silent = span(now.0.since(at.0));
            Finding::problem(what, format!("{holder} in namespace {place} has been silent for {silent}"), remedy)
        }
        None => Finding::problem(what, format!("the Lease {name} in namespace {place} was never renewed"), remedy),
    }
}

/// What the conditions of a cluster say.
#[must_use]
pub fn conditions(cluster: &ChatroomCluster) -> Vec<Finding> {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let what = format!("ChatroomCluster {name}");
    let status = cluster.status.as_ref().filter(|status| !status.conditions.is_empty());
    let Some(status) = status else {
        return vec![Finding::problem(&what, "no operator has looked at it", "see the line about the operator")];
    };
    let bad: Vec<Finding> = status
        .conditions
        .iter()
        .filter(|condition| is_bad(condition))
        .map(|condition| {
            let said = format!("{} ({}) {}", condition.kind, condition.reason, condition.message);
            Finding::problem(&what, said.trim_end(), meaning(&condition.reason))
        })
        .collect();
    if bad.is_empty() {
        vec![Finding::fine(&what, format!("{} Pods serve {} users", status.ready, status.users))]
    } else {
        bad
    }
}

/// What a reason means, and what to do.
fn meaning(reason: &str) -> &'static str {
    let planner = throng_plan::plan::Reason::ALL.into_iter().find(|known| known.as_str() == reason);
    let shell = statements::Reason::ALL.into_iter().find(|known| known.as_str() == reason);
    let flaw = statements::FLAWS.into_iter().find(|known| known.as_str() == reason);
    let own = planner.map(throng_plan::plan::Reason::meaning).or(shell.map(statements::Reason::meaning));
    own.or(flaw.map(Flaw::meaning)).unwrap_or_default()
}

/// Whether the Secrets that a cluster names are there and of use. One that may not be read is believed to the operator, if it has looked.
#[must_use]
pub fn secrets(
    what: &str,
    wanted: &[Named<'_>],
    found: &BTreeMap<String, Result<Option<Secret>, Error>>,
    status: Option<&ClusterStatus>,
) -> Vec<Finding> {
    let mut known = Secrets::default();
    for (name, secret) in found {
        match secret {
            Ok(Some(secret)) => known.learn(secret.clone()),
            Ok(None) => known.learn_missing(name),
            Err(_) => {}
        }
    }
    let judged = wanted.iter().map(|one| statements::secrets(&[*one], &known));
    let mut all: Vec<Finding> =
        judged.filter(|(fine, ..)| !fine).map(|(_, _, message)| Finding::problem(what, message, "")).collect();
    let hidden = found.values().find_map(|secret| secret.as_ref().err());
    match hidden {
        Some(error) => {
            let said = |condition: &&Condition| condition.kind == "SecretsFound" && condition.status == Holds::True;
            match status.and_then(|status| status.conditions.iter().find(said)) {
                Some(_) => all.push(Finding::fine(what, "the operator has found all of them")),
                None => all.push(Finding::unknown(what, error.to_string())),
            }
        }
        None if all.is_empty() => all.push(Finding::fine(what, "all are there, and their entries are of use")),
        None => {}
    }
    all
}

#[cfg(test)]
mod tests;
