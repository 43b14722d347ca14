//! The control plane: etcd, API server, controller manager, scheduler and DNS, on this machine at the bridge's address.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::network::Network;
use crate::process::{Programs, run, until, words};

/// The Service of DNS.
pub(crate) const CLUSTER_DNS: &str = "10.96.0.10";
/// Addresses of Services; they exist in nodes alone, so all clusters may use the same.
const SERVICES: &str = "10.96.0.0/16";
/// The control plane's programs in the order of their start.
pub(crate) const PROGRAMS: [&str; 5] = ["etcd", "apiserver", "controller-manager", "scheduler", "dns"];

/// Seconds where nothing else runs, but the machine of a test may be busy.
const LONG: Duration = Duration::from_mins(3);

/// Where everything of a control plane lies.
pub(crate) struct Control<'a> {
    pub(crate) cluster: &'a Path,
    pub(crate) binaries: &'a Path,
    pub(crate) network: Network,
}

impl Control<'_> {
    /// Starts everything; the API server is ready when this returns.
    pub(crate) fn start(&self, programs: &Programs) -> Result<()> {
        self.make_keys()?;
        std::fs::write(self.cluster.join("audit.json"), audit_policy().to_string())?;
        programs.start("etcd", &self.etcd())?;
        let server = programs.start("apiserver", &self.apiserver())?;
        until("the API server makes its certificate", LONG, || {
            ensure!(server.runs(), "it has ended: {}", programs.tail("apiserver"));
            Ok(self.path("pki/apiserver.crt").exists().then_some(()))
        })?;
        self.write_kubeconfig()?;
        until("the API server is ready", LONG, || self.kubectl(&["get", "--raw", "/readyz"]).map(Some))
            .with_context(|| programs.tail("apiserver"))?;
        programs.start("controller-manager", &self.controller_manager())?;
        programs.start("scheduler", &self.scheduler())?;
        self.start_dns(programs)?;
        until("namespaces have service accounts", LONG, || {
            self.kubectl(&["get", "serviceaccount", "default"]).map(Some)
        })
        .with_context(|| programs.tail("controller-manager"))
        .map(drop)
    }

    /// Runs kubectl as administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.binaries.join("kubectl"));
        command.arg("--kubeconfig").arg(self.cluster.join("kubeconfig")).arg("--request-timeout=30s");
        run(command.args(arguments))
    }

    fn etcd(&self) -> Vec<String> {
        let (client, peer) = (self.etcd_url(), format!("http://{}:2380", self.network.gateway()));
        line(&[
            "etcd",
            "--name",
            "one",
            "--unsafe-no-fsync",
            "--data-dir",
            &self.path_text("etcd"),
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("one={peer}"),
        ])
    }

    fn apiserver(&self) -> Vec<String> {
        let gateway = self.network.gateway();
        let flags = [
            format!("--etcd-servers={}", self.etcd_url()),
            format!("--bind-address={gateway}"),
            format!("--advertise-address={gateway}"),
            "--secure-port=6443".to_owned(),
            format!("--cert-dir={}", self.path_text("pki")),
            format!("--token-auth-file={}", self.path_text("pki/tokens.csv")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.path_text("pki/accounts.pub")),
            format!("--service-account-signing-key-file={}", self.path_text("pki/accounts.key")),
            format!("--audit-policy-file={}", self.path_text("audit.json")),
            format!("--audit-log-path={}", self.path_text("logs/audit.jsonl")),
        ];
        self.component("kube-apiserver", &flags)
    }

    fn controller_manager(&self) -> Vec<String> {
        let flags = [
            format!("--kubeconfig={}", self.path_text("kubeconfig")),
            format!("--bind-address={}", self.network.gateway()),
            format!("--cert-dir={}", self.path_text("pki/manager")),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--root-ca-file={}", self.path_text("pki/apiserver.crt")),
            format!("--service-account-private-key-file={}", self.path_text("pki/accounts.key")),
            // A lost node is noticed in seconds, so that tests need not wait for minutes.
            "--node-monitor-period=2s".to_owned(),
            "--node-monitor-grace-period=12s".to_owned(),
        ];
        self.component("kube-controller-manager", &flags)
    }

    fn scheduler(&self) -> Vec<String> {
        let flags = [
            format!("--kubeconfig={}", self.path_text("kubeconfig")),
            format!("--bind-address={}", self.network.gateway()),
            format!("--cert-dir={}", self.path_text("pki/scheduler")),
            "--leader-elect=false".to_owned(),
        ];
        self.component("kube-scheduler", &flags)
    }

    /// DNS runs beside the control plane; Pods reach it by the usual Service.
    fn start_dns(&self, programs: &Programs) -> Result<()> {
        let gateway = self.network.gateway().to_string();
        let flags = [format!("--kubeconfig={}", self.path_text("kubeconfig")), format!("--listen={gateway}:53")];
        programs.start("dns", &self.component("kube-dns", &flags))?;
        let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}]);
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system"},
                "spec": {"clusterIP": CLUSTER_DNS, "ports": ports},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports,
                "metadata": {"name": "kube-dns-1", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}},
                "endpoints": [{"addresses": [gateway]}],
            },
        ]});
        let file = self.path_text("dns.json");
        std::fs::write(&file, objects.to_string())?;
        let apply = ["apply", "--validate=false", "-f", &file];
        until("DNS has its Service", LONG, || self.kubectl(&apply).map(Some)).map(drop)
    }

    fn make_keys(&self) -> Result<()> {
        std::fs::create_dir_all(self.path("pki"))?;
        let (key, public) = (self.path_text("pki/accounts.key"), self.path_text("pki/accounts.pub"));
        words(&format!("openssl genrsa -out {key} 2048"))?;
        words(&format!("openssl rsa -in {key} -pubout -out {public}"))?;
        let token = format!("admin-{}", words("openssl rand -hex 16")?.trim());
        std::fs::write(self.path("pki/tokens.csv"), format!("{token},admin,admin,system:masters\n"))?;
        std::fs::write(self.path("pki/token"), token)?;
        Ok(())
    }

    /// For people and programs: `KUBECONFIG`.
    fn write_kubeconfig(&self) -> Result<()> {
        let token = std::fs::read_to_string(self.path("pki/token"))?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "throng",
            "clusters": [{"name": "throng", "cluster": {
                "server": format!("https://{}:6443", self.network.gateway()), "certificate-authority": self.path_text("pki/apiserver.crt"),
            }}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "throng", "context": {"cluster": "throng", "user": "admin"}}],
        });
        Ok(std::fs::write(self.path("kubeconfig"), serde_json::to_vec_pretty(&config)?)?)
    }

    fn component(&self, name: &str, flags: &[String]) -> Vec<String> {
        let mut line = vec![self.binary(name)];
        line.extend_from_slice(flags);
        line
    }

    fn etcd_url(&self) -> String {
        format!("http://{}:2379", self.network.gateway())
    }

    fn binary(&self, name: &str) -> String {
        self.binaries.join(name).display().to_string()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.cluster.join(name)
    }

    fn path_text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn line(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What Pods ask the API server for is written down, so that tests can tell which rights are used; what Kubernetes' own
/// components ask for is not.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    })
}
