//! `throng check`: a YAML offline, and with access to a cluster what it needs there: kinds, an operator, Secrets, and whether
//! anything is wrong with the clusters that run.
//!
//! [`file`] looks at files, [`live`] judges what was read of a cluster, both pure; [`finding`] is what they found.

pub mod file;
pub mod finding;
pub mod live;

use std::collections::BTreeMap;
use std::process::ExitCode;

use finding::{Finding, is_broken, lines};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use throng_crds::ChatroomCluster;
use throng_crds::rules::Kind;
use throng_operator::lease::decide::EVERY;
use throng_operator::render::secrets;

use crate::error::Error;
use crate::reach::{Reach, Where};
use crate::screen::{Colour, Format, now, print, show};

/// What to check.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng check -f cluster.yaml             the YAML, and whether what it names is there
  throng check -f cluster.yaml --offline   the YAML alone; needs no cluster
  throng check                             kinds, operator, and every cluster of the namespace
  throng check live -n show                and one cluster

Exit code 1: there is a problem. Offline it says what an API server would say of the YAML, field
by field, and what only the operator can know, such as the name of a time zone.

What may not be read is shown as unknown. For everything, ask for the roles throng-view and
view, the right to get customresourcedefinitions and to list leases, and to get the Secrets that
clusters name.")]
pub struct CheckArgs {
    /// Name of the cluster; all of the namespace without it.
    #[arg(conflicts_with = "filename")]
    cluster: Option<String>,
    /// A YAML to check; may be written several times; `-`: from the standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<String>,
    /// Ask no cluster.
    #[arg(long, requires = "filename")]
    offline: bool,
    #[command(flatten)]
    to: Where,
    /// Namespace of the operator; looked for in all without it.
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
    /// Name of the operator's Lease.
    #[arg(long, value_name = "NAME", default_value = "throng-operator")]
    lease: String,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// When to show colours.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
}

/// Checks.
///
/// # Errors
/// A file cannot be read, or there is no way to a cluster although one is needed.
pub async fn run(args: CheckArgs) -> Result<ExitCode, Error> {
    let (mut findings, wanted) = files(&args)?;
    if !args.offline {
        match Reach::connect(&args.to).await {
            Ok(reach) => findings.extend(ask(&args, &reach, wanted).await?),
            // Files alone may be checked anywhere.
            Err(error) if !args.filename.is_empty() => {
                findings.push(Finding::unknown("the cluster", first_line(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    print(&show(&findings, &lines(&findings), args.output, args.color.style())?);
    Ok(if is_broken(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What there is to say of the files, and the clusters in them.
fn files(args: &CheckArgs) -> Result<(Vec<Finding>, Vec<ChatroomCluster>), Error> {
    let (mut findings, mut clusters) = (Vec::new(), Vec::new());
    for path in &args.filename {
        for object in file::objects(path, &file::read(path)?)? {
            findings.extend(file::findings(path, &object, now()));
            if let Ok(file::Object::Cluster(cluster)) = object {
                clusters.push(*cluster);
            }
        }
    }
    Ok((findings, clusters))
}

/// Asks the cluster: kinds and operator, then what clusters name and how they are.
async fn ask(args: &CheckArgs, reach: &Reach, wanted: Vec<ChatroomCluster>) -> Result<Vec<Finding>, Error> {
    let mut findings = kinds(reach).await;
    if finding::is_broken(&findings) {
        return Ok(findings);
    }
    let first = lease(args, reach).await;
    let moves = match &first {
        Ok(Some(first)) if !live::is_fresh(first, now()) => moves(args, reach, first).await,
        _ => false,
    };
    findings.push(live::operator(&first, &args.lease, moves, now()));
    let stored = match (&args.cluster, args.filename.is_empty()) {
        (Some(name), _) => vec![reach.cluster(Some(name)).await?],
        (None, true) => reach.list("").await?,
        (None, false) => Vec::new(),
    };
    if stored.is_empty() && args.filename.is_empty() {
        let remedy = "kubectl apply -f examples/minimal.yaml";
        findings.push(Finding::warning(&format!("namespace {}", reach.namespace), "it has no ChatroomCluster", remedy));
    }
    for cluster in &stored {
        findings.extend(live::conditions(cluster));
    }
    for cluster in stored.iter().chain(&wanted) {
        findings.extend(named(reach, cluster).await);
    }
    Ok(findings)
}

/// Whether the kinds are installed, and those of this version.
async fn kinds(reach: &Reach) -> Vec<Finding> {
    let api: Api<CustomResourceDefinition> = Api::all(reach.client.clone());
    let served = reach
        .call::<ChatroomCluster, _>("list", None, reach.client.list_api_group_resources("throng.dev/v1alpha1"))
        .await;
    let served = served.map(|list| list.resources.into_iter().map(|resource| resource.kind).collect::<Vec<_>>());
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let name = live::crd_name(kind);
        let stored = reach.call::<CustomResourceDefinition, _>("get", None, api.get_opt(&name)).await;
        findings.push(live::kind(kind, &stored, &served));
    }
    findings
}

/// The operator's Lease, wherever it lies.
async fn lease(args: &CheckArgs, reach: &Reach) -> Result<Option<Lease>, Error> {
    if let Some(namespace) = &args.operator_namespace {
        let api: Api<Lease> = Api::namespaced(reach.client.clone(), namespace);
        return reach.call::<Lease, _>("get", Some(namespace), api.get_opt(&args.lease)).await;
    }
    let api: Api<Lease> = Api::all(reach.client.clone());
    let params = ListParams::default().fields(&format!("metadata.name={}", args.lease));
    match reach.call::<Lease, _>("list", None, api.list(&params)).await {
        // Of several operators the one that was heard of last.
        Ok(list) => Ok(list.items.into_iter().max_by_key(live::renewed)),
        // Who may not look everywhere may perhaps look here.
        Err(Error::Denied(denied)) => {
            let here: Api<Lease> = reach.api();
            let found = reach.call::<Lease, _>("get", None, here.get_opt(&args.lease)).await;
            found.ok().flatten().map(Some).ok_or(Error::Denied(denied))
        }
        Err(error) => Err(error),
    }
}

/// Whether a Lease is renewed while one looks at it: clocks may differ.
async fn moves(args: &CheckArgs, reach: &Reach, first: &Lease) -> bool {
    tokio::time::sleep(EVERY * 2).await;
    let again = lease(args, reach).await.ok().flatten();
    again.is_some_and(|again| live::renewed(&again) != live::renewed(first))
}

/// Whether the Secrets that a cluster names are there, with entries that are of use.
async fn named(reach: &Reach, cluster: &ChatroomCluster) -> Vec<Finding> {
    let namespace = cluster.metadata.namespace.as_ref().unwrap_or(&reach.namespace).clone();
    let api: Api<Secret> = Api::namespaced(reach.client.clone(), &namespace);
    let wanted = secrets(&cluster.spec);
    let mut found = BTreeMap::new();
    for name in wanted.iter().map(|named| named.name) {
        if !found.contains_key(name) {
            let secret = reach.call::<Secret, _>("get", Some(&namespace), api.get_opt(name)).await;
            found.insert(name.to_owned(), secret);
        }
    }
    let what = format!("Secrets of {}", cluster.name_any());
    live::secrets(&what, &wanted, &found, cluster.status.as_ref())
}
