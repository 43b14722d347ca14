//! What Pods run with: the fixed keys and laxer limits of dev, then what the cluster's file says, then what the flags say.

use throng_core::Role;
use throng_core::policy::Rooms;
use throng_node::config::Sources;
use throng_operator::render::behavior;

use super::args::DevArgs;
use super::bots;
use super::given::Given;
use crate::roles::{self, Config};

/// What these configurations say of rooms, as the policy that running Pods follow says it.
pub(super) fn rooms(config: &Config) -> Rooms {
    let (given, defaults) = (&config.chatroom.rooms, Rooms::default());
    Rooms {
        messages_per_s: given.messages_per_second.unwrap_or(defaults.messages_per_s),
        user_messages_per_s: given.user_messages_per_second.unwrap_or(defaults.user_messages_per_s),
        downstream_per_s: config.gateway.downstream.messages_per_second,
        max_downstream_per_s: config.gateway.downstream.max_messages_per_second,
        offline_after_ms: given.offline_after_ms.unwrap_or(defaults.offline_after_ms),
        offline_after_messages: given.offline_after_messages.unwrap_or(defaults.offline_after_messages),
        idle_ms: given.idle_ms.unwrap_or(defaults.idle_ms),
        protected_types: given.protected_types.clone(),
    }
}

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
