//! A YAML file looked at offline, as an API server and the operator would.

use std::io::Read as _;

use serde_json::Value;
use throng_crds::admit::{Problem, admit, kind_of};
use throng_crds::cluster::template::Template;
use throng_crds::rules::Kind;
use throng_crds::validate;
use throng_crds::{ChatroomCluster, ChatroomClusterSpec, ChatroomOperation};
use throng_plan::status::Utc;

use super::finding::Finding;
use crate::error::{Error, of_flaw};
use crate::text::ago;

/// An object of a file, as it would be stored.
#[derive(Clone, Debug)]
pub enum Object {
    /// A cluster.
    Cluster(Box<ChatroomCluster>),
    /// An operation.
    Operation(Box<ChatroomOperation>),
}

/// An object, or what it is called and everything that is wrong with it.
pub type Read = Result<Object, (String, Vec<Problem>)>;

/// Largest file that is read, in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// Reads a file, or the standard input.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read(path: &str) -> Result<String, Error> {
    let wrong = |why: String| Error::File { path: path.to_owned(), why };
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().take(MOST_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
    };
    match read {
        Ok(bytes) if bytes as u64 > MOST_BYTES => Err(wrong("it is larger than 4 MiB".to_owned())),
        Ok(_) => Ok(text),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// All objects of both kinds in a text; others are left out.
///
/// # Errors
/// It is no YAML, or has no object of either kind.
pub fn objects(path: &str, text: &str) -> Result<Vec<Read>, Error> {
    let wrong = |why: String| Error::File { path: path.to_owned(), why };
    let values =
        serde_saphyr::from_multiple::<Value>(text).map_err(|error| wrong(format!("it is no YAML: {error}")))?;
    let values: Vec<Value> = values.into_iter().flat_map(unlist).filter(|value| !value.is_null()).collect();
    let ours: Vec<Read> = values.into_iter().filter(concerns).map(object).collect();
    if ours.is_empty() {
        let kinds = "apiVersion: throng.dev/v1alpha1 and kind: ChatroomCluster or kind: ChatroomOperation";
        return Err(wrong(format!("nothing in it is for Throng: write {kinds}")));
    }
    Ok(ours)
}

/// The items of a `List`; else the value itself.
fn unlist(value: Value) -> Vec<Value> {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List");
    match value {
        Value::Object(mut map) if is_list => match map.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        other => vec![other],
    }
}

/// Whether an object is one of ours, or was meant to be: its group or its kind is ours.
fn concerns(object: &Value) -> bool {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let ours = Kind::ALL.map(Kind::as_str);
    let foreign = text("apiVersion").contains('/') && !text("apiVersion").starts_with(throng_crds::GROUP);
    !foreign
        && (text("apiVersion").starts_with(throng_crds::GROUP)
            || ours.iter().any(|kind| text("kind").starts_with(kind)))
}

fn object(mut value: Value) -> Read {
    let text = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    // Names may be made by the API server.
    let generated = text(&value, "/metadata/generateName");
    if !generated.is_empty()
        && text(&value, "/metadata/name").is_empty()
        && let Some(Value::Object(metadata)) = value.get_mut("metadata")
    {
        metadata.insert("name".to_owned(), format!("{generated}x").into());
    }
    let what = format!("{} {}", text(&value, "/kind"), text(&value, "/metadata/name"));
    let kind = kind_of(&value);
    let stored = admit(value, None).map_err(|problems| (what.clone(), problems))?;
    let unread =
        |error: serde_json::Error| (what.clone(), vec![Problem { path: String::new(), message: error.to_string() }]);
    match kind {
        Some(Kind::Operation) => serde_json::from_value(stored).map(Object::Operation).map_err(unread),
        _ => serde_json::from_value(stored).map(Object::Cluster).map_err(unread),
    }
}

/// What a cluster is called in messages.
#[must_use]
pub fn name(cluster: &ChatroomCluster) -> String {
    format!("ChatroomCluster {}", cluster.metadata.name.as_deref().unwrap_or_default())
}

/// What there is to say of an object of a file.
#[must_use]
pub fn findings(path: &str, read: &Read, now: Utc) -> Vec<Finding> {
    match read {
        Err((what, problems)) => {
            let place = format!("{path}: {what}");
            problems.iter().map(|problem| Finding::problem(&place, problem.to_string(), "")).collect()
        }
        Ok(Object::Operation(operation)) => {
            let name = operation.metadata.name.as_deref().unwrap_or_default();
            let place = format!("{path}: ChatroomOperation {name}");
            match validate::operation(operation) {
                Ok(_) => vec![Finding::fine(&place, "valid")],
                Err(flaws) => flaws.iter().map(|flaw| Finding::problem(&place, flaw.to_string(), "")).collect(),
            }
        }
        Ok(Object::Cluster(cluster)) => of_cluster(&format!("{path}: {}", name(cluster)), cluster, now),
    }
}

fn of_cluster(place: &str, cluster: &ChatroomCluster, now: Utc) -> Vec<Finding> {
    let validated = match validate::cluster(&cluster.spec) {
        Ok(validated) => validated,
        Err(flaws) => {
            return flaws.iter().map(|flaw| Finding::problem(place, of_flaw(flaw).to_string(), "")).collect();
        }
    };
    let mut all: Vec<Finding> =
        validated.flaws.iter().map(|flaw| Finding::problem(place, flaw.to_string(), "")).collect();
    let over = validated.spec.events.iter().filter(|event| event.ends_at <= now.0);
    all.extend(over.map(|event| {
        let said = format!("the event {} is over, {}: it changes nothing", event.name, ago(Utc(event.ends_at), now));
        Finding::warning(place, said, "remove it, or write a time to come")
    }));
    if all.is_empty() {
        all.push(Finding::fine(place, "valid"));
    }
    let hungry = no_cpu(&cluster.spec).join(", ");
    if !hungry.is_empty() {
        let said = format!("Pods that ask for no CPU ({hungry}) starve first where a node is busy");
        all.push(Finding::warning(
            place,
            said,
            "write template.resources.requests, such as {cpu: 500m, memory: 512Mi}",
        ));
    }
    all
}

/// Pools whose Pods are promised no CPU. A limit alone is a request too.
fn no_cpu(spec: &ChatroomClusterSpec) -> Vec<&'static str> {
    let pools = [
        ("gateway", &spec.gateway.template),
        ("chatroom", &spec.chatroom.template),
        ("message", &spec.message.template),
    ];
    let asks = |template: &Template| {
        let both = [&template.resources.requests, &template.resources.limits];
        both.into_iter().flatten().any(|quantities| quantities.contains_key("cpu"))
    };
    pools.into_iter().filter(|(_, template)| !asks(template)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests;
