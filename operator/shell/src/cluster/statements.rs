//! Conditions that the shell states itself, beside those of the planner: what it cannot read or find.

use std::collections::BTreeMap;

use throng_core::Role;
use throng_crds::cluster::stores::Redis;
use throng_crds::validate::{Flaw, Reason as FlawReason};
use throng_plan::status::{Condition, Holds, Utc};
use throng_plan::world::Sample;
use throng_registry::View;

use super::secrets::Secrets;

/// Reason of a condition of the shell, with its meaning for people. Flaws of a spec have reasons of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Of `SpecValid`.
    Valid,
    /// Of `SpecValid`.
    Unreadable,
    /// Of `SecretsFound`.
    AllFound,
    /// Of `SecretsFound`.
    SecretMissing,
    /// Of `SecretsFound`.
    SecretIncomplete,
    /// Of `ObjectsReadable`.
    AllReadable,
    /// Of `ObjectsReadable`.
    ObjectUnreadable,
    /// Of `EtcdUsable`.
    Usable,
    /// Of `EtcdUsable`.
    OptionsRefused,
    /// Of `EtcdUsable`.
    EtcdUnreachable,
    /// Of `StoreReachable`.
    StoreAnswers,
    /// Of `StoreReachable`.
    StoreUnreachable,
    /// Of `Applied`.
    Done,
    /// Of `Applied`.
    ActionFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Valid,
        Self::Unreadable,
        Self::AllFound,
        Self::SecretMissing,
        Self::SecretIncomplete,
        Self::AllReadable,
        Self::ObjectUnreadable,
        Self::Usable,
        Self::OptionsRefused,
        Self::EtcdUnreachable,
        Self::StoreAnswers,
        Self::StoreUnreachable,
        Self::Done,
        Self::ActionFailed,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "Valid",
            Self::Unreadable => "Unreadable",
            Self::AllFound => "AllFound",
            Self::SecretMissing => "SecretMissing",
            Self::SecretIncomplete => "SecretIncomplete",
            Self::AllReadable => "AllReadable",
            Self::ObjectUnreadable => "ObjectUnreadable",
            Self::Usable => "Usable",
            Self::OptionsRefused => "OptionsRefused",
            Self::EtcdUnreachable => "EtcdUnreachable",
            Self::StoreAnswers => "StoreAnswers",
            Self::StoreUnreachable => "StoreUnreachable",
            Self::Done => "Done",
            Self::ActionFailed => "ActionFailed",
        }
    }

    /// What it means and what to do: a row of the table in `docs/operator.md`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Valid => "The spec can be followed.",
            Self::Unreadable => {
                "The object cannot be read: the installed CRD is not of this operator's version. Nothing is changed."
            }
            Self::AllFound => "Every Secret that the spec names is there, with the entries that it needs.",
            Self::SecretMissing => {
                "A Secret that the spec names does not exist. New Pods wait for it; those that run go on."
            }
            Self::SecretIncomplete => "A Secret lacks an entry. The message names both.",
            Self::AllReadable => "Every object of the cluster can be read.",
            Self::ObjectUnreadable => {
                "An object of the cluster cannot be read and counts as if it were not there. The message names it."
            }
            Self::Usable => "There is a way to etcd, and nothing says that it does not answer.",
            Self::OptionsRefused => {
                "The way to etcd that the spec describes cannot work. The message says what to change."
            }
            Self::EtcdUnreachable => {
                "etcd does not answer the operator, or refuses it. The message names the endpoints and the last error; Degraded says what that means."
            }
            Self::StoreAnswers => "No Pod says that Redis does not answer it.",
            Self::StoreUnreachable => {
                "A Pod says that Redis does not answer it, or refuses it. The message names the first, its reasons and the URL of the spec. Chat goes on; what is said is not stored."
            }
            Self::Done => "Everything that the last look asked for was done.",
            Self::ActionFailed => {
                "Something that was asked for could not be done; it is tried again. The message says what and why."
            }
        }
    }
}

/// Makes a condition.
#[must_use]
pub fn statement(kind: &str, holds: bool, reason: &str, message: String, generation: i64, now: Utc) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: if holds { Holds::True } else { Holds::False },
        observed_generation: Some(generation),
        last_transition_time: now,
        reason: reason.to_owned(),
        message,
    }
}

/// What is wrong with a spec: whether it can be followed all the same, the reason, and the message.
#[must_use]
pub fn spec(flaws: &[Flaw]) -> (bool, &'static str, String) {
    match flaws.first() {
        None => (true, Reason::Valid.as_str(), String::new()),
        Some(first) => {
            let all: Vec<String> = flaws.iter().map(ToString::to_string).collect();
            (false, first.reason.as_str(), all.join("; "))
        }
    }
}

