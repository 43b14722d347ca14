//! The section `node` of a configuration: what every role needs to take part.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use throng_core::InstanceId;
use throng_core::secrets::Content;
use throng_gateway::options::Secret;
use throng_registry::{Credentials as EtcdCredentials, EtcdOptions, Tls as EtcdTls};
use throng_store::redis::{Credentials as RedisCredentials, Secret as RedisSecret, Tls as RedisTls};
use throng_store::{MemoryDb, RedisMode, RedisOptions, RedisStore, Store};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{mounted, rotation};

/// What every role needs to take part.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Node {
    /// Namespace of the cluster.
    pub(super) namespace: String,
    /// Name of the cluster.
    pub(super) cluster: String,
    /// Name of this Pod; the host's name if empty.
    pub(super) pod: String,
    /// Uid of this Pod: a new container under the same uid replaces the old one at once.
    pub(super) uid: String,
    /// Revision of the cluster's spec.
    pub(super) revision: String,
    /// Where the gRPC of the role listens.
    pub(super) grpc: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` listen.
    pub(super) http: SocketAddr,
    /// Where a gateway takes clients.
    pub(super) public: SocketAddr,
    /// Host by which other Pods reach this one; the host's name if empty.
    pub(super) advertise: String,
    /// URLs of etcd.
    pub(super) etcd: Vec<String>,
    /// User of etcd, if it has authentication enabled.
    etcd_user: Option<String>,
    /// Its password.
    etcd_password: Option<Secret>,
    /// File with the name of the user, instead of `etcd_user`; read at every connection, as `etcd_password_file` is.
    etcd_user_file: Option<PathBuf>,
    /// File with the password.
    etcd_password_file: Option<PathBuf>,
    /// PEM file of the authority that signed etcd's certificate, for `https://`; else those of the system are trusted.
    etcd_ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to etcd, if it asks for one.
    etcd_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    etcd_key_file: Option<PathBuf>,
    /// Name that etcd's certificate must have, if it is not the host of the URL.
    etcd_domain: Option<String>,
    /// URL of Redis, such as `redis://redis:6379`; several for Sentinel and Cluster.
    pub(super) redis: Vec<String>,
    /// What these URLs are: `standalone`, `cluster`, or the name of the primary that Sentinels watch.
    redis_mode: String,
    /// How many replicas must have a write before it is called stored.
    redis_wait_replicas: u32,
    /// PEM file of the authority that signed Redis's certificate, for `rediss://`; else those of the system are trusted.
    redis_ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to Redis, if it asks for one.
    redis_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    redis_key_file: Option<PathBuf>,
    /// Directory with the files `username` (may be missing) and `password` of Redis, such as a mounted Secret.
    redis_credentials_dir: Option<PathBuf>,
    /// The key that all Pods of the cluster share.
    pub(super) pod_key: Option<Secret>,
    /// File with that key, instead of `pod_key`.
    pub(super) pod_key_file: Option<PathBuf>,
    /// How long a drain may take after SIGTERM.
    pub(super) drain_ms: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            cluster: "throng".into(),
            pod: String::new(),
            uid: String::new(),
            revision: "1".into(),
            grpc: SocketAddr::from(([0, 0, 0, 0], 7070)),
            http: SocketAddr::from(([0, 0, 0, 0], 7080)),
            public: SocketAddr::from(([0, 0, 0, 0], 8080)),
            advertise: String::new(),
            etcd: Vec::new(),
            etcd_user: None,
            etcd_password: None,
            etcd_user_file: None,
            etcd_password_file: None,
            etcd_ca_file: None,
            etcd_cert_file: None,
            etcd_key_file: None,
            etcd_domain: None,
            redis: Vec::new(),
            redis_mode: "standalone".into(),
            redis_wait_replicas: 0,
            redis_ca_file: None,
            redis_cert_file: None,
            redis_key_file: None,
            redis_credentials_dir: None,
            pod_key: None,
            pod_key_file: None,
            drain_ms: 30_000,
        }
    }
}

