//! What refuses this process: a registry or a store that answers, and says no. Nothing gets better by itself then, so people
//! are told: in the log when it begins and ends, and wherever the process says why it is not ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_registry::Error as RegistryError;
use throng_store::StoreError;
use tracing::{info, warn};

/// Why the registry and the store refuse, none while they do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Of the registry: wrong credentials, a distrusted certificate, a missing right, no space.
    pub registry: Option<String>,
    /// Of the store: wrong credentials, a missing right, settings that no room survives.
    pub store: Option<String>,
}

/// The latest refusals, shared by all calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<Refusals>>);

impl Refused {
    fn now(&self) -> MutexGuard<'_, Refusals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest of both.
    pub(super) fn said(&self) -> Refusals {
        self.now().clone()
    }

    /// Notes an answer of the registry. No answer says nothing.
    pub(super) fn note_registry<T>(&self, answer: &Result<T, RegistryError>) {
        match answer {
            Err(RegistryError::Refused { reason }) => note(&mut self.now().registry, "the registry", Some(reason)),
            Err(RegistryError::Unavailable { .. }) => {}
            _ => note(&mut self.now().registry, "the registry", None),
        }
    }

    /// Notes an answer of the store. No answer says nothing.
    pub(super) fn note_store<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Err(StoreError::Refused { reason }) => note(&mut self.now().store, "the store", Some(reason)),
            Err(StoreError::Unavailable { .. }) => {}
            _ => note(&mut self.now().store, "the store", None),
        }
    }
}

fn note(known: &mut Option<String>, who: &str, reason: Option<&String>) {
    if known.as_ref() == reason {
        return;
    }
    if let Some(reason) = reason {
        warn!(reason, "{who} refuses this process; somebody has to act");
    } else {
        info!("{who} does not refuse this process any more");
    }
    *known = reason.cloned();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stays_until_something_else_is_answered() {
        let refused = Refused::default();
        let away: Result<(), _> = Err(RegistryError::Unavailable { reason: "x".into() });
        refused.note_registry(&away);
        assert_eq!(refused.said(), Refusals::default());
        refused.note_registry::<()>(&Err(RegistryError::Refused { reason: "check the password".into() }));
        refused.note_registry(&away);
        refused.note_store::<()>(&Err(StoreError::Refused { reason: "check the ACL".into() }));
        let both = Refusals { registry: Some("check the password".into()), store: Some("check the ACL".into()) };
        assert_eq!(refused.said(), both);
        refused.note_registry(&Ok(()));
        refused.note_store(&Ok(()));
        assert_eq!(refused.said(), Refusals::default());
    }
}
