//! An operation on its way, in one line.

use throng_crds::ChatroomOperation;
use throng_plan::status::{OperationPhase, Utc};

use crate::overview::instant;
use crate::text::{count, many, span};

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// In a line for people.
    pub line: String,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Done,
    /// It could not be done, or something else took its place.
    Other,
}

/// An operation that nobody takes up for so long has no operator.
const UNHEARD_MS: u64 = 15_000;

/// Reads how far an operation is; none: its object is gone.
#[must_use]
pub fn progress(operation: Option<&ChatroomOperation>, now: Utc) -> Progress {
    let Some(operation) = operation else {
        return Progress { line: "its object was deleted".to_owned(), end: Some(End::Other) };
    };
    let status = operation.status.clone().unwrap_or_default();
    let asked = instant(operation.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let mut parts = vec![format!("{:?}", status.phase).to_lowercase()];
    if let Some(left) = status.users_left.filter(|_| !status.phase.is_final()) {
        let of = status.users.map_or_else(String::new, |users| format!(" of {}", count(users)));
        parts.push(format!("{}{of} left", count(left)));
    } else if let Some(users) = status.users.filter(|_| status.phase.is_final()) {
        parts.push(format!("{} moved", many(users.saturating_sub(status.users_left.unwrap_or(0)), "user")));
    }
    if let Some((from, to)) = status.started_at.zip(status.finished_at) {
        parts.push(format!("in {}", span(to.0.since(from.0))));
    }
    let unheard = status.phase == OperationPhase::Pending && now.0.since(asked.0) > UNHEARD_MS;
    if !status.message.is_empty() {
        parts.push(status.message);
    } else if unheard {
        parts.push("no operator has taken it up yet: throng check".to_owned());
    }
    let end = match status.phase {
        OperationPhase::Succeeded => Some(End::Done),
        phase if phase.is_final() => Some(End::Other),
        _ => None,
    };
    Progress { line: parts.join("  "), end }
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;
    use throng_plan::status::OperationStatus;

    use super::*;
    use crate::operate::intent::Intent;

    fn at(seconds: u64) -> Utc {
        Utc(Millis(seconds * 1000))
    }

    fn of(status: OperationStatus, now: Utc) -> (String, Option<End>) {
        let mut operation = Intent::Promote.operation("show", "live", None);
        operation.status = Some(status);
        let Progress { line, end } = progress(Some(&operation), now);
        (line, end)
    }

    #[test]
    fn an_operation_is_followed_from_its_creation_to_its_end() {
        use OperationPhase::{Failed, Pending, Running, Succeeded, Superseded};
        let status = |phase, message: &str, users, users_left| OperationStatus {
            phase,
            message: message.into(),
            users,
            users_left,
            started_at: Some(at(0)),
            finished_at: phase.is_final().then_some(at(12)),
            ..OperationStatus::default()
        };
        let cases = [
            (status(Pending, "", None, None), "pending", None),
            (status(Running, "users move back", Some(512), Some(40)), "running  40 of 512 left  users move back", None),
            (status(Succeeded, "", Some(512), Some(0)), "succeeded  512 users moved  in 12s", Some(End::Done)),
            (
                status(Failed, "there is no revision 3", None, None),
                "failed  in 12s  there is no revision 3",
                Some(End::Other),
            ),
            (status(Superseded, "", None, None), "superseded  in 12s", Some(End::Other)),
        ];
        for (status, line, end) in cases {
            assert_eq!(of(status, at(10)), (line.to_owned(), end));
        }
        assert_eq!(progress(None, at(10)).end, Some(End::Other));
    }

    #[test]
    fn one_that_nobody_takes_up_says_where_to_look() {
        let (line, end) = of(OperationStatus::default(), at(60));
        assert_eq!((line.contains("throng check"), end), (true, None));
    }
}
