//! Cursors from the future, and of epochs that a room never had.

use futures::future::join_all;
use serde_json::json;
use throng_e2e::client::Client;
use throng_e2e::talk::Talk;

use crate::{code, hello, join, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_the_room_never_had_is_refused_in_a_join_and_in_a_resume() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let mut ana = hello(dev, "ana").await;
    let epoch = join(&mut ana, "past").await["epoch"].as_u64().unwrap();
    for _ in 0..3 {
        ana.ask(json!({"publish": {"room": "past", "data": "x"}})).await.unwrap();
    }
    let wrong = [
        ("one number ahead", json!({"epoch": epoch, "seq": [0, 0, 4, 0]})),
        ("far ahead", json!({"epoch": epoch, "seq": [0, 0, 1_000_000, 0]})),
        ("ahead in another lane", json!({"epoch": epoch, "seq": [0, 0, 3, 1]})),
        ("the largest numbers", json!({"epoch": epoch, "seq": [u64::MAX, u64::MAX, u64::MAX, u64::MAX]})),
        ("the next epoch", json!({"epoch": epoch + 1, "seq": [0, 0, 0, 0]})),
        ("the largest epoch", json!({"epoch": u64::MAX, "seq": [0, 0, 0, 0]})),
        ("the epoch before, which never was", json!({"epoch": epoch - 1, "seq": [0, 0, 0, 0]})),
        ("an epoch long before", json!({"epoch": 1, "seq": [0, 0, 7, 0]})),
    ];
    // Each waits a second, in case the room is about to come there: all at once.
    join_all(wrong.iter().map(|(what, since)| async move {
        let mut eve = hello(dev, "eve").await;
        let answer = eve.try_ask(json!({"join": {"room": "past", "since": since}})).await.unwrap();
        assert_eq!(code(&answer), "bad_cursor", "{what}");
        assert!(answer["error"].get("retry_ms").is_none(), "{what}: it never gets better: {answer}");
        let publish = eve.try_ask(json!({"publish": {"room": "past", "data": "x"}})).await.unwrap();
        assert_eq!(code(&publish), "not_joined", "{what}");
        drop(eve);
        let (mut bob, ok) = Client::hello(&dev.ready.url, &dev.token("bob").unwrap()).await.unwrap();
        join(&mut bob, "past").await;
        let mut again = Client::open(&dev.ready.url).await.unwrap();
        let ok = again.ask(json!({"hello": {"resume": ok["resume"], "rooms": {"past": since}}})).await.unwrap();
        assert_eq!(ok["rooms"]["past"]["code"], "bad_cursor", "{what}: {ok}");
        assert_eq!(ok["rooms"]["past"]["recovered"], false, "{what}: {ok}");
    }))
    .await;
    let mut eve = hello(dev, "eve").await;
    // A room that nobody was ever in has no past either.
    let answer =
        eve.try_ask(json!({"join": {"room": "new", "since": {"epoch": 1, "seq": [0, 0, 1, 0]}}})).await.unwrap();
    assert_eq!(code(&answer), "bad_cursor");

    // The right one works, and brings what was missed.
    let joined =
        eve.ask(json!({"join": {"room": "past", "since": {"epoch": epoch, "seq": [0, 0, 1, 0]}}})).await.unwrap();
    assert_eq!(joined["recovered"], true, "{joined}");
    let mut missed = Vec::new();
    while missed.len() < 2 {
        missed.extend(eve.messages(crate::SOON).await.unwrap().iter().map(|message| message["seq"].as_u64().unwrap()));
    }
    assert_eq!(missed, [2, 3]);

    for (after, epoch, expected) in [
        (4, epoch, "bad_cursor"),
        (u64::MAX, epoch, "bad_cursor"),
        (0, epoch + 1, "not_found"),
        (0, epoch - 1, "not_found"),
        (0, 1, "not_found"),
        (0, u64::MAX, "not_found"),
    ] {
        let pull = json!({"pull": {"room": "past", "lane": 2, "after": after, "epoch": epoch}});
        let answer = ana.try_ask(pull).await.unwrap();
        assert_eq!(code(&answer), expected, "{answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().contains("join"), "{answer}");
        assert!(answer["error"].get("retry_ms").is_none(), "{answer}");
    }
    println!("{}", talk.undisturbed().unwrap());
}
