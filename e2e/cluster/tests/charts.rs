//! What the charts say agrees with the rest of the repository. Whether Helm and Kubernetes take them is tested on a cluster.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;
use throng_cluster::api::repository;

fn chart(path: &str) -> PathBuf {
    repository().join("helm").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(chart(path)).unwrap()
}

#[test]
fn the_chart_of_the_kinds_holds_the_generated_definitions() {
    let mut stale = Vec::new();
    for name in ["chatroomclusters.yaml", "chatroomoperations.yaml"] {
        let text = std::fs::read_to_string(repository().join("crds").join(name)).unwrap();
        // Braces would be Helm's.
        assert!(!text.contains("{{"), "{name}");
        let (head, tail) = text.split_once("\nmetadata:\n").unwrap();
        let kept = format!("{head}\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n{tail}");
        let path = format!("throng-crds/templates/{name}");
        if std::env::var_os("THRONG_WRITE_GENERATED").is_some() {
            std::fs::write(chart(&path), &kept).unwrap();
        }
        if read(&path) != kept {
            stale.push(path);
        }
    }
    let command = "THRONG_WRITE_GENERATED=1 cargo test -p throng-cluster --test charts";
    assert!(stale.is_empty(), "{stale:?} differ from crds/; run: {command}");
}

#[test]
fn every_metric_that_an_alert_or_a_panel_names_exists() {
    let page = |name: &str| std::fs::read_to_string(repository().join("docs").join(name)).unwrap();
    let (of_pods, of_operators) = (page("metrics.md"), page("operator.md"));
    // What a histogram is scraped as.
    let parts = ["_bucket", "_sum", "_count"];
    for file in ["throng/files/alerts.yaml", "throng/files/dashboard.json"] {
        let text = read(file);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let used: BTreeSet<&str> = words.filter(|word| word.starts_with("throng_")).collect();
        assert!(used.len() > 5, "{file} names metrics");
        for metric in used {
            let whole = parts.iter().find_map(|part| metric.strip_suffix(part)).unwrap_or(metric);
            let known = [metric, whole]
                .iter()
                .any(|name| [&of_pods, &of_operators].iter().any(|page| page.contains(&format!("`{name}`"))));
            assert!(known, "{file} has {metric}, which neither docs/metrics.md nor docs/operator.md knows");
        }
    }
}

/// The other way round: whoever adds a metric of the operator thinks of who looks at it.
#[test]
fn every_metric_of_the_operator_is_looked_at() {
    let page = std::fs::read_to_string(repository().join("docs/operator.md")).unwrap();
    let looked_at = read("throng/files/alerts.yaml") + &read("throng/files/dashboard.json");
    let names = page.lines().filter_map(|line| line.strip_prefix("| `throng_operator_")?.split('`').next());
    let names: Vec<String> = names.map(|name| format!("throng_operator_{name}")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in &names {
        assert!(looked_at.contains(name.as_str()), "{name} is in no alert and in no panel");
    }
}

#[test]
fn every_alert_says_what_is_wrong_and_how_bad_it_is() {
    let groups: Value = serde_saphyr::from_str(&read("throng/files/alerts.yaml")).unwrap();
    let rules = groups[0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 5);
    for rule in rules {
        assert!(rule["alert"].as_str().unwrap().starts_with("Throng"), "{rule}");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
        for note in ["summary", "description"] {
            assert!(rule["annotations"][note].as_str().is_some_and(|text| text.len() > 10), "{rule}");
        }
    }
}

/// An alert on a word that no condition has would be silent for ever.
#[test]
fn alerts_on_conditions_name_types_statuses_and_reasons_that_there_are() {
    let page = std::fs::read_to_string(repository().join("docs/operator.md")).unwrap();
    let rows: Vec<Vec<&str>> = page.lines().map(|row| row.split('|').map(str::trim).collect()).collect();
    let rows: Vec<_> = rows.iter().filter(|cells| cells.get(2) == Some(&"condition")).collect();
    let groups: Value = serde_saphyr::from_str(&read("throng/files/alerts.yaml")).unwrap();
    let mut alerts = Vec::new();
    for rule in groups[0]["rules"].as_array().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        let Some((_, rest)) = expression.split_once("throng_operator_condition{") else { continue };
        let selector = rest.split('}').next().unwrap();
        let wanted = |label: &str| {
            let found = selector.split(", ").find_map(|one| one.strip_prefix(label)?.split('"').nth(1));
            found.map(|values| values.split('|').collect::<Vec<_>>())
        };
        for kind in wanted("type").unwrap() {
            let fits = |cells: &&&Vec<&str>| {
                let of = |cell: usize, wanted: Option<Vec<&str>>| {
                    let words: Vec<&str> = cells[cell].split([' ', ',', '`']).collect();
                    wanted.is_none_or(|wanted| wanted.iter().any(|one| words.contains(one)))
                };
                of(1, wanted("reason")) && of(3, Some(vec![kind])) && of(4, wanted("status"))
            };
            assert!(rows.iter().find(fits).is_some(), "{expression}: no condition is so");
        }
        alerts.push(rule["alert"].as_str().unwrap());
    }
    assert_eq!(alerts, ["ThrongClusterDegraded", "ThrongPoolDown", "ThrongInputWrong"]);
}

