//! What the charts say agrees with the rest of the repository. Whether Helm and Kubernetes take them is tested on a cluster.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};
use throng_cluster::api::repository;
use throng_core::secrets::{Algorithm, Algorithms, Content, check as check_secret};

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
        // A label of Pods, as Prometheus writes it.
        let is_metric = |word: &&str| word.starts_with("throng_") && !word.starts_with("throng_dev_");
        let used: BTreeSet<&str> = words.filter(is_metric).collect();
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
    let of_stores = ["ThrongClusterDegraded", "ThrongPoolDown", "ThrongInputWrong"];
    let of_work = ["ThrongDrainBlocked", "ThrongMetricsStale", "ThrongRoomTooHot", "ThrongRolledBack"];
    assert_eq!(alerts, [&of_stores[..], &of_work[..]].concat());
}

/// Two releases may share a namespace; each must have somebody who leads.
#[test]
fn a_release_that_nobody_leads_is_not_hidden_by_another() {
    let rules = expressions();
    let (_, leaderless) = rules.iter().find(|(who, _)| who == "ThrongOperatorLeaderless").unwrap();
    assert_eq!(leaderless, "sum by (namespace, job) (throng_operator_leads) == 0");
    // A job is called as the Service that it was found by, and that after its release.
    let network = read("throng/templates/network.yaml");
    let service = network.split("kind: Service\n").nth(1).unwrap();
    assert!(service.starts_with("metadata:\n  name: {{ include \"throng.name\" . }}"), "{service}");
}

/// Several clusters in one picture are of use to nobody.
#[test]
fn panels_about_pods_show_the_clusters_that_one_chooses() {
    let dashboard: Value = serde_json::from_str(&read("throng/files/dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables.iter().filter(|one| one["type"] == "query");
    let chosen: Vec<_> = queries.map(|one| (one["name"].as_str().unwrap(), &one["allValue"])).collect();
    // Where nothing gives Pods a label, all of them match.
    assert_eq!(chosen, [("namespace", &json!(".*")), ("cluster", &json!(".*"))]);
    let filter = r#"{namespace=~"$namespace", throng_dev_cluster=~"$cluster""#;
    let mut filtered = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let metrics = expression.matches("throng_").count() - expression.matches("throng_dev_").count();
            let of_operators = expression.matches("throng_operator_").count();
            assert_eq!(expression.matches(filter).count(), metrics - of_operators, "{expression}");
            filtered += metrics - of_operators;
        }
    }
    assert!(filtered > 10, "{filtered}");
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

/// Every expression of the rules and of the dashboard, with the name of who asks.
fn expressions() -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let groups: Value = serde_saphyr::from_str(&read("throng/files/alerts.yaml")).unwrap();
    let rules = groups[0]["rules"].as_array().unwrap();
    let mut all: Vec<_> = rules.iter().map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect();
    let dashboard: Value = serde_json::from_str(&read("throng/files/dashboard.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            all.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    all
}

/// Names between brackets that follow one of these words.
fn between<'t>(text: &'t str, before: &'static str, end: char) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split(end).next()).flat_map(|list| list.split(", "))
}

/// A label that a metric does not have selects nothing, for ever and without a word.
#[test]
fn every_expression_is_whole_and_asks_for_labels_that_its_metrics_have() {
    let pages = ["metrics.md", "operator.md"].map(|name| std::fs::read_to_string(repository().join("docs").join(name)));
    let pages = pages.map(Result::unwrap).concat();
    let rows = |metric: &str| {
        let begin = format!("| `{metric}` |");
        pages.lines().filter(|row| row.starts_with(&begin)).collect::<Vec<_>>()
    };
    // Every target has these, every histogram its bounds, and Pods the label that their monitor takes over.
    let scraped = ["namespace", "pod", "job", "le", "throng_dev_cluster"];
    let all = expressions();
    assert!(all.len() > 30, "{}", all.len());
    for (who, expression) in all {
        let mut open = Vec::new();
        for letter in expression.chars() {
            match letter {
                '(' | '{' | '[' => open.push(letter),
                ')' => assert_eq!(open.pop(), Some('('), "{who}: {expression}"),
                '}' => assert_eq!(open.pop(), Some('{'), "{who}: {expression}"),
                ']' => assert_eq!(open.pop(), Some('['), "{who}: {expression}"),
                _ => {}
            }
        }
        assert!(open.is_empty() && expression.matches('"').count() % 2 == 0, "{who}: {expression}");
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let metrics: Vec<&str> = words.filter(|word| word.starts_with("throng_")).collect();
        let parts = ["_bucket", "_sum", "_count"];
        let of = |metric: &str| {
            let whole = parts.iter().find_map(|part| metric.strip_suffix(part)).unwrap_or(metric);
            [rows(metric), rows(whole)].concat()
        };
        let described: Vec<&str> = metrics.iter().flat_map(|metric| of(metric)).collect();
        assert!(!described.is_empty(), "{who}: no page has a row for {metrics:?}");
        let grouped = between(&expression, "by (", ')').chain(between(&expression, "on (", ')'));
        let selected = between(&expression, "{", '}').filter_map(|one| one.split(['=', '!']).next());
        for label in grouped.chain(selected).filter(|label| !scraped.contains(label)) {
            let has = |row: &&str| {
                row.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == label)
            };
            assert!(described.iter().any(has), "{who}: {metrics:?} have no label {label}: {expression}");
        }
    }
}

