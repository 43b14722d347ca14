//! How much memory the operator needs for a large cluster: every Pod as a kubelet would show it, a stream of pressure from each,
//! every slot claimed. The Pods have no process: no machine of a test could carry 300.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use throng_cluster::api::{Api, Namespace, eventually, kubectl};
use throng_core::placement::Placement;
use throng_core::{InstanceId, Millis, Role, Slot};
use throng_e2e::cluster::Cluster;
use throng_e2e::dev::{binary, memory_bytes};
use throng_node::service::{Ending, Hooks, NodeService};
use throng_proto::key::PodKey;
use throng_proto::link::{DescribeReply, DrainRequest, PressureSample};
use throng_registry::{ClaimKey, EtcdOptions, EtcdRegistry, Holder, Lease, MAX_BATCH, Member, Registry as _};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::kinds::install_kinds;

const NAMESPACE: &str = "memory";
const PODS_OF_EACH: usize = 100;
const PODS: usize = 3 * PODS_OF_EACH;
/// What the operator may hold, in megabytes (10^6 bytes).
const MOST_MB: f64 = 60.0;
/// Leases of the Pods outlive the test.
const LEASE_MS: u64 = 600_000;
/// Making, labelling and placing 300 Pods on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);
/// At rest for so long before anything is measured: looks, samples and a round of watches are in it.
const REST: Duration = Duration::from_mins(1);

