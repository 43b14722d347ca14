//! Who is closed, and how a gateway empties.

use super::*;

#[test]
fn time_pings_the_silent_and_closes_the_dead_and_the_expired() {
    let mut shard = shard_with(options());
    let silent = shard.enter("silent", "r", 0);
    let alive = shard.enter("alive", "r", 0);
    let expiring = shard.connect();
    let soon = 1_795_000_000 + START.0 / 1000 + 40;
    shard.say(expiring, &json!({"id": 1, "hello": {"token": token("late", soon)}}));
    for conn in [silent, alive, expiring] {
        shard.lines(conn);
    }
    let (mut pings, mut closes) = (0, BTreeMap::new());
    for ms in (0..120_000).step_by(200) {
        shard.at(START + ms);
        for conn in [silent, alive, expiring] {
            if !shard.io.open.contains_key(&conn) && !shard.io.closed.contains_key(&conn) {
                continue;
            }
            for line in shard.lines(conn) {
                if let Some(code) = line.get("close") {
                    closes.insert(conn, (code.clone(), ms));
                } else if conn != silent && line.get("ping").is_some() {
                    pings += 1;
                    shard.bytes(conn, &mut [0x8a, 0x80, 0, 0, 0, 0]);
                }
            }
        }
        shard.turn();
    }
    assert!(pings >= 4, "{pings}");
    assert_eq!(closes[&silent].0, 4007);
    assert_eq!(closes[&expiring].0, 4002);
    assert!((40_000..41_000).contains(&closes[&expiring].1), "{closes:?}");
    assert!(!closes.contains_key(&alive));
    assert_eq!(shard.connections(), 1);
}

