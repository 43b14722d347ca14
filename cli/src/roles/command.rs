//! `throng gateway`, `throng chatroom`, `throng message`: one role as a process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use throng_core::{InstanceId, Millis, Role};
use throng_node::config::{self, Sources};
use throng_node::ownership::Identity;
use throng_node::service::{Ending, Hooks};
use throng_proto::key::PodKey;
use throng_proto::link::DrainRequest;
use throng_registry::{EtcdRegistry, Member, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::node::Node;
use super::{Config, Parts, assemble, rotation};
use crate::logs;

/// Arguments of a role.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng gateway --config throng.yaml
  throng chatroom --set node.etcd='[\"http://etcd:2379\"]' --set node.pod_key=...
  THRONG_NODE__POD=chat-0 throng chatroom --config throng.yaml

Keys are explained in docs/configuration.md. A later source wins: file, environment (THRONG_SECTION__KEY), --set.
SIGTERM drains: what the process has goes to others within node.drain_ms, then it ends.")]
pub(crate) struct RoleArgs {
    /// A YAML file with the sections `node`, `gateway`, `chatroom`, `message`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One value, as in `gateway.ping_ms=30000`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// A configuration file; the sections of all roles may stand in one file that all of them share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    node: Node,
    gateway: throng_gateway::Options,
    chatroom: throng_chatroom::Options,
    message: throng_message::Options,
}

/// Runs a role until it has ended.
pub(crate) fn run(role: Role, args: &RoleArgs) -> Result<ExitCode> {
    logs::start("info");
    let sources = Sources { file: args.config.clone(), sets: args.sets.clone() };
    let File { node, gateway, chatroom, message } = config::load(&sources)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(role, &node, Config { gateway, chatroom, message }))
}

async fn serve(role: Role, node: &Node, config: Config) -> Result<ExitCode> {
    let options = node.etcd_options()?;
    let key_text = node.key_between_pods()?;
    let key = PodKey::new(&key_text).context("node.pod_key holds characters that are not visible ASCII")?;
    let registry: Arc<dyn Registry> = Arc::new(EtcdRegistry::new(options).context("node.etcd")?);
    let bind = |address: SocketAddr| {
        let address = family(address, &node.advertise);
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
    };
    let (grpc, http) = (bind(node.grpc)?, bind(node.http)?);
    let identity = identity(role, node, grpc.local_addr()?.port(), http.local_addr()?.port())?;
    info!(%role, instance = %identity.instance, address = %identity.member.address, "starting");
    let (stop, cut, ending) = (CancellationToken::new(), CancellationToken::new(), Ending::default());
    let store = node.store(&identity.instance, &stop)?;
    if let Some(file) = node.pod_key_file.clone() {
        rotation::follow_pod_key(file, key_text, key.clone(), stop.clone());
    }
    let parts = Parts {
        identity,
        registry,
        store,
        has_process: true,
        store_is_shared: !node.redis.is_empty() && role != Role::Gateway,
        pod_key: key,
        grpc,
        http,
        public: family(node.public, &node.advertise),
        page: axum::Router::new(),
        stop: stop.clone(),
        cut,
        ending: ending.clone(),
    };
    let running = assemble(role, &config, parts)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let draining = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ending.begin();
        drain(&*running.hooks, Duration::from_millis(node.drain_ms)).await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = running.serve => {}
        () = draining => {}
    }
    info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// Empties the process, at most for so long.
async fn drain(hooks: &dyn Hooks, within: Duration) {
    let until = Instant::now() + within;
    let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let left = hooks.drain(&DrainRequest { deadline_ms, per_second: 0 });
    info!(left, "draining");
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if hooks.sample().left == 0 {
            return;
        }
    }
    warn!(left = hooks.sample().left, "the drain has reached its deadline");
}

