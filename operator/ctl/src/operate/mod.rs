//! `throng drain|rollback|pause|resume|promote`: says what will happen, asks, creates a `ChatroomOperation`, follows it.
//!
//! [`intent`] is what is wanted, as an object; [`preview`] says what it means for the users who are there now; [`follow`]
//! reads its status on the way. All three are pure. Nothing here changes a cluster: the operator does, and decides what of
//! it can be done.

pub mod args;
pub mod follow;
pub mod intent;
pub mod preview;

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use args::{Common, DrainArgs, PlainArgs, RollbackArgs};
use follow::{End, Progress};
use intent::Intent;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::api::Api;
use preview::Preview;
use throng_crds::ChatroomOperation;
use throng_operator::names;
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::overview::Overview;
use crate::reach::Reach;
use crate::screen::{now, print};
use crate::seen::Seen;

/// Time between two looks at an operation that is followed.
const LOOK: Duration = Duration::from_secs(1);
/// Exit code: the operation is not at its end yet.
const NOT_YET: u8 = 3;

/// `throng drain`.
///
/// # Errors
/// Why nothing was done, or what became of it.
pub async fn drain(args: DrainArgs) -> Result<ExitCode, Error> {
    let whom = args.whom()?;
    let reach = Reach::connect(&args.common.to).await?;
    let named = args.cluster.as_deref().or_else(|| whom.cluster());
    let seen = see(&reach, named).await?;
    let intent = whom.intent(&Overview::of(&seen))?;
    operate(&reach, &seen, &intent, &args.common).await
}

/// `throng rollback`.
///
/// # Errors
/// As [`drain`].
pub async fn rollback(args: RollbackArgs) -> Result<ExitCode, Error> {
    let intent = Intent::Rollback { to: args.to, pace: args.pace.into() };
    plain(&args.common, args.cluster.as_deref(), &intent).await
}

/// `throng pause`, `resume` and `promote`.
///
/// # Errors
/// As [`drain`].
pub async fn simple(args: PlainArgs, intent: Intent) -> Result<ExitCode, Error> {
    plain(&args.common, args.cluster.as_deref(), &intent).await
}

async fn plain(common: &Common, cluster: Option<&str>, intent: &Intent) -> Result<ExitCode, Error> {
    let reach = Reach::connect(&common.to).await?;
    let seen = see(&reach, cluster).await?;
    operate(&reach, &seen, intent, common).await
}

/// Reads the cluster that is meant.
async fn see(reach: &Reach, name: Option<&str>) -> Result<Seen, Error> {
    let cluster = reach.cluster(name).await?;
    let label = format!("{}={}", names::CLUSTER, cluster.name_any());
    let every_node = Api::<Node>::all(reach.client.clone());
    let (pods, operations, nodes) = futures::join!(
        reach.list::<Pod>(&label),
        reach.list::<ChatroomOperation>(""),
        reach.list_of(&every_node, "", None)
    );
    let words = |error: Error| error.to_string();
    let (pods, operations, nodes) = (pods.map_err(words), operations.map_err(words), nodes.map_err(words));
    Ok(Seen::of(&cluster, &pods, &operations, &nodes, now()))
}

/// Shows, asks, creates, follows.
async fn operate(reach: &Reach, seen: &Seen, intent: &Intent, common: &Common) -> Result<ExitCode, Error> {
    let overview = Overview::of(seen);
    let operation = intent.operation(&overview.namespace, &overview.name, common.note.as_deref());
    if common.dry_run {
        print(&intent::yaml(&operation)?);
        return Ok(ExitCode::SUCCESS);
    }
    let preview = Preview::of(intent, &overview)?;
    eprint!("{preview}");
    if !common.yes {
        ask(&preview.question)?;
    }
    let made = reach.create(&operation).await?;
    let name = made.name_any();
    print(&format!("chatroomoperation.throng.dev/{name} created\n"));
    if !common.wait {
        eprintln!("follow it: throng status {} -n {} --watch", overview.name, overview.namespace);
        return Ok(ExitCode::SUCCESS);
    }
    wait(reach, &name, common.timeout_ms()).await
}

/// Asks on the terminal; anything but a yes is a no.
fn ask(question: &str) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal);
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && intent::is_yes(&answer) { Ok(()) } else { Err(Error::NotDone("you did not say yes".to_owned())) }
}

/// Follows an operation to its end. One call that fails is no end; a minute of them is.
async fn wait(reach: &Reach, name: &str, timeout_ms: u64) -> Result<ExitCode, Error> {
    let end = Instant::now() + Duration::from_millis(timeout_ms);
    let terminal = std::io::stderr().is_terminal();
    let (mut said, mut failures) = (BTreeSet::new(), 0);
    loop {
        match reach.get::<ChatroomOperation>(name).await {
            Ok(found) => {
                failures = 0;
                let Progress { line, end } = follow::progress(found.as_ref(), now());
                if terminal {
                    eprint!("\r\x1b[K{line}");
                    let _ = std::io::stderr().flush();
                } else if said.insert(line.clone()) {
                    eprintln!("{line}");
                }
                if let Some(end) = end {
                    if terminal {
                        eprintln!();
                    }
                    return Ok(if end == End::Done { ExitCode::SUCCESS } else { ExitCode::FAILURE });
                }
            }
            Err(error) if failures >= 5 => return Err(error),
            Err(_) => failures += 1,
        }
        if Instant::now() >= end {
            eprintln!(
                "\nit is not at its end yet and goes on by itself: kubectl get cro {name} -n {} --watch",
                reach.namespace
            );
            return Ok(ExitCode::from(NOT_YET));
        }
        sleep(LOOK).await;
    }
}
