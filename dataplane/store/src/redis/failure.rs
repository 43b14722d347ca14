//! What an error of Redis means for the caller and for the connection.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::StoreError;

/// An error, and what has to be done before the next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// For the caller.
    pub(super) error: StoreError,
    /// For us.
    pub(super) remedy: Remedy,
}

/// What has to be done before the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing.
    None,
    /// Make a new connection: this one is broken, or its server is no longer the primary.
    Reconnect,
    /// Load the functions: a primary does not have them.
    Load,
    /// The key is elsewhere in the cluster: send a single command, which follows it.
    Follow,
}

/// Sorts an error.
pub(super) fn of(error: &RedisError) -> Failure {
    let text = error.to_string();
    let code = error.code().unwrap_or("");
    let failure = |error, remedy| Failure { error, remedy };
    if text.contains("Function not found") {
        return failure(StoreError::unavailable("a Redis primary lacks the functions"), Remedy::Load);
    }
    match code {
        "OOM" | "MISCONF" => return failure(StoreError::Full { reason: text }, Remedy::None),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => {
            return failure(StoreError::refused(format!("{text}; check the user, password and ACL")), Remedy::None);
        }
        _ => {}
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            failure(StoreError::refused(format!("{text}; check the user and password")), Remedy::None)
        }
        ErrorKind::InvalidClientConfig | ErrorKind::EmptySentinelList => {
            failure(StoreError::refused(text), Remedy::None)
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            failure(StoreError::unavailable(text), Remedy::Follow)
        }
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::Client
        | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
            failure(StoreError::unavailable(text), Remedy::Reconnect)
        }
        _ => failure(StoreError::unavailable(text), Remedy::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, detail: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn a_full_store_is_told_from_one_that_is_away() {
        assert!(matches!(of(&server("OOM", "command not allowed")).error, StoreError::Full { .. }));
        assert!(matches!(of(&server("CLUSTERDOWN", "The cluster is down")).error, StoreError::Unavailable { .. }));
    }

    #[test]
    fn missing_rights_are_a_matter_of_configuration() {
        for code in ["NOAUTH", "WRONGPASS", "NOPERM"] {
            assert!(matches!(of(&server(code, "no")).error, StoreError::Refused { .. }), "{code}");
        }
    }

    #[test]
    fn a_broken_pipe_asks_for_a_new_connection() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(of(&broken).remedy, Remedy::Reconnect);
    }

    #[test]
    fn a_missing_function_is_loaded() {
        assert_eq!(of(&server("ERR", "Function not found")).remedy, Remedy::Load);
    }
}
