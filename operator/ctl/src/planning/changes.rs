//! Fields that differ between two specs, and whether a change of them makes new Pods.

use serde::Serialize;
use serde_json::Value;
use throng_crds::ChatroomClusterSpec;
use throng_crds::shape::SHAPING;

/// Longest value that is shown whole, in characters.
const LONGEST: usize = 60;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its place, such as `spec.gateway.replicas.max`.
    pub path: String,
    /// As it is; none: it is not there.
    pub from: Option<Value>,
    /// As it would be; none: it would not be there.
    pub to: Option<Value>,
    /// It shapes Pods: a change makes a new revision.
    pub makes_new_pods: bool,
}

/// All fields that differ, those first that make new Pods.
#[must_use]
pub fn changes(from: &ChatroomClusterSpec, to: &ChatroomClusterSpec) -> Vec<Change> {
    let value = |spec| serde_json::to_value(spec).unwrap_or_default();
    let mut all = Vec::new();
    compare("spec", Some(&value(from)), Some(&value(to)), &mut all);
    all.sort_by(|a, b| (!a.makes_new_pods, &a.path).cmp(&(!b.makes_new_pods, &b.path)));
    all
}

fn compare(path: &str, from: Option<&Value>, to: Option<&Value>, all: &mut Vec<Change>) {
    match (from, to) {
        (a, b) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                compare(&format!("{path}.{name}"), a.get(name), b.get(name), all);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.iter().chain(b).any(Value::is_object) => {
            for at in 0..a.len().max(b.len()) {
                compare(&format!("{path}[{at}]"), a.get(at), b.get(at), all);
            }
        }
        (from, to) => all.push(Change {
            path: path.to_owned(),
            from: from.cloned(),
            to: to.cloned(),
            makes_new_pods: shapes(path),
        }),
    }
}

fn shapes(path: &str) -> bool {
    let below = path.strip_prefix("spec.").unwrap_or(path);
    SHAPING
        .iter()
        .any(|shaping| below.strip_prefix(shaping).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
}

/// A value in a line.
#[must_use]
pub fn short(value: Option<&Value>) -> String {
    let text = match value {
        None => return "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST - 1).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::worlds;

    #[test]
    fn fields_that_make_new_pods_come_first_and_lists_are_compared_item_by_item() {
        let from = worlds::cluster(&json!({})).spec;
        let mut to = from.clone();
        to.image = "throng:0.2.0".into();
        to.gateway.replicas.max = 20;
        to.message.template.node_selector.insert("pool".into(), "live".into());
        to.drain.taints.push("more".into());
        let event = json!({"name": "final", "start": "2026-12-31T20:00:00", "timeZone": "UTC", "hold": "1h", "floor": {"gateway": 4}});
        to.events.push(serde_json::from_value(event).unwrap());
        let found = changes(&from, &to);
        let paths: Vec<(&str, bool)> =
            found.iter().map(|change| (change.path.as_str(), change.makes_new_pods)).collect();
        assert_eq!(
            paths,
            [
                ("spec.image", true),
                ("spec.message.template.nodeSelector", true),
                ("spec.drain.taints", false),
                ("spec.events", false),
                ("spec.gateway.replicas.max", false),
            ]
        );
        assert_eq!((short(found[0].from.as_ref()), short(None)), ("throng:0.1.0".into(), "nothing".into()));
        let (mut one, mut other) = (to.clone(), to);
        one.events[0].floor.gateway = Some(5);
        assert_eq!(changes(&other, &one)[0].path, "spec.events[0].floor.gateway");
        (one.rooms.upstream.messages_per_second, other.events[0].floor.gateway) = (1, Some(5));
        assert_eq!(changes(&other, &one)[0].path, "spec.rooms.upstream.messagesPerSecond");
        assert!(changes(&one, &one).is_empty());
    }

    #[test]
    fn every_place_is_either_hot_or_shapes_pods() {
        for place in throng_crds::shape::HOT {
            assert!(!shapes(&format!("spec.{place}")), "{place}");
        }
        assert!(
            shapes("spec.gateway.template.resources.limits") && !shapes("spec.imagePull") && shapes("spec.redis.url")
        );
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        let text = short(Some(&json!("ü".repeat(100))));
        assert_eq!((text.chars().count(), text.ends_with('…')), (LONGEST, true));
    }
}
