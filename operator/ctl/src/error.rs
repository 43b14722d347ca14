//! What can go wrong, each with what to do about it.

use throng_crds::admit::Problem;
use throng_crds::validate::Flaw;

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no kubeconfig, or it does not say where to go.
    #[error(
        "no way to a cluster: {0}\nSet KUBECONFIG or write --kubeconfig FILE; `kubectl config get-contexts` shows what there is"
    )]
    NoConfig(String),
    /// Nobody answers there.
    #[error(
        "the API server {server} cannot be reached: {why}\nIs it the right context? `kubectl cluster-info` asks the same server"
    )]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        why: String,
    },
    /// The answer took too long.
    #[error("the API server {server} did not answer within {seconds} s to {what}; try again")]
    Late {
        /// Where.
        server: String,
        /// What was asked for, such as `list pods`.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Who asks is not known.
    #[error("the API server does not know who you are (401): log in again, or renew the token of your kubeconfig")]
    Unknown,
    /// Who asks may not.
    #[error("{0}")]
    Denied(Denied),
    /// The kinds are not installed.
    #[error(
        "this cluster does not know {0}: install the kinds with `helm upgrade --install throng-crds helm/throng-crds`, or if nobody here uses Helm with `throng crds | kubectl apply --server-side -f -`"
    )]
    KindsMissing(String),
    /// There is no such object.
    #[error("there is no {kind} {name} in namespace {namespace}{hint}")]
    NoSuch {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// What there is instead; empty, or begins with a separator.
        hint: String,
    },
    /// There are several clusters, and none was named.
    #[error("namespace {namespace} has several clusters: write one of {}", names.join(", "))]
    Which {
        /// The namespace.
        namespace: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The API server refuses an object.
    #[error("the API server refuses it: {0}")]
    Refused(String),
    /// An answer that cannot be read.
    #[error("{what} cannot be read: {why}\nThe installed kinds may be of another version than this program ({}): throng check", env!("CARGO_PKG_VERSION"))]
    Unreadable {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {why}")]
    File {
        /// Its path; `-` is the standard input.
        path: String,
        /// Why.
        why: String,
    },
    /// An object in a file that is not as it should be.
    #[error("{path}: {what} is not valid:\n{}", lines(problems))]
    Invalid {
        /// Path of the file.
        path: String,
        /// Kind and name of the object.
        what: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// Nothing is done without a yes.
    #[error("nothing was done: {0}")]
    NotDone(String),
    /// Nobody can be asked.
    #[error("nothing was done: there is no terminal to ask on. If that is what you want, add --yes")]
    NoTerminal,
}

/// A right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The verb.
    pub verb: &'static str,
    /// The resource, in the plural, with its group if it has one.
    pub resource: String,
    /// The namespace; none: the right counts for the whole cluster.
    pub namespace: Option<String>,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, resource, namespace } = self;
        let plain = resource.split('.').next().unwrap_or(resource);
        match namespace {
            Some(namespace) => {
                write!(f, "you may not {verb} {resource} in namespace {namespace}. ")?;
                match role(verb, plain) {
                    Some(role) => write!(
                        f,
                        "Ask for the role {role}: kubectl create rolebinding {role} --clusterrole={role} --user=NAME --namespace {namespace}"
                    ),
                    None => write!(
                        f,
                        "Ask for a role: kubectl create role throng-{plain} --verb={verb} --resource={resource} --namespace {namespace}"
                    ),
                }
            }
            None => write!(
                f,
                "you may not {verb} {resource}. Ask for a role: kubectl create clusterrole throng-{plain} --verb={verb} --resource={resource}"
            ),
        }
    }
}

/// The role with this right in a namespace, if there is one that one asks for.
fn role(verb: &str, plain: &str) -> Option<&'static str> {
    match (verb, plain) {
        ("create", "chatroomoperations") => Some("throng-live-ops"),
        ("get" | "list" | "watch", "chatroomclusters" | "chatroomoperations") => Some("throng-view"),
        (
            "get" | "list" | "watch",
            "pods" | "services" | "networkpolicies" | "poddisruptionbudgets" | "controllerrevisions",
        ) => Some("view"),
        _ => None,
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// A flaw that no schema can know, as a problem.
#[must_use]
pub fn of_flaw(flaw: &Flaw) -> Problem {
    Problem { path: flaw.path.clone(), message: flaw.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(verb: &'static str, resource: &str, namespace: Option<&str>) -> String {
        Denied { verb, resource: resource.into(), namespace: namespace.map(str::to_owned) }.to_string()
    }

    #[test]
    fn whoever_may_not_is_told_what_and_which_role_to_ask_for() {
        let creates = denied("create", "chatroomoperations.throng.dev", Some("show"));
        assert!(
            creates.starts_with("you may not create chatroomoperations.throng.dev in namespace show. "),
            "{creates}"
        );
        assert!(creates.contains("--clusterrole=throng-live-ops --user=NAME --namespace show"), "{creates}");
        assert!(denied("list", "pods", Some("show")).contains("the role view:"));
        let nodes = denied("list", "nodes", None);
        assert!(nodes.contains("kubectl create clusterrole throng-nodes --verb=list --resource=nodes"), "{nodes}");
        let secrets = denied("get", "secrets", Some("show"));
        assert!(secrets.contains("kubectl create role throng-secrets --verb=get --resource=secrets"), "{secrets}");
    }

    #[test]
    fn every_problem_of_a_file_is_told_with_its_place() {
        let at = |path: &str, message: &str| Problem { path: path.into(), message: message.into() };
        let error = Error::Invalid {
            path: "new.yaml".into(),
            what: "ChatroomCluster live".into(),
            problems: vec![at("spec.image", "write an image"), at("", "write a kind")],
        };
        let text = "new.yaml: ChatroomCluster live is not valid:\n  spec.image: write an image\n  write a kind";
        assert_eq!(error.to_string(), text);
    }
}
