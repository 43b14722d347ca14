//! The charts under Helm and on an API server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use throng_cluster::api::{Namespace, apply, eventually, helm, kubectl, repository};

fn chart(name: &str) -> String {
    repository().join("helm").join(name).display().to_string()
}

/// The objects that a chart makes, by kind and name.
fn render(flags: &str) -> BTreeMap<String, Value> {
    let text = helm(&format!("template throng {} --namespace live {flags}", chart("throng"))).unwrap();
    let objects = serde_saphyr::from_multiple::<Value>(&text).unwrap();
    let key = |object: &Value| {
        format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
    };
    objects.into_iter().filter(|object| !object.is_null()).map(|object| (key(&object), object)).collect()
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    for flags in ["", "--set watch.scope=Cluster", "--set watch.scope=Namespaces --set watch.namespaces={a,b}"] {
        let said = helm(&format!("lint --strict {} {flags}", chart("throng"))).unwrap();
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
    let quick = chart("throng/values-quickstart.yaml");
    helm(&format!("lint --strict {} --values {quick}", chart("throng"))).unwrap();
    helm(&format!("lint --strict {}", chart("throng-crds"))).unwrap();
}

#[test]
fn a_typo_or_a_contradiction_in_the_values_is_an_error() {
    for (flags, part) in [
        ("--set replica=3", "replica"),
        ("--set watch.scope=Everywhere", "scope"),
        ("--set replicas=many", "replicas"),
        ("--set metrics.podMonitor.enable=true", "enable"),
        ("--set watch.namespaces={a}", "watch.scope"),
        ("--set watch.scope=Cluster --set watch.namespaces={a}", "watch.scope"),
        ("--set watch.scope=Namespaces", "watch.namespaces"),
        ("--set serviceAccount.annotations.a=1", "annotations"),
    ] {
        let error = format!("{:#}", helm(&format!("template throng {} {flags}", chart("throng"))).unwrap_err());
        assert!(error.contains(part), "{flags}: {error}");
    }
}

#[test]
fn the_scope_decides_what_is_watched_and_where_the_rights_are() {
    let arguments = |objects: &BTreeMap<String, Value>| {
        objects["Deployment/throng"]["spec"]["template"]["spec"]["containers"][0]["args"][2].clone()
    };
    let own = render("");
    assert_eq!(arguments(&own), "live");
    assert_eq!(own["Role/throng"]["metadata"]["namespace"], "live");
    assert!(!own.contains_key("ClusterRole/live-throng"));
    let all = render("--set watch.scope=Cluster");
    assert_eq!(arguments(&all), "*");
    assert!(all.contains_key("ClusterRole/live-throng") && !all.contains_key("Role/throng"));
    assert_eq!(all["ClusterRole/live-throng"]["rules"], own["Role/throng"]["rules"]);
    // The leader's Lease is beside the operator whatever it watches.
    assert!(all.contains_key("Role/throng-leader"));
    let some = helm(&format!(
        "template throng {} --namespace live --set watch.scope=Namespaces --set watch.namespaces={{a,b}}",
        chart("throng")
    ));
    let some = some.unwrap();
    assert!(some.contains("- \"a,b\"") && some.contains("namespace: a\n") && some.contains("namespace: b\n"), "{some}");
}

/// Whoever looks after clusters must not go before them, wherever they are.
#[test]
fn an_uninstall_is_held_back_in_every_namespace_that_is_watched() {
    let bound = |flags: &str| -> Vec<String> {
        let objects = render(flags);
        assert!(!objects.contains_key("Job/throng-uninstall"), "{flags}: a policy does it");
        assert_eq!(objects["ConfigMap/throng-uninstall"]["metadata"]["annotations"]["helm.sh/hook"], "pre-delete");
        let bindings = objects.values().filter(|object| object["kind"] == "ValidatingAdmissionPolicyBinding");
        bindings.map(|one| one["spec"]["paramRef"]["namespace"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(bound(""), ["live"]);
    assert_eq!(bound("--set watch.scope=Namespaces --set watch.namespaces={a,b}"), ["a", "b"]);
    let all = render("--set watch.scope=Cluster");
    assert!(!all.keys().any(|key| key.starts_with("ValidatingAdmission") || key == "ConfigMap/throng-uninstall"));
    let kinds = [
        "ServiceAccount/throng-uninstall",
        "ClusterRole/live-throng-uninstall",
        "ClusterRoleBinding/live-throng-uninstall",
        "Job/throng-uninstall",
    ];
    for key in kinds {
        let notes = &all[key]["metadata"]["annotations"];
        assert_eq!(notes["helm.sh/hook"], "pre-delete", "{key}");
        let earlier = notes["helm.sh/hook-weight"] == "-1";
        assert_eq!(earlier, !key.starts_with("Job/"), "{key}: the account is there before the Job");
    }
    let rule = serde_json::json!([{"apiGroups": ["throng.dev"], "resources": ["chatroomclusters"], "verbs": ["list"]}]);
    assert_eq!(all["ClusterRole/live-throng-uninstall"]["rules"], rule, "it may do nothing else");
    let (job, operator) =
        (&all["Job/throng-uninstall"]["spec"]["template"], &all["Deployment/throng"]["spec"]["template"]);
    assert_eq!(job["spec"]["serviceAccountName"], "throng-uninstall");
    assert_eq!(job["spec"]["containers"][0]["image"], operator["spec"]["containers"][0]["image"]);
    // Selectors of the operator's Pods must not find it.
    assert_ne!(job["metadata"]["labels"]["app.kubernetes.io/name"], "throng-operator");
    assert!(
        !render("--set watch.scope=Cluster --set uninstallGuard.enabled=false").contains_key("Job/throng-uninstall")
    );
}

#[test]
fn what_is_optional_appears_only_when_it_is_asked_for() {
    let plain = render("");
    for kind in [
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "ConfigMap/throng-dashboard",
        "Deployment/redis",
        "Deployment/etcd",
    ] {
        assert!(!plain.keys().any(|key| key.starts_with(kind)), "{kind}");
    }
    let flags = ["serviceMonitor", "podMonitor", "prometheusRule", "dashboard"]
        .map(|name| format!("--set metrics.{name}.enabled=true"))
        .join(" ");
    let full = render(&format!("{flags} --set quickstart.enabled=true --set replicas=1"));
    assert_eq!(full["PrometheusRule/throng"]["spec"]["groups"][0]["name"], "throng");
    assert_eq!(full["PodMonitor/throng-pods"]["spec"]["namespaceSelector"]["matchNames"][0], "live");
    let dashboard: Value =
        serde_json::from_str(full["ConfigMap/throng-dashboard"]["data"]["throng.json"].as_str().unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 5);
    assert!(full.contains_key("ServiceMonitor/throng") && full.contains_key("Service/redis"));
    // A budget for a single Pod would never let a node be drained.
    assert!(plain.contains_key("PodDisruptionBudget/throng") && !full.contains_key("PodDisruptionBudget/throng"));
}

/// The lines with two spaces before them that an install prints.
fn notes(flags: &str) -> Vec<String> {
    let chart = chart("throng");
    let said = helm(&format!("install throng {chart} --namespace ops --dry-run=client {flags}")).unwrap();
    let notes = said.split("NOTES:").nth(1).unwrap_or_default();
    notes.lines().filter_map(|line| line.strip_prefix("  ")).map(ToOwned::to_owned).collect()
}

#[test]
fn the_notes_say_what_works_with_the_scope_that_was_chosen() {
    let of = |scope: &str, quickstart: bool| {
        let flags = format!("{scope} --set quickstart.enabled={quickstart} --set replicas=1");
        notes(&flags).into_iter().filter(|line| line.contains("kubectl")).collect::<Vec<_>>()
    };
    let (own, all) = ("", "--set watch.scope=Cluster");
    let some = "--set watch.scope=Namespaces --set watch.namespaces=";
    for (scope, clusters) in [
        (own.to_owned(), "ops"),
        (all.to_owned(), "ops"),
        (format!("{some}{{a,ops}}"), "ops"),
        (format!("{some}{{a,b}}"), "a"),
    ] {
        for quickstart in [false, true] {
            let lines = of(&scope, quickstart);
            assert!(lines.len() >= 2, "{lines:?}");
            let there = format!("kubectl --namespace {clusters} ");
            assert!(lines.iter().all(|line| line.contains(&there)), "{scope}: {lines:?}");
        }
    }
    // The stores are in the namespace of the release: from another they are found by their whole names.
    let lines = of(&format!("{some}{{a,b}}"), true);
    let (change, _) = lines[0].split_once(" | ").unwrap();
    let changed = throng_cluster::api::shell(change).unwrap();
    for store in ["redis://redis.ops.svc:6379", "http://etcd.ops.svc:2379"] {
        assert!(changed.contains(store), "{changed}");
    }
    assert_eq!(of(own, true)[0], "kubectl --namespace ops apply -f examples/quickstart.yaml");
}

#[test]
fn the_monitor_of_operators_selects_a_service_with_its_port() {
    let objects = render("--set metrics.serviceMonitor.enabled=true");
    let monitor = &objects["ServiceMonitor/throng"]["spec"];
    let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
    let selects = |(key, object): &(&String, &Value)| {
        key.starts_with("Service/") && wanted.iter().all(|(label, value)| object["metadata"]["labels"][label] == *value)
    };
    let found: Vec<&Value> = objects.iter().filter(selects).map(|(_, object)| object).collect();
    let [service] = found.as_slice() else { panic!("it selects {found:?}") };
    let port = &service["spec"]["ports"][0];
    assert_eq!(port["name"], monitor["endpoints"][0]["port"]);
    let pod = &objects["Deployment/throng"]["spec"]["template"];
    let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|one| one["name"] == port["targetPort"]), "{ports:?}");
    let chosen = service["spec"]["selector"].as_object().unwrap();
    assert!(chosen.iter().all(|(label, value)| pod["metadata"]["labels"][label] == *value));
}

#[test]
fn every_object_of_the_charts_is_one_that_the_api_server_takes_to_the_letter() {
    let _namespace = Namespace::make("strict", "restricted").unwrap();
    for flags in [
        "--set watch.scope=Cluster --set podLabels.team=live --set podAnnotations.a=b --set priorityClassName=system-cluster-critical",
        "--set watch.scope=Namespaces --set watch.namespaces={strict,default} --set image.pullSecrets[0].name=pull \
         --set networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b --set nodeSelector.a=b \
         --set tolerations[0].key=live --set tolerations[0].operator=Exists --set serviceAccount.annotations.a=b",
        "--set quickstart.enabled=true --set metrics.dashboard.enabled=true \
         --set affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=a \
         --set affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
    ] {
        let yaml = helm(&format!("template throng {} --namespace strict {flags}", chart("throng"))).unwrap();
        let said = apply("apply --dry-run=server --validate=strict", &yaml).unwrap();
        assert!(said.contains("deployment.apps/throng created") && !said.contains("Warning"), "{said}");
    }
}

#[test]
fn charts_install_refuse_to_go_while_clusters_exist_and_leave_the_kinds() {
    let namespace = Namespace::make("charts", "restricted").unwrap();
    // What another test may have applied without Helm is taken over.
    helm(&format!(
        "upgrade --install throng-crds {} --namespace default --take-ownership --wait",
        chart("throng-crds")
    ))
    .unwrap();
    let values = "--set image.pullPolicy=Never --set replicas=0 --set quickstart.enabled=true --set \
                  quickstart.redis.image=throng.test/stores:1 --set quickstart.etcd.image=throng.test/stores:1";
    helm(&format!("install throng {} --namespace charts --wait --timeout 3m {values}", chart("throng"))).unwrap();
    let again = helm(&format!("upgrade throng {} --namespace charts --wait --timeout 3m {values}", chart("throng")));
    again.unwrap();
    assert_rights();
    let example = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    namespace.apply(&example).unwrap();
    eventually("an uninstall is refused", Duration::from_mins(1), || {
        let refused = helm("uninstall throng --namespace charts --timeout 30s");
        Ok(refused.is_err_and(|error| format!("{error:#}").contains("ChatroomCluster charts/live exists")))
    })
    .unwrap();
    // Nothing was taken away by the attempt.
    namespace.kubectl("get deployment throng redis etcd").unwrap();
    namespace.kubectl("get role throng throng-leader").unwrap();
    apply("--namespace charts delete", &example).unwrap();
    eventually("the last cluster is gone and the operator may go", Duration::from_mins(1), || {
        helm("uninstall throng --namespace charts --wait --timeout 3m").map(|_| true)
    })
    .unwrap();
    assert_eq!(
        namespace
            .kubectl("get deployment,role,rolebinding,serviceaccount -l app.kubernetes.io/instance=throng -o name")
            .unwrap(),
        ""
    );
    assert_eq!(kubectl("get clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding -l app.kubernetes.io/instance=throng -o name").unwrap(), "");
    helm("uninstall throng-crds --namespace default --wait").unwrap();
    kubectl("get crd chatroomclusters.throng.dev chatroomoperations.throng.dev").unwrap();
}

const WRITE: &str = "update patch";
const ANY: &str = "get list watch create update patch delete deletecollection";

/// Who may do what, asked of the API server.
fn assert_rights() {
    let bound = "create rolebinding live-desk --clusterrole=throng-live-ops --user=desk --namespace charts";
    kubectl(bound).unwrap();
    kubectl("create rolebinding dev --clusterrole=edit --user=dev --namespace charts").unwrap();
    kubectl("create rolebinding guest --clusterrole=view --user=guest --namespace charts").unwrap();
    let operator = "system:serviceaccount:charts:throng";
    let matrix = [
        ("desk", "create get list watch", "chatroomoperations", true),
        ("desk", "update patch delete deletecollection", "chatroomoperations", false),
        ("desk", "get list watch", "chatroomclusters", true),
        ("desk", "create update patch delete deletecollection", "chatroomclusters", false),
        ("desk", WRITE, "chatroomclusters/status", false),
        ("desk", WRITE, "chatroomoperations/status", false),
        ("desk", WRITE, "chatroomclusters/finalizers", false),
        ("desk", ANY, "pods", false),
        ("desk", ANY, "secrets", false),
        ("desk", ANY, "services", false),
        ("desk", ANY, "configmaps", false),
        ("desk", ANY, "nodes", false),
        ("desk", ANY, "deployments.apps", false),
        ("desk", ANY, "controllerrevisions.apps", false),
        ("desk", ANY, "poddisruptionbudgets.policy", false),
        ("desk", ANY, "leases.coordination.k8s.io", false),
        ("desk", ANY, "rolebindings.rbac.authorization.k8s.io", false),
        ("desk", "get create", "pods/exec", false),
        ("desk", "create", "pods/eviction", false),
        ("dev", "create patch delete", "chatroomclusters", true),
        ("dev", "create delete", "chatroomoperations", true),
        ("guest", "get list watch", "chatroomclusters", true),
        ("guest", "create", "chatroomoperations", false),
        (operator, "list watch create patch delete", "pods", true),
        (operator, "get update deletecollection", "pods", false),
        (operator, "create", "pods/exec", false),
        (operator, "get create", "secrets", true),
        (operator, "list watch patch delete", "secrets", false),
        (operator, "create", "leases.coordination.k8s.io", true),
        (operator, "get update", "leases.coordination.k8s.io:throng-operator", true),
        (operator, "get update patch delete", "leases.coordination.k8s.io:another", false),
        (operator, "list watch", "leases.coordination.k8s.io", false),
        (operator, "patch", "chatroomclusters/status", true),
        (operator, "create delete update", "chatroomclusters", false),
        (operator, "create", "chatroomoperations", false),
    ];
    eventually("the usual roles know the kinds", Duration::from_mins(1), || {
        Ok(may("dev", "create", "chatroomclusters"))
    })
    .unwrap();
    for (who, verbs, resource, allowed) in matrix {
        for verb in verbs.split(' ') {
            assert_eq!(may(who, verb, resource), allowed, "{who} {verb} {resource}");
        }
    }
    for resource in ["chatroomoperations", "chatroomclusters"] {
        assert!(ANY.split(' ').all(|verb| !may_at("desk", verb, resource, "default")), "{resource} of others");
    }
    assert!(may_at(operator, "list", "nodes", "default") && !may_at(operator, "list", "pods", "default"));
}

fn may(who: &str, verb: &str, resource: &str) -> bool {
    may_at(who, verb, resource, "charts")
}

/// `kubectl auth can-i` fails for a no. It takes what follows a slash for the name of an object, and a part of one by a flag;
/// here a slash is before a part, and a colon before a name.
fn may_at(who: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let resource = resource.replace('/', " --subresource=").replace(':', "/");
    kubectl(&format!("auth can-i {verb} {resource} --as {who} --namespace {namespace}")).is_ok()
}
