//! What the planner knows of every gateway: names and spans that both must mean alike.

/// Name of a load in a gateway's samples: from the order of a message to its delivery, p99 of the latest span, milliseconds.
/// Missing while too little happens to tell.
pub const P99_MS: &str = "p99_ms";
/// Name of a load in a gateway's samples: share of the commands of the latest span that failed through no fault of the
/// client, percent. Missing while too little happens to tell.
pub const ERROR_PERCENT: &str = "error_percent";
/// Length of such a span, milliseconds. One bad span may be chance; the planner waits for two.
pub const HEALTH_SPAN_MS: u64 = 5_000;
/// A client that is asked to go keeps its connection for so long, milliseconds.
pub const LEAVE_MS: u64 = 10_000;
