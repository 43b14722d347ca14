//! `throng plan`: what the operator would do with another YAML, without doing it.
//!
//! The objects are read and turned into a world by the operator's own code, the spec is replaced, and the operator's own
//! planner is asked. What only the operator knows, [`assumed`] stands for, and the answer says so. [`changes`] are the
//! fields that differ, [`steps`] the actions in words, [`report`] is the answer.

pub mod assumed;
pub mod changes;
pub mod report;
pub mod steps;

use std::process::ExitCode;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::api::Api;
use report::{Live, Report};
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_operator::names;
use throng_operator::snapshot::Objects;

use crate::check::file::{self, Object};
use crate::error::Error;
use crate::reach::{Reach, Where};
use crate::screen::{Colour, Format, now, print, show};

/// Which YAML to plan with.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng plan -f new.yaml              which fields change, and what happens first
  throng plan -f new.yaml -n show      in this namespace, if the YAML names none
  kustomize build | throng plan -f -   from the standard input
  throng plan -f new.yaml -o json      for programs

It runs the operator's planner on the objects of the cluster as they are now, and changes
nothing. What only the operator knows (etcd, samples of pressure) is assumed from the status,
and the answer says so.

It needs the right to list Pods, ControllerRevisions, Services, NetworkPolicies and
PodDisruptionBudgets (role view) and, to know zones and cordons for certain, nodes.")]
pub struct PlanArgs {
    /// The YAML, with one `ChatroomCluster`; `-`: from the standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: String,
    #[command(flatten)]
    to: Where,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// When to show colours.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
}

/// Plans.
///
/// # Errors
/// The YAML is not valid, or the cluster cannot be read.
pub async fn run(args: PlanArgs) -> Result<ExitCode, Error> {
    let wanted = wanted(&args.filename)?;
    let mut to = args.to.clone();
    to.namespace = to.namespace.or_else(|| wanted.metadata.namespace.clone());
    let reach = Reach::connect(&to).await?;
    let stored = reach.get::<ChatroomCluster>(&wanted.name_any()).await?;
    let live = Box::pin(live(&reach, &wanted.name_any())).await?;
    let report = Report::of(stored.as_ref(), &wanted, &reach.namespace, &live, now())
        .map_err(|problems| Error::Invalid { path: args.filename.clone(), what: file::name(&wanted), problems })?;
    print(&show(&report, &[report.tree()], args.output, args.color.style())?);
    Ok(ExitCode::SUCCESS)
}

/// The one cluster of a file.
fn wanted(path: &str) -> Result<ChatroomCluster, Error> {
    let text = file::read(path)?;
    let mut clusters = Vec::new();
    for object in file::objects(path, &text)? {
        match object {
            Ok(Object::Cluster(cluster)) => clusters.push(*cluster),
            Ok(Object::Operation(_)) => {}
            Err((what, problems)) => return Err(Error::Invalid { path: path.to_owned(), what, problems }),
        }
    }
    let several = clusters.len();
    clusters.into_iter().next().filter(|_| several == 1).ok_or_else(|| Error::File {
        path: path.to_owned(),
        why: format!("it has {several} ChatroomClusters: write a file with one"),
    })
}

/// Reads what the operator would see.
async fn live(reach: &Reach, name: &str) -> Result<Live, Error> {
    let label = format!("{}={name}", names::CLUSTER);
    let all_nodes = Api::<Node>::all(reach.client.clone());
    let (pods, revisions, services, policies, budgets, nodes, operations) = futures::join!(
        reach.list::<Pod>(&label),
        reach.list::<ControllerRevision>(&label),
        reach.list::<Service>(&label),
        reach.list::<NetworkPolicy>(&label),
        reach.list::<PodDisruptionBudget>(&label),
        reach.list_of(&all_nodes, "", None),
        reach.list::<ChatroomOperation>(""),
    );
    let mut unseen = Vec::new();
    let mut or_nothing = |what: &str, error: Error| match error {
        Error::Denied(denied) => {
            unseen.push(format!("{what}: {denied}"));
            Ok(())
        }
        other => Err(other),
    };
    let objects_known = services.is_ok() && policies.is_ok() && budgets.is_ok();
    let objects = Objects {
        pods: shared(pods?),
        revisions: shared(revisions?),
        services: services.map(shared).or_else(|e| or_nothing("Services are not compared", e).map(|()| vec![]))?,
        policies: policies
            .map(shared)
            .or_else(|e| or_nothing("NetworkPolicies are not compared", e).map(|()| vec![]))?,
        budgets: budgets.map(shared).or_else(|e| or_nothing("budgets are not compared", e).map(|()| vec![]))?,
    };
    let nodes = match nodes {
        Ok(nodes) => Some(shared(nodes)),
        Err(error) => or_nothing("nodes are taken as ready and not cordoned", error).map(|()| None)?,
    };
    let operations = operations?.into_iter().filter(|operation| operation.spec.cluster == name).collect();
    Ok(Live { objects, objects_known, nodes, operations: shared(operations), notes: unseen })
}

fn shared<K>(all: Vec<K>) -> Vec<Arc<K>> {
    all.into_iter().map(Arc::new).collect()
}
