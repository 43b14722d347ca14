//! The installation that all scenarios share, and how to ask it things.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use throng_cluster::Cluster;
use throng_cluster::api::{self, Answer, Api, helm, repository};

use crate::people::{People, Wish};

/// Where everything is installed: where the README says.
pub(crate) const NAMESPACE: &str = "throng";
/// The key that signs the tokens of users; `examples/quickstart.yaml` has it.
pub(crate) const SECRET: &str = "throng-dev-only-not-for-production";
/// Pools in the order of their counts.
pub(crate) const POOLS: [&str; 3] = ["gateway", "chatroom", "message"];
/// The image of the clusters.
pub(crate) const IMAGE: &str = concat!("throng:", env!("CARGO_PKG_VERSION"));
/// The image of the next release: the same program under another name.
pub(crate) const NEXT: &str = throng_cluster::images::NEXT;
/// Releases of scenarios that are about something else: everybody gets them at once, nothing stays warm, few are remembered.
const AT_ONCE: &str = "  rollout: {canaryPercent: [], warmRollback: 0s, history: 2}";
/// The cluster of most scenarios.
pub(crate) const LIVE: Shared = Shared { name: "live", port: 30080 };
/// That of releases, which take long: others go on beside them.
pub(crate) const RELEASED: Shared = Shared { name: "released", port: 30084 };
/// What the scenarios of issue and README are stated for.
pub(crate) const EVERYBODY: u32 = 500;

/// A `ChatroomCluster` that several scenarios use.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    /// Its gateways' port on every node.
    pub(crate) port: u16,
}

impl Shared {
    /// Its spec with so many Pods; `more` is further YAML.
    pub(crate) fn spec(self, pools: [u32; 3], more: &str) -> String {
        spec(self.name, pools, self.port, more)
    }

    /// Wants so many gateways, chatroom and message Pods, and waits until there are. Installs what is not there.
    pub(crate) fn set_pools(self, pools: [u32; 3]) -> Result<()> {
        install_once()?;
        apply(&self.spec(pools, ""))?;
        rest(self.name)
    }

    /// Its object, as it is.
    pub(crate) fn read(self) -> Result<Value> {
        get(&format!("crc/{}", self.name))
    }

    /// Labels of its Pods of a role.
    pub(crate) fn role(self, role: &str) -> String {
        format!("throng.dev/cluster={},throng.dev/role={role}", self.name)
    }
}

/// The cluster under test.
pub(crate) struct World {
    own: Option<Cluster>,
    /// Every scenario runs.
    pub(crate) whole: bool,
    /// Stated lengths of outages, not short ones.
    pub(crate) full: bool,
    /// Bounds on time are so many times as wide as promised.
    pub(crate) slack: f64,
}

impl World {
    /// The cluster of `KUBECONFIG`; `THRONG_CLUSTER_DIR` says that it is ours.
    pub(crate) fn connect(whole: bool) -> Result<Self> {
        ensure!(
            std::env::var_os("KUBECONFIG").is_some(),
            "set KUBECONFIG, or let `cargo xtask test --only cluster` start a cluster"
        );
        let own = std::env::var_os("THRONG_CLUSTER_DIR").map(|dir| Cluster::open(Path::new(&dir))).transpose()?;
        let slack = std::env::var("THRONG_TEST_SLACK").ok().and_then(|slack| slack.parse().ok()).unwrap_or(3.0);
        Ok(Self { own, whole, full: std::env::var_os("THRONG_TEST_FULL").is_some(), slack })
    }

    /// The cluster, if it is ours to break.
    pub(crate) fn own(&self) -> Option<&Cluster> {
        self.own.as_ref()
    }

    /// The sources of the commit before, whose program is the image [`PREVIOUS`](throng_cluster::images::PREVIOUS).
    pub(crate) fn previous() -> Option<PathBuf> {
        std::env::var_os("THRONG_PREVIOUS").map(PathBuf::from)
    }

    /// A stated length, or a short one.
    pub(crate) fn lasts(&self, stated: Duration, short: Duration) -> Duration {
        if self.full { stated } else { short }
    }

