//! Structured logs on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging: text on a terminal, JSON lines else. `THRONG_LOG` chooses what, as in `THRONG_LOG=info,throng_gateway=debug`.
///
/// Neither bodies of messages nor tokens are ever logged.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("THRONG_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests) keeps the first subscriber.
    let _ = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}
