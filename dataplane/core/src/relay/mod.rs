//!
//! [`relay`]: each room with an interested gateway is taken once from its owner and handed once to each such gateway. The
//! room's [`ring`] is the only queue: a gateway has a place in it, so whoever is slow or comes again goes on from its
//! cursor, and what the ring no longer holds is declared, never lost in silence. [`read`] answers those who missed
//! something; what they need from before the ring is fetched from the owner once. [`effect`] is the language between this
//! machine and its shell, [`packed`] the unopened segment.
//!
//! [`home`]: where each user's sessions are, for directed messages, kicks, one-session policies and the offline rule;
//! [`recent`]: what users were told a moment ago, for sessions that are reported late.
//!
//! All of it is lost on a restart and rebuilt from gateways, which subscribe again with their cursors and list their
//! sessions, and from the owners of the rooms.

pub mod effect;
mod fill;
pub mod home;
#[cfg(test)]
mod home_telling_tests;
#[cfg(test)]
mod home_tests;
mod lag;
mod logged;
mod names;
pub mod owners;
pub mod packed;
pub mod read;
mod recent;
#[expect(clippy::module_inception, reason = "the machine bears the name of the role")]
pub mod relay;
pub mod ring;
mod room;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use effect::{
    Counters, Downstream, Effect, GatewayId, LinkId, LogPage, LogRange, Options, Read, Subscription, Upstream,
};
pub use home::{HomeEffect, HomeOptions, Homes, OfflineMember, SessionChange, SessionPolicy, Whereabouts};
pub use owners::{Gathered, GatheredRoom};
pub use packed::{Codec, Content, Packed, Sealed};
pub use read::{CaughtUp, Page, ReadError};
pub use relay::Relay;
pub use ring::{Limits, Ring, Taken};