/// Several clusters may share a namespace; what their Pods say must tell which it is.
#[test]
fn every_alert_about_pods_says_of_which_cluster_they_are() {
    let mut about_pods = 0;
    for (who, expression) in expressions().into_iter().filter(|(who, _)| who.starts_with("Throng")) {
        if expression.contains("throng_operator_") {
            continue;
        }
        about_pods += 1;
        let grouped: Vec<&str> = between(&expression, "by (", ')').collect();
        // The name of a Pod begins with that of its cluster.
        let told = ["pod", "throng_dev_cluster"].iter().any(|label| grouped.contains(label));
        assert!(told && grouped.contains(&"namespace"), "{who}: {expression}");
    }
    assert!(about_pods >= 8, "{about_pods}");
}

/// The Job that holds an uninstall back asks for what the operator understands, and may list clusters alone.
#[test]
fn the_guard_of_all_namespaces_asks_what_the_operator_answers() {
    let guard = read("throng/templates/guard.yaml");
    let job = guard.split("kind: Job\n").nth(1).unwrap();
    let args = job.split("args: [").nth(1).unwrap().split(']').next().unwrap();
    assert_eq!(args, r#"operator, --namespaces, "*", --may-be-uninstalled"#);
    let command = std::fs::read_to_string(repository().join("cli/src/operator.rs")).unwrap();
    assert!(command.contains("    may_be_uninstalled: bool,"), "the operator has no such flag");
    let role = guard.split("kind: ClusterRole\n").nth(1).unwrap().split("---").next().unwrap();
    let rules = role.split("rules:\n").nth(1).unwrap();
    assert_eq!(rules.matches("verbs: [").count(), 1);
    assert!(rules.contains("resources: [chatroomclusters]\n    verbs: [list]\n"), "{rules}");
}

#[test]
fn every_panel_asks_the_source_that_one_chooses() {
    let dashboard: Value = serde_json::from_str(&read("throng/files/dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let sources: Vec<_> =
        variables.iter().filter(|one| one["type"] == "datasource" && one["query"] == "prometheus").collect();
    let [source] = sources.as_slice() else { panic!("one variable is the source: {variables:?}") };
    let chosen = format!("${{{}}}", source["name"].as_str().unwrap());
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for asks in std::iter::once(panel).chain(panel["targets"].as_array().unwrap()) {
            let asked = &asks["datasource"];
            // A target without one asks that of its panel.
            assert!(asked["uid"] == chosen || asked.is_null() && asks != panel, "{title}: {asked}");
        }
        let place = &panel["gridPos"];
        assert!(places.insert(format!("{} {}", place["x"], place["y"])), "{title} lies on another panel");
    }
}

/// What a monitor selects are labels of the Pods as the operator renders them.
#[test]
fn the_monitor_of_pods_selects_the_pods_that_the_operator_makes() {
    let monitors = read("throng/templates/monitoring.yaml");
    let monitor = monitors.split("kind: PodMonitor").nth(1).unwrap().split("kind: ").next().unwrap();
    let listed = |begin: &str, end: char| -> Vec<String> {
        let list = monitor.split(begin).nth(1).unwrap().split(end).next().unwrap();
        list.split(", ").map(ToOwned::to_owned).collect()
    };
    for role in ["gateway", "chatroom", "message"] {
        let golden = format!("operator/shell/src/render/snapshots/throng_operator__render__tests__minimal-{role}.snap");
        let text = std::fs::read_to_string(repository().join(golden)).unwrap();
        let pod: Value = serde_saphyr::from_str(text.splitn(3, "---\n").nth(2).unwrap()).unwrap();
        let labels = &pod["metadata"]["labels"];
        for pair in listed("matchLabels: {", '}') {
            let (key, value) = pair.split_once(": ").unwrap();
            assert_eq!(labels[key], value, "{role}");
        }
        let exists = listed("- {key: ", ',');
        let named = listed("podTargetLabels: [", ']');
        assert!(exists.iter().chain(&named).all(|key| labels[key].is_string()), "{exists:?} {named:?}: {labels}");
        let port = &listed("- {port: ", ',')[0];
        let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|one| one["name"] == **port), "{role} has no port {port}");
    }
}

