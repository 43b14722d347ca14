//! The kinds on an API server: their definitions are taken, every rule accepts and refuses what it should, examples apply.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use throng_cluster::api::{Answer, Api, apply, eventually, kubectl, repository};
use throng_crds::rules::{self, Kind, Rule};

/// The table that the offline tests use too.
#[derive(Deserialize)]
struct Table {
    base: BTreeMap<String, Value>,
    cases: BTreeMap<String, Case>,
}

/// One rule's values, each put at the rule's place in the base object.
#[derive(Deserialize)]
struct Case {
    with: Option<Value>,
    #[serde(default)]
    update: bool,
    accept: Vec<Value>,
    reject: Vec<Value>,
}

/// What became of every value of the table.
#[derive(Default)]
struct Outcome {
    asked: usize,
    wrong: Vec<String>,
}

pub(crate) fn install_kinds() {
    let folder = repository().join("crds");
    kubectl(&format!("apply --server-side --force-conflicts -f {}", folder.display())).unwrap();
    kubectl("wait --for=condition=Established --timeout=120s crd/chatroomclusters.throng.dev crd/chatroomoperations.throng.dev")
        .unwrap();
}

#[test]
fn every_rule_accepts_and_refuses_on_the_api_server_as_it_does_offline() {
    install_kinds();
    let api = Api::connect().unwrap();
    let table: Table =
        serde_saphyr::from_str(&std::fs::read_to_string(repository().join("operator/crds/tests/cases.yaml")).unwrap())
            .unwrap();
    let mut outcome = Outcome::default();
    for rule in rules::all() {
        let case = &table.cases[rule.name];
        let base = &table.base[rule.kind.as_str()];
        for path in rule.paths {
            for value in &case.accept {
                let answer = judge(&api, rule, base, case, path, value);
                outcome.asked += 1;
                if !(200..300).contains(&answer.status) {
                    outcome
                        .wrong
                        .push(format!("{} refuses {value} at {path:?}: {}", rule.name, answer.body["message"]));
                }
            }
            for value in &case.reject {
                let answer = judge(&api, rule, base, case, path, value);
                outcome.asked += 1;
                if !is_refusal(&answer, rule, path) {
                    outcome.wrong.push(format!(
                        "{} with {value} at {path:?}: {} {:?}",
                        rule.name,
                        answer.status,
                        answer.causes()
                    ));
                }
            }
        }
    }
    println!("{} values asked", outcome.asked);
    assert!(outcome.asked > 300, "the table is larger than that");
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
}

/// One cause, with the rule's own message at its place. What Kubernetes itself says of a name that no object may have does not
/// count.
fn is_refusal(answer: &Answer, rule: &Rule, path: &str) -> bool {
    let at = if path.is_empty() { "<nil>".to_owned() } else { path.replace("[]", "[0]") };
    let own: Vec<_> = answer.causes().into_iter().filter(|(field, _)| field != "metadata.name").collect();
    answer.status == 422 && matches!(&own[..], [(field, message)] if *field == at && message.ends_with(rule.message))
}

/// Asks as in earnest, but nothing is stored.
fn judge(api: &Api, rule: &Rule, base: &Value, case: &Case, path: &str, value: &Value) -> Answer {
    let mut object = base.clone();
    if let Some(with) = &case.with {
        merge(&mut object, with);
    }
    let kind = match rule.kind {
        Kind::Cluster => "chatroomclusters",
        Kind::Operation => "chatroomoperations",
    };
    let all = format!("/apis/throng.dev/v1alpha1/namespaces/default/{kind}");
    let dry = "dryRun=All&fieldValidation=Strict";
    if !case.update {
        put_at(&mut object, path, value);
        return api.call("POST", &format!("{all}?{dry}"), Some(&object)).unwrap();
    }
    let one = format!("{all}/{}", object["metadata"]["name"].as_str().unwrap());
    let made = api.call("POST", &all, Some(&object)).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let mut stored = made.body;
    put_at(&mut stored, path, value);
    let answer = api.call("PUT", &format!("{one}?{dry}"), Some(&stored)).unwrap();
    assert_eq!(api.call("DELETE", &one, None).unwrap().status, 200);
    answer
}

/// Merges a value in at a place; `[]` is the first of a list.
fn put_at(object: &mut Value, place: &str, value: &Value) {
    let mut at = object;
    for step in place.split('.').filter(|step| !step.is_empty()) {
        at = match step.strip_suffix("[]") {
            Some(list) => &mut at[list][0],
            None => &mut at[step],
        };
    }
    merge(at, value);
}

/// JSON merge patch: `null` takes away.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}

