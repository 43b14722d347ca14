//! Conditions that the shell states itself, beside those of the planner: what it cannot read or find.

use std::collections::BTreeMap;

use throng_core::{Role, secrets};
use throng_crds::cluster::stores::Redis;
use throng_crds::validate::{Flaw, Reason as FlawReason};
use throng_plan::status::{Condition, Holds, Utc};
use throng_plan::world::Sample;
use throng_registry::View;

use super::secrets::{Entries, Secrets};
use crate::render::{Entry, Holds as Held, Named, OWN_KEYS};

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
    /// Of `SecretsFound`.
    SecretUnusable,
    /// Of `SecretsFound`.
    SecretUnreadable,
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
    pub const ALL: [Self; 16] = [
        Self::Valid,
        Self::Unreadable,
        Self::AllFound,
        Self::SecretMissing,
        Self::SecretIncomplete,
        Self::SecretUnusable,
        Self::SecretUnreadable,
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
            Self::SecretUnusable => "SecretUnusable",
            Self::SecretUnreadable => "SecretUnreadable",
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

    /// The condition that has it, and the status that this then has.
    #[must_use]
    pub const fn says(self) -> (&'static str, Holds) {
        match self {
            Self::Valid => ("SpecValid", Holds::True),
            Self::Unreadable => ("SpecValid", Holds::False),
            Self::AllFound => ("SecretsFound", Holds::True),
            Self::SecretMissing | Self::SecretIncomplete | Self::SecretUnusable => ("SecretsFound", Holds::False),
            Self::SecretUnreadable => ("SecretsFound", Holds::Unknown),
            Self::AllReadable => ("ObjectsReadable", Holds::True),
            Self::ObjectUnreadable => ("ObjectsReadable", Holds::False),
            Self::Usable => ("EtcdUsable", Holds::True),
            Self::OptionsRefused | Self::EtcdUnreachable => ("EtcdUsable", Holds::False),
            Self::StoreAnswers => ("StoreReachable", Holds::True),
            Self::StoreUnreachable => ("StoreReachable", Holds::False),
            Self::Done => ("Applied", Holds::True),
            Self::ActionFailed => ("Applied", Holds::False),
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
            Self::AllFound => "Every Secret that the spec names is there, and its entries are of use.",
            Self::SecretMissing => {
                "A Secret that the spec names does not exist. New Pods wait for it; those that run go on."
            }
            Self::SecretIncomplete => {
                "A Secret lacks an entry. The message names both. New Pods do not start without it; those that run go on."
            }
            Self::SecretUnusable => {
                "An entry of a Secret is of no use: a key of another kind, too short or empty, no PEM. The message names both and says what to write. Pods that run go on with what they read before; new ones do not start."
            }
            Self::SecretUnreadable => {
                "The operator could not read a Secret that the cluster needs, so nobody can tell whether it is there. The message says why: 403 means that its Role lacks the right to read Secrets."
            }
            Self::AllReadable => "Every object of the cluster can be read.",
            Self::ObjectUnreadable => {
                "An object of the cluster cannot be read and counts as if it were not there. The message names it."
            }
            Self::Usable => "There is a way to etcd, and nothing says that it does not answer.",
            Self::OptionsRefused => {
                "The way to etcd that the spec and its Secrets describe cannot work. The message says what to change. A way that is open to the same endpoints stays in use until then."
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
    let unknown = (kind, reason) == ("SecretsFound", Reason::SecretUnreadable.as_str());
    let otherwise = if unknown { Holds::Unknown } else { Holds::False };
    let status = if holds { Holds::True } else { otherwise };
    debug_assert!(is_in_the_table(kind, status, reason), "{kind} {status:?} {reason}");
    Condition {
        kind: kind.to_owned(),
        status,
        observed_generation: Some(generation),
        last_transition_time: now,
        reason: reason.to_owned(),
        message,
    }
}

/// Whether people can look up what is said.
fn is_in_the_table(kind: &str, status: Holds, reason: &str) -> bool {
    let own = Reason::ALL.into_iter().any(|known| known.as_str() == reason && known.says() == (kind, status));
    own || FLAWS.into_iter().any(|flaw| (kind, status, reason) == ("SpecValid", Holds::False, flaw.as_str()))
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

/// Which of the Secrets that a spec names is missing, lacks an entry, has one that is of no use, or cannot be read. One that
/// was read before counts as it was then. What an entry holds is never said.
#[must_use]
pub fn secrets(wanted: &[Named<'_>], known: &Secrets) -> (bool, Reason, String) {
    for Named { name, path, holds } in wanted {
        if known.is_missing(name) {
            return (false, Reason::SecretMissing, format!("{path} names {name}: create that Secret"));
        }
        if let Some((reason, wrong)) = known.entries(name).and_then(|found| wrong(*holds, found)) {
            return (false, reason, format!("{path} names {name}, {wrong}"));
        }
    }
    // Said last: what is certainly wrong is of more use.
    for Named { name, path, .. } in wanted {
        if let Some(why) = known.unreadable(name) {
            return (false, Reason::SecretUnreadable, format!("{path} names {name}, which cannot be read: {why}"));
        }
    }
    (true, Reason::AllFound, String::new())
}

/// What is wrong with the Secret that the operator made for a cluster: somebody has edited it, or it cannot be read. It is not
/// written again, or everybody's key would be another; without it a new one is made.
#[must_use]
pub fn own_secret(name: &str, known: &Secrets) -> Option<(Reason, String)> {
    if let Some(why) = known.unreadable(name) {
        return Some((Reason::SecretUnreadable, format!("{name}, which the operator made, cannot be read: {why}")));
    }
    let (reason, wrong) = wrong(Held::Entries(OWN_KEYS), known.entries(name)?)?;
    let way = "or delete that Secret, and the operator makes a new one";
    Some((reason, format!("{name}, which the operator made, was edited: it is a Secret {wrong}, {way}")))
}

/// What is wrong with the entries of a Secret, said after its name.
fn wrong(holds: Held, found: &Entries) -> Option<(Reason, String)> {
    let unusable = |name: &str, content| {
        let flaw = secrets::check(content, found.get(name)?).err()?;
        Some((Reason::SecretUnusable, format!("whose entry {name} {flaw}")))
    };
    match holds {
        Held::Any(content) => {
            let mut shown = found.keys().filter(|name| !secrets::is_hidden(name)).peekable();
            if shown.peek().is_none() {
                return Some((Reason::SecretIncomplete, "which is empty: add a key".to_owned()));
            }
            shown.find_map(|name| unusable(name, content))
        }
        Held::Entries(entries) => {
            let missing = entries.iter().find(|entry| entry.needed && !found.contains_key(entry.name));
            if let Some(Entry { name, .. }) = missing {
                return Some((Reason::SecretIncomplete, format!("which lacks the entry {name}: add it")));
            }
            entries.iter().find_map(|entry| unusable(entry.name, entry.content))
        }
    }
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
    use throng_crds::ChatroomClusterSpec;
    use throng_crds::cluster::auth::Algorithm;
    use throng_registry::{Member, MemoryRegistry, Registry as _};

    use super::*;
    use crate::render::secrets as named;

    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDqJX0kz1xJAW7BxhQBA3HtO3jTX4
y7M3sI3I+Hvpcgos7hMmJLGBJzL6FZInqqkSbUXQGVfBZgJuL3FzowFwjw==
-----END PUBLIC KEY-----";

    fn secret(name: &str, entries: &[(&str, &str)]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.to_owned());
        let data = entries.iter().map(|(entry, text)| ((*entry).to_owned(), ByteString(text.as_bytes().to_vec())));
        secret.data = Some(data.collect());
        secret
    }

    /// A spec that names every Secret that one can name.
    fn spec() -> ChatroomClusterSpec {
        let tls = json!({"caSecretRef": {"name": "ca"}, "certificateSecretRef": {"name": "shown"}});
        let spec = json!({
            "image": "throng:0.1.0",
            "redis": {"url": "rediss://redis:6379", "credentialsSecretRef": {"name": "redis"}, "tls": tls},
            "etcd": {"endpoints": ["https://etcd:2379"], "credentialsSecretRef": {"name": "etcd"}, "tls": tls},
            "auth": {"jwt": {"secretRef": {"name": "auth"}}, "apiKeysSecretRef": {"name": "api"}},
        });
        serde_json::from_value(spec).unwrap()
    }

    /// All of them, as they should be.
    fn good() -> Secrets {
        let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----";
        let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----";
        let user = [("username", "throng"), ("password", "tangerine")];
        let mut known = Secrets::default();
        for (name, entries) in [
            ("auth", &[("main", PUBLIC)][..]),
            ("api", &[("backend", "k")]),
            ("redis", &user[1..]),
            ("etcd", &user),
            ("ca", &[("ca.crt", certificate)]),
            ("shown", &[("tls.crt", certificate), ("tls.key", key)]),
        ] {
            known.learn(secret(name, entries));
        }
        known
    }

    #[test]
    fn every_fault_of_a_secret_names_it_and_where_it_is_named() {
        let spec = spec();
        let wanted = named(&spec);
        assert_eq!(
            secrets(&wanted, &Secrets::default()),
            (true, Reason::AllFound, String::new()),
            "nobody was asked yet"
        );
        assert_eq!(secrets(&wanted, &good()), (true, Reason::AllFound, String::new()));
        for Named { name, path, .. } in &wanted {
            let mut known = good();
            known.learn_missing(name);
            let (found, reason, message) = secrets(&wanted, &known);
            assert_eq!((found, reason), (false, Reason::SecretMissing));
            // One Secret may be named twice.
            assert!(message.contains(name) && (message.contains(path) || ["ca", "shown"].contains(name)), "{message}");
            known.learn(secret(name, &[]));
            assert_eq!(secrets(&wanted, &known).1, Reason::SecretIncomplete, "{name}");
        }
        let mut known = good();
        known.learn(secret("etcd", &[("username", "throng")]));
        let (_, reason, message) = secrets(&wanted, &known);
        assert_eq!(reason, Reason::SecretIncomplete);
        assert_eq!(message, "spec.etcd.credentialsSecretRef names etcd, which lacks the entry password: add it");
        known.learn(secret("auth", &[(".hidden", PUBLIC)]));
        assert_eq!(secrets(&wanted, &known).1, Reason::SecretIncomplete, "nobody reads what is hidden");
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_not_called_found() {
        let spec = spec();
        let wanted = named(&spec);
        let mut known = good();
        known.learn_unreadable("etcd", "403 Forbidden".into());
        assert_eq!(secrets(&wanted, &known).1, Reason::AllFound, "what was read before stays");
        let mut known = Secrets::default();
        for name in ["auth", "live-pod-key"] {
            known.learn_unreadable(name, "403 Forbidden".into());
        }
        let (found, reason, message) = secrets(&wanted, &known);
        assert_eq!((found, reason), (false, Reason::SecretUnreadable));
        assert_eq!(message, "spec.auth.jwt.secretRef names auth, which cannot be read: 403 Forbidden");
        let said = statement("SecretsFound", found, reason.as_str(), message, 1, Utc::default());
        assert_eq!(said.status, Holds::Unknown, "it may well be there");
        let (reason, message) = own_secret("live-pod-key", &known).unwrap();
        assert_eq!(reason, Reason::SecretUnreadable);
        assert!(message.contains("403"), "{message}");
        known.learn_missing("redis");
        assert_eq!(secrets(&wanted, &known).1, Reason::SecretMissing, "what is certain is said first");
        known.learn(secret("auth", &[("main", PUBLIC)]));
        assert_eq!(known.unreadable("auth"), None);
    }

    #[test]
    fn an_entry_of_no_use_is_named_with_what_to_write_and_never_shown() {
        let spec = spec();
        let wanted = named(&spec);
        let hmac = "tangerine tangerine tangerine tangerine";
        for (name, entries, says) in [
            (
                "auth",
                [("main", hmac), ("other", PUBLIC)],
                "whose entry main is no public key in PEM: write one for ES256",
            ),
            ("auth", [("main", PUBLIC), ("new", "")], "whose entry new is empty: fill in"),
            (
                "auth",
                [("main", PUBLIC), ("new", "-----BEGIN PUBLIC KEY-----")],
                "whose entry new cannot be read as PEM",
            ),
            ("api", [("a", "k"), ("b", "\n")], "whose entry b is empty"),
            ("redis", [("password", "tangerine"), ("username", "")], "whose entry username is empty"),
            ("etcd", [("password", " "), ("username", "throng")], "whose entry password is empty"),
            ("ca", [("ca.crt", "tangerine"), ("more", "")], "whose entry ca.crt is no certificate in PEM"),
            ("shown", [("tls.crt", PUBLIC), ("tls.key", "tangerine")], "whose entry tls.crt is no certificate"),
        ] {
            let mut known = good();
            known.learn(secret(name, &entries));
            let (found, reason, message) = secrets(&wanted, &known);
            assert_eq!((found, reason), (false, Reason::SecretUnusable), "{message}");
            assert!(message.contains(&format!("names {name}, {says}")), "{message}");
            assert!(!message.contains("tangerine") && !format!("{known:?}").contains("tangerine"), "{message}");
        }
        let mut shared = spec.clone();
        shared.auth.jwt.algorithms = vec![Algorithm::HS256];
        let mut known = good();
        known.learn(secret("auth", &[("main", hmac)]));
        assert!(secrets(&named(&shared), &known).0);
        known.learn(secret("auth", &[("main", "tangerine")]));
        let (_, reason, message) = secrets(&named(&shared), &known);
        assert_eq!(reason, Reason::SecretUnusable);
        assert!(message.contains("main has 9 bytes") && message.contains("openssl rand"), "{message}");
    }

    #[test]
    fn an_edit_of_the_secret_that_the_operator_made_is_told_with_the_way_back() {
        let good = ["k".repeat(64), "r".repeat(64)];
        let [pod_key, resume] = good.each_ref().map(String::as_str);
        let mut known = Secrets::default();
        assert_eq!(own_secret("live-pod-key", &known), None, "nobody was asked yet");
        known.learn_missing("live-pod-key");
        assert_eq!(own_secret("live-pod-key", &known), None, "one that is missing is made");
        known.learn(secret("live-pod-key", &[("pod-key", pod_key), ("r1", resume), ("note", "")]));
        assert_eq!(own_secret("live-pod-key", &known), None);
        for (entries, reason, says) in [
            (&[("r1", resume)][..], Reason::SecretIncomplete, "lacks the entry pod-key"),
            (&[("pod-key", pod_key)], Reason::SecretIncomplete, "lacks the entry r1"),
            (&[], Reason::SecretIncomplete, "lacks the entry pod-key"),
            (&[("pod-key", ""), ("r1", resume)], Reason::SecretUnusable, "entry pod-key is empty"),
            (
                &[("pod-key", "\u{e9}"), ("r1", resume)],
                Reason::SecretUnusable,
                "entry pod-key is no key of visible ASCII",
            ),
            (&[("pod-key", pod_key), ("r1", "short")], Reason::SecretUnusable, "entry r1 has 5 bytes"),
        ] {
            known.learn(secret("live-pod-key", entries));
            let (told, message) = own_secret("live-pod-key", &known).unwrap();
            assert_eq!(told, reason);
            assert!(message.contains("live-pod-key") && message.contains(says), "{message}");
            assert!(message.contains("delete that Secret") && !message.contains("short"), "{message}");
        }
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
}
