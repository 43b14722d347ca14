//! What can fail, and what is promised then.

use std::time::Duration;

use clap::ValueEnum;
use throng_core::Role;

use super::args::FailoverArgs;
use super::stores::Harm;

/// One thing that fails, or moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::bench) enum Fault {
    /// SIGKILL; another Pod replaces it afterwards.
    ChatroomKill,
    /// SIGSTOP, and SIGCONT later.
    ChatroomStop,
    /// Cut off from every other process, without a word, and back later.
    ChatroomCut,
    /// SIGKILL; another Pod replaces it afterwards.
    MessageKill,
    /// SIGSTOP, and SIGCONT later.
    MessageStop,
    /// Cut off from every other process, without a word, and back later.
    MessageCut,
    /// SIGKILL; another Pod replaces it afterwards.
    GatewayKill,
    /// SIGSTOP, and SIGCONT later.
    GatewayStop,
    /// SIGKILL; later it starts on what it had.
    RedisKill,
    /// SIGSTOP, and SIGCONT later.
    RedisStall,
    /// It takes no more writes, and later does again.
    RedisFull,
    /// SIGKILL of a primary; Sentinels promote one of its two replicas. Later it starts and follows.
    RedisFailover,
    /// SIGKILL; later it starts on what it had.
    EtcdKill,
    /// SIGKILL; later it starts on nothing.
    EtcdEmpty,
    /// SIGKILL of the leader of three members; later it starts on what it had.
    EtcdLeader,
    /// The link between a gateway and a chatroom process is cut.
    GatewayChatroomCut,
    /// The link between a gateway and a message process is cut.
    GatewayMessageCut,
    /// The link between a chatroom and a message process is cut.
    ChatroomMessageCut,
    /// The three cuts of links, one after the other.
    LinksCut,
    /// Every slot moves to the other Pod, and back.
    Move,
}

/// What the figures of the project are stated for.
pub(super) const STATED: [Fault; 7] = [
    Fault::ChatroomKill,
    Fault::ChatroomStop,
    Fault::ChatroomCut,
    Fault::MessageKill,
    Fault::MessageStop,
    Fault::MessageCut,
    Fault::Move,
];

/// What is done to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// The oldest Pod of a role is killed.
    Kill(Role),
    /// The oldest Pod of a role is stopped.
    Stop(Role),
    /// The oldest Pod of a role is cut off from everybody.
    Isolate(Role),
    /// The oldest Pods of two roles are cut off from each other.
    Part(Role, Role),
    /// Redis.
    Redis(Harm),
    /// etcd.
    Etcd(Harm),
    /// Placement changes for every slot.
    Move,
}

