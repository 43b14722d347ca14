//! `throng status`: clusters as trees, once or at every change.

mod watch;

use std::process::ExitCode;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_operator::names;
use throng_plan::status::Utc;

use crate::error::Error;
use crate::overview::{Overview, tree};
use crate::reach::{Reach, Where};
use crate::screen::{Colour, Format, now, print, show};
use crate::seen::{Readable, Seen};
use crate::text::Branch;

/// What to show.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng status                    every cluster of the namespace, as a tree
  throng status live -n show       one of them
  throng status live --watch       again at every change, until Ctrl-C
  throng status live -o json       for programs; `now` is when it was read
  throng status -A                 of all namespaces

It needs the right to get and list chatroomclusters and chatroomoperations (role throng-view,
part of view), and shows Pods to those who may list them (role view), with
the zones of their nodes to those who may list nodes. Reasons of conditions are
explained in docs/operator.md.")]
pub struct StatusArgs {
    /// Name of the cluster; all of the namespace without it.
    cluster: Option<String>,
    #[command(flatten)]
    to: Where,
    /// Clusters of all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "cluster"])]
    all_namespaces: bool,
    /// Show it again at every change. As JSON: one object a line.
    #[arg(short, long)]
    watch: bool,
    /// Name every Pod, also of pools with more than twenty.
    #[arg(long)]
    pods: bool,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// When to show colours.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
}

/// Which objects are meant.
#[derive(Clone)]
struct Scope {
    reach: Reach,
    cluster: Option<String>,
    all: bool,
}

/// How to show it.
#[derive(Clone, Copy)]
struct Look {
    format: Format,
    colour: Colour,
    every_pod: bool,
    /// A cluster was named: it is shown, not a list.
    named: bool,
}

/// Everything that was read, of all clusters that are meant.
struct Found {
    clusters: Vec<ChatroomCluster>,
    pods: Readable<Pod>,
    operations: Readable<ChatroomOperation>,
    nodes: Readable<Node>,
}

/// Shows it.
///
/// # Errors
/// Why it could not be read.
pub async fn run(args: StatusArgs) -> Result<ExitCode, Error> {
    let reach = Reach::connect(&args.to).await?;
    let scope = Scope { reach, cluster: args.cluster.clone(), all: args.all_namespaces };
    let found = scope.read().await?;
    let named = scope.cluster.is_some();
    let look = Look { format: args.output, colour: args.color, every_pod: args.pods, named };
    if args.watch {
        return watch::run(&scope, found, look).await;
    }
    print(&look.page(&found.overviews(now()))?);
    Ok(ExitCode::SUCCESS)
}

impl Look {
    /// All overviews in one form.
    fn page(self, overviews: &[Overview]) -> Result<String, Error> {
        let style = self.colour.style();
        if let Some(one) = overviews.first().filter(|_| self.named) {
            return show(one, &[tree(one, self.every_pod)], self.format, style);
        }
        let mut trees: Vec<Branch> = Vec::new();
        for overview in overviews {
            if !trees.is_empty() {
                trees.push(Branch::default());
            }
            trees.push(tree(overview, self.every_pod));
        }
        show(&overviews, &trees, self.format, style)
    }
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        if self.all { Api::all(self.reach.client.clone()) } else { self.reach.api() }
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.reach.client.clone())
    }

    /// The namespace that a refusal names.
    fn namespace(&self) -> Option<&str> {
        (!self.all).then_some(self.reach.namespace.as_str())
    }

    /// Label of the Pods that are meant.
    fn label(&self) -> String {
        self.cluster.as_ref().map_or_else(|| names::CLUSTER.to_owned(), |name| format!("{}={name}", names::CLUSTER))
    }

    async fn read(&self) -> Result<Found, Error> {
        let clusters = match &self.cluster {
            Some(name) => vec![self.reach.cluster(Some(name)).await?],
            None => self.reach.list_of(&self.api(), "", self.namespace()).await?,
        };
        if clusters.is_empty() {
            let place = self.namespace().map_or_else(|| "this cluster".to_owned(), |name| format!("namespace {name}"));
            let hint =
                if self.all { "apply one, as examples/minimal.yaml" } else { "write -n NAMESPACE, or -A for all" };
            return Err(Error::NotDone(format!("{place} has no ChatroomCluster: {hint}")));
        }
        let (label, namespace) = (self.label(), self.namespace());
        let (pods, operations) = (self.api::<Pod>(), self.api::<ChatroomOperation>());
        let nodes = self.nodes();
        let (pods, operations, nodes) = futures::join!(
            self.reach.list_of(&pods, &label, namespace),
            self.reach.list_of(&operations, "", namespace),
            self.reach.list_of(&nodes, "", None)
        );
        let words = |error: Error| error.to_string();
        let (pods, operations, nodes) = (pods.map_err(words), operations.map_err(words), nodes.map_err(words));
        Ok(Found { clusters, pods, operations, nodes })
    }
}

impl Found {
    /// By namespace and name.
    fn overviews(&self, now: Utc) -> Vec<Overview> {
        let of = |cluster| Overview::of(&Seen::of(cluster, &self.pods, &self.operations, &self.nodes, now));
        let mut all: Vec<Overview> = self.clusters.iter().map(of).collect();
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        all
    }
}
