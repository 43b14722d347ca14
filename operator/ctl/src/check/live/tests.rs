//! Judgements of what an API server answers.

use k8s_openapi::ByteString;
use serde_json::json;
use throng_core::secrets::{Algorithm, Content};
use throng_operator::render::{Entry, Holds as Held};

use super::*;
use crate::check::finding::{Level, is_broken, lines};
use crate::error::Denied;
use crate::text::{Style, render};
use crate::worlds;

fn denied<T>(resource: &str) -> Result<T, Error> {
    Err(Error::Denied(Denied { verb: "get", resource: resource.into(), namespace: None }))
}

fn installed(kind: Kind) -> CustomResourceDefinition {
    serde_json::from_value(schema::crd(kind).clone()).unwrap()
}

#[test]
fn kinds_are_compared_with_those_of_this_program() {
    let served = Ok(vec!["ChatroomCluster".to_owned(), "ChatroomOperation".to_owned()]);
    for of in Kind::ALL {
        assert_eq!(kind(of, &Ok(Some(installed(of))), &served).level, Level::Fine);
        assert_eq!(kind(of, &Ok(None), &served).level, Level::Problem);
        assert_eq!(kind(of, &denied("customresourcedefinitions"), &served).level, Level::Unknown);
        assert_eq!(kind(of, &denied("customresourcedefinitions"), &Ok(vec![])).level, Level::Problem);
    }
    let mut older = serde_json::to_value(installed(Kind::Cluster)).unwrap();
    let spec = &mut older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    spec.as_object_mut().unwrap().remove("events").unwrap();
    let older = kind(Kind::Cluster, &Ok(Some(serde_json::from_value(older).unwrap())), &served);
    assert_eq!((older.level, older.remedy.contains("throng crds")), (Level::Warning, true));
}

fn lease(holder: &str, renewed: &str) -> Lease {
    serde_json::from_value(json!({
        "metadata": {"name": "throng-operator", "namespace": "throng"},
        "spec": {"holderIdentity": holder, "renewTime": format!("2026-12-31T{renewed}.000000Z")},
    }))
    .unwrap()
}

#[test]
fn an_operator_leads_if_its_lease_is_fresh_or_moves() {
    let judge = |lease: Result<Option<Lease>, Error>, moves| {
        let finding = operator(&lease, "throng-operator", moves, worlds::now());
        (finding.level, finding.found)
    };
    assert_eq!(
        judge(Ok(Some(lease("throng-1_ab", "11:59:50"))), false),
        (Level::Fine, "throng-1_ab leads, in namespace throng".into())
    );
    assert_eq!(
        judge(Ok(Some(lease("throng-1_ab", "11:50:00"))), false),
        (Level::Problem, "throng-1_ab in namespace throng has been silent for 10m".into())
    );
    assert_eq!(judge(Ok(Some(lease("throng-1_ab", "11:50:00"))), true).0, Level::Fine, "clocks differ");
    assert_eq!(judge(Ok(Some(lease("", "11:59:59"))), false).0, Level::Problem);
    assert_eq!(judge(Ok(None), false).0, Level::Problem);
    assert_eq!(judge(denied("leases.coordination.k8s.io"), false).0, Level::Unknown);
}

#[test]
fn conditions_that_are_bad_are_problems_with_their_meaning() {
    let fine = conditions(&worlds::at_rest().cluster);
    assert_eq!((fine.len(), fine[0].level), (1, Level::Fine));
    let stale = conditions(&worlds::stale().cluster);
    assert_eq!((stale.len(), stale[0].level), (1, Level::Problem));
    assert!(stale[0].found.contains("live-gateway-7-1") && stale[0].remedy.starts_with("A Pod has not said for 15 s"));
    assert!(is_broken(&conditions(&worlds::unseen().cluster)));
    assert!(!is_broken(&conditions(&worlds::deleting().cluster)), "what is under way is no problem");
}

