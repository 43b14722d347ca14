//! How long a watch that was interrupted waits before it is opened again.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// No longer than this: an API server that is back must not wait for half a minute and more until somebody looks, as it would
/// by the pauses of kube. There are a dozen watches of each operator, and not thousands.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of kube, 0.8 s and then twice as long each time, up to [`LONGEST`]. They are forgotten once a watch has gone well for
/// two minutes.
#[derive(Default)]
pub(super) struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(bounded)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// What chance adds to long pauses stays, so that not all watches are opened in the same moment.
fn bounded(pause: Duration) -> Duration {
    let half = LONGEST / 2;
    if pause <= LONGEST { pause } else { half + Duration::from_secs_f64(pause.as_secs_f64() % half.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_stay_apart() {
        let pauses: Vec<_> = Pauses::default().take(100).collect();
        assert!(pauses.iter().all(|pause| *pause <= LONGEST), "{pauses:?}");
        assert!(pauses[0] < LONGEST / 2, "{pauses:?}");
        let late = &pauses[10..];
        assert!(late.iter().all(|pause| *pause >= LONGEST / 2), "{late:?}");
        assert!(late.iter().any(|pause| *pause != late[0]), "{late:?}");
    }
}
