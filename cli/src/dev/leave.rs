//! What a run leaves in the Redis and the etcd that a person named: nothing.
//!
//! Each run is a cluster of its own there, which nobody will ask for again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use throng_core::InstanceId;
use throng_registry::{EtcdOptions, EtcdRegistry};
use throng_store::{RedisOptions, RedisStore};

use super::{DevArgs, NAMESPACE};

/// Some thousand keys take a second at most; who pressed Ctrl-C does not want to wait for long.
const WITHIN: Duration = Duration::from_secs(5);

/// Deletes all keys of the run, once nothing writes any more. Says what is left, and how to delete it, if that fails.
pub(super) async fn nothing_behind(args: &DevArgs, cluster: &str) {
    let (redis, etcd) = tokio::join!(redis(args, cluster), etcd(args, cluster));
    if let Err(error) = redis {
        eprintln!("{}", left("Redis", cluster, &error, "redis-cli --scan --pattern 'KEYS*' | xargs redis-cli unlink"));
    }
    if let Err(error) = etcd {
        eprintln!("{}", left("etcd", cluster, &error, "etcdctl del --prefix KEYS"));
    }
}

async fn redis(args: &DevArgs, cluster: &str) -> Result<()> {
    let Some(url) = &args.redis else { return Ok(()) };
    let instance = InstanceId::new("throng-dev-end").context("a name")?;
    RedisStore::open(RedisOptions::standalone(url, NAMESPACE, cluster, instance))?.erase(WITHIN).await?;
    Ok(())
}

async fn etcd(args: &DevArgs, cluster: &str) -> Result<()> {
    if !args.etcd.is_empty() {
        EtcdRegistry::new(EtcdOptions::new(args.etcd.clone(), NAMESPACE, cluster))?.erase(WITHIN).await?;
    }
    Ok(())
}

/// What a person has to do who wants the keys of the run gone.
fn left(server: &str, cluster: &str, error: &anyhow::Error, by: &str) -> String {
    let keys = format!("{NAMESPACE}/{cluster}/");
    let by = by.replace("KEYS", &keys);
    format!("keys of this run are left in {server} under {keys}: {error:#}. To delete them: {by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_with_the_way_to_delete_it() {
        let error = anyhow::anyhow!("no answer");
        let said = left("etcd", "dev-1", &error, "etcdctl del --prefix KEYS");
        assert!(said.contains("throng-dev/dev-1/: no answer"), "{said}");
        assert!(said.ends_with("etcdctl del --prefix throng-dev/dev-1/"), "{said}");
    }
}
