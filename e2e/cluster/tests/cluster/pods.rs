//! The images on real kubelets: Throng under the strictest Pod Security Standard, and the stores beside it.

use std::time::Duration;

use throng_cluster::api::{Namespace, eventually};

/// What `restricted` asks of a Pod, and a root file system that nobody writes to.
const POD: &str = "automountServiceAccountToken: false, securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}";
const CONTAINER: &str =
    "securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}";

fn image() -> String {
    format!("throng:{}", env!("CARGO_PKG_VERSION"))
}

fn stores() -> String {
    let store = |name: &str, port: u16, command: &str| {
        format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec: {{{POD}, volumes: [{{name: data, emptyDir: {{}}}}], containers: [{{name: {name}, image: "throng.test/stores:1", command: {command},
  volumeMounts: [{{name: data, mountPath: /data}}], readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}, {CONTAINER}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: {port}}}]}}
---"#
        )
    };
    store("redis", 6379, r#"[/usr/bin/redis-server, --dir, /data, --appendonly, "yes", --protected-mode, "no"]"#)
        + &store(
            "etcd",
            2379,
            r#"[/usr/bin/etcd, --data-dir, /data/etcd, --listen-client-urls, "http://0.0.0.0:2379", --advertise-client-urls, "http://etcd:2379"]"#,
        )
}

#[test]
fn the_image_says_its_version_as_nobody_in_a_restricted_namespace() {
    let namespace = Namespace::make("version", "restricted").unwrap();
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: version}}\nspec: {{restartPolicy: Never, {POD}, containers: [{{name: throng, image: \"{}\", args: [--version], {CONTAINER}}}]}}\n",
        image()
    );
    namespace.apply(&pod).unwrap();
    namespace.wait("jsonpath={.status.phase}=Succeeded", "pod/version").unwrap();
    assert_eq!(namespace.kubectl("logs version").unwrap().trim(), format!("throng {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_gateway_finds_its_stores_by_name_and_becomes_ready() {
    let namespace = Namespace::make("gateway", "restricted").unwrap();
    namespace.apply(&stores()).unwrap();
    let pod = format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: throng}}
data:
  throng.yaml: |
    node: {{namespace: gateway, cluster: live, etcd: ["http://etcd:2379"], redis: ["redis://redis:6379"], pod_key: a key of the tests}}
    gateway: {{auth: {{jwt: [{{algorithm: HS256, key: "a secret of the tests, of 32 bytes or more"}}]}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: gateway}}
spec:
  {{{POD}, volumes: [{{name: config, configMap: {{name: throng}}}}], containers: [{{name: throng, image: "{}", {CONTAINER},
    args: [gateway, --config, /config/throng.yaml], volumeMounts: [{{name: config, mountPath: /config}}],
    livenessProbe: {{httpGet: {{path: /healthz, port: 7080}}, periodSeconds: 1}},
    readinessProbe: {{httpGet: {{path: /readyz, port: 7080}}, periodSeconds: 1}},
    env: [{{name: THRONG_NODE__ADVERTISE, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]}}]}}
"#,
        image()
    );
    namespace.wait("condition=Ready", "pod/etcd").unwrap();
    namespace.wait("condition=Ready", "pod/redis").unwrap();
    namespace.apply(&pod).unwrap();
    let ready = namespace.wait("condition=Ready", "pod/gateway");
    assert!(ready.is_ok(), "{ready:?}\n{}", namespace.kubectl("logs gateway").unwrap_or_default());
    eventually("no restart", Duration::from_secs(5), || {
        let restarts = namespace.kubectl("get pod gateway -o jsonpath={.status.containerStatuses[0].restartCount}")?;
        Ok(restarts.trim() == "0")
    })
    .unwrap();
    let answered = namespace.kubectl("exec redis -- /usr/bin/redis-cli -h redis ping").unwrap();
    assert_eq!(answered.trim(), "PONG");
}
