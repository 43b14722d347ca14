//! Who is taken out of a room, whatever is on its way just then.

use super::*;

/// A token that covers rooms with this name only.
fn token_for(user: &str, rooms: &[&str]) -> String {
    let claims = json!({"sub": user, "exp": 4_000_000_000u64, "lane": 0, "rooms": rooms});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap()
}

fn remove(shard: &mut Shard<Pipes>, room: &str, user: &str) {
    let users = vec![UserId::new(user).unwrap()];
    shard.from_hub(ToShard::Removed(RoomId::new(room).unwrap(), users, Arc::from("offline")));
}

fn hello(shard: &mut Shard<Pipes>, user: &str) -> u32 {
    let conn = shard.connect();
    shard.say(conn, &json!({"id": 1, "hello": {"token": token(user, 4_000_000_000)}}));
    conn
}

/// A user who was connected before, and is back in these rooms as far as it can do that alone.
fn resume(shard: &mut Shard<Pipes>, user: &str, rooms: &Value) -> u32 {
    let before = hello(shard, user);
    let token = shard.lines(before)[0]["ok"]["resume"].clone();
    shard.closed(before);
    shard.take_for_hub();
    let conn = shard.connect();
    shard.say(conn, &json!({"id": 1, "hello": {"resume": token, "rooms": rooms}}));
    conn
}

#[test]
fn a_join_on_its_way_is_answered_when_its_user_is_taken_out() {
    let mut shard = shard_with(options());
    let ana = hello(&mut shard, "ana");
    shard.lines(ana);
    shard.say(ana, &json!({"id": 2, "join": {"room": "a"}}));
    let wanted = shard.take_for_hub();
    remove(&mut shard, "a", "ana");
    let lines = shard.lines(ana);
    assert_eq!((&lines[0]["id"], &lines[0]["error"]["code"]), (&json!(2), &json!("unavailable")), "{lines:?}");
    let told = shard.take_for_hub();
    assert!(told.iter().any(|news| matches!(news, ToHub::Leave { .. })), "the owner may have let it in: {told:?}");
    assert!(wanted.iter().any(|news| matches!(news, ToHub::Wanted(_))));
    shard.from_hub(ToShard::Open(RoomId::new("a").unwrap(), cursor(7, [0; 4])));
    shard.say(ana, &json!({"id": 3, "join": {"room": "a"}}));
    shard.answer_hub();
    assert_eq!(shard.lines(ana)[0]["ok"]["room"], "a", "it tries again");
}

#[test]
fn who_joins_a_room_that_ends_is_told_whether_to_try_again_and_nobody_else_hears_it() {
    for (reason, code, retry) in
        [("over", "room_closed", false), ("expired", "room_closed", false), ("idle", "unavailable", true)]
    {
        let mut shard = shard_with(options());
        let (ana, ben) = (hello(&mut shard, "ana"), hello(&mut shard, "ben"));
        shard.lines(ana);
        shard.lines(ben);
        shard.say(ana, &json!({"id": 2, "join": {"room": "a"}}));
        shard.say(ben, &json!({"id": 2, "join": {"room": "b"}}));
        shard.take_for_hub();
        shard.from_hub(ToShard::Removed(RoomId::new("a").unwrap(), Vec::new(), Arc::from(reason)));
        let lines = shard.lines(ana);
        assert_eq!((&lines[0]["id"], &lines[0]["error"]["code"]), (&json!(2), &json!(code)), "{lines:?}");
        assert_eq!((lines.len(), lines[0]["error"]["retry_ms"].is_u64()), (1, retry), "{lines:?}");
        assert!(shard.lines(ben).is_empty());
        let told = shard.take_for_hub();
        assert!(told.iter().any(|news| matches!(news, ToHub::Leave { .. })), "the owner may have let it in: {told:?}");
        shard.from_hub(ToShard::Open(RoomId::new("a").unwrap(), cursor(7, [0; 4])));
        shard.say(ana, &json!({"id": 3, "join": {"room": "a"}}));
        shard.answer_hub();
        assert_eq!(shard.lines(ana)[0]["ok"]["room"], "a", "a new room of that name");
    }
}

