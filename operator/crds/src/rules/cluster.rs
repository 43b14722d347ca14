//! Rules of `ChatroomCluster`.

use super::{Kind, Rule};

const fn rule(name: &'static str, paths: &'static [&'static str], rule: &'static str, message: &'static str) -> Rule {
    Rule { name, kind: Kind::Cluster, paths, rule, message }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "cluster-name",
        &[""],
        "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name becomes part of the names of Pods and Services: write at most 40 lower-case letters, digits and \
         dashes, a letter first and no dash last",
    ),
    rule(
        "image",
        &["spec.image"],
        "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$')",
        "write an image with a tag or a digest, such as throng:0.1.0",
    ),
    rule(
        "image-not-latest",
        &["spec.image"],
        "!self.endsWith(':latest')",
        "write the tag of a version: latest means another image tomorrow, and cannot be rolled back",
    ),
    rule(
        "secret-name",
        &[
            "spec.redis.credentialsSecretRef.name",
            "spec.redis.tls.caSecretRef.name",
            "spec.redis.tls.certificateSecretRef.name",
            "spec.etcd.credentialsSecretRef.name",
            "spec.etcd.tls.caSecretRef.name",
            "spec.etcd.tls.certificateSecretRef.name",
            "spec.auth.jwt.secretRef.name",
            "spec.auth.apiKeysSecretRef.name",
            "spec.gateway.template.imagePullSecrets[].name",
            "spec.chatroom.template.imagePullSecrets[].name",
            "spec.message.template.imagePullSecrets[].name",
        ],
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "write the name of a Secret: lower-case letters, digits, dashes and dots",
    ),
    rule(
        "redis-url",
        &["spec.redis.url", "spec.redis.moreUrls[]"],
        "self.matches('^rediss?://[^@/?#[:space:]]+(/[0-9]{1,4})?$')",
        "write redis://host:port, or rediss://host:port over TLS; user and password belong into the Secret of \
         credentialsSecretRef",
    ),
    rule(
        "redis-tls",
        &["spec.redis"],
        "!has(self.tls) || (self.url.startsWith('rediss://') && (!has(self.moreUrls) || \
         self.moreUrls.all(u, u.startsWith('rediss://'))))",
        "tls is set, so begin each URL with rediss://, or remove tls",
    ),
    rule(
        "redis-sentinel-tls",
        &["spec.redis"],
        "self.mode != 'Sentinel' || (!has(self.tls) && !self.url.startsWith('rediss://') && (!has(self.moreUrls) || \
         !self.moreUrls.exists(u, u.startsWith('rediss://'))))",
        "Sentinels are asked without TLS: begin each URL with redis:// and remove tls; for TLS write mode: Standalone or \
         mode: Cluster",
    ),
    rule(
        "redis-standalone",
        &["spec.redis"],
        "self.mode != 'Standalone' || !has(self.moreUrls) || self.moreUrls.size() == 0",
        "a Standalone Redis has one URL: remove moreUrls, or write mode: Sentinel or mode: Cluster",
    ),
    rule(
        "redis-primary-name",
        &["spec.redis"],
        "(self.mode == 'Sentinel') == has(self.primaryName)",
        "write primaryName, such as mymaster, with mode: Sentinel, and only there",
    ),
    rule(
        "redis-cluster-database",
        &["spec.redis"],
        "self.mode != 'Cluster' || !self.url.matches('/[1-9][0-9]*$')",
        "a Redis Cluster has database 0 only: remove the number after the port",
    ),
    rule(
        "etcd-endpoint",
        &["spec.etcd.endpoints[]"],
        "self.matches('^https?://[^@/?#[:space:]]+$')",
        "write http://host:port or https://host:port without a path; user and password belong into the Secret of \
         credentialsSecretRef",
    ),
    rule(
        "etcd-tls",
        &["spec.etcd"],
        "!has(self.tls) || self.endpoints.all(e, e.startsWith('https://'))",
        "tls is set, so begin each endpoint with https://, or remove tls",
    ),
    rule(
        "etcd-scheme",
        &["spec.etcd"],
        "has(self.tls) || self.endpoints.all(e, e.startsWith('https://') == self.endpoints[0].startsWith('https://'))",
        "some endpoints begin with https:// and some with http://: begin all of them alike",
    ),
    rule(
        "origin",
        &["spec.auth.origins[]"],
        "self.matches('^https?://[^/?#@[:space:]]+$')",
        "write an origin without a path, such as https://example.com; remove all origins to let any page connect",
    ),
    rule(
        "replicas",
        &["spec.gateway.replicas", "spec.chatroom.replicas", "spec.message.replicas"],
        "self.min <= self.max",
        "min is larger than max: raise max or lower min",
    ),
    rule(
        "settings-owned",
        &["spec.gateway.settings", "spec.chatroom.settings", "spec.message.settings"],
        "self.all(key, !(key.startsWith('auth.') || key.startsWith('node.') || key.startsWith('downstream.') || \
         key.startsWith('rooms.') || key in ['origins', 'drain_per_s']))",
        "the operator sets node, auth, origins, downstream, rooms and drain_per_s from other fields of the spec: use \
         spec.auth, spec.rooms and spec.drain",
    ),
    rule(
        "service-load-balancer",
        &["spec.gateway.service"],
        "self.type == 'LoadBalancer' || !(has(self.loadBalancerClass) || (has(self.loadBalancerSourceRanges) && \
         self.loadBalancerSourceRanges.size() > 0))",
        "loadBalancerClass and loadBalancerSourceRanges need type: LoadBalancer",
    ),
    rule(
        "service-node-port",
        &["spec.gateway.service"],
        "self.type != 'ClusterIP' || !has(self.nodePort)",
        "nodePort needs type: NodePort or type: LoadBalancer",
    ),
    rule(
        "source-range",
        &["spec.gateway.service.loadBalancerSourceRanges[]"],
        "isCIDR(self)",
        "write a range of addresses, such as 203.0.113.0/24",
    ),
    rule(
        "owned-labels",
        &[
            "spec.gateway.template.labels",
            "spec.chatroom.template.labels",
            "spec.message.template.labels",
            "spec.gateway.service.labels",
            "spec.gateway.template.annotations",
            "spec.chatroom.template.annotations",
            "spec.message.template.annotations",
            "spec.gateway.service.annotations",
        ],
        "self.all(key, !key.startsWith('throng.dev/') && !key.startsWith('app.kubernetes.io/'))",
        "keys that begin with throng.dev/ or app.kubernetes.io/ belong to the operator: choose others",
    ),
    rule(
        "load-balancer-class",
        &["spec.gateway.service"],
        "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || \
         (has(self.loadBalancerClass) ? self.loadBalancerClass : '') == \
         (has(oldSelf.loadBalancerClass) ? oldSelf.loadBalancerClass : '')",
        "loadBalancerClass cannot be changed: write the one before, or set another type first and LoadBalancer again later",
    ),
    rule(
        "map-keys",
        &[
            "spec.gateway.template.labels",
            "spec.chatroom.template.labels",
            "spec.message.template.labels",
            "spec.gateway.service.labels",
            "spec.gateway.template.annotations",
            "spec.chatroom.template.annotations",
            "spec.message.template.annotations",
            "spec.gateway.service.annotations",
            "spec.gateway.template.nodeSelector",
            "spec.chatroom.template.nodeSelector",
            "spec.message.template.nodeSelector",
        ],
        "self.all(key, key.size() <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
         [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "write keys such as team or example.com/team: up to 63 letters, digits, dashes, dots and underscores, with a letter \
         or digit at both ends",
    ),
    rule(
        "label-values",
        &[
            "spec.gateway.template.labels",
            "spec.chatroom.template.labels",
            "spec.message.template.labels",
            "spec.gateway.service.labels",
            "spec.gateway.template.nodeSelector",
            "spec.chatroom.template.nodeSelector",
            "spec.message.template.nodeSelector",
        ],
        "self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
        "write values of letters, digits, dashes, dots and underscores, with a letter or digit at both ends",
    ),
    rule(
        "span",
        &["spec.rooms.idle", "spec.rollout.hold", "spec.rollout.warmRollback", "spec.events[].ramp"],
        "self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && self.size() > 0 && \
         duration(self) <= duration('720h')",
        "write hours, minutes and seconds up to 720h, such as 90s, 30m or 1h30m",
    ),
    rule(
        "drain-deadline",
        &["spec.drain.deadline"],
        "self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && self.size() > 0 && \
         duration(self) >= duration('10s') && duration(self) <= duration('24h')",
        "write hours, minutes and seconds from 10s to 24h, such as 30m",
    ),
    rule(
        "progress-deadline",
        &["spec.rollout.progressDeadline"],
        "self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && self.size() > 0 && \
         duration(self) >= duration('10s') && duration(self) <= duration('24h')",
        "write hours, minutes and seconds from 10s to 24h, such as 10m",
    ),
    rule(
        "taint",
        &["spec.drain.taints[]"],
        "self.matches('^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
        "write the key of a taint, such as karpenter.sh/disrupted, without value and effect",
    ),
    rule(
        "canary-rising",
        &["spec.rollout.canaryPercent"],
        "self.all(a, self.exists_one(b, b == a)) && self.isSorted()",
        "write rising shares, each once, such as [5, 25]",
    ),
    rule(
        "downstream",
        &["spec.rooms.downstream"],
        "self.messagesPerSecond <= self.maxMessagesPerSecond",
        "messagesPerSecond is larger than maxMessagesPerSecond: raise the latter",
    ),
    rule(
        "event-name",
        &["spec.events[].name"],
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "write lower-case letters, digits and dashes, such as final-2026",
    ),
    rule(
        "event-start",
        &["spec.events[].start"],
        "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?$')",
        "write local time without an offset, such as 2026-12-31T20:00:00; timeZone says where",
    ),
    rule(
        "event-time-zone",
        &["spec.events[].timeZone"],
        "self in ['UTC', 'GMT'] || self.matches('^[A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2}$')",
        "write the name of a time zone, such as Asia/Shanghai or UTC",
    ),
    rule(
        "event-hold",
        &["spec.events[].hold"],
        "self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && self.size() > 0 && \
         duration(self) >= duration('1s') && duration(self) <= duration('720h')",
        "write hours, minutes and seconds from 1s to 720h, such as 4h",
    ),
    rule(
        "event-floor",
        &["spec.events[].floor"],
        "has(self.gateway) || has(self.chatroom) || has(self.message)",
        "write a floor for one pool at least, such as gateway: 40",
    ),
    rule(
        "event-floor-gateway",
        &["spec"],
        "!has(self.events) || self.events.all(e, !has(e.floor.gateway) || e.floor.gateway <= self.gateway.replicas.max)",
        "the floor of an event is above gateway.replicas.max: raise that",
    ),
    rule(
        "event-floor-chatroom",
        &["spec"],
        "!has(self.events) || self.events.all(e, !has(e.floor.chatroom) || \
         e.floor.chatroom <= self.chatroom.replicas.max)",
        "the floor of an event is above chatroom.replicas.max: raise that",
    ),
    rule(
        "event-floor-message",
        &["spec"],
        "!has(self.events) || self.events.all(e, !has(e.floor.message) || e.floor.message <= self.message.replicas.max)",
        "the floor of an event is above message.replicas.max: raise that",
    ),
];
