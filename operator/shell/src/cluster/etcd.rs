//! The way to the etcd of a cluster: its registry, opened anew whenever what it is opened with changes.

use std::sync::Arc;

use throng_registry::{Credentials, EtcdOptions, EtcdRegistry, Pem, Registry as _, Tls, View};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::secrets::{Entries, Secrets};
use super::statements;
use crate::render::{Owner, secrets as named_secrets};

/// What is told of a way that stays open though it could not be opened now.
const IN_FORCE: &str = "what was read before stays in force";

/// An open registry. Closed when dropped.
pub struct Etcd {
    /// The registry.
    pub registry: EtcdRegistry,
    views: watch::Receiver<Arc<View>>,
    ringing: JoinHandle<()>,
    opened_with: OpenedWith,
}

/// What a registry was opened with; if it changes, it is opened anew.
#[derive(Clone, PartialEq, Eq)]
struct OpenedWith {
    endpoints: Vec<String>,
    domain: Option<String>,
    secrets: Vec<Option<Arc<Entries>>>,
}

impl OpenedWith {
    /// Whether it leads to the same etcd, with whatever Secrets.
    fn leads_where(&self, other: &Self) -> bool {
        (&self.endpoints, &self.domain) == (&other.endpoints, &other.domain)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.ringing.abort();
    }
}

impl Etcd {
    /// Opens the registry of a cluster, or keeps the one that is open if nothing has changed. Every change of its view rings
    /// `bell`.
    ///
    /// While a Secret is missing, cannot be read or is of no use, the one that is open stays: what was read before is in force.
    ///
    /// # Errors
    /// What to change in the spec or in a Secret, if they describe no way to etcd.
    pub fn keep(
        open: &mut Option<Self>,
        owner: &Owner<'_>,
        secrets: &Secrets,
        bell: &Arc<Notify>,
    ) -> Result<(), String> {
        let opened_with = opened_with(owner, secrets);
        if open.as_ref().is_some_and(|open| open.opened_with == opened_with) {
            return Ok(());
        }
        // A way to another etcd is no way to the one that the spec names now.
        if open.as_ref().is_some_and(|open| !open.opened_with.leads_where(&opened_with)) {
            *open = None;
        }
        let opened = options(owner, secrets)
            .and_then(|options| EtcdRegistry::new(options).map_err(|error| error.to_string()))
            .map_err(|problem| if open.is_some() { format!("{problem}; until then {IN_FORCE}") } else { problem });
        let registry = opened?;
        let views = registry.watch();
        let (mut changes, bell) = (views.clone(), Arc::clone(bell));
        let ringing = tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                bell.notify_one();
            }
        });
        *open = Some(Self { registry, views, ringing, opened_with });
        Ok(())
    }

    /// What it shows now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Views as they come.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }
}

fn opened_with(owner: &Owner<'_>, secrets: &Secrets) -> OpenedWith {
    let etcd = &owner.spec.etcd;
    let tls = etcd.tls.as_ref();
    let named = [
        etcd.credentials_secret_ref.as_ref(),
        tls.and_then(|tls| tls.ca_secret_ref.as_ref()),
        tls.and_then(|tls| tls.certificate_secret_ref.as_ref()),
    ];
    OpenedWith {
        endpoints: etcd.endpoints.clone(),
        domain: tls.and_then(|tls| tls.server_name.clone()),
        secrets: named.map(|named| secrets.entries(&named?.name).cloned()).to_vec(),
    }
}

fn options(owner: &Owner<'_>, secrets: &Secrets) -> Result<EtcdOptions, String> {
    let etcd = &owner.spec.etcd;
    let mut options = EtcdOptions::new(etcd.endpoints.clone(), owner.namespace, owner.name);
    let mut wanted = named_secrets(owner.spec);
    wanted.retain(|named| named.path.starts_with("spec.etcd."));
    let (fine, _, wrong) = statements::secrets(&wanted, secrets);
    if !fine {
        return Err(wrong);
    }
    let entry = |name: &str, entry: &str| {
        secrets.text(name, entry).ok_or_else(|| format!("the entry {entry} of the Secret {name} was not read yet"))
    };
    if let Some(secret) = &etcd.credentials_secret_ref {
        let (user, password) = (entry(&secret.name, "username")?, entry(&secret.name, "password")?);
        options.credentials = Some(Credentials::Given { user, password });
    }
    if let Some(tls) = &etcd.tls {
        let ca = tls.ca_secret_ref.as_ref().map(|ca| entry(&ca.name, "ca.crt")).transpose()?;
        let ca = ca.map(|ca| Pem::Given(ca.into()));
        let identity = match &tls.certificate_secret_ref {
            Some(secret) => Some((
                Pem::Given(entry(&secret.name, "tls.crt")?.into()),
                Pem::Given(entry(&secret.name, "tls.key")?.into()),
            )),
            None => None,
        };
        options.tls = Some(Tls { ca, identity, domain: tls.server_name.clone() });
    }
    Ok(options)
}
