//! Every example is admitted as an API server would, and converts for the planner without a flaw.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use throng_crds::admit::{admit, kind_of};
use throng_crds::rules::Kind;
use throng_crds::validate;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_applications_of_argo_cd_name_what_is_here_in_the_order_in_which_it_is_needed() {
    let text = std::fs::read_to_string(repository().join("examples/gitops/applications.yaml")).unwrap();
    let applications = serde_saphyr::from_multiple::<Value>(&text).unwrap();
    let wave = |application: &Value| application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].clone();
    assert_eq!(applications.iter().map(wave).collect::<Vec<_>>(), ["-2", "-1", "0"]);
    let path = |application: &Value| application["spec"]["source"]["path"].as_str().unwrap().to_owned();
    let paths: Vec<String> = applications.iter().map(path).collect();
    assert_eq!(paths, ["helm/throng-crds", "helm/throng", "examples/gitops/clusters"]);
    assert!(paths.iter().all(|path| repository().join(path).is_dir()));
    // What it sets, the chart knows.
    let values = std::fs::read_to_string(repository().join("helm/throng/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&values).unwrap();
    let set = applications[1]["spec"]["source"]["helm"]["valuesObject"].as_object().unwrap();
    assert!(set.keys().all(|key| schema["properties"].get(key).is_some()), "{set:?}");
    // The operator looks after the namespace of the clusters, and their stores are found from there.
    let namespace = |application: &Value| application["spec"]["destination"]["namespace"].as_str().unwrap().to_owned();
    let (operator, clusters) = (namespace(&applications[1]), namespace(&applications[2]));
    assert!(set["watch"]["scope"] == "Cluster" || operator == clusters, "{set:?}");
    let text = std::fs::read_to_string(repository().join("examples/gitops/clusters/live.yaml")).unwrap();
    let cluster: Value = serde_saphyr::from_str(&text).unwrap();
    for url in [&cluster["spec"]["redis"]["url"], &cluster["spec"]["etcd"]["endpoints"][0]] {
        let host = url.as_str().unwrap().split("//").nth(1).unwrap();
        assert!(host.contains(&format!(".{clusters}.svc:")), "{host} is not found in {clusters}");
    }
}

/// A condition by another name would make Argo CD wait for ever.
#[test]
fn the_health_check_of_argo_cd_reads_conditions_that_the_manual_lists() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let manual = read("docs/operator.md");
    let table = manual.split("## Conditions, Events and metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|row| row.split_once(" | condition | "));
    let listed = rows.filter_map(|(_, rest)| rest.split(" | ").next());
    let listed: BTreeSet<&str> = listed.flat_map(|of| of.split(" and ")).collect();
    let example = read("examples/gitops/README.md");
    let check = example.split("```").find(|block| block.contains("resource.customizations.health")).unwrap();
    let named = ["is(\"", "says(\"", "found."].into_iter().flat_map(|before| check.split(before).skip(1));
    let named: BTreeSet<&str> =
        named.map(|rest| rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap()).collect();
    assert!(named.contains("Ready") && named.contains("Progressing") && named.len() >= 5, "{named:?}");
    assert!(named.is_subset(&listed), "{named:?} are not all of {listed:?}");
}

#[test]
fn every_example_is_valid() {
    let folders =
        ["examples", "examples/gitops/clusters"].map(|folder| std::fs::read_dir(repository().join(folder)).unwrap());
    let mut seen = Vec::new();
    for entry in folders.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            if object["apiVersion"] == "v1" {
                // What an example needs beside it, such as its Secrets, the API server knows without us.
                continue;
            }
            let kind = kind_of(&object).unwrap_or_else(|| panic!("{}: neither kind", path.display()));
            let stored = admit(object, None).unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
            match kind {
                Kind::Cluster => {
                    let cluster: throng_crds::ChatroomCluster = serde_json::from_value(stored).unwrap();
                    let validated = validate::cluster(&cluster.spec).unwrap();
                    assert_eq!(validated.flaws, [], "{}", path.display());
                }
                Kind::Operation => {
                    let operation: throng_crds::ChatroomOperation = serde_json::from_value(stored).unwrap();
                    validate::operation(&operation).unwrap();
                }
            }
            seen.push(kind);
        }
    }
    let count = |kind| seen.iter().filter(|seen| **seen == kind).count();
    assert_eq!((count(Kind::Cluster), count(Kind::Operation)), (6, 9), "an example is missing or new");
}
