//! Every rule accepts what it should and refuses what it should, with its own message at its own place.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use throng_crds::admit::admit;
use throng_crds::rules::{self, Kind, Rule};

#[derive(Deserialize)]
struct Cases {
    base: BTreeMap<String, Value>,
    cases: BTreeMap<String, Case>,
}

/// What one rule accepts and refuses. Values are merged into the base object at each place of the rule.
#[derive(Deserialize)]
struct Case {
    /// Merged into the base object before, so that no other rule is broken.
    #[serde(default)]
    with: Option<Value>,
    /// Whether the base object is the stored one and the value an update of it.
    #[serde(default)]
    update: bool,
    accept: Vec<Value>,
    reject: Vec<Value>,
}

fn cases() -> Cases {
    serde_saphyr::from_str(include_str!("cases.yaml")).unwrap()
}

/// As a JSON merge patch (RFC 7396), with `[]` meaning the first item of a list.
fn merge_at(object: &mut Value, place: &str, patch: &Value) {
    let mut at = object;
    for part in place.split('.').filter(|part| !part.is_empty()) {
        let (name, is_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        at = &mut at[name];
        if is_list {
            at = &mut at[0];
        }
    }
    merge(at, patch);
}

fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) => {
            if !target.is_object() {
                *target = Value::Object(serde_json::Map::new());
            }
            for (name, value) in patch {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(name);
                } else {
                    merge(&mut target[name], value);
                }
            }
        }
        other => *target = other.clone(),
    }
}

fn judge(cases: &Cases, rule: &Rule, case: &Case, path: &str, value: &Value) -> Vec<(String, String)> {
    let mut object = cases.base[rule.kind.as_str()].clone();
    if let Some(with) = &case.with {
        merge(&mut object, with);
    }
    let old = case.update.then(|| admit(object.clone(), None).unwrap());
    merge_at(&mut object, path, value);
    let problems = admit(object, old.as_ref()).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.path, problem.message)).collect()
}

#[test]
fn the_base_objects_of_the_cases_are_admitted() {
    for object in cases().base.into_values() {
        let problems = admit(object, None).err().unwrap_or_default();
        assert!(problems.is_empty(), "{problems:?}");
    }
}

#[test]
fn every_rule_has_a_case_and_every_case_a_rule() {
    let cases = cases();
    let mut known: Vec<&str> = rules::all().map(|rule| rule.name).collect();
    known.sort_unstable();
    assert_eq!(known, cases.cases.keys().map(String::as_str).collect::<Vec<_>>());
    for (name, case) in &cases.cases {
        assert!(!case.accept.is_empty() && !case.reject.is_empty(), "{name} must accept and refuse something");
    }
}

#[test]
fn every_rule_accepts_what_it_should_at_each_of_its_places() {
    let cases = cases();
    for rule in rules::all() {
        let case = &cases.cases[rule.name];
        for (path, value) in rule.paths.iter().flat_map(|path| case.accept.iter().map(move |value| (path, value))) {
            let problems = judge(&cases, rule, case, path, value);
            assert!(problems.is_empty(), "{} refuses {value} at {path:?}: {problems:?}", rule.name);
        }
    }
}

#[test]
fn every_rule_refuses_what_it_should_with_its_own_message_and_nothing_else_does() {
    let cases = cases();
    for rule in rules::all() {
        let case = &cases.cases[rule.name];
        for (path, value) in rule.paths.iter().flat_map(|path| case.reject.iter().map(move |value| (path, value))) {
            let problems = judge(&cases, rule, case, path, value);
            let expected = vec![(path.replace("[]", "[0]"), rule.message.to_owned())];
            assert_eq!(problems, expected, "{} at {path:?} with {value}", rule.name);
        }
    }
}

#[test]
fn rules_are_in_the_schema_and_name_different_things() {
    let mut names = Vec::new();
    for rule in rules::all() {
        names.push(rule.name);
        for path in rule.paths {
            let node = throng_crds::schema::node(throng_crds::schema::schema(rule.kind), path);
            let node = node.unwrap_or_else(|| panic!("{} leads nowhere: {path}", rule.name));
            let there = node["x-kubernetes-validations"].as_array().unwrap();
            assert!(there.iter().any(|there| there["rule"] == rule.rule), "{} is not at {path}", rule.name);
        }
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two rules have the same name");
    assert!(Kind::ALL.into_iter().all(|kind| rules::of(kind).count() > 0));
}
