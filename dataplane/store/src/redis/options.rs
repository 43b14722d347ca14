//! How to reach Redis.

use std::fmt;

use throng_core::InstanceId;

use super::tls::Tls;
use crate::limits::LogLimits;
use crate::memory::DEFAULT_GRACE_MS;

/// Where the primary is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// The primary that Sentinels name; the URLs are those of the Sentinels.
    Sentinel {
        /// The primary's name there.
        primary: String,
    },
    /// A Redis Cluster; the URLs are some of its nodes.
    Cluster,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text out of logs.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// User and password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// ACL user; none: Redis's `default` user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

/// How to reach Redis and what to keep there.
///
/// The user needs `~<namespace>/<cluster>/*` and the commands `FCALL FUNCTION|LOAD GET PTTL DEL HGET HGETALL HSCAN ZRANGE
/// XRANGE XREVRANGE INFO WAIT PING` and those that `functions.lua` calls.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://host:port/database`, or `rediss://` for TLS, with `user:password@` unless [`RedisOptions::credentials`] are given. Several for
    /// Sentinel and Cluster.
    pub urls: Vec<String>,
    /// Where the primary is.
    pub mode: RedisMode,
    /// Win over those of the URLs.
    pub credentials: Option<Credentials>,
    /// How to encrypt where the URLs begin with `rediss://`. Not with Sentinels.
    pub tls: Tls,
    /// First part of every key.
    pub namespace: String,
    /// Second part of every key.
    pub cluster: String,
    /// In whose name fences and grace are.
    pub instance: InstanceId,
    /// How many replicas must have a confirmed batch; zero: the primary is enough.
    pub wait_replicas: u32,
    /// How much of a room's messages is kept. The same for all processes of a cluster.
    pub limits: LogLimits,
    /// How long grace lasts without renewal, milliseconds. The same for all processes of a cluster.
    pub grace_ms: u64,
    /// Deadline of ownership calls and pings, milliseconds.
    pub control_ms: u64,
    /// Deadline of a batch of writes, milliseconds.
    pub write_ms: u64,
    /// Deadline of a load, milliseconds.
    pub load_ms: u64,
    /// How long a confirmed batch waits for replicas, milliseconds.
    pub wait_ms: u64,
}

impl RedisOptions {
    /// One server with the defaults of everything else.
    #[must_use]
    pub fn standalone(url: &str, namespace: &str, cluster: &str, instance: InstanceId) -> Self {
        Self {
            urls: vec![url.to_owned()],
            mode: RedisMode::Standalone,
            credentials: None,
            tls: Tls::default(),
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            instance,
            wait_replicas: 0,
            limits: LogLimits::default(),
            grace_ms: DEFAULT_GRACE_MS,
            control_ms: 500,
            write_ms: 2_000,
            load_ms: 3_000,
            wait_ms: 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let credentials = Credentials { username: Some("throng".into()), password: Some(Secret::new("s3cret")) };
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }
}
