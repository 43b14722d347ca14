//! Every example is admitted as an API server would, and converts for the planner without a flaw.

use std::path::Path;

use serde_json::Value;
use throng_crds::admit::{admit, kind_of};
use throng_crds::rules::Kind;
use throng_crds::validate;

#[test]
fn every_example_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
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
    assert_eq!((count(Kind::Cluster), count(Kind::Operation)), (5, 9), "an example is missing or new");
}