/// Pods that no node takes, or the nodes of a test would drown.
fn cluster(etcd: &str) -> String {
    let pool = format!(
        "{{replicas: {{min: {PODS_OF_EACH}, max: {PODS_OF_EACH}}}, template: {{nodeSelector: {{throng.test/node: none}}}}}}"
    );
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: live-auth}}
stringData: {{main: throng-dev-only-not-for-production}}
---
apiVersion: throng.dev/v1alpha1
kind: ChatroomCluster
metadata: {{name: live}}
spec:
  image: throng:0.1.0
  redis: {{url: \"redis://redis:6379\"}}
  etcd: {{endpoints: [\"{etcd}\"]}}
  auth: {{jwt: {{secretRef: {{name: live-auth}}, algorithms: [HS256]}}}}
  gateway: {pool}
  chatroom: {pool}
  message: {pool}
"
    )
}

/// The operator as a process of its own, outside of the cluster.
struct Operator {
    child: Child,
    http: SocketAddr,
}

impl Operator {
    fn start() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(binary().unwrap());
        command.args(["operator", "--listen", &http.to_string(), "--namespaces", NAMESPACE]);
        command.env("POD_NAMESPACE", NAMESPACE).env("POD_NAME", "memory").env("THRONG_LOG", "warn");
        // As the chart says it.
        command.env("MALLOC_ARENA_MAX", "1");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, http }
    }

    /// A metric without labels.
    fn metric(&self, name: &str) -> Option<u64> {
        let mut socket = TcpStream::connect(self.http).ok()?;
        write!(socket, "GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Memory by what Linux calls it, in megabytes.
    fn memory_mb(&self, what: &str) -> f64 {
        memory_bytes(self.child.id(), what).unwrap() as f64 / 1e6
    }
}

impl Drop for Operator {
    /// Nobody is left who would let the cluster go, which its namespace waits for.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let free = r#"{"metadata":{"finalizers":null}}"#;
        let _ = kubectl(&format!("patch chatroomcluster live --namespace {NAMESPACE} --type=merge -p {free}"));
    }
}

/// What every Pod says of itself.
struct Says;

impl Hooks for Says {
    fn sample(&self) -> PressureSample {
        let names = [
            "connections",
            "egress_mbps",
            "cpu_percent",
            "members",
            "joins_per_second",
            "users",
            "deliveries_per_second",
        ];
        let load = HashMap::from(names.map(|name| (name.to_owned(), 10.0)));
        PressureSample { at_ms: 1, load, draining: false, left: 10 }
    }

    fn drain(&self, _: &DrainRequest) -> u64 {
        10
    }

    fn undrain(&self) -> u64 {
        10
    }

    fn describe(&self) -> DescribeReply {
        DescribeReply { ready: true, ..DescribeReply::default() }
    }
}

/// Answers for all Pods, to whoever has the key of the cluster.
async fn answer(key: &str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = NodeService::server(Arc::new(Says), Ending::default());
    let service = InterceptedService::new(service, PodKey::new(key).unwrap().demand());
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// A Pod with its lease in etcd.
struct Joined {
    role: Role,
    lease: Lease,
    holder: Holder,
}

/// Registers the Pods, as their processes do when they start.
async fn join(registry: &EtcdRegistry, pods: &[Value], address: SocketAddr) -> BTreeMap<String, Joined> {
    let mut joined = BTreeMap::new();
    for pod in pods {
        let text = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap().to_owned();
        let (name, revision) = (text("/metadata/name"), text("/metadata/labels/throng.dev~1revision"));
        let role = Role::from_text(&text("/metadata/labels/throng.dev~1role")).unwrap();
        let (instance, address) = (InstanceId::new(&name).unwrap(), address.to_string());
        let member = Member {
            pod: name.as_str().into(),
            uid: text("/metadata/uid").into(),
            address: address.as_str().into(),
            http_address: address.as_str().into(),
            revision: revision.as_str().into(),
            draining: false,
            redis_ok: true,
            ready: true,
            started_ms: Millis(1),
        };
        let lease = registry.grant(LEASE_MS).await.unwrap();
        registry.put_member(role, &instance, lease.id, &member).await.unwrap();
        let holder = Holder { instance, address: member.address, revision: member.revision };
        joined.insert(name, Joined { role, lease, holder });
    }
    joined
}

/// Claims every slot for whom it is placed on.
async fn claim(registry: &EtcdRegistry, joined: &BTreeMap<String, Joined>) {
    let incarnation = registry.create_incarnation(1).await.unwrap();
    for role in [Role::Chatroom, Role::Message] {
        let document = registry.placement(role).await.unwrap().unwrap();
        let placement = Placement::decode(&document.bytes).unwrap();
        for (name, pod) in joined.iter().filter(|(_, pod)| pod.role == role) {
            let own = Slot::all().filter(|slot| placement.owner(*slot).is_some_and(|owner| *owner.pod == **name));
            let keys: Vec<ClaimKey> = own.filter_map(|slot| ClaimKey::slot(role, slot)).collect();
            for keys in keys.chunks(MAX_BATCH) {
                registry.claim(keys, &pod.holder, pod.lease.id, incarnation).await.unwrap();
            }
        }
    }
}

/// What a kubelet writes of a Pod that runs.
fn as_running(pod: &Value, number: usize) -> Value {
    let at = "2026-01-01T00:00:00Z";
    let ip = format!("10.{}.{}.{}", 200 + number / 65_025, number / 255 % 255, number % 255 + 1);
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": at, "observedGeneration": 1});
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let image = pod.pointer("/spec/containers/0/image").unwrap();
    let sum = format!("{number:064x}");
    let container = json!({
        "name": pod.pointer("/spec/containers/0/name").unwrap(), "ready": true, "started": true, "restartCount": 0,
        "image": image, "imageID": format!("docker.io/library/throng@sha256:{sum}"), "containerID": format!("containerd://{sum}"),
        "state": {"running": {"startedAt": at}}, "lastState": {},
    });
    let mut running = pod.clone();
    // Whatever its version is by now: nobody else writes its status.
    running["metadata"]["resourceVersion"] = Value::Null;
    running["status"] = json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.1.0.1", "hostIPs": [{"ip": "10.1.0.1"}],
        "startTime": at, "qosClass": pod["status"]["qosClass"], "conditions": kinds.map(condition), "containerStatuses": [container],
    });
    running
}

fn pods(namespace: &Namespace) -> Vec<Value> {
    let list: Value =
        serde_json::from_str(&namespace.kubectl("get pods -l throng.dev/cluster=live -o json").unwrap()).unwrap();
    list["items"].as_array().cloned().unwrap_or_default()
}

fn pod_key(namespace: &Namespace) -> String {
    let secret: Value = serde_json::from_str(&namespace.kubectl("get secret live-pod-key -o json").unwrap()).unwrap();
    let encoded = secret["data"]["pod-key"].as_str().unwrap();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

/// How far the cluster is, in words of its status.
fn seen(namespace: &Namespace) -> Value {
    serde_json::from_str::<Value>(&namespace.kubectl("get chatroomcluster live -o json").unwrap()).unwrap()["status"]
        .take()
}

#[test]
fn the_operator_holds_a_cluster_of_300_pods_in_60_mb() {
    install_kinds();
    let namespace = Namespace::make(NAMESPACE, "restricted").unwrap();
    let stores = Cluster::new(1_000).unwrap();
    let _etcd = stores.start_etcd().unwrap();
    namespace.apply(&cluster(&stores.etcd_url())).unwrap();
    let operator = Operator::start();
    eventually("all Pods are made", PATIENCE, || Ok(pods(&namespace).len() >= PODS)).unwrap();
    let alone_mb = operator.memory_mb("VmRSS:");

    let api = Api::connect().unwrap();
    let made = pods(&namespace);
    for (number, pod) in made.iter().enumerate() {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}/status", pod["metadata"]["name"].as_str().unwrap());
        let answer = api.call("PUT", &path, Some(&as_running(pod, number))).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _here = runtime.enter();
    let registry = EtcdRegistry::new(EtcdOptions::new(vec![stores.etcd_url()], NAMESPACE, "live")).unwrap();
    let joined = runtime.block_on(async {
        let address = answer(&pod_key(&namespace)).await;
        join(&registry, &made, address).await
    });
    let all = format!("{PODS}/{PODS}");
    eventually("all Pods serve", PATIENCE, || Ok(seen(&namespace)["ready"] == all.as_str())).unwrap();
    eventually("rooms and users are placed", PATIENCE, || {
        let placed = |role| runtime.block_on(registry.placement(role)).is_ok_and(|document| document.is_some());
        Ok([Role::Chatroom, Role::Message].into_iter().all(placed))
    })
    .unwrap();
    runtime.block_on(claim(&registry, &joined));
    eventually("every Pod is heard", PATIENCE, || Ok(operator.metric("throng_operator_streams ") == Some(PODS as u64)))
        .unwrap();
    std::thread::sleep(REST);

    let status = seen(&namespace);
    assert_eq!((status["ready"].as_str(), pods(&namespace).len()), (Some(all.as_str()), PODS), "{}", status["why"]);
    let (rss_mb, own_mb, peak_mb) =
        (operator.memory_mb("VmRSS:"), operator.memory_mb("RssAnon:"), operator.memory_mb("VmHWM:"));
    println!(
        "operator, {PODS} Pods: {rss_mb:.1} MB resident at rest ({own_mb:.1} MB of it its own, the rest its program), \
         {peak_mb:.1} MB at most; {alone_mb:.1} MB when the Pods were made"
    );
    assert!(rss_mb <= MOST_MB, "{rss_mb:.1} MB resident, {MOST_MB} are promised");
}
