//! The suite against a Redis Cluster of three primaries.

use crate::servers::RedisCluster;
use crate::suite::CASES;
use crate::worlds::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds_in_a_cluster_of_three_primaries() {
    let cluster = RedisCluster::start();
    for (name, case) in CASES {
        eprintln!("{name}");
        case(&World::of_cluster(&cluster, name)).await;
    }
}
