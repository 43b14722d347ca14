//! Small values as texts, readable with `redis-cli`, and back. A value that does not read is none: the caller skips it, so
//! that one bad value does not make a room unreadable.

use throng_core::{Epoch, Lane, Millis, Seqs, SessionId, Stamp, UserId};

use super::command::millis;
use crate::write::{List, Member, Remembered, Sealed};

/// `<list>/<user>`
pub(super) fn entry(list: List, user: &UserId) -> String {
    format!("{}/{user}", list.as_str())
}

pub(super) fn parse_entry(text: &str) -> Option<(List, UserId)> {
    let (list, user) = text.split_once('/')?;
    Some((List::from_name(list)?, UserId::new(user).ok()?))
}

/// `<epoch>:<lane>`
pub(super) fn stream(epoch: Epoch, lane: Lane) -> String {
    format!("{epoch}:{}", lane.number())
}

pub(super) fn parse_stream(text: &str) -> Option<(Epoch, Lane)> {
    let (epoch, lane) = text.split_once(':')?;
    Some((Epoch(epoch.parse().ok()?), Lane::from_number(lane.parse().ok()?)?))
}

/// `<last of lane 0>,<1>,<2>,<3>,<next epoch>`; the epoch is the field's name.
pub(super) fn sealed(sealed: &Sealed) -> String {
    let [a, b, c, d] = sealed.last.0;
    format!("{a},{b},{c},{d},{}", sealed.next)
}

pub(super) fn parse_sealed(epoch: &str, text: &str) -> Option<Sealed> {
    let numbers: Vec<u64> = text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [a, b, c, d, next] = *numbers.as_slice() else { return None };
    Some(Sealed { epoch: Epoch(epoch.parse().ok()?), last: Seqs([a, b, c, d]), next: Epoch(next) })
}

/// `<epoch>/<lane>/<seq>/<bytes of the user>/<user><key>`; the time until which it is kept is the score.
pub(super) fn remembered(remembered: &Remembered) -> String {
    let Remembered { user, key, stamp, .. } = remembered;
    format!("{}/{}/{}/{}/{user}{key}", stamp.epoch, stamp.lane.number(), stamp.seq, user.as_str().len())
}

pub(super) fn parse_remembered(text: &str, until_ms: Millis) -> Option<Remembered> {
    let mut parts = text.splitn(5, '/');
    let epoch = Epoch(parts.next()?.parse().ok()?);
    let lane = Lane::from_number(parts.next()?.parse().ok()?)?;
    let seq = parts.next()?.parse().ok()?;
    let user_bytes: usize = parts.next()?.parse().ok()?;
    let (user, key) = parts.next()?.split_at_checked(user_bytes)?;
    let user = UserId::new(user).ok()?;
    Some(Remembered { user, key: key.into(), stamp: Stamp { epoch, lane, seq }, until_ms })
}

/// Sixteen hexadecimal digits.
pub(super) fn session(session: SessionId) -> String {
    session.to_string()
}

/// `<connection epoch>/<joined>/<offline since, or nothing>/<user>`; the session is the field's name.
pub(super) fn member(member: &Member) -> String {
    let offline = member.offline_since_ms.map(|at| at.0.to_string()).unwrap_or_default();
    format!("{}/{}/{offline}/{}", member.conn_epoch, member.joined_ms.0, member.user)
}

pub(super) fn parse_member(session: &str, text: &str) -> Option<Member> {
    let mut parts = text.splitn(4, '/');
    let conn_epoch = parts.next()?.parse().ok()?;
    let joined_ms = millis(parts.next()?)?;
    let offline = parts.next()?;
    let offline_since_ms = if offline.is_empty() { None } else { Some(millis(offline)?) };
    let user = UserId::new(parts.next()?).ok()?;
    let session = SessionId(u64::from_str_radix(session, 16).ok()?);
    Some(Member { session, conn_epoch, user, joined_ms, offline_since_ms })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn users() -> impl Strategy<Value = UserId> {
        "[a-c/:,éß]{1,8}".prop_map(|text| UserId::new(&text).unwrap())
    }

    proptest! {
        #[test]
        fn entries_come_back(list in proptest::sample::select(List::ALL.as_slice()), user in users()) {
            prop_assert_eq!(parse_entry(&entry(list, &user)), Some((list, user)));
        }

        #[test]
        fn seals_come_back(epoch: u64, last: [u64; 4], next: u64) {
            let value = Sealed { epoch: Epoch(epoch), last: Seqs(last), next: Epoch(next) };
            prop_assert_eq!(parse_sealed(&epoch.to_string(), &sealed(&value)), Some(value));
        }

        #[test]
        fn remembered_keys_come_back(user in users(), key in "[a-c/é0-9]{0,8}", epoch: u64, lane in 0_u8..4, seq: u64) {
            let stamp = Stamp { epoch: Epoch(epoch), lane: Lane::from_number(lane).unwrap(), seq };
            let value = Remembered { user, key: key.as_str().into(), stamp, until_ms: Millis(5) };
            prop_assert_eq!(parse_remembered(&remembered(&value), Millis(5)), Some(value));
        }

        #[test]
        fn members_come_back(id: u64, conn_epoch: u64, user in users(), joined: u64, offline: Option<u64>) {
            let value = Member {
                session: SessionId(id),
                conn_epoch,
                user,
                joined_ms: Millis(joined),
                offline_since_ms: offline.map(Millis),
            };
            prop_assert_eq!(parse_member(&session(SessionId(id)), &member(&value)), Some(value));
        }

        #[test]
        fn whatever_the_store_holds_reading_it_does_not_panic(text in "\\PC{0,24}") {
            let _ = (parse_entry(&text), parse_sealed(&text, &text), parse_remembered(&text, Millis(0)));
            let _ = (parse_member(&text, &text), parse_stream(&text));
        }
    }
}
