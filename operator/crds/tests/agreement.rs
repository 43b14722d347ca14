//! Schema, types and conversion agree: what is admitted can be read and converted, and nothing that people write panics.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use throng_crds::admit::admit;
use throng_crds::{ChatroomCluster, ChatroomOperation, shape, validate};

/// The base object of the cases, as it would be stored.
fn base(kind: &str) -> Value {
    static CASES: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(include_str!("cases.yaml")).unwrap());
    admit(CASES["base"][kind].clone(), None).unwrap()
}

/// Every place of an object, as JSON pointers.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(name, child)| pointers(child, &format!("{at}/{name}"), into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, child)| pointers(child, &format!("{at}/{index}"), into));
        }
        _ => {}
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_i64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9]{0,6}[hms]?".prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}".prop_map(Value::from),
        "(Europe|Asia)/[A-Z][a-z]{3,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// The object with other values at some of its places.
fn changed(object: &Value, changes: &[(prop::sample::Index, Value)]) -> Value {
    let mut object = object.clone();
    for (index, value) in changes {
        let mut places = Vec::new();
        pointers(&object["spec"], "/spec", &mut places);
        let place: &String = index.get(&places);
        *object.pointer_mut(place).unwrap() = value.clone();
    }
    object
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Value)>> {
    prop::collection::vec((any::<prop::sample::Index>(), anything()), 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_cluster_that_is_admitted_converts(changes in changes()) {
        let object = changed(&base("ChatroomCluster"), &changes);
        if let Ok(stored) = admit(object, None) {
            prop_assert_eq!(admit(stored.clone(), Some(&stored)).unwrap(), stored.clone());
            let cluster: ChatroomCluster = serde_json::from_value(stored).unwrap();
            let validated = validate::cluster(&cluster.spec).unwrap();
            prop_assert_eq!(validated.spec.events.len() + validated.flaws.len(), cluster.spec.events.len());
            prop_assert_eq!(validated.spec.shape, shape::hash(&cluster.spec));
        }
    }

    #[test]
    fn an_operation_that_is_admitted_converts(changes in changes()) {
        let object = changed(&base("ChatroomOperation"), &changes);
        if let Ok(stored) = admit(object, None) {
            let operation: ChatroomOperation = serde_json::from_value(stored).unwrap();
            prop_assert!(validate::operation(&operation).is_ok());
        }
    }

    /// What the CRD of another version let through may be anything: it is refused, never a panic.
    #[test]
    fn a_cluster_that_was_never_admitted_is_no_panic(changes in changes()) {
        let object = changed(&base("ChatroomCluster"), &changes);
        if let Ok(cluster) = serde_json::from_value::<ChatroomCluster>(object) {
            let _ = validate::cluster(&cluster.spec);
        }
    }
}
