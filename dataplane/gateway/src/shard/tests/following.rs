//! What changes while people are connected: the downstream policy, and keys.

use super::*;

/// Who says nothing of a rate.
fn enter_plainly(shard: &mut Shard<Pipes>, user: &str) -> u32 {
    let conn = shard.connect();
    shard.say(conn, &json!({"id": 1, "hello": {"token": token(user, 4_000_000_000)}}));
    shard.say(conn, &json!({"id": 2, "join": {"room": "r"}}));
    shard.answer_hub();
    shard.lines(conn);
    conn
}

/// Says a hundred messages at once, after two seconds of silence; returns how many came to whom. All others are declared.
fn burst(shard: &mut Shard<Pipes>, after: u64, conns: &[u32]) -> Vec<usize> {
    shard.at(shard.now + 2_000);
    let messages: Vec<_> = (after + 1..=after + 100).map(|seq| (Lane::Normal, seq, "eve")).collect();
    shard.say_to_room(&messages, [0, 0, after, 0]);
    let mut came = |conn: &u32| {
        let seen = seen(&shard.lines(*conn), 2);
        let declared: u64 = seen.declared.iter().map(|(from, to)| to - from + 1).sum();
        assert_eq!(declared + seen.received.len() as u64, 100, "{seen:?}");
        seen.received.len()
    };
    conns.iter().map(&mut came).collect()
}

#[test]
fn who_is_connected_gets_what_a_new_policy_says() {
    let mut shard = shard_with(options());
    let (plain, modest) = (enter_plainly(&mut shard, "ana"), shard.enter("bob", "r", 5));
    let came = burst(&mut shard, 0, &[plain, modest]);
    assert!((15..=20).contains(&came[0]) && (3..=5).contains(&came[1]), "{came:?}");
    shard.from_hub(ToShard::Downstream(Downstream { messages_per_second: 40, ..shard.downstream }));
    let came = burst(&mut shard, 100, &[plain, modest]);
    assert!((30..=40).contains(&came[0]), "{came:?}");
    assert!((3..=5).contains(&came[1]), "who asked for less gets no more: {came:?}");
    let tight = Downstream { messages_per_second: 3, max_messages_per_second: 2, allow_unlimited: false };
    shard.from_hub(ToShard::Downstream(tight));
    let late = enter_plainly(&mut shard, "dan");
    let came = burst(&mut shard, 200, &[plain, modest, late]);
    assert!((2..=3).contains(&came[0]) && came[0] == came[2], "those who come and those who are here alike: {came:?}");
    assert!((1..=2).contains(&came[1]), "nobody gets more than anybody may ask for: {came:?}");
}

#[test]
fn a_rotated_key_is_taken_at_once_and_one_that_is_gone_is_refused() {
    let mut shard = shard_with(options());
    let mut auth = options().auth;
    auth.jwt[0].key = Secret("another secret of at least thirty-two bytes".into());
    shard.from_hub(ToShard::Keys(Arc::new(Keys::new(&auth).unwrap())));
    let conn = shard.connect();
    shard.say(conn, &json!({"id": 1, "hello": {"token": token("ana", 4_000_000_000)}}));
    let lines = shard.lines(conn);
    assert!(lines.iter().any(|line| line["error"]["code"] == "unauthorized"), "{lines:?}");
    shard.from_hub(ToShard::Keys(Arc::new(Keys::new(&options().auth).unwrap())));
    let conn = shard.connect();
    shard.say(conn, &json!({"id": 1, "hello": {"token": token("ana", 4_000_000_000)}}));
    assert!(shard.lines(conn).iter().any(|line| line["ok"]["user"] == "ana"));
}
