//! The gateway role: connections, lanes, fan-out.

pub mod api;
