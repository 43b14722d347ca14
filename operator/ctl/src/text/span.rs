//! Spans of time and counts as people say them.

use throng_plan::status::Utc;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;

/// A span in its one or two largest units: `45s`, `3m20s`, `34m`, `5h12m`, `3d4h`, `12d`. Smaller ones are cut, not rounded.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let two = |large: u64, name: char, small: u64, small_name: char| {
        if small == 0 { format!("{large}{name}") } else { format!("{large}{name}{small}{small_name}") }
    };
    match seconds {
        0..MINUTE_S => format!("{seconds}s"),
        MINUTE_S..600 => two(seconds / MINUTE_S, 'm', seconds % MINUTE_S, 's'),
        600..HOUR_S => format!("{}m", seconds / MINUTE_S),
        HOUR_S..DAY_S => two(seconds / HOUR_S, 'h', seconds % HOUR_S / MINUTE_S, 'm'),
        _ if seconds < 10 * DAY_S => two(seconds / DAY_S, 'd', seconds % DAY_S / HOUR_S, 'h'),
        _ => format!("{}d", seconds / DAY_S),
    }
}

/// How long ago an instant was, or how long it is still to come: `2m ago`, `in 5m`.
#[must_use]
pub fn ago(then: Utc, now: Utc) -> String {
    if then.0 > now.0 {
        format!("in {}", span(then.0.since(now.0)))
    } else {
        format!("{} ago", span(now.0.since(then.0)))
    }
}

/// What is left until a deadline: `14m left`, or `2m over`.
#[must_use]
pub fn left(deadline: Utc, now: Utc) -> String {
    if deadline.0 > now.0 {
        format!("{} left", span(deadline.0.since(now.0)))
    } else {
        format!("{} over", span(now.0.since(deadline.0)))
    }
}

/// A count with commas between thousands.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its word: `1 Pod`, `2 Pods`.
#[must_use]
pub fn many(number: u64, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        let cases = [
            (0, "0s"),
            (999, "0s"),
            (45_999, "45s"),
            (60_000, "1m"),
            (200_000, "3m20s"),
            (2_040_000, "34m"),
            (3_600_000, "1h"),
            (18_720_000, "5h12m"),
            (86_400_000, "1d"),
            (273_600_000, "3d4h"),
            (1_036_800_000, "12d"),
            (u64::MAX, "213503982334d"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn an_instant_is_past_or_to_come() {
        let at = |ms| Utc(Millis(ms));
        assert_eq!(ago(at(1000), at(121_000)), "2m ago");
        assert_eq!(ago(at(301_000), at(1000)), "in 5m");
        assert_eq!(left(at(60_000), at(0)), "1m left");
        assert_eq!(left(at(0), at(0)), "0s over");
    }

    #[test]
    fn thousands_are_parted() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (24_113, "24,113"), (1_000_000, "1,000,000")];
        for (number, text) in cases {
            assert_eq!(count(number), text);
        }
        assert_eq!((many(1, "Pod"), many(0, "Pod")), ("1 Pod".into(), "0 Pods".into()));
    }
}