    /// A bound on time with slack.
    pub(crate) fn within(&self, promised: Duration) -> Duration {
        promised.mul_f64(self.slack)
    }

    /// Lets people in.
    pub(crate) fn people(&self, wish: Wish<'_>) -> Result<People> {
        People::come(self, wish)
    }
}

/// Installs the charts if they are not there.
fn install_once() -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _installing = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if api::kubectl("get crd chatroomclusters.throng.dev").is_err() || kubectl("get deployment throng").is_err() {
        install("--wait --timeout 3m")?;
    }
    Ok(())
}

/// Installs the charts; `flags` are further values.
pub(crate) fn install(flags: &str) -> Result<()> {
    install_of(&repository(), flags)
}

/// The same with the operator's chart of other sources.
pub(crate) fn install_of(sources: &Path, flags: &str) -> Result<()> {
    make_namespace()?;
    install_kinds(&repository())?;
    // One operator is enough to try it out; here another takes over.
    install_operator(NAMESPACE, sources, &format!("--set replicas=2 {flags}"))
}

/// Installs the kinds of some sources. What another test may have applied without Helm is taken over.
pub(crate) fn install_kinds(sources: &Path) -> Result<()> {
    let chart = sources.join("helm/throng-crds");
    helm(&format!("upgrade --install throng-crds {} --namespace default --take-ownership --wait", chart.display()))
        .map(drop)
}

/// Installs the operator of some sources, with the stores of a trial.
pub(crate) fn install_operator(namespace: &str, sources: &Path, flags: &str) -> Result<()> {
    let chart = sources.join("helm/throng");
    let (chart, values) = (chart.display(), chart.join("values-quickstart.yaml"));
    let values = values.display();
    helm(&format!("upgrade --install throng {chart} --namespace {namespace} --values {values} {flags}")).map(drop)
}

/// Makes the namespace if it is not there. It enforces the *restricted* Pod Security Standard, as one in production would.
pub(crate) fn make_namespace() -> Result<()> {
    if api::kubectl(&format!("get namespace {NAMESPACE}")).is_err() {
        api::kubectl(&format!("create namespace {NAMESPACE}"))?;
    }
    let level = "pod-security.kubernetes.io/enforce=restricted";
    api::kubectl(&format!("label namespace {NAMESPACE} {level} --overwrite")).map(drop)
}

/// A cluster of the example, with so many Pods and a port on every node; `more` is further YAML of its spec.
pub(crate) fn spec(name: &str, [gateway, chatroom, message]: [u32; 3], port: u16, more: &str) -> String {
    // Without a request a Pod gets what processor time others leave, and nothing where somebody compiles beside it.
    let asks = "template: {resources: {requests: {cpu: 100m, memory: 64Mi}}}";
    let pool = |pods: u32| format!("replicas: {{min: {pods}, max: {pods}}}, {asks}");
    let secrets = std::fs::read_to_string(repository().join("examples/quickstart.yaml")).unwrap_or_default();
    let secrets = secrets.split("---").filter(|part| part.contains("kind: Secret")).collect::<Vec<_>>().join("---");
    format!(
        r#"{secrets}
---
apiVersion: throng.dev/v1alpha1
kind: ChatroomCluster
metadata: {{name: {name}}}
spec:
  image: {IMAGE}
  redis: {{url: "redis://redis:6379"}}
  etcd: {{endpoints: ["http://etcd:2379"]}}
  auth: {{jwt: {{secretRef: {{name: live-auth}}, algorithms: [HS256]}}, apiKeysSecretRef: {{name: live-api}}}}
  gateway: {{{gateway}, service: {{type: NodePort, nodePort: {port}, externalTrafficPolicy: Cluster}}}}
  chatroom: {{{chatroom}}}
  message: {{{message}}}
  drain: {{deadline: 60s}}
{rollout}
{more}
"#,
        gateway = pool(gateway),
        chatroom = pool(chatroom),
        message = pool(message),
        rollout = if more.contains("rollout:") { "" } else { AT_ONCE },
    )
}

