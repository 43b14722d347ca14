//! What people write behind `drain`, `rollback`, `pause`, `resume` and `promote`.

use throng_crds::operation::Pace;
use throng_crds::span::Span;

use super::intent::Whom;
use crate::error::Error;
use crate::reach::Where;

/// What all operations have in common.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    #[command(flatten)]
    pub(super) to: Where,
    /// Do it without asking.
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Follow it to its end. Exit code 0: done; 1: failed, or another took its place; 3: not at its end in time.
    #[arg(short, long)]
    pub(super) wait: bool,
    /// Follow it no longer than this, as in 90s or 30m. It goes on all the same.
    #[arg(long, value_name = "SPAN", default_value = "30m", value_parser = span)]
    timeout: Span,
    /// Who asks for it and why, for those who read it later.
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,
    /// Print the object that would be created, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Common {
    pub(super) fn timeout_ms(&self) -> u64 {
        self.timeout.as_ms().unwrap_or(0)
    }
}

fn span(text: &str) -> Result<Span, String> {
    let span = Span::new(text);
    if span.as_ms().is_some() {
        Ok(span)
    } else {
        Err("write hours, minutes and seconds, as in 90s, 30m or 1h30m".into())
    }
}

/// Which Pods to empty.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng drain live-gateway-7-2                  empty one Pod; another takes its place
  throng drain live-gateway-7-2 live-gateway-7-5 -y --wait
  throng drain --node node-a --cluster live      all Pods of the cluster on a node
  throng drain --zone eu-west-1a --dry-run       print the ChatroomOperation, and do nothing

Users are moved, idle ones first, until the Pod is empty; who is still on it when
spec.drain.deadline has passed is cut off. New Pods may come to the same node. To keep them
off, `kubectl cordon` it: the operator then empties it without being asked.

It needs the right to create, get and list chatroomoperations and to get and list
chatroomclusters: role throng-live-ops.")]
pub struct DrainArgs {
    /// Names of Pods of one cluster.
    #[arg(value_name = "POD", required_unless_present_any = ["node", "zone"], conflicts_with_all = ["node", "zone"])]
    pods: Vec<String>,
    /// All Pods on this node.
    #[arg(long, value_name = "NAME", conflicts_with = "zone")]
    node: Option<String>,
    /// All Pods in this zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// The cluster; that of the Pods, or the only one of the namespace, without it.
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

impl DrainArgs {
    /// Who is meant.
    pub(super) fn whom(&self) -> Result<Whom, Error> {
        match (&self.node, &self.zone) {
            (Some(node), _) => Ok(Whom::Node(node.clone())),
            (None, Some(zone)) => Ok(Whom::Zone(zone.clone())),
            (None, None) => Whom::pods(&self.pods),
        }
    }
}

/// Where to roll back to.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng rollback                         to the last good revision, as fast as it goes
  throng rollback live --pace gentle      at the pace of any other drain
  throng rollback live --to 7 -y --wait   to revision 7, unasked, until the last user is back

The revision that is left is blocked: it gets no users until the spec asks for other Pods,
however often the same manifest is applied again.

It needs the right to create, get and list chatroomoperations and to get and list
chatroomclusters: role throng-live-ops.")]
pub struct RollbackArgs {
    /// Name of the cluster; the only one of the namespace without it.
    pub(super) cluster: Option<String>,
    /// Number of the revision; the last good one without it.
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) to: Option<u64>,
    /// How fast users move back.
    #[arg(long, alias = "mode", value_enum, default_value_t)]
    pub(super) pace: Speed,
    #[command(flatten)]
    pub(super) common: Common,
}

/// How fast users move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Speed {
    /// As fast as the fleet takes them in.
    #[default]
    Fast,
    /// As in any other drain.
    Gentle,
}

impl From<Speed> for Pace {
    fn from(speed: Speed) -> Self {
        match speed {
            Speed::Fast => Self::Fast,
            Speed::Gentle => Self::Gentle,
        }
    }
}

/// A cluster, and nothing more to say.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng pause live --note half-time   hold the rollout where it is
  throng resume live                   go on with a rollout that was held, or halted on its own
  throng promote live -y --wait        end the canary now: everybody gets the new revision

It needs the right to create, get and list chatroomoperations and to get and list
chatroomclusters: role throng-live-ops.")]
pub struct PlainArgs {
    /// Name of the cluster; the only one of the namespace without it.
    pub(super) cluster: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}
