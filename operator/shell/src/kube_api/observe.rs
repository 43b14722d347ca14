//! What is asked of the API server, counted by verb and resource: the rights that the operator uses, and when each watch
//! was opened last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Method;
use kube::client::Body;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::Instant;
use tower::{Layer, Service};

/// Labels of a call.
pub(crate) type CallLabels = [(&'static str, String); 3];

/// Counts calls. Clones count together.
#[derive(Clone, Default)]
pub struct Observer {
    /// Calls by verb, resource and status code; the code is 0 if nobody answered.
    pub(crate) calls: Family<CallLabels, Counter>,
    opened: Arc<Mutex<BTreeMap<String, Instant>>>,
    answers: Arc<Mutex<Answers>>,
}

/// The first and the last answer of the time in which the API server answers.
#[derive(Clone, Copy, Debug, Default)]
struct Answers(Option<(Instant, Instant)>);

impl Answers {
    fn note(&mut self, now: Instant) {
        self.0 = Some((self.since(now).unwrap_or(now), now));
    }

    fn since(self, now: Instant) -> Option<Instant> {
        let (since, last) = self.0?;
        (now.saturating_duration_since(last) <= AWAY).then_some(since)
    }
}

/// Who has not answered for so long is away. The Lease alone is asked for every few seconds.
const AWAY: Duration = Duration::from_mins(1);

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Observer {
    /// When a watch or a listing of each resource was answered last; of several namespaces the oldest counts.
    #[must_use]
    pub fn opened(&self) -> BTreeMap<String, Instant> {
        let mut oldest: BTreeMap<String, Instant> = BTreeMap::new();
        for (path, at) in &*self.opened.lock().unwrap_or_else(PoisonError::into_inner) {
            let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
            oldest.entry(resource).and_modify(|known| *known = (*known).min(*at)).or_insert(*at);
        }
        oldest
    }

    /// Since when the API server has been answering, whatever; none while it is away.
    #[must_use]
    pub fn answers_since(&self) -> Option<Instant> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).since(Instant::now())
    }

    /// `path` is none if a single object was asked for: whoever looks for one sees nothing of the others.
    fn saw(&self, path: Option<&str>, request: &Request, code: u16) {
        let labels =
            [("verb", request.verb.to_owned()), ("resource", request.resource.clone()), ("code", code.to_string())];
        self.calls.get_or_create(&labels).inc();
        if (1..500).contains(&code) {
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now());
        }
        if let Some(path) = path
            && matches!(request.verb, "watch" | "list")
            && (200..300).contains(&code)
        {
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Instant::now());
        }
    }
}

/// A call in the words of RBAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The verb.
    pub verb: &'static str,
    /// The resource, with its subresource: `pods`, `chatroomclusters/status`.
    pub resource: String,
}

/// Reads a call. None if it is about no resource, such as `/version`.
#[must_use]
pub fn request(method: &Method, path: &str, query: Option<&str>) -> Option<Request> {
    let mut parts = path.trim_start_matches('/').split('/');
    match parts.next()? {
        "api" => drop(parts.next()?),
        "apis" => drop((parts.next()?, parts.next()?)),
        _ => return None,
    }
    let mut rest: Vec<&str> = parts.collect();
    // A namespace is named before what is in it; `namespaces/x` alone is the namespace itself.
    if rest.len() > 2 && rest.first() == Some(&"namespaces") {
        rest.drain(..2);
    }
    let resource = rest.first().filter(|resource| !resource.is_empty())?;
    let named = rest.get(1).is_some();
    let watches = query.is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    let verb = match *method {
        Method::GET if watches => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "other",
    };
    let resource = rest.get(2).map_or_else(|| (*resource).to_owned(), |sub| format!("{resource}/{sub}"));
    Some(Request { verb, resource })
}

impl<S> Layer<S> for Observer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observer: self.clone() }
    }
}

/// A connection whose calls are counted.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    observer: Observer,
}

impl<S, B> Service<http::Request<Body>> for Observed<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        let known = request(call.method(), call.uri().path(), call.uri().query());
        let single = call.uri().query().is_some_and(|query| query.contains("fieldSelector="));
        let path = (!single).then(|| call.uri().path().to_owned());
        let observer = self.observer.clone();
        let answer = self.inner.call(call);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(request) = known {
                let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
                observer.saw(path.as_deref(), &request, code);
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_in_the_words_of_rbac() {
        let namespaced = "/apis/throng.dev/v1alpha1/namespaces/show/chatroomclusters";
        let cases = [
            (Method::GET, "/api/v1/pods", Some("watch=true&timeoutSeconds=45"), "watch", "pods"),
            (Method::GET, "/api/v1/namespaces/show/pods", Some("limit=500"), "list", "pods"),
            (Method::GET, "/api/v1/namespaces/show/secrets/a", None, "get", "secrets"),
            (Method::POST, "/api/v1/namespaces/show/pods", None, "create", "pods"),
            (Method::DELETE, "/api/v1/namespaces/show/pods/a", None, "delete", "pods"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/t/leases/l", None, "update", "leases"),
            (Method::GET, "/api/v1/nodes", None, "list", "nodes"),
            (Method::GET, "/api/v1/namespaces/show", None, "get", "namespaces"),
            (Method::PATCH, &format!("{namespaced}/live/status"), None, "patch", "chatroomclusters/status"),
            (Method::PATCH, &format!("{namespaced}/live"), None, "patch", "chatroomclusters"),
        ];
        for (method, path, query, verb, resource) in cases {
            let wanted = Request { verb, resource: resource.to_owned() };
            assert_eq!(request(&method, path, query), Some(wanted), "{method} {path}");
        }
        for path in ["/version", "/api", "/apis", "/", "/api/v1"] {
            assert_eq!(request(&Method::GET, path, None), None, "{path}");
        }
    }

    #[test]
    fn an_api_server_that_was_away_answers_since_it_came_back() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut answers = Answers::default();
        assert_eq!(answers.since(at(0)), None);
        answers.note(at(0));
        answers.note(at(60));
        assert_eq!(answers.since(at(120)), Some(at(0)));
        assert_eq!(answers.since(at(121)), None, "it is away");
        answers.note(at(200));
        assert_eq!(answers.since(at(210)), Some(at(200)));
    }

    #[test]
    fn only_an_answer_counts_as_one() {
        let (observer, get) = (Observer::default(), Request { verb: "get", resource: "leases".into() });
        for code in [0, 500, 503] {
            observer.saw(Some("/apis/coordination.k8s.io/v1/namespaces/t/leases/l"), &get, code);
        }
        assert_eq!(observer.answers_since(), None);
        observer.saw(Some("/apis/coordination.k8s.io/v1/namespaces/t/leases/l"), &get, 404);
        assert!(observer.answers_since().is_some());
    }

    #[tokio::test]
    async fn of_several_namespaces_the_oldest_watch_counts() {
        let observer = Observer::default();
        let watch = Request { verb: "watch", resource: "pods".into() };
        observer.saw(Some("/api/v1/namespaces/a/pods"), &watch, 200);
        let first = observer.opened()["pods"];
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        observer.saw(Some("/api/v1/namespaces/b/pods"), &watch, 200);
        assert_eq!(observer.opened()["pods"], first);
        observer.saw(Some("/api/v1/namespaces/a/pods"), &watch, 403);
        observer.saw(None, &Request { verb: "list", ..watch }, 200);
        assert_eq!(observer.opened()["pods"], first, "a refusal opens nothing, nor does a look for one object");
    }
}
