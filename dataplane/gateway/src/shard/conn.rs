//! What a reactor keeps of one connection: a record of about 200 bytes, and heap only while something is unfinished.

use std::sync::Arc;

use smallvec::SmallVec;
use throng_core::fanout::{Cohort, Outbox, RateClass};
use throng_core::{Lane, SessionId, UserId};
use throng_proto::client::Format;
use throng_proto::codes::CloseCode;

use crate::auth::Rights;
use crate::seats::Seat;

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// The HTTP head is arriving; what came so far.
    Head(Vec<u8>),
    /// Frames are exchanged.
    Open,
    /// The last frame was sent or waits to be; what comes in is thrown away.
    Closing,
}

/// A room of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) room: u32,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its place among the room's subscribers.
    Live(u32),
    /// Its number among the pending joins.
    Pending(u32),
}

/// Subscribers that share frames: format, rate class and cohort in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group(pub(super) u8);

impl Group {
    pub(super) const COUNT: usize = 256;

    #[expect(clippy::cast_possible_truncation, reason = "16 classes")]
    pub(super) fn new(format: Format, class: RateClass, cohort: Cohort) -> Self {
        Self(u8::from(format.is_binary()) << 7 | (class.index() as u8) << 3 | cohort.number())
    }

    pub(super) fn format(self) -> Format {
        if self.0 & 0x80 == 0 { Format::Json } else { Format::Protobuf }
    }

    pub(super) fn class(self) -> RateClass {
        RateClass::at((self.0 >> 3) & 15).unwrap_or(RateClass::UNLIMITED)
    }

    pub(super) fn cohort(self) -> Cohort {
        Cohort::new(self.0 & 7)
    }
}

/// The `max_rate` of a hello, in two bytes: more than [`u16::MAX`] is as good as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Declared(u16);

impl Declared {
    /// It declared none.
    pub(super) const NOTHING: Self = Self(u16::MAX);

    pub(super) fn new(max_rate: Option<u32>) -> Self {
        max_rate.map_or(Self::NOTHING, |rate| Self(u16::try_from(rate).unwrap_or(u16::MAX).min(u16::MAX - 1)))
    }

    pub(super) fn max_rate(self) -> Option<u32> {
        (self != Self::NOTHING).then_some(u32::from(self.0))
    }
}

/// One connection. Lost with the socket.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stage: Stage,
    pub(super) decoder: throng_ws::Decoder,
    pub(super) outbox: Option<Box<Outbox>>,
    /// Set by `hello`.
    pub(super) user: Option<UserId>,
    pub(super) session: SessionId,
    #[expect(clippy::struct_field_names, reason = "its name everywhere")]
    pub(super) conn_epoch: u64,
    /// When its token ends, seconds of Unix time.
    pub(super) expires_s: u64,
    /// None: every room.
    pub(super) rights: Option<Arc<Rights>>,
    pub(super) rooms: SmallVec<[Membership; 1]>,
    pub(super) address: u64,
    pub(super) generation: u32,
    /// Wheel step at which it is looked at next.
    pub(super) look_step: u32,
    /// Wheel steps: when it was opened, heard last, pinged last, and when it published last (0: never).
    pub(super) opened_step: u32,
    pub(super) heard_step: u32,
    pub(super) pinged_step: u32,
    pub(super) spoke_step: u32,
    /// Not 0: close it at this step, whatever it does.
    pub(super) end_step: u32,
    /// Second of the count of frames.
    pub(super) second: u32,
    pub(super) frames: u16,
    pub(super) group: Group,
    /// What it asked for, for the day that the policy changes.
    pub(super) declared: Declared,
    pub(super) best_lane: Lane,
    pub(super) counted_address: bool,
    /// As what it counts among the connections of the gateway.
    pub(super) seat: Seat,
    /// Close it with this code, as soon as it can hear.
    pub(super) refused: Option<CloseCode>,
    /// A goaway was sent.
    pub(super) leaving: bool,
}

impl Conn {
    pub(super) fn format(&self) -> Format {
        self.group.format()
    }

    pub(super) fn membership(&self, room: u32) -> Option<Membership> {
        self.rooms.iter().copied().find(|membership| membership.room == room)
    }

    pub(super) fn set_place(&mut self, room: u32, place: Place) {
        if let Some(membership) = self.rooms.iter_mut().find(|membership| membership.room == room) {
            membership.place = place;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(super) fn covers(&self, room: &str) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.cover(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_a_small_record() {
        assert!(size_of::<Conn>() <= 208, "{} bytes", size_of::<Conn>());
    }

    #[test]
    fn a_declared_rate_is_remembered_as_far_as_it_matters() {
        assert_eq!(Declared::new(None).max_rate(), None);
        for rate in [0, 1, 400, 65_534] {
            assert_eq!(Declared::new(Some(rate)).max_rate(), Some(rate));
        }
        assert_eq!(Declared::new(Some(u32::MAX)).max_rate(), Some(65_534));
    }

    #[test]
    fn a_group_keeps_what_it_was_made_of() {
        for format in Format::ALL {
            for rate in [0, 1, 20, 400] {
                for cohort in 0..8 {
                    let group = Group::new(format, RateClass::of(rate), Cohort::new(cohort));
                    assert_eq!(
                        (group.format(), group.class(), group.cohort().number()),
                        (format, RateClass::of(rate), cohort)
                    );
                }
            }
        }
    }
}
