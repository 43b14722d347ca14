//! Lists of a room: read one, change one.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use throng_core::Millis;
use throng_core::room::ListName;
use throng_proto::by_name::ByName;
use throng_proto::link::admin_request::Command;
use throng_proto::link::{ListChange, ListEntry};

use super::error::ApiError;
use super::input::{self, Body, Nothing, Page, Params, Query};
use super::{Api, unix_now};

/// Largest time that every JSON reader keeps exact: 2^53 - 1.
const MAX_TIME_MS: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default, deserialize_with = "input::or_default")]
    add: Vec<ByName<Add>>,
    #[serde(default, deserialize_with = "input::or_default")]
    remove: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    user: String,
    until_ms: Option<u64>,
    for_ms: Option<u64>,
}

impl Change {
    /// Checks a change and writes it for the owner. `now` is Unix time.
    fn translate(&self, list: ListName, now: Millis) -> Result<ListChange, ApiError> {
        if self.add.is_empty() && self.remove.is_empty() {
            return Err(ApiError::bad_request("a change adds or removes somebody"));
        }
        let mut named = BTreeSet::new();
        let users = self.add.iter().map(|ByName(add)| &add.user).chain(&self.remove);
        for id in users {
            input::user("user", id)?;
            if !named.insert(id) {
                return Err(ApiError::bad_request(format!("{id:?} is named twice in one change")));
            }
        }
        let add =
            self.add.iter().map(|ByName(add)| Ok(ListEntry { user: add.user.clone(), until_ms: add.until(now)? }));
        Ok(ListChange {
            list: list.as_str().to_owned(),
            add: add.collect::<Result<_, ApiError>>()?,
            remove: self.remove.clone(),
        })
    }
}

impl Add {
    /// Unix time of the end, 0: none.
    fn until(&self, now: Millis) -> Result<u64, ApiError> {
        let until = match (self.until_ms, self.for_ms) {
            (None, None) => return Ok(0),
            (Some(until), None) => Millis(until),
            (None, Some(span)) => now + span,
            (Some(_), Some(_)) => return Err(ApiError::bad_request("an entry has until_ms or for_ms, not both")),
        };
        if until > now && until.0 <= MAX_TIME_MS {
            Ok(until.0)
        } else {
            Err(ApiError::bad_request(format!("an entry ends after now and at {MAX_TIME_MS} at the latest")))
        }
    }
}

#[derive(Serialize)]
pub(super) struct Changed {
    room: String,
    list: &'static str,
}

/// Changes a list, all of the change or nothing.
pub(super) async fn change(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
    Body(change): Body<Change>,
) -> Result<Json<Changed>, ApiError> {
    let (room, (name, list)) = (params.room()?, params.list()?);
    api.admin(&room, Command::List(change.translate(list, unix_now())?)).await?;
    Ok(Json(Changed { room: room.as_str().to_owned(), list: name }))
}

#[derive(Serialize)]
pub(super) struct EntryView {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct ListView {
    room: String,
    list: &'static str,
    entries: Vec<EntryView>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A page of a list, by name. The owner tells the whole list; it is cut here, so that no answer is huge.
pub(super) async fn read(
    State(api): State<Api>,
    params: Params,
    Query(page): Query<Page>,
) -> Result<Json<ListView>, ApiError> {
    let limit = usize::try_from(page.limit()?).unwrap_or(usize::MAX);
    let (room, (name, list)) = (params.room()?, params.list()?);
    let reply = api.admin(&room, Command::ReadList(list.as_str().to_owned())).await?;
    let all = reply.list.ok_or_else(|| ApiError::incomplete("a list"))?.entries;
    let total = all.len();
    let (entries, next) = cut(all, page.after(), limit);
    let view =
        |entry: ListEntry| EntryView { user: entry.user, until_ms: (entry.until_ms > 0).then_some(entry.until_ms) };
    let entries = entries.into_iter().map(view).collect();
    Ok(Json(ListView { room: room.as_str().to_owned(), list: name, entries, total, next }))
}

/// The first `limit` entries after a name, in order, and where the next page starts.
fn cut(mut all: Vec<ListEntry>, after: Option<&str>, limit: usize) -> (Vec<ListEntry>, Option<String>) {
    all.retain(|entry| after.is_none_or(|after| entry.user.as_str() > after));
    all.sort_by(|a, b| a.user.cmp(&b.user));
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|last| last.user.clone());
    (all, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_proto::codes::ErrorCode;

    const NOW: Millis = Millis(1_000);

    fn read(json: &str) -> Result<ListChange, ApiError> {
        serde_json::from_str::<Change>(json).unwrap().translate(ListName::Mute, NOW)
    }

    #[test]
    fn an_entry_ends_at_a_time_after_a_span_or_never() {
        let change = read(r#"{"add":[{"user":"a"},{"user":"b","until_ms":1001},{"user":"c","for_ms":500}]}"#).unwrap();
        assert_eq!(change.add.iter().map(|add| add.until_ms).collect::<Vec<_>>(), [0, 1001, 1500]);
    }

    #[test]
    fn what_is_null_counts_as_left_out() {
        assert_eq!(read(r#"{"add":null,"remove":["a"]}"#).unwrap().remove, ["a"]);
        assert_eq!(read(r#"{"add":[{"user":"a","until_ms":null}],"remove":null}"#).unwrap().add.len(), 1);
    }

    #[test]
    fn a_change_that_cannot_be_meant_is_refused() {
        let code = |json| read(json).unwrap_err().text().0;
        assert_eq!(code("{}"), ErrorCode::BadRequest);
        assert_eq!(code(r#"{"add":[{"user":"a","until_ms":1000}]}"#), ErrorCode::BadRequest);
        assert_eq!(code(r#"{"add":[{"user":"a","for_ms":0}]}"#), ErrorCode::BadRequest);
        assert_eq!(code(r#"{"add":[{"user":"a","for_ms":18446744073709551615}]}"#), ErrorCode::BadRequest);
        assert_eq!(code(r#"{"add":[{"user":"a","for_ms":5,"until_ms":2000}]}"#), ErrorCode::BadRequest);
        assert_eq!(code(r#"{"add":[{"user":"a"}],"remove":["a"]}"#), ErrorCode::BadRequest);
        assert_eq!(code(r#"{"remove":[""]}"#), ErrorCode::BadId);
    }

    #[test]
    fn a_list_is_read_in_pages() {
        let all = || ["c", "a", "b"].map(|user| ListEntry { user: user.into(), until_ms: 0 }).to_vec();
        let names = |entries: Vec<ListEntry>| entries.into_iter().map(|entry| entry.user).collect::<String>();
        let (first, next) = cut(all(), None, 2);
        assert_eq!((names(first), next.as_deref()), ("ab".to_owned(), Some("b")));
        let (rest, next) = cut(all(), Some("b"), 2);
        assert_eq!((names(rest), next), ("c".to_owned(), None));
    }
}
