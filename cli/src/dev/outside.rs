//! The Redis and the etcd that a person named: whether they answer, before anything waits for them.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use throng_core::InstanceId;
use throng_registry::Registry;
use throng_store::{RedisOptions, RedisStore};

use super::DevArgs;

/// Longer than either takes on a machine that is busy.
const WITHIN: Duration = Duration::from_secs(5);

/// Says which one does not, and why.
pub(super) async fn answers(args: &DevArgs, registry: &dyn Registry, cluster: &str) -> Result<()> {
    if let Some(url) = &args.redis {
        let instance = InstanceId::new("throng-dev").context("a name")?;
        let options = RedisOptions::standalone(url, super::NAMESPACE, cluster, instance);
        let store = RedisStore::open(options).context("--redis")?;
        // Without the password that may stand before it.
        let named = url.rsplit_once('@').map_or(url.as_str(), |(_, address)| address);
        let refused = || format!("cannot use the Redis at {named}: start it, or name another with --redis");
        store.ready(WITHIN).await.with_context(refused)?;
    }
    if !args.etcd.is_empty() {
        let mut views = registry.watch();
        let healthy = tokio::time::timeout(WITHIN, views.wait_for(|view| view.health.is_healthy())).await;
        let named = args.etcd.join(", ");
        healthy.map_err(|_| anyhow!("no etcd answers at {named}: start one, or name another with --etcd"))??;
    }
    Ok(())
}