#[test]
fn the_schema_of_the_values_is_closed_and_describes_each() {
    for name in ["throng", "throng-crds"] {
        let schema: Value = serde_json::from_str(&read(&format!("{name}/values.schema.json"))).unwrap();
        check(&schema, name);
    }
}

/// An object either names its fields and allows no other, or says of what kind all of them are.
fn check(schema: &Value, at: &str) {
    if schema["type"] == "object" {
        match schema["properties"].as_object() {
            Some(fields) => {
                assert_eq!(schema["additionalProperties"], false, "{at}");
                for (name, field) in fields {
                    assert!(field["description"].is_string(), "{at}.{name} has no description");
                    check(field, &format!("{at}.{name}"));
                }
            }
            None => assert!(!schema["additionalProperties"].is_null(), "{at}"),
        }
    }
    if schema["items"].is_object() {
        check(&schema["items"], &format!("{at}[]"));
    }
}

#[test]
fn every_value_is_in_the_schema_and_has_a_default() {
    let schema: Value = serde_json::from_str(&read("throng/values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&read("throng/values.yaml")).unwrap();
    compare(&schema, &values, "");
    let quick: Value = serde_saphyr::from_str(&read("throng/values-quickstart.yaml")).unwrap();
    for name in quick.as_object().unwrap().keys() {
        assert!(values.get(name).is_some(), "{name}");
    }
}

fn compare(schema: &Value, values: &Value, at: &str) {
    let (Some(fields), Some(values)) = (schema["properties"].as_object(), values.as_object()) else { return };
    if values.is_empty() {
        return;
    }
    // Helm alone sets `global`, and claims on devices are rare enough to be left out.
    let expected: BTreeSet<&str> =
        fields.keys().map(String::as_str).filter(|name| !["global", "claims"].contains(name)).collect();
    assert_eq!(values.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "values{at}");
    for (name, value) in values {
        compare(&fields[name], value, &format!("{at}.{name}"));
    }
}

#[test]
fn both_charts_have_the_version_of_the_workspace() {
    for name in ["throng", "throng-crds"] {
        let chart: Value = serde_saphyr::from_str(&read(&format!("{name}/Chart.yaml"))).unwrap();
        assert_eq!(
            (&chart["version"], &chart["appVersion"]),
            (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into())
        );
    }
}

/// Verbs by resource.
type Rights = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_table_of_rights_is_what_the_chart_grants() {
    let mut granted = Rights::new();
    for file in ["throng/templates/_helpers.tpl", "throng/templates/rights.yaml"] {
        let text = read(file);
        let lists = text.lines().filter_map(|line| line.trim().split_once(": ["));
        let lists: Vec<_> = lists.map(|(name, list)| (name, list.trim_end_matches(']'))).collect();
        for pair in lists.windows(2) {
            if let [("resources", resources), ("verbs", verbs)] = pair {
                grant(&mut granted, resources, verbs);
            }
        }
    }
    let page = std::fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let table = page.split("## Rights").nth(1).and_then(|text| text.split("For people:").next()).unwrap();
    let mut documented = Rights::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let reason = cells.get(3).unwrap();
        assert!(reason.len() > 10, "{row}");
        grant(&mut documented, &cells.get(1).unwrap().replace('`', ""), cells.get(2).unwrap());
    }
    assert!(granted.len() > 10);
    assert_eq!(documented, granted, "docs/install.md (left) and helm/throng (right) differ");
}

fn grant(rights: &mut Rights, resources: &str, verbs: &str) {
    for resource in resources.split(", ") {
        rights.entry(resource.to_owned()).or_default().extend(verbs.split(", ").map(ToOwned::to_owned));
    }
}
