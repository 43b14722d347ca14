//! Secrets that a cluster names, read one by one: a watch would need the right to list all Secrets of the namespace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::time::{Instant, timeout};

use crate::kube_api::CALL;

/// A Secret that was found is read again after so long ...
const FOUND_FOR: Duration = Duration::from_secs(30);
/// ... and one that was missing, or that nobody told of, after so long.
const MISSING_FOR: Duration = Duration::from_secs(5);

/// Entries of a Secret.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// What is known of Secrets.
#[derive(Default)]
pub struct Secrets {
    known: BTreeMap<String, Known>,
    /// Why those cannot be read that were never read.
    unread: BTreeMap<String, String>,
}

struct Known {
    at: Instant,
    /// None: it does not exist.
    entries: Option<Arc<Entries>>,
}

/// Never shows what is in them.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

impl Secrets {
    /// Reads those of these names that were not read lately, and forgets all others. While the API server does not answer,
    /// what was known stays.
    pub async fn refresh(&mut self, api: &Api<Secret>, names: &[&str]) {
        self.known.retain(|name, _| names.contains(&name.as_str()));
        self.unread.retain(|name, _| names.contains(&name.as_str()));
        for name in names {
            let fresh = self.known.get(*name).is_some_and(|known| {
                known.at.elapsed() < if known.entries.is_some() { FOUND_FOR } else { MISSING_FOR }
            });
            if fresh {
                continue;
            }
            match timeout(CALL, api.get_opt(name)).await {
                Ok(Ok(Some(mut secret))) => {
                    secret.metadata.name = Some((*name).to_owned());
                    self.learn(secret);
                }
                Ok(Ok(None)) => self.learn_missing(name),
                Ok(Err(error)) => self.learn_unreadable(name, error.to_string()),
                Err(_) => self.learn_unreadable(name, "the API server does not answer".to_owned()),
            }
        }
    }

    /// Forgets one that was missing, for it may be there now.
    pub fn forget_missing(&mut self, name: &str) {
        if self.is_missing(name) {
            self.known.remove(name);
        }
    }

    /// Notes one as if it had been read.
    pub fn learn(&mut self, secret: Secret) {
        let Some(name) = secret.metadata.name.clone() else { return };
        self.unread.remove(&name);
        self.known.insert(name, Known { at: Instant::now(), entries: Some(Arc::new(entries(secret))) });
    }

    /// Notes that one does not exist.
    pub fn learn_missing(&mut self, name: &str) {
        self.unread.remove(name);
        self.known.insert(name.to_owned(), Known { at: Instant::now(), entries: None });
    }

    /// Notes why one could not be read. What was read before stays.
    pub fn learn_unreadable(&mut self, name: &str, why: String) {
        tracing::debug!(name, why, "a Secret cannot be read");
        self.unread.insert(name.to_owned(), why);
    }

    /// Why nothing is known of one, if it could not be read.
    #[must_use]
    pub fn unreadable(&self, name: &str) -> Option<&str> {
        self.unread.get(name).filter(|_| !self.known.contains_key(name)).map(String::as_str)
    }

    /// An entry as text, if the Secret has it.
    #[must_use]
    pub fn text(&self, name: &str, entry: &str) -> Option<String> {
        let bytes = self.entries(name)?.get(entry)?;
        Some(std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// The entries of a Secret, if it is there.
    #[must_use]
    pub fn entries(&self, name: &str) -> Option<&Arc<Entries>> {
        self.known.get(name)?.entries.as_ref()
    }

    /// Whether it certainly does not exist.
    #[must_use]
    pub fn is_missing(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|known| known.entries.is_none())
    }
}

fn entries(secret: Secret) -> Entries {
    secret.data.unwrap_or_default().into_iter().map(|(name, bytes)| (name, bytes.0)).collect()
}
