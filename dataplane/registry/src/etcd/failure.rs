//! What a failure of etcd means: was the request carried out, may it have been, and who has to act.

use std::error::Error as StdError;
use std::io;

use tonic::{Code, Status};

use crate::error::Error;

/// How rustls says that the other side's certificate is no good; it does so before anything is sent.
const DISTRUST: &str = "invalid peer certificate";

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was answered: not carried out.
    Answered(Error),
    /// The lease that it named is gone; not carried out.
    NoLease,
    /// Its token was issued before etcd's users were changed; not carried out, and a new token helps.
    OldToken,
    /// It never left: not carried out.
    Unsent(String),
    /// It left, or may have, and no answer came.
    Unanswered(String),
}

impl Failure {
    /// As an error of a call that may be repeated, whatever became of the first.
    pub(super) fn repeatable(self) -> Error {
        match self {
            Self::Answered(error) => error,
            Self::NoLease => Error::refused("etcd does not know the lease"),
            Self::OldToken => Error::unavailable("etcd's users were changed"),
            Self::Unsent(reason) | Self::Unanswered(reason) => Error::Unavailable { reason },
        }
    }

    /// Whether the client, or what it authenticates with, is to be made anew before the next try.
    pub(super) const fn spoils_the_client(&self) -> bool {
        matches!(self, Self::Answered(Error::Refused { .. }) | Self::OldToken)
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        use etcd_client::Error as E;
        match error {
            E::GRpcStatus(status) => of_status(&status),
            E::InvalidArgs(_) | E::InvalidUri(_) | E::InvalidMetadataValue(_) | E::Utf8Error(_) => {
                Self::Answered(Error::refused(error.to_string()))
            }
            // Raised while the channel is made.
            E::TransportError(error) => Self::Unsent(chain(&error)),
            E::LeaseKeepAliveError(ref text) if text == "lease not found" => Self::NoLease,
            other => Self::Unanswered(other.to_string()),
        }
    }
}

fn of_status(status: &Status) -> Failure {
    if let Some(distrust) = causes(status).map(ToString::to_string).find(|text| text.contains(DISTRUST)) {
        return Failure::Answered(Error::refused(format!(
            "this side does not trust etcd: {distrust}; check the CA's file"
        )));
    }
    let text = status.message();
    let refused = |advice: &str| Failure::Answered(Error::refused(format!("{text}; {advice}")));
    match status.code() {
        Code::NotFound if text.contains("lease not found") => Failure::NoLease,
        Code::Unauthenticated => refused("check etcd's user and password"),
        Code::PermissionDenied => refused("grant etcd's user a role that may read and write <namespace>/<cluster>/"),
        Code::InvalidArgument if text.contains("auth store is old") => Failure::OldToken,
        Code::InvalidArgument if text.contains("authentication failed") => refused("check etcd's user and password"),
        Code::InvalidArgument if text.contains("user name is empty") => {
            refused("etcd wants authentication: configure a user and password")
        }
        Code::FailedPrecondition if text.contains("authentication is not enabled") => {
            refused("enable authentication in etcd, or configure no user")
        }
        Code::ResourceExhausted if text.contains("space exceeded") => {
            refused("etcd is full and takes no writes: compact and defragment it, then disarm its alarm")
        }
        Code::ResourceExhausted => Failure::Answered(Error::unavailable(text)),
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => refused("this etcd cannot do it"),
        _ if never_connected(status) => Failure::Unsent(chain(status)),
        _ => Failure::Unanswered(chain(status)),
    }
}

/// Whether no connection could be opened, so that nothing was sent over it. Anything less certain counts as sent.
fn never_connected(status: &Status) -> bool {
    causes(status).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
        )
    })
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The innermost cause says most.
fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, text: &str) -> Failure {
        Failure::from(etcd_client::Error::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn what_etcd_answered_was_not_carried_out_and_says_what_to_do() {
        for (code, text, advice) in [
            (Code::PermissionDenied, "etcdserver: permission denied", "grant"),
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password", "check"),
            (Code::InvalidArgument, "etcdserver: user name is empty", "configure a user"),
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled", "no user"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "compact"),
        ] {
            let failure = of(code, text);
            assert!(failure.spoils_the_client());
            let Failure::Answered(Error::Refused { reason }) = failure else { panic!("{failure:?}") };
            assert!(reason.contains(text) && reason.contains(advice), "{reason}");
        }
        let outdated = of(Code::InvalidArgument, "etcdserver: revision of auth store is old");
        assert!(outdated.spoils_the_client() && outdated.repeatable().is_temporary());
        assert!(matches!(of(Code::NotFound, "etcdserver: requested lease not found"), Failure::NoLease));
        assert!(matches!(of(Code::ResourceExhausted, "etcdserver: too many requests"), Failure::Answered(_)));
    }

    #[test]
    fn whatever_is_not_certain_may_have_been_carried_out() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Unknown, Code::Cancelled, Code::Internal] {
            assert!(matches!(of(code, "etcdserver: request timed out"), Failure::Unanswered(_)));
        }
    }

    #[test]
    fn a_refused_connection_carried_nothing() {
        let mut status = Status::unavailable("error trying to connect");
        status.set_source(std::sync::Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(matches!(of_status(&status), Failure::Unsent(_)));
        let mut status = Status::unavailable("broken");
        status.set_source(std::sync::Arc::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert!(matches!(of_status(&status), Failure::Unanswered(_)));
    }
}
