//! The way to the API server: calls with a deadline, and answers in words for people.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams, PostParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use throng_crds::ChatroomCluster;

use crate::error::{Denied, Error};

/// Longest wait for an answer.
pub const CALL: Duration = Duration::from_secs(15);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Objects asked for at a time.
const PAGE: u32 = 500;

/// Where to go, as people write it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Where {
    /// Namespace; that of the context without it.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; the current one without it.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; `KUBECONFIG` or `~/.kube/config` without it.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// A way to an API server.
#[derive(Clone)]
pub struct Reach {
    /// The client.
    pub client: Client,
    /// The namespace that is meant.
    pub namespace: String,
    /// Its address, for people.
    pub server: String,
}

impl Reach {
    /// Goes there. Nothing is asked yet.
    ///
    /// # Errors
    /// There is no kubeconfig, or it cannot be used.
    pub async fn connect(to: &Where) -> Result<Self, Error> {
        let mut config = config(to).await?;
        config.connect_timeout = Some(CONNECT);
        // A refusal for a moment is told at once: whoever waits for a command should know.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let namespace = to.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = ClientBuilder::try_from(config).map_err(|error| Error::NoConfig(error.to_string()))?.build();
        Ok(Self { client, namespace, server: server.trim_end_matches('/').to_owned() })
    }

    /// Resources of a kind in the namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// All objects of a kind in the namespace, of those with these labels.
    ///
    /// # Errors
    /// Why they could not be listed.
    pub async fn list<K>(&self, labels: &str) -> Result<Vec<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.list_of(&self.api(), labels, Some(&self.namespace)).await
    }

    /// All objects of a kind where `api` leads, page by page.
    ///
    /// # Errors
    /// Why they could not be listed.
    pub async fn list_of<K>(&self, api: &Api<K>, labels: &str, namespace: Option<&str>) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut params = ListParams::default().labels(labels).limit(PAGE);
            params.continue_token = next.take();
            let page = self.call::<K, _>("list", namespace, api.list(&params)).await?;
            next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            all.extend(page.items);
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// One object of a kind in the namespace, if it is there.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub async fn get<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.call::<K, _>("get", Some(&self.namespace), self.api::<K>().get_opt(name)).await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// Why it was not made.
    pub async fn create<K>(&self, object: &K) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let params = PostParams { field_manager: Some("throng".to_owned()), ..PostParams::default() };
        self.call::<K, _>("create", Some(&self.namespace), self.api::<K>().create(&params, object)).await
    }

    /// One call with its deadline. `verb` and `namespace` are what a refusal names.
    ///
    /// # Errors
    /// What went wrong, in words for people.
    pub async fn call<K: Resource<DynamicType = ()>, T>(
        &self,
        verb: &'static str,
        namespace: Option<&str>,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let group = K::group(&());
        let plural = K::plural(&());
        let resource = if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") };
        match tokio::time::timeout(CALL, call).await {
            Ok(answer) => answer.map_err(|error| self.explain(error, verb, &resource, namespace)),
            Err(_) => Err(Error::Late {
                server: self.server.clone(),
                what: format!("{verb} {resource}"),
                seconds: CALL.as_secs(),
            }),
        }
    }

    /// An error of a call in words for people.
    #[must_use]
    pub fn explain(&self, error: kube::Error, verb: &'static str, resource: &str, namespace: Option<&str>) -> Error {
        explain(error, &self.server, verb, resource, namespace)
    }

    /// The cluster of this name, or the only one of the namespace.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub async fn cluster(&self, name: Option<&str>) -> Result<ChatroomCluster, Error> {
        if let Some(name) = name
            && let Some(found) = self.get::<ChatroomCluster>(name).await?
        {
            return Ok(found);
        }
        one_of(self.list("").await?, name, &self.namespace)
    }
}

