//! What a gateway decides for each subscriber of a room.
//!
//! A segment comes once a tick. [`rate`] sorts subscribers into few classes, so that those of a class can share frames;
//! [`budget`] says how many messages of lanes 2-3 a class gets of this tick; [`select`] says which, and declares the rest.
//! What a slow client cannot take at once waits in its [`outbox`], which knows what may be dropped and what never.
//!
//! The law of all of it: what a subscriber received and what was declared to it as [`gaps`] are together every number
//! after its cursor at join, and nothing is received twice.

pub mod budget;
pub mod gaps;
pub mod outbox;
pub mod rate;
pub mod select;

pub use budget::Budget;
pub use outbox::{Entry, Limits, Next, Outbox, Overflow};
pub use rate::{Cohort, RateClass};
pub use select::{Chosen, Selection, choose};
