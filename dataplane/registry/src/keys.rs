//! Names of keys: everything lies under `<namespace>/<cluster>/`.

use throng_core::{InstanceId, Role, Slot};

use crate::error::Error;
use crate::model::ClaimKey;

/// The keys of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Member(Role, InstanceId),
    Claim(ClaimKey),
    Incarnation,
    LeaderEpoch,
    Placement(Role),
    Target(Role),
    Policy,
}

impl Keys {
    /// Both names are those of Kubernetes objects; a slash would let one cluster look into another.
    pub(crate) fn new(namespace: &str, cluster: &str) -> Result<Self, Error> {
        let fine = |name: &str| !name.is_empty() && !name.contains('/') && !name.chars().any(char::is_control);
        if fine(namespace) && fine(cluster) {
            Ok(Self { prefix: format!("{namespace}/{cluster}/") })
        } else {
            Err(Error::refused(format!(
                "{namespace:?}/{cluster:?} does not name a cluster; give a name without slashes"
            )))
        }
    }

    /// The keys of the one cluster that a registry in memory has.
    pub(crate) fn in_memory() -> Self {
        Self { prefix: "memory/dev/".to_owned() }
    }

    /// What all keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn member(&self, role: Role, instance: &InstanceId) -> String {
        format!("{}member/{role}/{instance}", self.prefix)
    }

    pub(crate) fn claim(&self, key: ClaimKey) -> String {
        match key {
            ClaimKey::Rooms(slot) => format!("{}claim/chatroom/{slot}", self.prefix),
            ClaimKey::Users(slot) => format!("{}claim/message/{slot}", self.prefix),
        }
    }

    pub(crate) fn incarnation(&self) -> String {
        format!("{}incarnation", self.prefix)
    }

    pub(crate) fn leader_epoch(&self) -> String {
        format!("{}leader", self.prefix)
    }

    pub(crate) fn placement(&self, role: Role) -> String {
        format!("{}placement/{role}", self.prefix)
    }

    pub(crate) fn target(&self, role: Role) -> String {
        format!("{}target/{role}", self.prefix)
    }

    pub(crate) fn policy(&self) -> String {
        format!("{}policy", self.prefix)
    }

    /// Reads a key, none if it is not one of this cluster's, or of a newer version.
    pub(crate) fn read(&self, key: &str) -> Option<Key> {
        let key = key.strip_prefix(&self.prefix)?;
        match key.split_once('/') {
            None if key == "incarnation" => Some(Key::Incarnation),
            None if key == "leader" => Some(Key::LeaderEpoch),
            None if key == "policy" => Some(Key::Policy),
            Some(("member", rest)) => {
                let (role, instance) = rest.split_once('/')?;
                Some(Key::Member(Role::from_text(role)?, InstanceId::new(instance).ok()?))
            }
            Some(("placement", role)) => Some(Key::Placement(Role::from_text(role)?)),
            Some(("target", role)) => Some(Key::Target(Role::from_text(role)?)),
            Some(("claim", rest)) => read_claim(rest).map(Key::Claim),
            _ => None,
        }
    }
}

fn read_claim(rest: &str) -> Option<ClaimKey> {
    let (role, slot) = rest.split_once('/')?;
    ClaimKey::slot(Role::from_text(role)?, Slot::new(slot.parse().ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_as_what_it_names() {
        let keys = Keys::new("default", "live").unwrap();
        let instance = InstanceId::new("live-gateway-1-0/7f").unwrap();
        assert_eq!(keys.read(&keys.member(Role::Gateway, &instance)), Some(Key::Member(Role::Gateway, instance)));
        for claim in [ClaimKey::Rooms(Slot::new(0).unwrap()), ClaimKey::Users(Slot::new(4095).unwrap())] {
            assert_eq!(keys.read(&keys.claim(claim)), Some(Key::Claim(claim)));
        }
        assert_eq!(keys.read(&keys.incarnation()), Some(Key::Incarnation));
        assert_eq!(keys.read(&keys.leader_epoch()), Some(Key::LeaderEpoch));
        assert_eq!(keys.read(&keys.policy()), Some(Key::Policy));
        assert_eq!(keys.read(&keys.placement(Role::Message)), Some(Key::Placement(Role::Message)));
        assert_eq!(keys.read(&keys.target(Role::Chatroom)), Some(Key::Target(Role::Chatroom)));
        assert_eq!(keys.claim(ClaimKey::Rooms(Slot::new(7).unwrap())), "default/live/claim/chatroom/7");
    }

    #[test]
    fn keys_of_others_are_not_read() {
        let keys = Keys::new("default", "live").unwrap();
        for other in [
            "default/live2/incarnation",
            "default/liv",
            "default/live/claim/gateway/1",
            "default/live/claim/chatroom/4096",
            "default/live/later",
        ] {
            assert_eq!(keys.read(other), None, "{other}");
        }
        assert!(Keys::new("a/b", "c").is_err());
        assert!(Keys::new("a", "").is_err());
    }
}