#[test]
fn the_kinds_explain_themselves_and_are_listed_by_their_category() {
    install_kinds();
    // The API server gathers what it says of new kinds for some seconds.
    eventually("the kinds are explained", Duration::from_mins(1), || {
        let text = kubectl("explain chatroomcluster.spec.drain")?;
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok([
            "How Pods are emptied before they go.",
            "deadline <string>",
            "Longest time from the start of a drain",
            "taints <[]string>",
        ]
        .iter()
        .all(|part| flat.contains(part)))
    })
    .unwrap();
    let definition = stored_kind("chatroomclusters");
    for (name, field) in
        definition["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].as_object().unwrap()
    {
        let text = flat(&kubectl(&format!("explain chatroomcluster.spec.{name}")).unwrap());
        let said = flat(field["description"].as_str().unwrap());
        assert!(text.contains(&said), "spec.{name}: {said:?} is not in {text}");
    }
    let yaml = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    apply("apply", &yaml).unwrap();
    let list = kubectl("get throng").unwrap();
    let (short, wide) = (kubectl("get crc live").unwrap(), kubectl("get crc live -o wide").unwrap());
    apply("delete", &yaml).unwrap();
    assert!(list.contains("live"), "{list}");
    assert!(short.contains("live"), "{short}");
    let (short, wide) = (header(&short), header(&wide));
    for column in definition["additionalPrinterColumns"].as_array().unwrap() {
        let name = column["name"].as_str().unwrap().to_uppercase();
        let always = column["priority"].as_u64().unwrap_or(0) == 0;
        assert!(wide.contains(&name) && short.contains(&name) == always, "{name}: {short:?} {wide:?}");
    }
}

/// Columns of a table of kubectl.
fn header(table: &str) -> Vec<String> {
    let line = table.lines().next().unwrap_or_default();
    line.split("  ").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A kind as the API server keeps it.
fn stored_kind(plural: &str) -> Value {
    let text = kubectl(&format!("get crd {plural}.throng.dev -o json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["spec"]["versions"][0].take()
}

/// What no rule of ours looks at, Kubernetes refuses by the schema: it names the field, and says what may stand there.
#[test]
fn what_the_schema_forbids_is_refused_with_its_place_and_what_may_stand_there() {
    install_kinds();
    let api = Api::connect().unwrap();
    let yaml = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    let good: Value = serde_saphyr::from_str(&yaml).unwrap();
    for (place, value, field, says) in [
        ("spec.gateway.replicas.min", json!(0), "spec.gateway.replicas.min", "greater than or equal to 1"),
        ("spec.rollout.canaryPercent", json!([100]), "spec.rollout.canaryPercent[0]", "less than or equal to 99"),
        ("spec.redis.mode", json!("Single"), "spec.redis.mode", "supported values: "),
        ("spec.redis", Value::Null, "spec.redis", "Required value"),
        ("spec.paused", json!("no"), "spec.paused", "must be of type boolean"),
        ("spec.drain.deadline", json!(30), "spec.drain.deadline", "must be of type string"),
        ("spec.etcd.endpoints", json!([]), "spec.etcd.endpoints", "at least 1 items"),
        ("spec.image", json!(""), "spec.image", "at least 1 chars long"),
        ("spec.auth.jwt.algorithms", json!(["ES256", "ES256"]), "spec.auth.jwt.algorithms[1]", "Duplicate value"),
    ] {
        let mut object = good.clone();
        match (place.rsplit_once('.'), value.is_null()) {
            (Some((parent, name)), true) => put_at(&mut object, parent, &json!({name: null})),
            _ => put_at(&mut object, place, &value),
        }
        let all = "/apis/throng.dev/v1alpha1/namespaces/default/chatroomclusters?dryRun=All&fieldValidation=Strict";
        let answer = api.call("POST", all, Some(&object)).unwrap();
        let causes = answer.causes();
        let told = causes.iter().any(|(at, message)| at == field && message.contains(says));
        assert!(answer.status == 422 && told, "{place}: {} {causes:?}", answer.status);
    }
}

/// In a namespace of its own each, for some are of one name. No operator sees them here: what it makes of the quick start, of the
/// canary, its rollback and the operations is told by the scenarios with people, of the live example by `throng dev -f`.
#[test]
fn every_example_is_applied() {
    install_kinds();
    let mut files = 0;
    let folders =
        ["examples", "examples/gitops/clusters"].map(|folder| std::fs::read_dir(repository().join(folder)).unwrap());
    for path in folders.into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files += 1;
            let (namespace, file) = (format!("example-{files}"), path.display());
            kubectl(&format!("create namespace {namespace}")).unwrap();
            kubectl(&format!("--namespace {namespace} apply --validate=strict -f {file}")).unwrap();
            // What is applied again changes nothing, whatever kubectl says of lists with defaults in them.
            let of = |field: &str| {
                let line = format!("--namespace {namespace} get -f {file} -o jsonpath={{..metadata.{field}}}");
                kubectl(&line).unwrap()
            };
            let before = (of("uid"), of("generation"));
            assert!(!before.0.is_empty(), "{file}");
            kubectl(&format!("--namespace {namespace} apply --validate=strict -f {file}")).unwrap();
            assert_eq!((of("uid"), of("generation")), before, "{file}");
            kubectl(&format!("delete namespace {namespace} --wait=false")).unwrap();
        }
    }
    assert!(files >= 8);
}

#[test]
fn a_field_that_does_not_exist_is_refused() {
    install_kinds();
    let api = Api::connect().unwrap();
    let typo = json!({
        "apiVersion": "throng.dev/v1alpha1", "kind": "ChatroomOperation", "metadata": {"name": "typo"},
        "spec": {"cluster": "live", "pause": {}, "noet": "x"},
    });
    let path = "/apis/throng.dev/v1alpha1/namespaces/default/chatroomoperations?dryRun=All&fieldValidation=Strict";
    let answer = api.call("POST", path, Some(&typo)).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body["message"].as_str().unwrap().contains("spec.noet"), "{}", answer.body);
}
