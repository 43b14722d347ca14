//! Settings of a process, as its `--set` flags: keys of `docs/configuration.md`, values as its reader takes them.
//!
//! All texts are quoted, for the reader takes `1` for a number and `true` for a flag.

use std::collections::BTreeMap;

use throng_core::Role;
use throng_crds::ChatroomClusterSpec;
use throng_crds::cluster::auth::Algorithm;
use throng_crds::cluster::policy::Rooms;
use throng_crds::cluster::stores::{Etcd, Redis, RedisMode};

use super::mounts::{self, At};
use super::{Owner, pod};

/// Settings by key, sorted.
type Settings = BTreeMap<String, String>;

/// All settings of a process that it does not learn where it runs.
pub(super) fn settings(owner: &Owner<'_>, role: Role, revision: u64) -> Settings {
    let mut all = Settings::new();
    let mut set = |key: &str, value: String| drop(all.insert(key.to_owned(), value));
    set("node.namespace", text(owner.namespace));
    set("node.cluster", text(owner.name));
    set("node.revision", text(&revision.to_string()));
    set("node.drain_ms", pod::drain_ms(owner.spec).to_string());
    set("node.pod_key_file", text(&mounts::pod_key_file()));
    etcd(&owner.spec.etcd, &mut all);
    if role != Role::Gateway {
        redis(&owner.spec.redis, &mut all);
    }
    if role == Role::Gateway {
        keys(owner.spec, &mut all);
    }
    for (key, value) in behavior(owner.spec, role) {
        all.entry(key).or_insert(value);
    }
    all
}

/// Settings that say how a process behaves, whatever it stands on.
#[must_use]
pub fn behavior(spec: &ChatroomClusterSpec, role: Role) -> Settings {
    let mut all = Settings::new();
    let given = match role {
        Role::Gateway => {
            gateway(spec, &mut all);
            &spec.gateway.settings
        }
        Role::Chatroom => {
            rooms(&spec.rooms, &mut all);
            &spec.chatroom.settings
        }
        Role::Message => &spec.message.settings,
    };
    // A key of the operator's own never is among those given: a rule of the schema refuses it.
    for (key, value) in given {
        all.entry(format!("{role}.{key}")).or_insert_with(|| value.clone());
    }
    all
}

fn etcd(etcd: &Etcd, all: &mut Settings) {
    let mut set = |key: &str, value: String| drop(all.insert(format!("node.etcd{key}"), value));
    set("", list(&etcd.endpoints));
    if etcd.credentials_secret_ref.is_some() {
        set("_user_file", text(&mounts::file(At::EtcdCredentials, "username")));
        set("_password_file", text(&mounts::file(At::EtcdCredentials, "password")));
    }
    let Some(tls) = &etcd.tls else { return };
    if tls.ca_secret_ref.is_some() {
        set("_ca_file", text(&mounts::file(At::EtcdCa, "ca.crt")));
    }
    if tls.certificate_secret_ref.is_some() {
        set("_cert_file", text(&mounts::file(At::EtcdCertificate, "tls.crt")));
        set("_key_file", text(&mounts::file(At::EtcdCertificate, "tls.key")));
    }
    if let Some(name) = &tls.server_name {
        set("_domain", text(name));
    }
}

fn redis(redis: &Redis, all: &mut Settings) {
    let mut set = |key: &str, value: String| drop(all.insert(format!("node.redis{key}"), value));
    let urls: Vec<String> = std::iter::once(&redis.url).chain(&redis.more_urls).cloned().collect();
    set("", list(&urls));
    let mode = match redis.mode {
        RedisMode::Standalone => "standalone",
        RedisMode::Cluster => "cluster",
        RedisMode::Sentinel => redis.primary_name.as_deref().unwrap_or("mymaster"),
    };
    set("_mode", text(mode));
    set("_wait_replicas", redis.wait_replicas.to_string());
    if redis.credentials_secret_ref.is_some() {
        set("_credentials_dir", text(&mounts::directory(At::RedisCredentials)));
    }
    let Some(tls) = &redis.tls else { return };
    if tls.ca_secret_ref.is_some() {
        set("_ca_file", text(&mounts::file(At::RedisCa, "ca.crt")));
    }
    if tls.certificate_secret_ref.is_some() {
        set("_cert_file", text(&mounts::file(At::RedisCertificate, "tls.crt")));
        set("_key_file", text(&mounts::file(At::RedisCertificate, "tls.key")));
    }
}

fn keys(spec: &ChatroomClusterSpec, all: &mut Settings) {
    let mut set = |key: &str, value: String| drop(all.insert(format!("gateway.{key}"), value));
    let auth = &spec.auth;
    set("auth.jwt_dir", text(&mounts::directory(At::Jwt)));
    let algorithms = auth.jwt.algorithms.iter().map(|algorithm| match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
        Algorithm::HS256 => "HS256",
    });
    set("auth.jwt_algorithms", list(&algorithms.map(str::to_owned).collect::<Vec<_>>()));
    set("auth.resume_dir", text(&mounts::directory(At::Resume)));
    if let Some(audience) = &auth.jwt.audience {
        set("auth.audience", text(audience));
    }
    if let Some(issuer) = &auth.jwt.issuer {
        set("auth.issuer", text(issuer));
    }
    if auth.api_keys_secret_ref.is_some() {
        set("auth.api_keys_dir", text(&mounts::directory(At::ApiKeys)));
    }
    if !auth.origins.is_empty() {
        set("origins", list(&auth.origins));
    }
}

fn gateway(spec: &ChatroomClusterSpec, all: &mut Settings) {
    let mut set = |key: &str, value: String| drop(all.insert(format!("gateway.{key}"), value));
    let downstream = &spec.rooms.downstream;
    if let Some(users) = spec.drain.users_per_second {
        set("drain_per_s", users.to_string());
    }
    set("downstream.messages_per_second", downstream.messages_per_second.to_string());
    set("downstream.max_messages_per_second", downstream.max_messages_per_second.to_string());
}

fn rooms(rooms: &Rooms, all: &mut Settings) {
    let mut set = |key: &str, value: String| drop(all.insert(format!("chatroom.rooms.{key}"), value));
    set("messages_per_second", rooms.upstream.messages_per_second.to_string());
    set("user_messages_per_second", rooms.upstream.user_messages_per_second.to_string());
    set("offline_after_ms", (u64::from(rooms.offline.after_seconds) * 1000).to_string());
    set("offline_after_messages", rooms.offline.after_messages.to_string());
    if let Some(idle_ms) = rooms.idle.as_ms() {
        set("idle_ms", idle_ms.to_string());
    }
    if !rooms.protected_types.is_empty() {
        set("protected_types", list(&rooms.protected_types));
    }
}

/// A quoted text.
fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

fn list(texts: &[String]) -> String {
    let items: Vec<String> = texts.iter().map(|item| text(item)).collect();
    format!("[{}]", items.join(","))
}
