//! What the Pods stand on: Redis and etcd.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;

/// The Redis that rooms are written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// Where it is, such as `redis://redis:6379`, or `rediss://redis:6379` over TLS. No user and no password: they belong into
    /// a Secret.
    #[schemars(length(min = 1, max = 512))]
    pub url: String,
    /// Further nodes to ask, for the modes `Sentinel` and `Cluster`: URLs as in `url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 512)))]
    pub more_urls: Vec<String>,
    /// What answers there: `Standalone`, `Sentinel` (the URLs are those of Sentinels) or `Cluster`.
    #[serde(default)]
    pub mode: RedisMode,
    /// Name by which the Sentinels know the primary, such as `mymaster`. Only for the mode `Sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub primary_name: Option<String>,
    /// Secret with the keys `username` (may be missing) and `password`. It is mounted as files and read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// How the connection is secured. The URLs must begin with `rediss://`. Not for the mode `Sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
    /// Replicas that must have a message before it is called `stored`. 0: the primary alone.
    #[serde(default)]
    #[schemars(range(min = 0, max = 5))]
    pub wait_replicas: u32,
}

/// What answers at the URL of a Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedisMode {
    /// One server, or a proxy that looks like one.
    #[default]
    Standalone,
    /// Sentinels that name the primary.
    Sentinel,
    /// The nodes of a Redis Cluster.
    Cluster,
}

/// The etcd that Pods find each other by, and that says who owns what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Etcd {
    /// Where its members are, such as `http://etcd:2379`. Name them all: a Pod asks the next one when one does not answer.
    #[schemars(length(min = 1, max = 9), inner(length(min = 1, max = 512)))]
    pub endpoints: Vec<String>,
    /// Secret with the keys `username` and `password`. It is mounted as files and read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// How the connection is secured. The endpoints must begin with `https://`. Without it the authorities of the image are
    /// trusted there, and no certificate is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<EtcdTls>,
}

/// How the connection to Redis is secured. Its certificate must have the name of the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// Secret with the key `ca.crt`: the authorities to trust. Without it, those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Secret of type `kubernetes.io/tls` with the certificate to show. Without it, none is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_secret_ref: Option<SecretRef>,
}

/// How the connection to etcd is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdTls {
    /// Secret with the key `ca.crt`: the authorities to trust. Without it, those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Secret of type `kubernetes.io/tls` with the certificate to show. Without it, none is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_secret_ref: Option<SecretRef>,
    /// Name that the server's certificate must have, if it is not that of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}