#[test]
fn who_is_left_when_the_gateway_ends_is_told() {
    let mut shard = shard_with(options());
    let there = shard.enter("ana", "r", 0);
    let silent = shard.connect();
    let asked = shard.enter("ben", "r", 0);
    shard.drain(0, 0);
    for conn in [there, asked] {
        assert!(shard.lines(conn).iter().any(|line| line.get("goaway").is_some()));
    }
    shard.stop();
    for conn in [there, silent, asked] {
        assert!(shard.lines(conn).iter().any(|line| line["close"] == 1001), "{conn}");
    }
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_is_closed_as_slow() {
    let mut options = options();
    options.limits.queue_bytes = 4000;
    let mut shard = shard_with(options);
    let reader = shard.enter("reader", "r", 0);
    let stalled = shard.enter("stalled", "r", 0);
    shard.io.open.get_mut(&stalled).unwrap().room = 0;
    for seq in 1..=1000 {
        shard.say_to_room(&[(Lane::Low, seq, "x"), (Lane::Normal, seq, "x")], [0, 0, seq - 1, seq - 1]);
        let queued = shard.conn(stalled).and_then(|conn| conn.outbox.as_ref()).map_or(0, |outbox| outbox.bytes());
        assert!(queued <= 4000, "{queued}");
    }
    assert!(shard.conn(stalled).is_some_and(Conn::is_open), "chat alone closes nobody");
    assert_eq!(seen(&shard.lines(reader), 2).received.len(), 1000);
    for seq in 1..=100 {
        shard.say_to_room(&[(Lane::Protected, seq, "x")], [0, seq - 1, 1000, 1000]);
    }
    assert!(!shard.conn(stalled).is_some_and(Conn::is_open));
    assert_eq!(seen(&shard.lines(reader), 1).received.len(), 100);
}

#[test]
fn a_flood_is_closed_and_idle_users_drain_before_speakers() {
    let mut options = options();
    options.limits.frames_per_s = 10;
    options.drain_per_s = 10;
    let mut shard = shard_with(options);
    let flood = shard.enter("flood", "r", 0);
    for id in 0..20 {
        shard.say(flood, &json!({"id": id, "ping": {}}));
    }
    assert_eq!(shard.lines(flood).pop().unwrap()["close"], 4004);
    let speaker = shard.enter("speaker", "r", 0);
    shard.say(speaker, &json!({"id": 5, "publish": {"room": "r", "type": "text", "data": 1}}));
    let idle: Vec<u32> = (0..9).map(|n| shard.enter(&format!("idle{n}"), "r", 0)).collect();
    shard.from_hub(ToShard::Drain { within_ms: 60_000, per_s: 0 });
    let mut told = Vec::new();
    for ms in (0..3000).step_by(50) {
        shard.at(START + ms);
        shard.turn();
        for conn in idle.iter().copied().chain([speaker]) {
            if shard.lines(conn).iter().any(|line| line.get("goaway").is_some()) {
                told.push((conn, ms));
            }
        }
    }
    assert_eq!(told.len(), 10);
    assert_eq!(told.last().unwrap().0, speaker);
    assert!(told.last().unwrap().1 >= 800, "at ten a second: {told:?}");
}

#[test]
fn a_drain_keeps_the_pace_that_it_is_given_unless_its_deadline_is_sooner() {
    // Two a second are five seconds for ten; a deadline of twelve leaves two until those told last are closed.
    for (within_ms, last_ms) in [(60_000, 4_500..=5_100), (12_000, 1_800..=2_100)] {
        let mut shard = shard_with(options());
        let conns: Vec<u32> = (0..10).map(|n| shard.enter(&format!("user{n}"), "r", 0)).collect();
        shard.from_hub(ToShard::Drain { within_ms, per_s: 2 });
        let mut told = Vec::new();
        for ms in (0..8_000).step_by(50) {
            shard.at(START + ms);
            shard.turn();
            for conn in &conns {
                if shard.lines(*conn).iter().any(|line| line.get("goaway").is_some()) {
                    told.push(ms);
                }
            }
        }
        assert_eq!(told.len(), 10);
        assert!(last_ms.contains(told.last().unwrap()), "{within_ms}: {told:?}");
    }
}

#[test]
fn who_does_not_heed_a_goaway_is_closed_with_1001_within_the_deadline_and_no_sooner_than_it_was_told() {
    const WITHIN_MS: u64 = 20_000;
    let mut shard = shard_with(options());
    let (stubborn, mute) = (shard.enter("stubborn", "r", 0), shard.enter("mute", "r", 0));
    shard.from_hub(ToShard::Drain { within_ms: WITHIN_MS, per_s: 0 });
    let (mut told, mut closed, mut gone) = (None, None, None);
    for ms in (0..2 * WITHIN_MS).step_by(50) {
        shard.at(START + ms);
        shard.turn();
        for line in shard.lines(stubborn) {
            if let Some(goaway) = line.get("goaway") {
                told = Some(ms + goaway["after_ms"].as_u64().unwrap());
            }
            if let Some(code) = line.get("close") {
                assert_eq!((code, closed.replace(ms)), (&json!(1001), None));
            }
        }
        // It does not answer the close frame either.
        if gone.is_none() && !shard.io.open.contains_key(&mute) {
            gone = Some(ms);
        }
    }
    let (told, closed, gone) = (told.expect("it is told"), closed.expect("it is closed"), gone.expect("it is dropped"));
    assert!((told..=WITHIN_MS).contains(&closed), "it had until {told}, and was closed at {closed}");
    assert!(gone <= WITHIN_MS + 5_000, "closed at {closed}, its socket at {gone}");
}

#[test]
fn some_are_asked_to_connect_anew_idle_ones_first_and_the_rest_stay() {
    let mut shard = shard_with(options());
    let speaker = shard.enter("speaker", "r", 0);
    shard.say(speaker, &json!({"id": 5, "publish": {"room": "r", "type": "text", "data": 1}}));
    let mut conns: Vec<u32> = (0..9).map(|n| shard.enter(&format!("idle{n}"), "r", 0)).collect();
    shard.from_hub(ToShard::Shed { users: 4, per_s: 10 });
    let mut told = Vec::new();
    let mut look = |shard: &mut Shard<Pipes>, conns: &[u32], ms: u64| {
        shard.at(START + ms);
        shard.turn();
        for conn in conns.iter().copied().chain([speaker]) {
            if shard.lines(conn).iter().any(|line| line.get("goaway").is_some()) {
                told.push(conn);
            }
        }
        told.len()
    };
    assert!(look(&mut shard, &conns, 100) < 4, "at ten a second");
    for ms in (150..3000).step_by(50) {
        look(&mut shard, &conns, ms);
    }
    // Whoever comes later is not asked.
    conns.push(shard.enter("late", "r", 0));
    assert_eq!(look(&mut shard, &conns, 3100), 4);
    shard.from_hub(ToShard::Shed { users: 100, per_s: 0 });
    assert_eq!(look(&mut shard, &conns, 6000), 11, "{conns:?}");
}
