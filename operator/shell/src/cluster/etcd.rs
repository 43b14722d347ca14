//! The way to the etcd of a cluster: its registry, opened anew whenever what it is opened with changes.

use std::sync::Arc;

use throng_registry::{Credentials, EtcdOptions, EtcdRegistry, Pem, Registry as _, Tls, View};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::secrets::{Entries, Secrets};
use crate::render::Owner;

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

impl Drop for Etcd {
    fn drop(&mut self) {
        self.ringing.abort();
    }
}

impl Etcd {
    /// Opens the registry of a cluster, or keeps the one that is open if nothing has changed. Every change of its view rings
    /// `bell`.
    ///
    /// # Errors
    /// What to change in the spec, if it describes no way to etcd.
    pub fn keep(open: Option<Self>, owner: &Owner<'_>, secrets: &Secrets, bell: &Arc<Notify>) -> Result<Self, String> {
        let opened_with = opened_with(owner, secrets);
        if let Some(open) = open.filter(|open| open.opened_with == opened_with) {
            return Ok(open);
        }
        let registry = EtcdRegistry::new(options(owner, secrets)?).map_err(|error| error.to_string())?;
        let views = registry.watch();
        let (mut changes, bell) = (views.clone(), Arc::clone(bell));
        let ringing = tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                bell.notify_one();
            }
        });
        Ok(Self { registry, views, ringing, opened_with })
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
    let entry = |name: &str, entry: &str| {
        secrets.text(name, entry).ok_or_else(|| format!("the Secret {name} has no entry {entry}: add it"))
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
