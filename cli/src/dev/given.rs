//! The cluster that is asked for: by flags, or by a file as `kubectl` takes it.
//!
//! What an API server would refuse is refused here, in the same words.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use throng_crds::admit::{admit, kind_of};
use throng_crds::rules::Kind;
use throng_crds::validate::{self, Validated};
use throng_crds::{ChatroomCluster, ChatroomClusterSpec, ChatroomOperation};
use throng_plan::spec::{ClusterSpec, Operation};

/// Name of the cluster that nobody has named.
pub(super) const UNNAMED: &str = "dev";

/// A cluster as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Its name.
    pub(super) name: String,
    /// What was written, with defaults.
    pub(super) written: ChatroomClusterSpec,
    /// The same for the planner.
    pub(super) spec: ClusterSpec,
    /// What had to be left out of it, for people.
    pub(super) flaws: Vec<String>,
    /// Operations beside it in the file.
    pub(super) operations: Vec<Operation>,
    /// The objects as an API server would store them, by kind and name: what a change of them is compared with.
    stored: BTreeMap<(Kind, String), Value>,
}

/// A cluster of so many gateways, chatroom and message Pods.
pub(super) fn by_flags(sizes: [u16; 3]) -> Result<Given, String> {
    // Nobody else has written this, so it need not be admitted.
    converted(object(sizes))
}

/// The object that flags stand for.
fn object(sizes: [u16; 3]) -> Value {
    let [gateway, chatroom, message] = sizes.map(|size| json!({"replicas": {"min": size, "max": size}}));
    json!({
        "apiVersion": "throng.dev/v1alpha1", "kind": "ChatroomCluster", "metadata": {"name": UNNAMED},
        // These are required. None of them is used: this program is the image, and it keeps what it needs in memory.
        "spec": {
            "image": "throng:dev", "redis": {"url": "redis://dev:6379"}, "etcd": {"endpoints": ["http://dev:2379"]},
            "auth": {"jwt": {"secretRef": {"name": "dev"}}},
            "gateway": gateway, "chatroom": chatroom, "message": message,
            "drain": {"deadline": "30s"},
        },
    })
}

/// Reads a file. `before`: what it said when it was read last.
pub(super) fn by_file(path: &Path, before: Option<&Given>) -> Result<Given, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    parse(&text, before)
}

/// Reads the text of a file: one `ChatroomCluster`, and operations on it.
pub(super) fn parse(text: &str, before: Option<&Given>) -> Result<Given, String> {
    let documents = serde_saphyr::from_multiple::<Value>(text).map_err(|error| format!("this is no YAML: {error}"))?;
    let (mut clusters, mut operations, mut objects) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (at, document) in documents.into_iter().filter(|document| !document.is_null()).enumerate() {
        let kind = kind_of(&document);
        let name = document.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        let key = kind.zip(name.clone());
        let old = before.zip(key.as_ref()).and_then(|(before, key)| before.stored.get(key));
        let stored = admit(document, old).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let name = name.unwrap_or_else(|| format!("number {}", at + 1));
            format!("{} {name}: {}", kind.map_or("object", Kind::as_str), problems.join("; "))
        })?;
        if let Some(twice) = key.and_then(|key| objects.insert(key, stored.clone())) {
            return Err(format!("it holds {} twice", twice.pointer("/metadata/name").unwrap_or(&Value::Null)));
        }
        match kind {
            Some(Kind::Operation) => operations.push(stored),
            _ => clusters.push(stored),
        }
    }
    if clusters.len() > 1 {
        return Err(format!(
            "it holds {} ChatroomClusters: one process runs one, write the others to other files",
            clusters.len()
        ));
    }
    let cluster = clusters.pop().ok_or("it holds no ChatroomCluster: write one, as in examples/minimal.yaml")?;
    let mut given = converted(cluster)?;
    if let Some(before) = before.filter(|before| before.name != given.name) {
        let (was, is) = (&before.name, &given.name);
        return Err(format!(
            "metadata.name was {was} and is {is}: a cluster keeps its name; end this one to start another"
        ));
    }
    for operation in operations {
        let operation: ChatroomOperation = serde_json::from_value(operation).map_err(|error| error.to_string())?;
        let (name, of) = (operation.metadata.name.clone().unwrap_or_default(), &operation.spec.cluster);
        if *of != given.name {
            return Err(format!(
                "ChatroomOperation {name}: spec.cluster: it is about {of}, and the cluster here is {}",
                given.name
            ));
        }
        let valid = validate::operation(&operation);
        given.operations.push(valid.map_err(|flaws| format!("ChatroomOperation {name}: {}", listed(&flaws)))?);
    }
    given.stored = objects;
    Ok(given)
}

