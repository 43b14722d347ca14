//! Secrets as files: which are mounted where.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};
use throng_core::Role;
use throng_crds::ChatroomClusterSpec;
use throng_crds::cluster::SecretRef;

use super::{Owner, keys};
use crate::names;

/// Below here stands a directory for each Secret.
const ROOT: &str = "/etc/throng";
/// Group and owner read, nobody else.
const MODE: i32 = 0o440;

/// Where a Secret is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    PodKey,
    Resume,
    Jwt,
    ApiKeys,
    EtcdCredentials,
    EtcdCa,
    EtcdCertificate,
    RedisCredentials,
    RedisCa,
    RedisCertificate,
}

impl At {
    /// Name of the volume and of its directory.
    const fn name(self) -> &'static str {
        match self {
            Self::PodKey => "pod-key",
            Self::Resume => "resume",
            Self::Jwt => "jwt",
            Self::ApiKeys => "api-keys",
            Self::EtcdCredentials => "etcd-credentials",
            Self::EtcdCa => "etcd-ca",
            Self::EtcdCertificate => "etcd-certificate",
            Self::RedisCredentials => "redis-credentials",
            Self::RedisCa => "redis-ca",
            Self::RedisCertificate => "redis-certificate",
        }
    }
}

pub(super) fn directory(at: At) -> String {
    format!("{ROOT}/{}", at.name())
}

pub(super) fn file(at: At, entry: &str) -> String {
    format!("{}/{entry}", directory(at))
}

pub(super) fn pod_key_file() -> String {
    file(At::PodKey, keys::POD_KEY)
}

/// Secrets of people that a cluster names, each with the entries that it must have, and where the spec names it.
#[must_use]
pub fn secrets(spec: &ChatroomClusterSpec) -> Vec<(&str, &'static [&'static str], &'static str)> {
    let mut all: Vec<(&str, &'static [&'static str], &'static str)> = Vec::new();
    all.push((&spec.auth.jwt.secret_ref.name, &[], "spec.auth.jwt.secretRef"));
    if let Some(secret) = &spec.auth.api_keys_secret_ref {
        all.push((&secret.name, &[], "spec.auth.apiKeysSecretRef"));
    }
    if let Some(secret) = &spec.etcd.credentials_secret_ref {
        all.push((&secret.name, &["username", "password"], "spec.etcd.credentialsSecretRef"));
    }
    if let Some(secret) = &spec.redis.credentials_secret_ref {
        all.push((&secret.name, &["password"], "spec.redis.credentialsSecretRef"));
    }
    let stores = [
        (etcd_tls(spec), "spec.etcd.tls.caSecretRef", "spec.etcd.tls.certificateSecretRef"),
        (redis_tls(spec), "spec.redis.tls.caSecretRef", "spec.redis.tls.certificateSecretRef"),
    ];
    for ((ca, certificate), ca_path, certificate_path) in stores {
        if let Some(secret) = ca {
            all.push((&secret.name, &["ca.crt"], ca_path));
        }
        if let Some(secret) = certificate {
            all.push((&secret.name, &["tls.crt", "tls.key"], certificate_path));
        }
    }
    all
}

/// Volumes of a Pod, and where its container sees them.
pub(super) fn mounts(owner: &Owner<'_>, role: Role) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut all: BTreeMap<At, Volume> = BTreeMap::new();
    let own = names::key_secret(owner.name);
    all.insert(At::PodKey, volume(At::PodKey, &own, Some(keys::POD_KEY)));
    let mut add = |at: At, secret: &str| drop(all.insert(at, volume(at, secret, None)));
    let spec = owner.spec;
    if let Some(secret) = &spec.etcd.credentials_secret_ref {
        add(At::EtcdCredentials, &secret.name);
    }
    tls(etcd_tls(spec), At::EtcdCa, At::EtcdCertificate, &mut add);
    if role == Role::Gateway {
        add(At::Jwt, &spec.auth.jwt.secret_ref.name);
        if let Some(secret) = &spec.auth.api_keys_secret_ref {
            add(At::ApiKeys, &secret.name);
        }
        all.insert(At::Resume, volume(At::Resume, &own, Some(keys::RESUME)));
    } else {
        if let Some(secret) = &spec.redis.credentials_secret_ref {
            add(At::RedisCredentials, &secret.name);
        }
        tls(redis_tls(spec), At::RedisCa, At::RedisCertificate, &mut add);
    }
    let mounts = all.keys().map(|at| VolumeMount {
        name: at.name().to_owned(),
        mount_path: directory(*at),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    let mounts = mounts.collect();
    (all.into_values().collect(), mounts)
}

/// Secrets of a connection to a store: the authorities to trust, and the certificate to show.
type TlsSecrets<'a> = (Option<&'a SecretRef>, Option<&'a SecretRef>);

fn etcd_tls(spec: &ChatroomClusterSpec) -> TlsSecrets<'_> {
    let tls = spec.etcd.tls.as_ref();
    tls.map_or((None, None), |tls| (tls.ca_secret_ref.as_ref(), tls.certificate_secret_ref.as_ref()))
}

fn redis_tls(spec: &ChatroomClusterSpec) -> TlsSecrets<'_> {
    let tls = spec.redis.tls.as_ref();
    tls.map_or((None, None), |tls| (tls.ca_secret_ref.as_ref(), tls.certificate_secret_ref.as_ref()))
}

fn tls(secrets: TlsSecrets<'_>, ca: At, certificate: At, add: &mut impl FnMut(At, &str)) {
    for (secret, at) in [(secrets.0, ca), (secrets.1, certificate)] {
        if let Some(secret) = secret {
            add(at, &secret.name);
        }
    }
}

/// A Secret, or one entry of it.
fn volume(at: At, secret: &str, entry: Option<&str>) -> Volume {
    let item = |entry: &str| KeyToPath { key: entry.to_owned(), path: entry.to_owned(), mode: None };
    let secret = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        default_mode: Some(MODE),
        items: entry.map(|entry| vec![item(entry)]),
        optional: None,
    };
    Volume { name: at.name().to_owned(), secret: Some(secret), ..Volume::default() }
}