/// Of all clusters of a namespace the one that is meant.
fn one_of(clusters: Vec<ChatroomCluster>, name: Option<&str>, namespace: &str) -> Result<ChatroomCluster, Error> {
    let names: Vec<String> = clusters.iter().map(ResourceExt::name_any).collect();
    let missing = |name: &str| {
        let hint =
            if names.is_empty() { "; it has no cluster".to_owned() } else { format!("; it has {}", names.join(", ")) };
        Error::NoSuch { kind: "ChatroomCluster", name: name.into(), namespace: namespace.into(), hint }
    };
    if let Some(name) = name {
        return clusters.into_iter().find(|cluster| cluster.name_any() == name).ok_or_else(|| missing(name));
    }
    let mut clusters = clusters.into_iter();
    match (clusters.next(), clusters.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::NotDone(format!("namespace {namespace} has no ChatroomCluster: write -n NAMESPACE"))),
        (Some(_), Some(_)) => Err(Error::Which { namespace: namespace.into(), names }),
    }
}

async fn config(to: &Where) -> Result<Config, Error> {
    let options = KubeConfigOptions { context: to.context.clone(), ..KubeConfigOptions::default() };
    let wrong = |error: &dyn std::error::Error| Error::NoConfig(chain(error));
    if let Some(path) = &to.kubeconfig {
        let read = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
        return Config::from_custom_kubeconfig(read, &options).await.map_err(|error| wrong(&error));
    }
    if to.context.is_some() {
        return Config::from_kubeconfig(&options).await.map_err(|error| wrong(&error));
    }
    Config::infer().await.map_err(|error| wrong(&error))
}

/// An error of kube in words for people.
fn explain(error: kube::Error, server: &str, verb: &'static str, resource: &str, namespace: Option<&str>) -> Error {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Error::Unknown,
            403 => Error::Denied(Denied { verb, resource: resource.into(), namespace: namespace.map(str::to_owned) }),
            // Objects are asked for by get_opt, so what is not found is the kind itself, or the namespace of a new object.
            404 if !status.message.starts_with("namespaces ") => Error::KindsMissing(resource.into()),
            _ => Error::Refused(status.message.clone()),
        },
        kube::Error::SerdeError(error) => {
            Error::Unreadable { what: format!("an answer about {resource}"), why: error.to_string() }
        }
        kube::Error::Auth(error) => Error::NoConfig(chain(&error)),
        other => Error::Unreachable { server: server.into(), why: chain(&other) },
    }
}

/// An error with what caused it, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Status::failure("said so", "Why").with_code(code).boxed())
    }

    #[test]
    fn every_answer_of_an_api_server_has_its_words() {
        let say =
            |code| explain(api(code), "https://k", "list", "chatroomclusters.throng.dev", Some("show")).to_string();
        assert!(say(401).contains("log in again"));
        assert!(say(403).contains("you may not list chatroomclusters.throng.dev in namespace show"));
        assert!(say(404).contains("throng crds | kubectl apply"));
        assert_eq!(say(422), "the API server refuses it: said so");
    }

    fn cluster(name: &str) -> ChatroomCluster {
        let text = include_str!("../../../examples/minimal.yaml");
        let stored = throng_crds::admit::admit(serde_saphyr::from_str(text).unwrap(), None).unwrap();
        let mut cluster: ChatroomCluster = serde_json::from_value(stored).unwrap();
        cluster.metadata.name = Some(name.into());
        cluster
    }

    #[test]
    fn the_only_cluster_of_a_namespace_needs_no_name_and_of_several_one_is_asked_for() {
        let pick = |clusters: &[&str], name| {
            one_of(clusters.iter().map(|name| cluster(name)).collect(), name, "show")
                .map(|cluster| cluster.name_any())
                .map_err(|error| error.to_string())
        };
        assert_eq!(pick(&["live"], None), Ok("live".into()));
        assert_eq!(pick(&["live", "stage"], Some("stage")), Ok("stage".into()));
        assert_eq!(
            pick(&["live", "stage"], None),
            Err("namespace show has several clusters: write one of live, stage".into())
        );
        assert_eq!(
            pick(&["live"], Some("lvie")),
            Err("there is no ChatroomCluster lvie in namespace show; it has live".into())
        );
        assert!(pick(&[], None).unwrap_err().contains("has no ChatroomCluster"));
    }
}