impl Node {
    /// How to reach etcd.
    pub(super) fn etcd_options(&self) -> Result<EtcdOptions> {
        if self.etcd.is_empty() {
            bail!("node.etcd is empty: name the URLs of etcd, as in node.etcd=[\"http://etcd:2379\"]");
        }
        let mut options = EtcdOptions::new(self.etcd.clone(), &self.namespace, &self.cluster);
        let given = (self.etcd_user.clone(), self.etcd_password.clone());
        options.credentials = match (given, (self.etcd_user_file.clone(), self.etcd_password_file.clone())) {
            ((None, None), (None, None)) => None,
            ((Some(user), Some(password)), (None, None)) => Some(EtcdCredentials::Given { user, password: password.0 }),
            ((None, None), (Some(user), Some(password))) => Some(EtcdCredentials::Files { user, password }),
            _ => {
                bail!("give node.etcd_user and node.etcd_password, or node.etcd_user_file and node.etcd_password_file")
            }
        };
        let identity = pair("node.etcd", self.etcd_cert_file.as_ref(), self.etcd_key_file.as_ref())?;
        if self.etcd_ca_file.is_some() || identity.is_some() || self.etcd_domain.is_some() {
            let ca = self.etcd_ca_file.clone().map(Into::into);
            let identity = identity.map(|(certificate, key)| (certificate.into(), key.into()));
            options.tls = Some(EtcdTls { ca, identity, domain: self.etcd_domain.clone() });
        }
        Ok(options)
    }

    /// The key between Pods.
    pub(super) fn key_between_pods(&self) -> Result<String> {
        let (name, key) = match (&self.pod_key, &self.pod_key_file) {
            (Some(key), None) => ("node.pod_key", key.0.clone()),
            (None, Some(file)) => ("node.pod_key_file", mounted::text(file).context("node.pod_key_file")?),
            (None, None) => bail!("node.pod_key is missing: give every Pod of the cluster the same key"),
            (Some(_), Some(_)) => bail!("give node.pod_key or node.pod_key_file, not both"),
        };
        if key.trim().is_empty() {
            bail!("{name} is empty, so that anybody could speak as a Pod: give every Pod the same long random text");
        }
        Ok(key)
    }

    /// Redis if one is named; else memory, which ends with this process.
    pub(super) fn store(&self, instance: &InstanceId, stop: &CancellationToken) -> Result<Arc<dyn Store>> {
        let Some(options) = self.redis_options(instance)? else {
            warn!("node.redis is empty: rooms are kept in this process only and end with it");
            return Ok(Arc::new(MemoryDb::default().store(instance.clone())));
        };
        let store = Arc::new(RedisStore::open(options).context("node.redis")?);
        if let Some(directory) = self.redis_credentials_dir.clone() {
            rotation::follow_redis(directory, Arc::clone(&store), stop.clone());
        }
        Ok(store)
    }

    fn redis_options(&self, instance: &InstanceId) -> Result<Option<RedisOptions>> {
        let Some(first) = self.redis.first() else { return Ok(None) };
        let mode = match self.redis_mode.as_str() {
            "standalone" => RedisMode::Standalone,
            "cluster" => RedisMode::Cluster,
            primary => RedisMode::Sentinel { primary: primary.to_owned() },
        };
        let identity = pair("node.redis", self.redis_cert_file.as_ref(), self.redis_key_file.as_ref())?;
        Ok(Some(RedisOptions {
            urls: self.redis.clone(),
            mode,
            wait_replicas: self.redis_wait_replicas,
            credentials: self.redis_credentials_dir.as_deref().map(redis_credentials).transpose()?,
            tls: RedisTls { ca: self.redis_ca_file.clone(), identity },
            ..RedisOptions::standalone(first, &self.namespace, &self.cluster, instance.clone())
        }))
    }
}

/// User and password from the files of a directory.
pub(super) fn redis_credentials(directory: &Path) -> Result<RedisCredentials> {
    let user = directory.join("username");
    let read = |file: &Path| mounted::useful(file, Content::Credential).context("node.redis_credentials_dir");
    let username = if user.exists() { Some(read(&user)?) } else { None };
    let password = read(&directory.join("password"))?;
    Ok(RedisCredentials { username, password: Some(RedisSecret::new(password)) })
}

/// A certificate and its key: both or none.
fn pair(of: &str, certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<Option<(PathBuf, PathBuf)>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (None, None) => Ok(None),
        _ => bail!("{of}_cert_file and {of}_key_file belong together: give both or none"),
    }
}