/// Lines of the code blocks of the documents that begin with a word, with the document.
fn commands(word: &str) -> Vec<(String, String)> {
    let mut documents = vec!["README.md".to_owned(), "examples/gitops/README.md".to_owned()];
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    documents.extend(pages.map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap())));
    let mut found = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(repository().join(&document)).unwrap();
        for block in text.split("\n```").skip(1).step_by(2) {
            let lines = block.lines().filter(|line| line.starts_with(word));
            found.extend(lines.map(|line| (document.clone(), line.split(" #").next().unwrap().trim().to_owned())));
        }
    }
    found
}

#[test]
fn lines_with_helm_and_kubectl_name_charts_files_and_values_that_there_are() {
    let values: Value = serde_saphyr::from_str(&read("throng/values.yaml")).unwrap();
    let lines = [commands("helm "), commands("kubectl ")].concat();
    assert!(lines.len() >= 8, "{lines:?}");
    let mut files = 0;
    for (document, line) in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let &[flag, value] = pair else { continue };
            match flag {
                "--set" => {
                    let path = value.split('=').next().unwrap();
                    let known = path.split('.').try_fold(&values, |at, name| at.get(name));
                    assert!(known.is_some(), "{document}: {line}: there is no value {path}");
                }
                "-f" | "--filename" | "--values" if value != "-" => {
                    files += 1;
                    assert!(repository().join(value).is_file(), "{document}: {line}: there is no file {value}");
                }
                _ => {}
            }
        }
        for chart in words.iter().filter(|word| word.starts_with("helm/")) {
            assert!(repository().join(chart).exists(), "{document}: {line}: there is no chart {chart}");
        }
    }
    assert!(files >= 4, "{files} files");
}

/// The lines of an example that make keys, run as they stand: what they make is what a cluster takes.
#[test]
fn the_keys_that_the_example_makes_are_those_that_a_cluster_takes() {
    let example = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    let lines: Vec<&str> = example.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let made: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("openssl ")).collect();
    assert_eq!(made.len(), 2, "{lines:?}");
    // Whoever installs reads them on the way, too.
    for place in ["helm/throng/templates/NOTES.txt", "docs/install.md"] {
        let text = std::fs::read_to_string(repository().join(place)).unwrap();
        assert!(lines.iter().filter(|line| !line.starts_with("kubectl")).all(|line| text.contains(line)), "{place}");
    }
    let place = std::env::temp_dir().join(format!("throng-keys-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    for line in made {
        let done = std::process::Command::new("sh").args(["-c", line]).current_dir(&place).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let secret = lines.iter().find(|line| line.contains("generic live-auth")).unwrap();
    let file = secret.split("--from-file=").nth(1).unwrap().split('=').nth(1).unwrap();
    let read = |name: &str| std::fs::read(place.join(name)).unwrap();
    let content = Content::JwtKey(Algorithms::from_iter([Algorithm::ES256]));
    assert_eq!(check_secret(content, &read(file)), Ok(()));
    let private = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let private: Vec<String> = private.filter(|name| name != file).collect();
    assert_eq!(private.len(), 1);
    assert!(check_secret(content, &read(&private[0])).is_err(), "the private key must not be given away");
    std::fs::remove_dir_all(&place).unwrap();
}
