//! The gateway role: connections, lanes, fan-out.
