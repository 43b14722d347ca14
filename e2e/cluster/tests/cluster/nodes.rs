//! The cluster itself: what the other tests rely on.

use std::time::Duration;

use throng_cluster::Cluster;
use throng_cluster::api::{Namespace, eventually, kubectl};

/// A Pod on each of two nodes, and a Service before one of them.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: n1
  containers:
    - name: web
      image: throng.test/tools:1
      command: [sh, -c, "echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"]
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
      volumeMounts: [{name: www, mountPath: /www}]
  volumes: [{name: www, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: visitor}
spec:
  nodeName: n2
  containers: [{name: visitor, image: "throng.test/tools:1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}
"#;

#[test]
fn three_nodes_are_ready_in_three_zones() {
    let list = kubectl("get nodes --no-headers -L topology.kubernetes.io/zone").unwrap();
    let mut zones: Vec<&str> = list.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    zones.sort_unstable();
    assert_eq!(zones, ["zone-a", "zone-b", "zone-c"], "{list}");
    assert!(list.lines().all(|line| line.split_whitespace().nth(1) == Some("Ready")), "{list}");
    assert!(list.lines().all(|line| line.contains(" v1.35.")), "{list}");
}

#[test]
fn a_pod_on_another_node_is_reached_by_the_name_of_its_service() {
    let namespace = Namespace::make("wires", "baseline").unwrap();
    namespace.apply(PODS).unwrap();
    namespace.wait("condition=Ready", "pod/web").unwrap();
    namespace.wait("condition=Ready", "pod/visitor").unwrap();
    eventually("the Service answers by its name", Duration::from_secs(20), || {
        Ok(namespace.kubectl("exec visitor -- wget -q -O - http://web")?.trim() == "hello")
    })
    .unwrap();
    let address = namespace.kubectl("get pod web -o jsonpath={.status.podIP}").unwrap();
    let each = namespace.kubectl("exec visitor -- wget -q -O - http://each.wires.svc.cluster.local:8080").unwrap();
    let said = namespace.kubectl("exec visitor -- nslookup each.wires.svc.cluster.local").unwrap();
    assert!(each.trim() == "hello" && said.contains(&format!("Address: {address}")), "{said}");
    let unknown = namespace.kubectl("exec visitor -- nslookup nobody.wires.svc.cluster.local").unwrap_err();
    assert!(unknown.to_string().contains("nslookup"), "{unknown:#}");
}

#[test]
fn a_node_that_is_cut_off_is_noticed_and_comes_back() {
    let Some(dir) = std::env::var_os("THRONG_CLUSTER_DIR") else {
        eprintln!("not run: nodes of a cluster that is not ours are not cut off");
        return;
    };
    let cluster = Cluster::open(dir.as_ref()).unwrap();
    cluster.set_plugged("n3", false).unwrap();
    let noticed = kubectl("wait --for=condition=Ready=Unknown node/n3 --timeout=60s");
    cluster.set_plugged("n3", true).unwrap();
    noticed.unwrap();
    kubectl("wait --for=condition=Ready node/n3 --timeout=60s").unwrap();
}

#[test]
fn the_api_server_comes_back_with_all_it_knew() {
    let Some(dir) = std::env::var_os("THRONG_CLUSTER_DIR") else {
        eprintln!("not run: programs of a cluster that is not ours are not ended");
        return;
    };
    let cluster = Cluster::open(dir.as_ref()).unwrap();
    cluster.stop_program("apiserver").unwrap();
    let gone = kubectl("get nodes --request-timeout=2s");
    cluster.start_program("apiserver").unwrap();
    assert!(gone.is_err());
    eventually("the API server is back", Duration::from_mins(1), || {
        kubectl("get --raw /readyz").map(|said| said == "ok")
    })
    .unwrap();
    assert_eq!(kubectl("get nodes --no-headers").unwrap().lines().count(), 3);
}
