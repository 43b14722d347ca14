//! Local times of events, and the instants that they mean.
//!
//! In a gap of daylight saving the later of the two readings counts, in a fold the earlier one, as calendars do (RFC 5545,
//! section 3.3.5). Time zones are those built into the binary, so that every replica of the operator reads a time alike.

use jiff::civil::DateTime;
use jiff::tz::{Disambiguation, TimeZone, TimeZoneDatabase};
use throng_core::Millis;
use throng_plan::pools::Pools;
use throng_plan::spec::Event;

use super::{Flaw, Reason, not_admitted, span};
use crate::cluster::policy;

pub(super) fn convert(events: &[policy::Event], flaws: &mut Vec<Flaw>, refused: &mut Vec<Flaw>) -> Vec<Event> {
    let zones = TimeZoneDatabase::bundled();
    let mut converted = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let path = format!("spec.events[{index}]");
        let ramp_ms = span(&event.ramp, &format!("{path}.ramp"), refused);
        let hold_ms = span(&event.hold, &format!("{path}.hold"), refused);
        match instant(&zones, event, &path) {
            Ok(starts_at) => converted.push(Event {
                name: event.name.clone(),
                ramp_at: starts_at - ramp_ms,
                starts_at,
                ends_at: starts_at + hold_ms,
                floor: Pools {
                    gateway: event.floor.gateway.unwrap_or(0),
                    chatroom: event.floor.chatroom.unwrap_or(0),
                    message: event.floor.message.unwrap_or(0),
                },
            }),
            Err(flaw) if flaw.reason == Reason::NotAdmitted => refused.push(flaw),
            Err(flaw) => flaws.push(flaw),
        }
    }
    converted
}

fn instant(zones: &TimeZoneDatabase, event: &policy::Event, path: &str) -> Result<Millis, Flaw> {
    let zone = zone(zones, &event.time_zone, &format!("{path}.timeZone"))?;
    let path = format!("{path}.start");
    if event.start.len() > 19 {
        return Err(not_admitted(&path, "write local time without an offset, such as 2026-12-31T20:00:00"));
    }
    let flaw = |error: jiff::Error| Flaw {
        path: path.clone(),
        reason: Reason::ImpossibleTime,
        message: format!("{:?} is not a time of the calendar, so the event is left out: {error}", event.start),
    };
    let local: DateTime = event.start.parse().map_err(flaw)?;
    let resolved = zone.to_ambiguous_zoned(local).disambiguate(Disambiguation::Compatible).map_err(flaw)?;
    let ms = resolved.timestamp().as_millisecond();
    u64::try_from(ms).map(Millis).map_err(|_| Flaw {
        path: path.clone(),
        reason: Reason::ImpossibleTime,
        message: format!("{:?} is before 1970, so the event is left out: write a year to come", event.start),
    })
}

fn zone(zones: &TimeZoneDatabase, name: &str, path: &str) -> Result<TimeZone, Flaw> {
    zones.get(name).map_err(|_| Flaw {
        path: path.into(),
        reason: Reason::UnknownTimeZone,
        message: format!("no time zone is called {name:?}, so the event is left out: write one such as Asia/Shanghai"),
    })
}
