//! `throng crds`: the custom resource definitions and their reference, for `kubectl` and for the repository.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use throng_crds::files;
use throng_crds::rules::Kind;

/// What to print.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  throng crds | kubectl apply --server-side -f -\n  throng crds chatroomcluster > crds/chatroomclusters.yaml\n  throng crds --docs > docs/cluster.md"
)]
pub(crate) struct CrdsArgs {
    /// The kind to print; both without it.
    kind: Option<KindArg>,
    /// Print the reference of the fields as Markdown instead.
    #[arg(long, conflicts_with = "kind")]
    docs: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindArg {
    #[value(name = "chatroomcluster")]
    Cluster,
    #[value(name = "chatroomoperation")]
    Operation,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Cluster => Self::Cluster,
            KindArg::Operation => Self::Operation,
        }
    }
}

/// Prints them.
pub(crate) fn run(args: &CrdsArgs) -> Result<ExitCode> {
    if args.docs {
        print!("{}", files::reference());
        return Ok(ExitCode::SUCCESS);
    }
    let kinds = args.kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind.into()]);
    let texts = kinds.into_iter().map(files::yaml).collect::<Result<Vec<_>, _>>()?;
    print!("{}", texts.join("---\n"));
    Ok(ExitCode::SUCCESS)
}