#[test]
fn a_resume_is_answered_when_its_user_is_taken_out_of_one_of_its_rooms_and_none_meets_anothers() {
    let mut shard = shard_with(options());
    let since = json!({"epoch": 7, "seq": [0, 0, 0, 0]});
    let ana = resume(&mut shard, "ana", &json!({"a": since, "b": since}));
    let of_ana = shard.take_for_hub();
    remove(&mut shard, "a", "ana");
    // Another comes back: nothing of the first may reach it.
    let ben = resume(&mut shard, "ben", &json!({"c": since, "d": since}));
    let of_ben = shard.take_for_hub();
    for news in of_ana.into_iter().chain(of_ben) {
        match news {
            ToHub::Wanted(room) => shard.from_hub(ToShard::Open(room, cursor(7, [0; 4]))),
            ToHub::Join { ticket, .. } => shard.from_hub(ToShard::Joined(ticket.number, Ok(1))),
            _ => {}
        }
    }
    let rooms = |lines: &[Value]| {
        let answer = lines.iter().find(|line| line["id"] == 1).unwrap_or_else(|| panic!("no answer: {lines:?}"));
        let rooms = answer["ok"]["rooms"].as_object().unwrap();
        rooms.iter().map(|(name, room)| (name.clone(), room["code"].clone())).collect::<Vec<_>>()
    };
    let none = Value::Null;
    assert_eq!(rooms(&shard.lines(ana)), [("a".to_owned(), json!("unavailable")), ("b".to_owned(), none.clone())]);
    assert_eq!(rooms(&shard.lines(ben)), [("c".to_owned(), none.clone()), ("d".to_owned(), none)]);
    assert!(shard.resumes.is_empty());
}

#[test]
fn a_resume_whose_connection_ends_is_forgotten_with_its_last_room() {
    let mut shard = shard_with(options());
    let since = json!({"epoch": 7, "seq": [0, 0, 0, 0]});
    let ana = resume(&mut shard, "ana", &json!({"a": since, "b": since}));
    shard.take_for_hub();
    shard.closed(ana);
    assert!(shard.resumes.is_empty() && shard.pending.is_empty());
}

#[test]
fn a_refresh_that_covers_fewer_rooms_takes_its_user_out_of_the_others() {
    let mut shard = shard_with(options());
    let ana = shard.connect();
    shard.say(ana, &json!({"id": 1, "hello": {"token": token_for("ana", &["a", "b", "c"])}}));
    for (id, room) in [(2, "a"), (3, "b")] {
        shard.say(ana, &json!({"id": id, "join": {"room": room}}));
        shard.answer_hub();
    }
    shard.say(ana, &json!({"id": 4, "join": {"room": "c"}}));
    shard.take_for_hub();
    shard.lines(ana);
    shard.say(ana, &json!({"id": 5, "refresh": {"token": token_for("ana", &["a"])}}));
    let lines = shard.lines(ana);
    let of = |what: &dyn Fn(&&Value) -> bool| lines.iter().find(what).unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(of(&|line| line["id"] == 4)["error"]["code"], "forbidden");
    assert_eq!(of(&|line| line["event"]["kind"] == "removed")["event"]["reason"], "token");
    assert!(of(&|line| line["id"] == 5)["ok"].is_object());
    let left = |news: &ToHub| matches!(news, ToHub::Leave { room, .. } if ["b", "c"].contains(&room.as_str()));
    assert_eq!(shard.take_for_hub().iter().filter(|news| left(news)).count(), 2);
    shard.say(ana, &json!({"id": 6, "publish": {"room": "b", "type": "chat", "data": "x"}}));
    assert_eq!(shard.lines(ana)[0]["error"]["code"], "not_joined");
}