/// Waits until a cluster follows its spec and nothing is on its way.
pub(crate) fn rest(name: &str) -> Result<()> {
    until(&format!("the cluster {name} is at rest"), Duration::from_mins(4), || {
        let cluster = get(&format!("crc/{name}"))?;
        let (spec, status) = (&cluster["spec"], &cluster["status"]);
        ensure!(status["observedGeneration"] == cluster["metadata"]["generation"], "the spec was not read yet");
        for pool in POOLS {
            let (now, wanted) = (&status["pools"][pool], spec[pool]["replicas"]["min"].as_u64());
            for count in ["wanted", "pods", "ready"] {
                ensure!(now[count].as_u64() == wanted, "{pool}: {wanted:?} Pods should be there: {now}");
            }
        }
        ensure!(is(status, "Ready", "True") && is(status, "Progressing", "False"), "{}", status["conditions"]);
        Ok(())
    })
}

/// URLs of a cluster's gateways: the port of its Service on every node.
pub(crate) fn urls(cluster: &str) -> Result<Vec<String>> {
    let service = get(&format!("service/{cluster}-gateway"))?;
    let port = service["spec"]["ports"][0]["nodePort"].as_u64().context("the Service has no port on nodes")?;
    let nodes = ask(|api| api.read("/api/v1/nodes"))?;
    let address = |node: &Value| {
        let addresses = node["status"]["addresses"].as_array()?;
        let own = addresses.iter().find(|address| address["type"] == "InternalIP")?;
        Some(format!("ws://{}:{port}/connect", own["address"].as_str()?))
    };
    Ok(items(&nodes).iter().filter_map(address).collect())
}

/// Runs kubectl in the namespace.
pub(crate) fn kubectl(line: &str) -> Result<String> {
    api::kubectl(&format!("--namespace {NAMESPACE} {line}"))
}

/// Applies YAML in the namespace.
pub(crate) fn apply(yaml: &str) -> Result<()> {
    api::apply(&format!("--namespace {NAMESPACE} apply"), yaml).map(drop)
}

/// The sum of a metric of each Pod of a role, with the names of the Pods.
pub(crate) fn metric(cluster: &str, role: &str, metric: &str) -> Result<Vec<(String, f64)>> {
    let pods = pods(&format!("throng.dev/cluster={cluster},throng.dev/role={role}"))?;
    let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    names.map(|name| Ok((name.to_owned(), metric_of(name, metric, api::PATIENCE)?))).collect()
}

/// The sum of a metric of a Pod, over all its labels, or with those that are named too. An error if the Pod says nothing for so
/// long: it may have ended.
pub(crate) fn metric_of(pod: &str, metric: &str, within: Duration) -> Result<f64> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:7080/proxy/metrics");
    let text = ask(|api| api.read_within(&path, within))?;
    let lines = text.as_str().context("metrics are text")?.lines();
    let own = lines.filter(|line| {
        let name = line.split(['{', ' ']).next() == Some(metric);
        name || metric.contains('{') && line.starts_with(metric)
    });
    Ok(own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// The pools of the cluster that most scenarios use.
pub(crate) fn set_pools(pools: [u32; 3]) -> Result<()> {
    LIVE.set_pools(pools)
}

/// Prints what there is, for whoever looks for the reason of a failure.
pub(crate) fn tell() {
    for line in [
        "get chatroomclusters,pods,lease -o wide",
        "get chatroomclusters -o jsonpath={.items[*].status.conditions}",
        "logs -l app.kubernetes.io/name=throng-operator --tail=25 --prefix",
    ] {
        eprintln!("$ kubectl {line}\n{}", kubectl(line).unwrap_or_else(|error| format!("{error:#}")));
    }
}

/// Whether a condition has this status.
pub(crate) fn is(status: &Value, kind: &str, holds: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == holds))
}

/// An object of the namespace, such as `crc/live`, or a list, such as `pods` or `pods -l a=b`.
pub(crate) fn get(what: &str) -> Result<Value> {
    let (what, labels) = what.split_once(" -l ").unwrap_or((what, ""));
    let (kind, name) = what.split_once('/').map_or((what, String::new()), |(kind, name)| (kind, format!("/{name}")));
    let (group, plural) = KINDS
        .iter()
        .find_map(|(group, kinds)| kinds.iter().find(|known| known.contains(&kind)).map(|known| (*group, known[0])))
        .with_context(|| format!("{kind} is in no group"))?;
    let labels = if labels.is_empty() { String::new() } else { format!("?labelSelector={labels}") };
    ask(|api| api.read(&format!("{group}/namespaces/{NAMESPACE}/{plural}{name}{labels}")))
}

