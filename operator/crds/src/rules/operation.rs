//! Rules of `ChatroomOperation`.

use super::{Kind, Rule};

const fn rule(name: &'static str, paths: &'static [&'static str], rule: &'static str, message: &'static str) -> Rule {
    Rule { name, kind: Kind::Operation, paths, rule, message }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "operation-immutable",
        &["spec"],
        "self == oldSelf",
        "an operation cannot be changed: delete it and create another one",
    ),
    rule(
        "operation-one-action",
        &["spec"],
        "[has(self.rollback), has(self.pause), has(self.resume), has(self.promote), has(self.drain), \
         has(self.rebalance)].filter(given, given).size() == 1",
        "write exactly one of rollback, pause, resume, promote, drain and rebalance, such as pause: {}",
    ),
    rule(
        "operation-cluster",
        &["spec.cluster"],
        "self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "write the name of a ChatroomCluster in the same namespace: at most 40 lower-case letters, digits and dashes",
    ),
    rule(
        "operation-drain-one",
        &["spec.drain"],
        "[has(self.pods), has(self.nodeSelector), has(self.zone)].filter(given, given).size() == 1",
        "write exactly one of pods, nodeSelector and zone",
    ),
    rule(
        "operation-drain-pods",
        &["spec.drain.pods[]"],
        "self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "write the name of a Pod, such as live-gateway-7-2",
    ),
    rule(
        "operation-drain-node-selector",
        &["spec.drain.nodeSelector"],
        "self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
        "write values of node labels, such as pool: old",
    ),
    rule(
        "operation-drain-zone",
        &["spec.drain.zone"],
        "self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
        "write the value of the node label topology.kubernetes.io/zone, such as eu-west-1a",
    ),
    rule(
        "operation-ttl",
        &["spec.ttl"],
        "self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && self.size() > 0 && \
         duration(self) <= duration('720h')",
        "write hours, minutes and seconds up to 720h, such as 30m, 24h or 1h30m",
    ),
];
