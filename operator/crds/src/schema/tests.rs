//! The schemas are such that an API server takes them and that `kubectl explain` reads well.

use super::*;

/// Each place of both kinds with its schema, except below what Kubernetes describes itself.
fn places() -> Vec<(String, &'static Value)> {
    fn walk(path: &str, node: &'static Value, into: &mut Vec<(String, &'static Value)>) {
        into.push((path.to_owned(), node));
        let foreign = ["resources", "affinity", "tolerations"].map(|name| format!(".template.{name}"));
        if !foreign.iter().any(|foreign| path.ends_with(foreign.as_str())) {
            for (path, child) in children(node, path) {
                walk(&path, child, into);
            }
        }
    }
    let mut into = Vec::new();
    for kind in Kind::ALL {
        for part in ["spec", "status"] {
            walk(&format!("{}:{part}", kind.as_str()), node(schema(kind), part).unwrap(), &mut into);
        }
    }
    into
}

#[test]
fn every_field_has_a_text_that_begins_like_a_sentence_and_ends_like_one() {
    for (path, node) in places().into_iter().filter(|(path, _)| !path.ends_with("[]")) {
        let text = node["description"].as_str().unwrap_or_default();
        assert!(text.starts_with(|c: char| c.is_uppercase() || c == '`') && text.ends_with('.'), "{path}: {text:?}");
        let is_link = text.contains("[`") || text.contains("::");
        assert!(!is_link && !text.contains("  "), "{path}: {text:?} is for rustdoc, not for people");
    }
}

#[test]
fn every_text_list_map_and_number_is_bounded_so_that_rules_stay_cheap() {
    for (path, node) in places() {
        let has = |name: &str| node.get(name).is_some();
        let bounded = match node["type"].as_str() {
            Some("string") => has("maxLength") || has("enum"),
            Some("array") => has("maxItems"),
            Some("object") => match node.get("additionalProperties") {
                Some(values) => has("maxProperties") && values.get("maxLength").is_some(),
                None => true,
            },
            Some("integer" | "number") => has("minimum") && has("maximum"),
            Some("boolean") => true,
            _ => path.ends_with(".resources") || path.ends_with(".affinity"),
        };
        assert!(bounded, "{path} has no bound: {node}");
    }
}

#[test]
fn nothing_is_nullable_and_no_format_is_unknown_to_api_servers() {
    for kind in Kind::ALL {
        let text = schema(kind).to_string();
        assert!(!text.contains("nullable"), "{kind:?}");
        assert!(!text.contains("\"uint"), "{kind:?}");
        assert!(!text.contains("anyOf") && !text.contains("oneOf") && !text.contains("$ref"), "{kind:?}");
    }
}

#[test]
fn the_operator_alone_writes_the_status_so_it_has_no_defaults() {
    for kind in Kind::ALL {
        let status = node(schema(kind), "status").unwrap();
        assert!(!status.to_string().contains("\"default\""), "{kind:?}");
        assert!(crd(kind).pointer("/spec/versions/0/subresources/status").is_some(), "{kind:?}");
        assert_eq!(node(schema(kind), "status.conditions").unwrap()["x-kubernetes-list-type"], "map");
        assert_eq!(schema(kind)["required"], json!(["spec"]));
    }
}

#[test]
fn each_default_satisfies_its_own_schema_and_rules() {
    for (path, node) in places() {
        if let Some(default) = node.get("default") {
            let errors = kube_cel::Validator::new().validate(node, default, None);
            assert!(errors.is_ok(), "{path}: {errors:?}");
        }
    }
}

#[test]
fn names_columns_and_categories_are_those_of_the_design() {
    let cluster = crd(Kind::Cluster);
    assert_eq!(cluster["metadata"]["name"], "chatroomclusters.throng.dev");
    assert_eq!(cluster.pointer("/spec/names/shortNames"), Some(&json!(["crc"])));
    assert_eq!(cluster.pointer("/spec/names/categories"), Some(&json!(["throng"])));
    let columns = cluster.pointer("/spec/versions/0/additionalPrinterColumns").unwrap().as_array().unwrap();
    let names: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(names, ["Ready", "Users", "Pressure", "Draining", "Revision", "Age", "Image", "Why"]);
    assert_eq!(crd(Kind::Operation).pointer("/spec/names/shortNames"), Some(&json!(["cro"])));
}

/// `kubectl apply` keeps a copy of an object in an annotation of at most 256 KiB.
#[test]
fn a_crd_is_small_enough_for_kubectl_apply() {
    for kind in Kind::ALL {
        let bytes = crd(kind).to_string().len();
        assert!(bytes < 256 * 1024, "{kind:?}: {bytes} bytes");
    }
}

#[test]
fn no_rule_is_dear_or_out_of_its_scope() {
    for rule in rules::all() {
        for path in rule.paths {
            let compiled = kube_cel::compile_schema(node(schema(rule.kind), path).unwrap());
            let warnings = kube_cel::analyze_rule(rule.rule, &compiled, kube_cel::ScopeContext::CrdValidation);
            let names_only = |warning: &&kube_cel::AnalysisWarning| !warning.message.contains("oldSelf");
            let warnings: Vec<_> = warnings.iter().filter(names_only).collect();
            assert!(warnings.is_empty(), "{} at {path}: {warnings:?}", rule.name);
        }
    }
}
