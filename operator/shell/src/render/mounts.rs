//! Secrets as files: which are mounted where.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};
use throng_core::Role;
use throng_core::secrets::{Algorithm, Content};
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

/// A Secret that a cluster names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where the spec names it.
    pub path: &'static str,
    /// What it must hold.
    pub holds: Holds,
}

/// What a Secret must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Entries of any name, at least one, each of this content.
    Any(Content),
    /// These entries.
    Entries(&'static [Entry]),
}

/// An entry of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it must hold.
    pub content: Content,
    /// Whether it must be there.
    pub needed: bool,
}

const fn entry(name: &'static str, content: Content) -> Entry {
    Entry { name, content, needed: true }
}

const USER: &[Entry] = &[entry("username", Content::Credential), entry("password", Content::Credential)];
const PASSWORD: &[Entry] =
    &[entry("password", Content::Credential), Entry { name: "username", content: Content::Credential, needed: false }];
const AUTHORITIES: &[Entry] = &[entry("ca.crt", Content::Certificates)];
const CERTIFICATE: &[Entry] = &[entry("tls.crt", Content::Certificates), entry("tls.key", Content::PrivateKey)];
/// What the Secret holds that the operator makes for a cluster.
pub const OWN_KEYS: &[Entry] = &[entry(keys::POD_KEY, Content::PodKey), entry(keys::RESUME, Content::ResumeKey)];

/// Secrets of people that a cluster names, with what each must hold, and where the spec names it.
#[must_use]
pub fn secrets(spec: &ChatroomClusterSpec) -> Vec<Named<'_>> {
    fn named<'a>(secret: &'a SecretRef, path: &'static str, holds: Holds) -> Named<'a> {
        Named { name: &secret.name, path, holds }
    }
    let allowed = spec.auth.jwt.algorithms.iter().copied().map(Algorithm::from).collect();
    let jwt = Holds::Any(Content::JwtKey(allowed));
    let mut all = vec![named(&spec.auth.jwt.secret_ref, "spec.auth.jwt.secretRef", jwt)];
    let etcd = etcd_tls(spec);
    let redis = redis_tls(spec);
    let api_keys = spec.auth.api_keys_secret_ref.as_ref();
    let (of_etcd, of_redis) = (spec.etcd.credentials_secret_ref.as_ref(), spec.redis.credentials_secret_ref.as_ref());
    for (secret, path, holds) in [
        (api_keys, "spec.auth.apiKeysSecretRef", Holds::Any(Content::ApiKey)),
        (of_etcd, "spec.etcd.credentialsSecretRef", Holds::Entries(USER)),
        (of_redis, "spec.redis.credentialsSecretRef", Holds::Entries(PASSWORD)),
        (etcd.0, "spec.etcd.tls.caSecretRef", Holds::Entries(AUTHORITIES)),
        (etcd.1, "spec.etcd.tls.certificateSecretRef", Holds::Entries(CERTIFICATE)),
        (redis.0, "spec.redis.tls.caSecretRef", Holds::Entries(AUTHORITIES)),
        (redis.1, "spec.redis.tls.certificateSecretRef", Holds::Entries(CERTIFICATE)),
    ] {
        all.extend(secret.map(|secret| named(secret, path, holds)));
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