impl Fault {
    /// As it stands on the command line and in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ChatroomKill => "chatroom-kill",
            Self::ChatroomStop => "chatroom-stop",
            Self::ChatroomCut => "chatroom-cut",
            Self::MessageKill => "message-kill",
            Self::MessageStop => "message-stop",
            Self::MessageCut => "message-cut",
            Self::GatewayKill => "gateway-kill",
            Self::GatewayStop => "gateway-stop",
            Self::RedisKill => "redis-kill",
            Self::RedisStall => "redis-stall",
            Self::RedisFull => "redis-full",
            Self::RedisFailover => "redis-failover",
            Self::EtcdKill => "etcd-kill",
            Self::EtcdEmpty => "etcd-empty",
            Self::EtcdLeader => "etcd-leader",
            Self::GatewayChatroomCut => "gateway-chatroom-cut",
            Self::GatewayMessageCut => "gateway-message-cut",
            Self::ChatroomMessageCut => "chatroom-message-cut",
            Self::LinksCut => "links-cut",
            Self::Move => "move",
        }
    }

    /// The faults that it stands for: itself, or several.
    pub(super) fn each(self) -> Vec<Self> {
        match self {
            Self::LinksCut => vec![Self::GatewayChatroomCut, Self::GatewayMessageCut, Self::ChatroomMessageCut],
            one => vec![one],
        }
    }

    /// What is done.
    pub(super) fn blow(self) -> Blow {
        match self {
            Self::ChatroomKill => Blow::Kill(Role::Chatroom),
            Self::ChatroomStop => Blow::Stop(Role::Chatroom),
            Self::ChatroomCut => Blow::Isolate(Role::Chatroom),
            Self::MessageKill => Blow::Kill(Role::Message),
            Self::MessageStop => Blow::Stop(Role::Message),
            Self::MessageCut => Blow::Isolate(Role::Message),
            Self::GatewayKill => Blow::Kill(Role::Gateway),
            Self::GatewayStop => Blow::Stop(Role::Gateway),
            Self::RedisKill => Blow::Redis(Harm::Kill),
            Self::RedisStall => Blow::Redis(Harm::Stall),
            Self::RedisFull => Blow::Redis(Harm::Full),
            Self::RedisFailover => Blow::Redis(Harm::Leader),
            Self::EtcdKill => Blow::Etcd(Harm::Kill),
            Self::EtcdEmpty => Blow::Etcd(Harm::Empty),
            Self::EtcdLeader => Blow::Etcd(Harm::Leader),
            Self::GatewayChatroomCut | Self::LinksCut => Blow::Part(Role::Gateway, Role::Chatroom),
            Self::GatewayMessageCut => Blow::Part(Role::Gateway, Role::Message),
            Self::ChatroomMessageCut => Blow::Part(Role::Chatroom, Role::Message),
            Self::Move => Blow::Move,
        }
    }

    /// How long an outage may be, in milliseconds; of a move: the time without a message.
    pub(super) fn bound_ms(self) -> f64 {
        match self.blow() {
            Blow::Kill(Role::Gateway) | Blow::Stop(Role::Gateway) => 10_000.0,
            Blow::Move => 500.0,
            _ => 5_000.0,
        }
    }

    /// How long it may be until every room has something stored again, in milliseconds; none: nothing is promised. Sentinels
    /// take a primary for dead after one second here, agree, promote, and turn the other replica around.
    pub(super) fn stored_bound_ms(self) -> Option<f64> {
        (self == Self::RedisFailover).then_some(15_000.0)
    }

    /// Whether clients lose their connections by it.
    pub(super) fn disconnects(self) -> bool {
        matches!(self.blow(), Blow::Kill(Role::Gateway) | Blow::Stop(Role::Gateway))
    }

    /// How long it lasts. Nothing ends a kill: this is how long it is watched before the Pod is replaced.
    pub(super) fn lasts(self, args: &FailoverArgs) -> Duration {
        Duration::from_secs(match self.blow() {
            Blow::Kill(_) => 7,
            Blow::Stop(_) | Blow::Isolate(_) | Blow::Part(..) | Blow::Etcd(Harm::Leader) => args.hold_seconds,
            Blow::Redis(_) => args.redis_seconds,
            Blow::Etcd(Harm::Empty) => 2,
            Blow::Etcd(_) => args.etcd_seconds,
            Blow::Move => 0,
        })
    }

    /// Why these cannot be done in one run; none: they can.
    pub(super) fn conflict(faults: &[Self]) -> Option<String> {
        let other = |fault: &&Self| matches!(fault.blow(), Blow::Redis(_)) && **fault != Self::RedisFailover;
        let other = faults.iter().find(other).filter(|_| faults.contains(&Self::RedisFailover))?;
        // Sentinels would take it for the loss of a primary too.
        Some(format!("redis-failover and {} are each about another Redis: run them one by one", other.name()))
    }

    /// Whether it needs namespaces, and stores that are the bench's own.
    pub(super) fn needs(self) -> (bool, bool) {
        let blow = self.blow();
        (matches!(blow, Blow::Isolate(_) | Blow::Part(..)), matches!(blow, Blow::Redis(_) | Blow::Etcd(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for fault in Fault::value_variants() {
            assert_eq!(Fault::from_str(fault.name(), false), Ok(*fault));
        }
    }

    #[test]
    fn a_redis_with_replicas_has_no_other_fault() {
        assert_eq!(Fault::conflict(&[Fault::RedisKill, Fault::RedisFull, Fault::EtcdLeader]), None);
        assert_eq!(Fault::conflict(&[Fault::RedisFailover, Fault::EtcdKill]), None);
        let why = Fault::conflict(&[Fault::RedisFailover, Fault::Move, Fault::RedisStall]).unwrap();
        assert!(why.contains("redis-stall"), "{why}");
    }
}