fn identity(role: Role, node: &Node, grpc_port: u16, http_port: u16) -> Result<Identity> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let or_host = |text: &str| if text.is_empty() { host.clone() } else { text.to_owned() };
    let run = uuid::Uuid::new_v4().simple().to_string();
    let (pod, advertise) = (or_host(&node.pod), or_host(&node.advertise));
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    Ok(Identity {
        role,
        instance: InstanceId::new(&format!("{pod}-{}", run.get(..8).unwrap_or_default()))?,
        member: Member {
            uid: if node.uid.is_empty() { run.as_str().into() } else { node.uid.as_str().into() },
            pod: pod.into(),
            address: endpoint(&advertise, grpc_port).into(),
            http_address: endpoint(&advertise, http_port).into(),
            revision: node.revision.as_str().into(),
            draining: false,
            redis_ok: true,
            ready: true,
            started_ms: Millis(u64::try_from(started_ms)?),
        },
    })
}

/// `host:port`, as URLs and sockets take it: an IPv6 address stands in brackets, as a Pod's own is given without.
fn endpoint(host: &str, port: u16) -> String {
    host.parse::<IpAddr>().map_or_else(|_| format!("{host}:{port}"), |ip| SocketAddr::new(ip, port).to_string())
}

/// Where to listen: a process that others reach by an IPv6 address, and that listens on all of IPv4, listens on all of both.
fn family(listen: SocketAddr, advertise: &str) -> SocketAddr {
    let by_v6 = advertise.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok();
    let all = by_v6 && listen.ip() == Ipv4Addr::UNSPECIFIED;
    if all { SocketAddr::from((Ipv6Addr::UNSPECIFIED, listen.port())) } else { listen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_address_is_what_a_url_takes_whatever_its_family() {
        for (host, whole) in [
            ("10.244.1.7", "10.244.1.7:7070"),
            ("fd00:10:244::7", "[fd00:10:244::7]:7070"),
            ("[fd00:10:244::7]", "[fd00:10:244::7]:7070"),
            ("chat-0.chat", "chat-0.chat:7070"),
        ] {
            let address = endpoint(host, 7070);
            assert_eq!(address, whole);
            tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        }
    }

    #[test]
    fn a_pod_of_an_ipv6_cluster_listens_where_others_reach_it() {
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7070));
        assert_eq!(family(all, "10.244.1.7"), all);
        assert_eq!(family(all, "chat-0"), all);
        assert_eq!(family(all, "fd00::7").to_string(), "[::]:7070");
        let one = SocketAddr::from((Ipv4Addr::LOCALHOST, 7070));
        assert_eq!(family(one, "fd00::7"), one, "what is written is meant");
    }

    fn keys(prefix: &str, value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    keys(&format!("{prefix}.{name}"), value, all);
                }
            }
            _ => all.push(prefix.trim_start_matches('.').to_owned()),
        }
    }

    #[test]
    fn every_key_stands_in_the_documents() {
        let text = include_str!("../../../docs/configuration.md");
        let mut all = Vec::new();
        keys("", &serde_json::to_value(File::default()).unwrap(), &mut all);
        assert!(all.len() > 50);
        for key in &all {
            assert!(text.contains(&format!("\n| `{key}` | ")), "{key}");
        }
        let rows = text.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, all.len(), "the page has keys that do not exist");
    }

    #[test]
    fn the_key_that_an_error_gives_as_an_example_exists() {
        let set = |set: &str| config::load::<File>(&Sources { file: None, sets: vec![set.to_owned()] });
        let error = set("nonsense").unwrap_err().to_string();
        let example = error.split("--set ").nth(2).and_then(|rest| rest.split(';').next()).unwrap();
        assert!(example.contains('='), "{error}");
        set(example).unwrap();
    }

    #[test]
    fn the_example_of_the_documents_reads() {
        let text = include_str!("../../../docs/configuration.md");
        let example = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, example.as_bytes()).unwrap();
        let sources = Sources { file: Some(file.path().into()), sets: Vec::new() };
        let read: File = config::load(&sources).unwrap();
        assert_eq!(read.chatroom.rooms.messages_per_second, Some(400));
        assert_eq!(read.gateway.auth.jwt.len(), 1);
        assert_eq!(read.gateway.auth.check(), Ok(()));
    }

    /// Puts what is given over what is there, field by field.
    fn put_over(there: &mut Value, given: Value) {
        match given {
            Value::Object(fields) if there.is_object() => {
                fields.into_iter().for_each(|(name, field)| put_over(&mut there[name.as_str()], field));
            }
            other => *there = other,
        }
    }

    #[test]
    fn what_the_page_on_installing_writes_into_a_cluster_is_admitted_and_its_settings_are_read() {
        let page = include_str!("../../../docs/install.md");
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut settings = std::collections::BTreeSet::new();
        for block in blocks.filter(|block| block.starts_with("spec:\n")) {
            let mut cluster = serde_yaml::from_str(include_str!("../../../examples/minimal.yaml")).unwrap();
            put_over(&mut cluster, serde_yaml::from_str(block).unwrap());
            let stored = throng_crds::admit::admit(cluster, None).unwrap_or_else(|flaws| panic!("{block}: {flaws:?}"));
            let cluster: throng_crds::ChatroomCluster = serde_json::from_value(stored).unwrap();
            throng_crds::validate::cluster(&cluster.spec).unwrap();
            for (key, value) in &cluster.spec.gateway.settings {
                let sets = vec![format!("gateway.{key}={value}")];
                let read: File = config::load(&Sources { file: None, sets }).unwrap();
                assert_ne!(
                    serde_json::to_value(read).unwrap(),
                    serde_json::to_value(File::default()).unwrap(),
                    "{key}"
                );
                settings.insert(key.clone());
            }
        }
        let both = ["limits.connections_per_address", "proxy_protocol"];
        assert_eq!(settings.iter().map(String::as_str).collect::<Vec<_>>(), both);
        // The Service that an Ingress leads to, and its port.
        assert!(page.contains("service: {name: live-gateway, port: {name: public}}"));
    }

    #[test]
    fn what_the_operator_starts_pods_with_reads() {
        use throng_operator::render::pod::{Birth, pod};
        let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        for example in ["minimal.yaml", "event.yaml", "canary.yaml"] {
            let text = std::fs::read_to_string(examples.join(example)).unwrap();
            let stored = throng_crds::admit::admit(serde_yaml::from_str(&text).unwrap(), None).unwrap();
            let mut cluster: throng_crds::ChatroomCluster = serde_json::from_value(stored).unwrap();
            cluster.spec.message.settings = [("sessions".to_owned(), "newest_wins".to_owned())].into();
            cluster.spec.gateway.settings = [("limits.frames_per_s".to_owned(), "50".to_owned())].into();
            let owner = throng_operator::render::Owner { namespace: "1", name: "2", uid: "3", spec: &cluster.spec };
            for role in Role::ALL {
                let birth = Birth { name: "2-x-1-0", role, revision: 1, index: 0, zone: "" };
                let container = pod(&owner, &birth).spec.unwrap().containers.remove(0);
                let args = container.args.unwrap();
                let mut sets: Vec<String> = args[1..].iter().filter(|arg| *arg != "--set").cloned().collect();
                for env in container.env.unwrap() {
                    let key = env.name.strip_prefix("THRONG_").unwrap().to_lowercase().replace("__", ".");
                    sets.push(format!("{key}=10.244.1.7"));
                }
                let read: File = config::load(&Sources { file: None, sets }).unwrap();
                let node = serde_json::to_value(&read.node).unwrap();
                assert_eq!(
                    (&node["namespace"], &node["cluster"], &node["revision"]),
                    (&"1".into(), &"2".into(), &"1".into())
                );
                assert_eq!((&node["advertise"], &node["pod"]), (&"10.244.1.7".into(), &"10.244.1.7".into()));
                match role {
                    Role::Gateway => assert_eq!(read.gateway.limits.frames_per_s, 50),
                    Role::Chatroom => assert_eq!(read.chatroom.rooms.messages_per_second, Some(200)),
                    Role::Message => assert_ne!(read.message, throng_message::Options::default()),
                }
            }
        }
    }
}
