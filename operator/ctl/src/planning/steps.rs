//! Actions of a plan in words, like ones together.

use std::collections::BTreeMap;

use throng_plan::plan::Action;
use throng_plan::status::Utc;
use throng_plan::world::Object;

use crate::text::{left, many};

/// Names that are told of several.
const NAMED: usize = 3;

/// Says what actions do. Placements of slots are left out: where slots are is not known here.
#[must_use]
pub fn steps(actions: &[Action], now: Utc) -> Vec<String> {
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for action in actions {
        let Some((what, name)) = words(action, now) else { continue };
        if !order.contains(&what) {
            order.push(what.clone());
        }
        made.entry(what).or_default().extend(name);
    }
    order.into_iter().map(|what| line(&what, made.get(&what).map_or(&[][..], Vec::as_slice))).collect()
}

/// What an action does, and to what; actions that do the same are told together.
fn words(action: &Action, now: Utc) -> Option<(String, Option<String>)> {
    let (what, name) = match action {
        Action::SetFinalizer => return Some(("put the finalizer on the cluster".to_owned(), None)),
        Action::RemoveFinalizer => return Some(("let the cluster go".to_owned(), None)),
        Action::Apply(Object::ControllerRevision { number, .. }) => (format!("store revision {number}"), None),
        Action::Apply(object) => (format!("write {}", object.kind()), Some(object.name().to_owned())),
        Action::CreatePod { name, role, revision, .. } => {
            (format!("make {role} Pods of revision {revision}"), Some(name.clone()))
        }
        Action::DeletePod { name, because, most_users_cut, .. } => {
            let cut = if *most_users_cut > 0 {
                format!(", cutting off up to {}", many(*most_users_cut, "user"))
            } else {
                String::new()
            };
            (format!("delete ({}{cut})", because.words()), Some(name.clone()))
        }
        Action::DrainPod { name, deadline, .. } => {
            (format!("drain, deadline: {}", left(*deadline, now)), Some(name.clone()))
        }
        Action::UndrainPod { name, .. } => ("keep after all".to_owned(), Some(name.clone())),
        Action::LabelServing { name, serving: true, .. } => ("put into service".to_owned(), Some(name.clone())),
        Action::LabelServing { name, serving: false, .. } => ("take out of service".to_owned(), Some(name.clone())),
        // Placements: where slots are is not known here.
        _ => return None,
    };
    Some((what, name))
}

fn line(what: &str, names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let told: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    if told.is_empty() { what.to_owned() } else { format!("{what}: {}{tail}", told.join(", ")) }
}