#[test]
fn every_reason_that_can_be_bad_has_its_meaning() {
    let planner = throng_plan::plan::Reason::ALL.map(throng_plan::plan::Reason::as_str);
    let shell = statements::Reason::ALL.map(statements::Reason::as_str);
    let flaws = statements::FLAWS.map(Flaw::as_str);
    for reason in planner.into_iter().chain(shell).chain(flaws) {
        assert!(!meaning(reason).is_empty(), "{reason}");
    }
    assert_eq!(meaning("Unheard"), "");
}

#[test]
fn kinds_are_installed_by_helm_first_which_would_not_take_over_what_kubectl_applied() {
    let found = kind(Kind::Cluster, &Ok(None), &Ok(vec![]));
    let (helm, kubectl) = found.remedy.split_once(", or if nobody here uses Helm: ").unwrap();
    assert!(helm.starts_with("helm upgrade --install throng-crds") && kubectl.starts_with("throng crds |"));
    let told = Error::KindsMissing("chatroomclusters".into()).to_string();
    let (helm, kubectl) = (told.find("helm upgrade --install throng-crds"), told.find("kubectl apply"));
    assert!(helm.is_some() && helm < kubectl, "{told}");
}

#[test]
fn secrets_are_told_by_name_and_entry() {
    let credentials = Held::Entries(&[
        Entry { name: "username", content: Content::Credential, needed: true },
        Entry { name: "password", content: Content::Credential, needed: true },
    ]);
    let jwt = Held::Any(Content::JwtKey([Algorithm::HS256].into_iter().collect()));
    let wanted = [
        Named { name: "redis", path: "spec.redis.credentialsSecretRef", holds: credentials },
        Named { name: "auth", path: "spec.auth.jwt.secretRef", holds: jwt },
    ];
    let holding = |name: &str, entries: &[&str], text: &str| {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        let data = entries.iter().map(|entry| ((*entry).to_owned(), ByteString(text.as_bytes().to_vec())));
        secret.data = Some(data.collect());
        Ok(Some(secret))
    };
    let secret = |name, entries: &[&str]| holding(name, entries, "a shared secret of 32 bytes or more");
    let judge = |redis, auth, status: Option<&ClusterStatus>| -> Vec<(Level, String)> {
        let found = BTreeMap::from([("redis".to_owned(), redis), ("auth".to_owned(), auth)]);
        secrets("Secrets of live", &wanted, &found, status).into_iter().map(|one| (one.level, one.found)).collect()
    };
    assert_eq!(judge(secret("redis", &["username", "password"]), secret("auth", &["main"]), None)[0].0, Level::Fine);
    let both = judge(secret("redis", &["username"]), Ok(None), None);
    assert_eq!(both.len(), 2);
    assert!(both[0].1.contains("lacks the entry password") && both[1].1.contains("create that Secret"), "{both:?}");
    let weak = judge(secret("redis", &["username", "password"]), holding("auth", &["main"], "tangerine"), None);
    assert!(weak[0].1.contains("whose entry main has 9 bytes") && !weak[0].1.contains("tangerine"), "{weak:?}");
    assert_eq!(judge(denied("secrets"), denied("secrets"), None)[0].0, Level::Unknown);
    let condition = worlds::condition("SecretsFound", "True", "AllFound", "", "09:00:00");
    let status: ClusterStatus = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
    assert_eq!(judge(denied("secrets"), denied("secrets"), Some(&status))[0].0, Level::Fine);
}

#[test]
fn findings_are_lines_with_what_to_do_below() {
    let findings = [
        Finding::fine("kind ChatroomCluster", "installed"),
        Finding::unknown("operator", "you may not list leases"),
        Finding::warning("new.yaml", "the event final is over", "remove it"),
        Finding::problem("Secrets of live", "auth is missing", ""),
    ];
    insta::assert_snapshot!(render(&lines(&findings), Style::PLAIN));
}
