//! What Pods run with: the fixed keys and laxer limits of dev, then what the cluster's file says, then what the flags say.

use throng_core::Role;
use throng_node::config::Sources;
use throng_operator::render::behavior;

use super::args::DevArgs;
use super::bots;
use super::given::Given;
use crate::roles::{self, Config};

/// Makes configurations.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    args: DevArgs,
}

impl Recipe {
    pub(super) fn new(args: &DevArgs) -> Self {
        Self { args: args.clone() }
    }

    /// The configuration of a cluster that a file asks for; without one, of one by flags.
    pub(super) fn config(&self, file: Option<&Given>) -> Result<Config, String> {
        let of_role = |role| file.map(|given| behavior(&given.written, role)).unwrap_or_default();
        let of_file = Role::ALL.into_iter().flat_map(of_role).map(|(key, value)| format!("{key}={value}"));
        // The flag that comes later wins.
        let sets = of_file.chain(self.args.sets.iter().cloned()).collect();
        let sources = Sources { file: self.args.config.clone(), sets };
        let mut config = roles::dev_config(&sources).map_err(|error| error.to_string())?;
        bots::make_room(&self.args, &mut config).map_err(|error| format!("{error:#}"))?;
        Ok(config)
    }
}
