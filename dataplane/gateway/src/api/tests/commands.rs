//! Each call reaches the Pod that it should, as the command that it means.

use serde_json::json;
use throng_core::Slot;
use throng_proto::link::admin_request::Command;
use throng_proto::link::{self, AdminRequest};

use super::cluster::{Gateway, Pod, Script, Seen, description, routes, settings};

async fn sent(method: &str, path: &str, body: &str) -> Seen {
    let pod = Pod::start(Script::default()).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[&pod.address]));
    let answer = gateway.call(method, path, body).await;
    assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
    let seen = pod.seen();
    assert_eq!(seen.len(), 1, "{method} {path}");
    seen[0].clone()
}

fn admin(room: &str, command: Command) -> Seen {
    Seen::Admin(AdminRequest { room: room.into(), command: Some(command) })
}

#[tokio::test]
async fn every_room_command_is_translated() {
    let mute_all = link::RoomSettings { mute_all: Some(true), idle_ms: Some(0), ..link::RoomSettings::default() };
    let put = r#"{"mute_all":true,"idle_ms":0}"#;
    assert_eq!(sent("PUT", "/v1/rooms/final", put).await, admin("final", Command::Create(mute_all)));
    assert_eq!(
        sent("PUT", "/v1/rooms/final", "").await,
        admin("final", Command::Create(link::RoomSettings::default()))
    );
    assert_eq!(sent("GET", "/v1/rooms/final", "").await, admin("final", Command::Describe(true)));
    let why = |reason: &str| admin("final", Command::Destroy(reason.into()));
    assert_eq!(sent("DELETE", "/v1/rooms/final", "").await, why("destroyed"));
    assert_eq!(sent("DELETE", "/v1/rooms/final?reason=the%20end", "").await, why("the end"));
    let page = |after: &str, limit| admin("final", Command::Members(link::MembersPage { after: after.into(), limit }));
    assert_eq!(sent("GET", "/v1/rooms/final/members", "").await, page("", 100));
    assert_eq!(sent("GET", "/v1/rooms/final/members?after=bob&limit=1000", "").await, page("bob", 1000));
    let kick = sent("POST", "/v1/rooms/final/kick", r#"{"user":"bob"}"#).await;
    assert_eq!(kick, admin("final", Command::Kick("bob".into())));
    let delete = link::DeleteMessage { room: "final".into(), epoch: 1 << 40, lane: 3, seq: 9 };
    let path = "/v1/rooms/final/messages/1099511627776/3/9";
    assert_eq!(sent("DELETE", path, "").await, admin("final", Command::Delete(delete)));
}

#[tokio::test]
async fn a_message_is_translated_with_all_rights_and_on_one_line() {
    let publish = |lane, key: &str, stored, data: &'static str| {
        let publish = link::Publish {
            room: "final".into(),
            user: "system".into(),
            lane,
            kind: "text".into(),
            data: data.as_bytes().into(),
            key: key.into(),
            stored,
            ..link::Publish::default()
        };
        admin("final", Command::Publish(publish))
    };
    let path = "/v1/rooms/final/messages";
    assert_eq!(sent("POST", path, "{}").await, publish(2, "", false, "null"));
    let nulls = r#"{"from":null,"type":null,"data":null,"lane":null,"key":null,"ack":null}"#;
    assert_eq!(sent("POST", path, nulls).await, publish(2, "", false, "null"));
    let body = "{\"lane\":0,\"key\":\"k\",\"ack\":\"stored\",\"data\":{ \"a\":\n\t[1.50, \"b c\"] }}";
    assert_eq!(sent("POST", path, body).await, publish(0, "k", true, r#"{"a":[1.50,"b c"]}"#));
}

#[tokio::test]
async fn every_list_is_read_and_changed_under_its_name_between_pods() {
    let names = ["mute", "block", "allow", "except", "owner", "admin", "speaker"];
    let inner = ["mute", "block", "allow", "except", "role:owner", "role:admin", "role:speaker"];
    for (name, inner) in names.into_iter().zip(inner) {
        let path = format!("/v1/rooms/final/lists/{name}");
        assert_eq!(sent("GET", &path, "").await, admin("final", Command::ReadList(inner.into())));
        let body = r#"{"add":[{"user":"ana","until_ms":9007199254740991},{"user":"bob"}],"remove":["eve"]}"#;
        let entry = |user: &str, until_ms| link::ListEntry { user: user.into(), until_ms };
        let add = vec![entry("ana", 9_007_199_254_740_991), entry("bob", 0)];
        let change = link::ListChange { list: inner.into(), add, remove: vec!["eve".into()] };
        assert_eq!(sent("POST", &path, body).await, admin("final", Command::List(change)));
    }
}

#[tokio::test]
async fn for_ms_counts_from_now() {
    let now = super::super::unix_now().0;
    let seen = sent("POST", "/v1/rooms/final/lists/mute", r#"{"add":[{"user":"ana","for_ms":60000}]}"#).await;
    let Seen::Admin(AdminRequest { command: Some(Command::List(change)), .. }) = seen else { panic!("{seen:?}") };
    let until = change.add[0].until_ms;
    assert!((now + 60_000..now + 70_000).contains(&until), "{until}");
}

#[tokio::test]
async fn users_are_told_and_kicked_at_their_home() {
    let seen = sent("POST", "/v1/users/ana/messages", r#"{"from":"shop","type":"order","data":[1]}"#).await;
    let Seen::Direct(directed) = seen else { panic!("{seen:?}") };
    assert!(directed.at_ms > 1_700_000_000_000);
    let expected = link::Directed {
        to: "ana".into(),
        from: "shop".into(),
        kind: "order".into(),
        data: "[1]".into(),
        at_ms: directed.at_ms,
        sessions: vec![],
    };
    assert_eq!(directed, expected);
    let kick = link::KickUser { user: "ana".into(), session: 0, reason: "kicked".into(), sessions: vec![] };
    assert_eq!(sent("POST", "/v1/users/ana/kick", "").await, Seen::Kick(kick));
}

#[tokio::test]
async fn calls_go_to_the_owner_of_the_rooms_slot_and_to_the_home_of_the_users() {
    let (a, b) = (Pod::start(Script::default()).await, Pod::start(Script::default()).await);
    let gateway = Gateway::new(routes(&[&a.address, &b.address], &[&b.address, &a.address]));
    for i in 0..8 {
        let name = format!("name-{i}");
        let even = Slot::of(&name).number().is_multiple_of(2);
        let (owner, home) = if even { (&a, &b) } else { (&b, &a) };
        let before = (owner.seen().len(), home.seen().len());
        gateway.call("GET", &format!("/v1/rooms/{name}"), "").await;
        assert_eq!((owner.seen().len(), home.seen().len()), (before.0 + 1, before.1), "{name}");
        gateway.call("POST", &format!("/v1/users/{name}/kick"), "").await;
        assert_eq!((owner.seen().len(), home.seen().len()), (before.0 + 1, before.1 + 1), "{name}");
    }
}

#[tokio::test]
async fn rooms_of_all_pods_are_one_list_in_pages() {
    let script = |names: &[&str]| Script {
        rooms: names.iter().map(|name| description(name, settings())).collect(),
        ..Script::default()
    };
    let a = Pod::start(script(&["a", "d", "e"])).await;
    let b = Pod::start(script(&["b", "c"])).await;
    let gateway = Gateway::new(routes(&[&a.address, &b.address], &[]));
    let mut pages = Vec::new();
    let mut path = "/v1/rooms?limit=2".to_owned();
    loop {
        let answer = gateway.call("GET", &path, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let names = answer.body["rooms"].as_array().unwrap().iter().map(|room| room["room"].as_str().unwrap());
        pages.push(names.collect::<String>());
        let Some(next) = answer.body["next"].as_str() else { break };
        path = format!("/v1/rooms?limit=2&after={next}");
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
}

#[tokio::test]
async fn an_announcement_is_said_by_every_chatroom_pod() {
    let (a, b) = (Pod::start(Script::default()).await, Pod::start(Script::default()).await);
    let gateway = Gateway::new(routes(&[&a.address, &b.address], &[]));
    let answer = gateway.call("POST", "/v1/announce", r#"{"data":"x"}"#).await;
    assert_eq!(answer.body, json!({"rooms": 24}));
    let announce = link::AnnounceRequest { from: "system".into(), kind: "text".into(), data: "\"x\"".into(), lane: 1 };
    assert_eq!((a.seen(), b.seen()), (vec![Seen::Announce(announce.clone())], vec![Seen::Announce(announce)]));
}