/// Which of the Secrets that a spec names is missing or lacks an entry. One that could not be asked for is not missing.
#[must_use]
pub fn secrets(wanted: &[(&str, &'static [&'static str], &'static str)], known: &Secrets) -> (bool, Reason, String) {
    for (name, entries, path) in wanted {
        if known.is_missing(name) {
            return (false, Reason::SecretMissing, format!("{path} names {name}: create that Secret"));
        }
        let Some(found) = known.entries(name) else { continue };
        if let Some(missing) = entries.iter().find(|entry| !found.contains_key(**entry)) {
            let message = format!("{path} names {name}, which lacks the entry {missing}: add it");
            return (false, Reason::SecretIncomplete, message);
        }
        if found.is_empty() {
            return (false, Reason::SecretIncomplete, format!("{path} names {name}, which is empty: add a key"));
        }
    }
    (true, Reason::AllFound, String::new())
}

/// What the first Pod says that its store does not answer; none: nobody says so.
#[must_use]
pub fn store(view: &View, samples: &BTreeMap<String, Sample>, redis: &Redis) -> Option<String> {
    let mut owners = [Role::Chatroom, Role::Message].into_iter().flat_map(|role| view.members(role).values());
    let member = &owners.find(|entry| !entry.member.redis_ok)?.member;
    let reasons = samples.get(&*member.uid).map(|sample| sample.unready.join("; ")).filter(|all| !all.is_empty());
    let reasons = reasons.unwrap_or_else(|| "the store does not answer it".to_owned());
    let urls: Vec<&str> = std::iter::once(&redis.url).chain(&redis.more_urls).map(String::as_str).collect();
    Some(format!("{}: {reasons}; spec.redis says {}", member.pod, urls.join(", ")))
}

/// All reasons of the condition `SpecValid` that come from flaws.
pub const FLAWS: [FlawReason; 3] = FlawReason::ALL;

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;
    use throng_core::{InstanceId, Millis};
    use throng_registry::{Member, MemoryRegistry, Registry as _};

    use super::*;

    fn secret(name: &str, entries: &[&str]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.to_owned());
        secret.data = Some(entries.iter().map(|entry| ((*entry).to_owned(), ByteString(vec![1]))).collect());
        secret
    }

    #[test]
    fn every_fault_of_a_secret_names_it_and_where_it_is_named() {
        let mut known = Secrets::default();
        let wanted: [(&str, &'static [&'static str], &'static str); 2] =
            [("redis", &["username", "password"], "spec.redis.credentialsSecretRef"), ("auth", &[], "spec.auth")];
        assert_eq!(secrets(&wanted, &known), (true, Reason::AllFound, String::new()), "nobody was asked yet");
        known.learn(secret("redis", &["username"]));
        let (_, reason, message) = secrets(&wanted, &known);
        assert_eq!(reason, Reason::SecretIncomplete);
        assert!(message.contains("redis") && message.contains("password"), "{message}");
        known.learn(secret("redis", &["username", "password"]));
        known.learn(secret("auth", &[]));
        assert_eq!(secrets(&wanted, &known).1, Reason::SecretIncomplete);
        known.learn(secret("auth", &["main"]));
        assert!(secrets(&wanted, &known).0);
        assert!(!format!("{known:?}").contains("main"), "entries are not shown");
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_told_with_who_says_so_and_where_it_should_be() {
        let registry = MemoryRegistry::new();
        let lease = registry.grant(60_000).await.unwrap();
        let mut views = registry.watch();
        let mut view_with = async |name: &str, redis_ok| {
            let member = Member {
                uid: name.into(),
                pod: format!("live-{name}").into(),
                address: "127.0.0.1:7070".into(),
                http_address: "127.0.0.1:7080".into(),
                revision: "1".into(),
                draining: false,
                redis_ok,
                ready: true,
                started_ms: Millis(0),
            };
            let instance = InstanceId::new(name).unwrap();
            registry.put_member(Role::Message, &instance, lease.id, &member).await.unwrap();
            views.wait_for(|view| view.members(Role::Message).contains_key(&instance)).await.unwrap().clone()
        };
        let redis: Redis = serde_json::from_value(json!({"url": "redis://nowhere:6379"})).unwrap();
        let view = view_with("a", true).await;
        assert_eq!(store(&view, &BTreeMap::new(), &redis), None);
        let view = view_with("b", false).await;
        let said = store(&view, &BTreeMap::new(), &redis).unwrap();
        assert_eq!(said, "live-b: the store does not answer it; spec.redis says redis://nowhere:6379");
        let unready = vec!["Redis refuses it: WRONGPASS".to_owned()];
        let samples = [("b".to_owned(), Sample { unready, ..Sample::default() })].into();
        let said = store(&view, &samples, &redis).unwrap();
        assert!(said.contains("live-b: Redis refuses it: WRONGPASS;"), "{said}");
    }

    #[test]
    fn every_reason_stands_in_the_documents_with_its_meaning() {
        let page = include_str!("../../../../docs/operator.md");
        for reason in Reason::ALL {
            assert!(page.contains(&format!("| `{}` | {} |", reason.as_str(), reason.meaning())), "{reason:?}");
        }
        for reason in throng_plan::plan::Reason::ALL {
            assert!(page.contains(&format!("| `{reason}` | {} |", reason.meaning())), "{reason}");
        }
        for flaw in FLAWS {
            assert!(page.contains(&format!("| `{}` | ", flaw.as_str())), "{flaw:?}");
        }
    }
}
