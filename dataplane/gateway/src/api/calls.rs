//! How often each call was made, and how it was answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{Method, StatusCode};

use super::table::TABLE;

/// Method, route and status of a call. Routes are those of the table, so that nobody can invent new ones.
type Call = (&'static str, &'static str, u16);

/// What stands for a path or a method that does not exist.
const OTHER: &str = "other";

/// Counts calls. Cheap to clone; the clones count together. Starts at zero with the process.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<Call, u64>>>);

impl Calls {
    pub(super) fn count(&self, method: &Method, path: &str, status: StatusCode) {
        let (method, route) = route_of(method.as_str(), path);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((method, route, status.as_u16())).or_insert(0) +=
            1;
    }

    /// How often, by method, route and status.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<Call, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The row of the table that a call belongs to.
fn route_of(method: &str, path: &str) -> (&'static str, &'static str) {
    let fits = |pattern: &str| {
        let (mut parts, mut given) = (pattern.split('/'), path.split('/'));
        parts.by_ref().all(|part| given.next().is_some_and(|text| part == text || part.starts_with('{')))
            && given.next().is_none()
    };
    TABLE.iter().find(|(known, pattern)| *known == method && fits(pattern)).copied().unwrap_or((OTHER, OTHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_under_its_row_of_the_table_and_noise_under_one_name() {
        assert_eq!(route_of("GET", "/v1/rooms"), ("GET", "/v1/rooms"));
        assert_eq!(route_of("DELETE", "/v1/rooms/a%2Fb"), ("DELETE", "/v1/rooms/{room}"));
        assert_eq!(route_of("POST", "/v1/rooms/x/lists/mute"), ("POST", "/v1/rooms/{room}/lists/{list}"));
        for (method, path) in
            [("PATCH", "/v1/rooms"), ("GET", "/v1/rooms/x/y/z"), ("GET", "/v1/"), ("NOISE", "/v1/rooms")]
        {
            assert_eq!(route_of(method, path), (OTHER, OTHER), "{method} {path}");
        }
        let calls = Calls::default();
        calls.count(&Method::GET, "/v1/rooms/x", StatusCode::OK);
        calls.clone().count(&Method::GET, "/v1/rooms/y", StatusCode::OK);
        assert_eq!(calls.totals(), BTreeMap::from([(("GET", "/v1/rooms/{room}", 200), 2)]));
    }
}
