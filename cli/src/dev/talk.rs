//! What bots say: the mix of a live event. Chat most of all, likes and entries on the low lane, now and then a gift.

use serde_json::{Map, Value};
use throng_core::Lane;

use crate::bench::crowd::Saying;

const CHAT: [&str; 16] = [
    "hello everybody",
    "what a start",
    "who else is here?",
    "louder please",
    "I cannot believe it",
    "greetings from the harbour",
    "this song again!",
    "ha, well played",
    "is it over already?",
    "my first time here",
    "no way",
    "encore!",
    "who is next?",
    "good evening",
    "that was close",
    "best seat in the house",
];
const GIFTS: [&str; 4] = ["rose", "rocket", "cake", "crown"];

/// The saying of this number, and which of `bots` says it. The same number gives the same answer.
pub(super) fn saying(number: u64, bots: usize) -> (usize, Saying) {
    let luck = mix(number);
    let speaker = usize::try_from(luck >> 32).unwrap_or(0) % bots.max(1);
    let pick = |texts: &[&str]| {
        let place = usize::try_from((luck >> 16) & 0xff).unwrap_or(0) % texts.len().max(1);
        Value::from(texts.get(place).copied().unwrap_or_default())
    };
    let saying = |kind, lane, field: Option<(&str, Value)>| {
        let data: Map<String, Value> = field.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Saying { kind, lane, data }
    };
    let said = match luck % 100 {
        0..60 => saying("text", Lane::Normal, Some(("text", pick(&CHAT)))),
        60..88 => saying("like", Lane::Low, None),
        88..98 => saying("entry", Lane::Low, None),
        _ => saying("gift", Lane::Protected, Some(("gift", pick(&GIFTS)))),
    };
    (speaker, said)
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood, 2014).
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_thousand_sayings_are_mixed_like_an_event_and_come_from_many() {
        let said: Vec<_> = (1..=1000).map(|number| saying(number, 500)).collect();
        let on = |lane| said.iter().filter(|(_, saying)| saying.lane == lane).count();
        assert!((560..640).contains(&on(Lane::Normal)), "{}", on(Lane::Normal));
        assert!((340..420).contains(&on(Lane::Low)), "{}", on(Lane::Low));
        assert!((8..40).contains(&on(Lane::Protected)), "{}", on(Lane::Protected));
        let speakers: BTreeSet<usize> = said.iter().map(|(speaker, _)| *speaker).collect();
        assert!(speakers.len() > 350 && speakers.iter().all(|speaker| *speaker < 500));
        let texts: BTreeSet<String> = said.iter().filter_map(|(_, s)| Some(s.data.get("text")?.to_string())).collect();
        assert_eq!(texts.len(), CHAT.len());
    }

    #[test]
    fn nobody_says_nothing_wrong() {
        assert_eq!(saying(1, 0).0, 0);
    }
}