fn converted(object: Value) -> Result<Given, String> {
    let cluster: ChatroomCluster = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let Validated { spec, flaws } = validate::cluster(&cluster.spec).map_err(|flaws| listed(&flaws))?;
    let name = cluster.metadata.name.unwrap_or_default();
    let flaws = flaws.iter().map(ToString::to_string).collect();
    Ok(Given { name, written: cluster.spec, spec, flaws, operations: Vec::new(), stored: BTreeMap::new() })
}

fn listed(flaws: &[validate::Flaw]) -> String {
    flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Given {
    /// Sizes in words, such as `gateway 2-6, chatroom 2, message 2`.
    pub(super) fn sizes(&self) -> String {
        let size = |(role, pool): (throng_core::Role, &throng_plan::spec::PoolSpec)| {
            let more = if pool.max > pool.min { format!("-{}", pool.max) } else { String::new() };
            format!("{role} {}{more}", pool.min)
        };
        self.spec.pools.iter().map(size).collect::<Vec<_>>().join(", ")
    }

    /// What of it one machine cannot do, in one line.
    pub(super) fn not_here(&self) -> String {
        let mut missing = vec![
            format!("image {} only names a revision (this program runs)", self.written.image),
            "redis, etcd and auth are those of throng dev".to_owned(),
            "no Service".to_owned(),
        ];
        let plain = throng_crds::cluster::template::Template::default();
        let ChatroomClusterSpec { gateway, chatroom, message, .. } = &self.written;
        if [&gateway.template, &chatroom.template, &message.template].into_iter().any(|template| *template != plain) {
            missing.push("no nodes, so template is not followed".to_owned());
        }
        missing.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: throng.dev/v1alpha1\nkind: ChatroomCluster\nmetadata: {name: live}\n";

    fn file(more: &str) -> String {
        format!(
            "{HEAD}spec:\n  image: throng:1\n  redis: {{url: \"redis://r:6379\"}}\n  etcd: {{endpoints: [\"http://e:2379\"]}}\n  \
             auth: {{jwt: {{secretRef: {{name: a}}}}}}\n{more}"
        )
    }

    #[test]
    fn flags_and_files_give_the_same_cluster() {
        let (flags, file) =
            (by_flags([2, 3, 4]).unwrap(), parse(&file("  gateway: {replicas: {min: 2, max: 6}}\n"), None).unwrap());
        assert_eq!(
            (flags.sizes().as_str(), flags.spec.drain.deadline_ms),
            ("gateway 2, chatroom 3, message 4", 30_000)
        );
        assert_eq!(
            (file.name.as_str(), file.spec.pools.gateway.max, file.spec.drain.deadline_ms),
            ("live", 6, 1_800_000)
        );
        assert!(file.sizes().starts_with("gateway 2-6, chatroom "), "{}", file.sizes());
        assert!(file.not_here().contains("throng:1"));
        let as_admitted = parse(&object([2, 3, 4]).to_string(), None).unwrap();
        assert_eq!(as_admitted.spec, flags.spec, "what flags mean would be admitted, and means the same");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let operation = |cluster: &str| {
            format!(
                "{}---\napiVersion: throng.dev/v1alpha1\nkind: ChatroomOperation\nmetadata: {{name: o}}\nspec: {{cluster: {cluster}, pause: {{}}}}\n",
                file("")
            )
        };
        let cases = [
            ("spec: [", "no YAML"),
            ("", "no ChatroomCluster"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", "kind: ChatroomCluster"),
            (&file("  gatway: {}\n"), "gatway"),
            (&file("  gateway: {replicas: {min: 5, max: 2}}\n"), "spec.gateway.replicas"),
            (&file("  drain: {deadline: soon}\n"), "spec.drain.deadline"),
            (&format!("{}---\n{}", file(""), file("").replace("name: live", "name: two")), "2 ChatroomClusters"),
            (&format!("{}---\n{}", file(""), file("")), "\"live\" twice"),
            (&operation("other"), "about other"),
        ];
        for (text, expected) in cases {
            let said = parse(text, None).unwrap_err();
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let asked = parse(&operation("live"), None).unwrap();
        assert_eq!((asked.operations.len(), asked.operations[0].name.as_str()), (1, "o"));
        let changed = operation("live").replace("pause", "resume");
        assert!(parse(&changed, Some(&asked)).is_err(), "an operation is never changed");
    }

    #[test]
    fn a_cluster_keeps_its_name() {
        let before = parse(&file(""), None).unwrap();
        let said = parse(&file("").replace("name: live", "name: other"), Some(&before)).unwrap_err();
        assert!(said.contains("keeps its name"), "{said}");
        assert!(parse(&file("  paused: true\n"), Some(&before)).unwrap().spec.paused);
    }
}