#[cfg(test)]
mod tests {
    use throng_node::config::{self, Sources};

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct File {
        node: Node,
    }

    fn node(sets: &[&str]) -> Result<Node> {
        let sets = sets.iter().map(|set| format!("node.{set}")).collect();
        Ok(config::load::<File>(&Sources { file: None, sets })?.node)
    }

    const ETCD: &str = "etcd=[\"http://etcd:2379\"]";

    #[test]
    fn etcd_is_reached_as_a_user_whose_name_and_password_are_given_or_stand_in_files() {
        let of = |sets: &[&str]| node(&[&[ETCD], sets].concat()).unwrap().etcd_options();
        assert!(of(&[]).unwrap().credentials.is_none());
        let given = of(&["etcd_user=throng", "etcd_password=hunter2"]).unwrap().credentials;
        assert!(
            matches!(given, Some(EtcdCredentials::Given { user, password }) if user == "throng" && password == "hunter2")
        );
        let files = of(&["etcd_user_file=/s/user", "etcd_password_file=/s/password"]).unwrap().credentials;
        assert!(matches!(files, Some(EtcdCredentials::Files { .. })));
        for half in [&["etcd_user=throng"][..], &["etcd_user=throng", "etcd_password_file=/s/p"]] {
            assert!(of(half).unwrap_err().to_string().contains("node.etcd_password"), "{half:?}");
        }
        assert!(node(&[]).unwrap().etcd_options().unwrap_err().to_string().contains("node.etcd is empty"));
    }

    #[test]
    fn tls_to_etcd_trusts_the_system_unless_told_whom_and_a_certificate_needs_its_key() {
        let of = |sets: &[&str]| node(&[&[ETCD], sets].concat()).unwrap().etcd_options();
        let tls = of(&["etcd_ca_file=/s/ca.pem", "etcd_cert_file=/s/c.pem", "etcd_key_file=/s/k.pem"]).unwrap().tls;
        assert!(tls.is_some_and(|tls| tls.identity.is_some()));
        let tls = of(&["etcd_domain=etcd"]).unwrap().tls;
        assert!(tls.is_some_and(|tls| tls.ca.is_none() && tls.domain.as_deref() == Some("etcd")));
        assert!(of(&["etcd_ca_file=/s/ca.pem", "etcd_cert_file=/s/c.pem"]).is_err());
    }

    #[test]
    fn redis_is_told_how_many_replicas_to_wait_for_and_whom_to_trust() {
        let instance = InstanceId::new("a").unwrap();
        let of = |sets: &[&str]| node(sets).unwrap().redis_options(&instance);
        assert!(of(&[]).unwrap().is_none());
        let options = of(&["redis=[\"rediss://redis:6379\"]", "redis_wait_replicas=2", "redis_ca_file=/s/ca.pem"])
            .unwrap()
            .unwrap();
        assert_eq!(options.wait_replicas, 2);
        assert_eq!(options.tls, RedisTls { ca: Some("/s/ca.pem".into()), identity: None });
        assert!(of(&["redis=[\"rediss://redis:6379\"]", "redis_key_file=/s/k.pem"]).is_err());
    }

    #[test]
    fn a_key_between_pods_that_was_never_filled_in_is_refused() {
        let key = |sets: &[&str]| node(sets).unwrap().key_between_pods();
        assert_eq!(key(&["pod_key=long"]).unwrap(), "long");
        for (sets, name) in
            [(&["pod_key="][..], "node.pod_key is empty"), (&["pod_key=\" \""], "node.pod_key is empty")]
        {
            let said = key(sets).unwrap_err().to_string();
            assert!(said.starts_with(name) && said.contains("give every Pod"), "{said}");
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pod-key");
        std::fs::write(&file, "\n").unwrap();
        let said = key(&[&format!("pod_key_file={}", file.display())]).unwrap_err().to_string();
        assert!(said.starts_with("node.pod_key_file is empty"), "{said}");
    }

    #[test]
    fn a_key_that_does_not_exist_is_named_and_a_password_never_shown() {
        let error = node(&["redis_wait_replica=2"]).unwrap_err().to_string();
        assert!(error.contains("redis_wait_replica"), "{error}");
        let node = node(&["etcd_user=throng", "etcd_password=hunter2"]).unwrap();
        assert!(!format!("{node:?}").contains("hunter2"));
    }
}