/// Paths of groups, and the names of their kinds that scenarios ask for.
const KINDS: &[(&str, &[[&str; 2]])] = &[
    ("/api/v1", &[["pods", "pod"], ["services", "service"], ["secrets", "secret"]]),
    ("/apis/apps/v1", &[["deployments", "deployment"], ["controllerrevisions", "controllerrevision"]]),
    ("/apis/policy/v1", &[["poddisruptionbudgets", "poddisruptionbudget"]]),
    ("/apis/networking.k8s.io/v1", &[["networkpolicies", "networkpolicy"]]),
    ("/apis/coordination.k8s.io/v1", &[["leases", "lease"]]),
    ("/apis/rbac.authorization.k8s.io/v1", &[["roles", "role"]]),
    ("/apis/throng.dev/v1alpha1", &[["chatroomclusters", "crc"], ["chatroomoperations", "cro"]]),
];

/// A call to the API server, as it answers.
pub(crate) fn call(method: &str, path: &str, object: Option<&Value>) -> Result<Answer> {
    ask(|api| api.call(method, path, object))
}

/// One way to the API server is kept open for all: a kubectl for each question would take a core of the machine for itself.
static API: RwLock<Option<Api>> = RwLock::new(None);

fn ask<T>(question: impl Fn(&Api) -> Result<T>) -> Result<T> {
    if let Some(api) = &*API.read().unwrap_or_else(PoisonError::into_inner) {
        return question(api);
    }
    let mut slot = API.write().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() {
        *slot = Some(Api::connect()?);
    }
    slot.as_ref().context("it was opened just now").and_then(question)
}

/// Closes it.
pub(crate) fn hang_up() {
    *API.write().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The zone of a node.
pub(crate) fn zone_of(node: &str) -> Result<String> {
    let node = ask(|api| api.read(&format!("/api/v1/nodes/{node}")))?;
    let zone = node["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str();
    Ok(zone.context("a node has a zone")?.to_owned())
}

/// Pods of the namespace with these labels.
pub(crate) fn pods(labels: &str) -> Result<Vec<Value>> {
    Ok(items(&get(&format!("pods -l {labels}"))?).to_vec())
}

/// Names and uids of all Pods of a cluster.
pub(crate) fn names_and_uids(cluster: &str) -> Result<Vec<(String, String)>> {
    let text = |pod: &Value, field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let all = pods(&format!("throng.dev/cluster={cluster}"))?;
    let mut all: Vec<_> = all.iter().map(|pod| (text(pod, "name"), text(pod, "uid"))).collect();
    all.sort();
    Ok(all)
}

/// The objects of a list.
pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// Asks until it is so; the last reason why it is not becomes the error.
pub(crate) fn until(what: &str, within: Duration, mut ask: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + within;
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() > end => bail!("not within {within:?}: {what}: {why:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Sends a signal to the processes of a Pod, which lie in its control group, all but the one that keeps its namespaces open; how
/// many there were. Only where the cluster runs on this machine.
pub(crate) fn kill(pod: &str, signal: rustix::process::Signal) -> Result<usize> {
    kill_uid(&uid(pod)?, signal)
}

/// The same by the uid, for a Pod whose object may be gone.
pub(crate) fn kill_uid(uid: &str, signal: rustix::process::Signal) -> Result<usize> {
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let is_its = read("cgroup").contains(uid) && read("comm").trim() != "busybox";
        if let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| is_its) {
            rustix::process::kill_process(pid, signal)?;
            killed += 1;
        }
    }
    ensure!(killed > 0, "no process of the Pod {uid} was found");
    Ok(killed)
}

/// The uid of a Pod.
pub(crate) fn uid(pod: &str) -> Result<String> {
    Ok(get(&format!("pod/{pod}"))?["metadata"]["uid"].as_str().context("a Pod has a uid")?.to_owned())
}
