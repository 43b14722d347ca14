//! What is asked twice: a call that got lost on its way, where asking again changes nothing.
//!
//! A connection between Pods breaks for reasons that are over at once: a Pod restarts, or a starved machine answers a
//! keep-alive too late, and all calls on the connection fail though both Pods live. The caller would have to repeat the
//! call anyway, as `docs/server-api.md` asks it to; the gateway is nearer, and has the rest of the deadline for it.

use std::error::Error as _;

use throng_proto::link::admin_request::Command;
use tonic::{Code, Status};

/// Whether a call may be made again if nobody knows what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is the same as once.
    Harmless,
    /// Twice could be heard twice, or answered otherwise the second time: who kicked somebody would hear that nobody is there.
    Never,
}

impl Repeat {
    /// That of a command to the owner of a room. Fewer than callers may repeat after `docs/server-api.md`.
    pub(super) const fn of(command: &Command) -> Self {
        match command {
            Command::Publish(publish) if publish.key.is_empty() => Self::Never,
            Command::Kick(_) | Command::Delete(_) | Command::Destroy(_) => Self::Never,
            _ => Self::Harmless,
        }
    }

    /// Whether to ask again after this failure. Once: the second time it is `Never`.
    pub(super) fn after(&mut self, status: &Status) -> bool {
        std::mem::replace(self, Self::Never) == Self::Harmless && is_lost(status)
    }
}

/// The connection failed, not the call. What a Pod answers itself has no source.
pub(super) fn is_lost(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Unknown => true,
        Code::Internal => status.source().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_proto::link::Publish;

    #[test]
    fn a_message_without_a_key_and_what_is_answered_otherwise_the_second_time_are_not_repeated() {
        let publish = |key: &str| Command::Publish(Publish { key: key.into(), ..Publish::default() });
        assert_eq!(Repeat::of(&publish("")), Repeat::Never);
        assert_eq!(Repeat::of(&publish("k")), Repeat::Harmless);
        assert_eq!(Repeat::of(&Command::Kick("ana".into())), Repeat::Never);
        assert_eq!(Repeat::of(&Command::ReadList("mute".into())), Repeat::Harmless);
    }

    #[test]
    fn what_got_lost_is_repeated_once_and_a_refusal_never() {
        let mut repeat = Repeat::Harmless;
        assert!(repeat.after(&Status::unavailable("x")));
        assert!(!repeat.after(&Status::unavailable("x")));
        for refusal in [Status::internal("x"), Status::invalid_argument("x"), Status::resource_exhausted("x")] {
            assert!(!Repeat::Harmless.after(&refusal));
        }
        assert!(!Repeat::Never.after(&Status::unavailable("x")));
    }
}
