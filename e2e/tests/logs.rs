//! What people say and what they prove themselves with is in no log, however much is logged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use throng_e2e::client::Client;
use throng_e2e::cluster::{API_KEY, Cluster, POD_KEY, SECRET};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a request of the server API and gives back its status line.
fn request(gateway: SocketAddr, key: &str, path: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(gateway).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        socket,
        "POST {path} HTTP/1.1\r\nHost: throng\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_has_a_message_a_token_or_a_key() {
    let cluster = Cluster::new(2_000).unwrap().logging("trace");
    let _etcd = cluster.start_etcd().unwrap();
    let roles = ["chatroom", "message", "gateway"];
    let [_chatroom, _message, gateway] = roles.map(|role| cluster.start_ready(role, role).unwrap());
    let (url, token) = (gateway.url(), cluster.token("ana").unwrap());

    let (mut ana, hello) = Client::hello(&url, &token).await.unwrap();
    let resume = hello["resume"].as_str().unwrap().to_owned();
    let until = Instant::now() + PATIENCE;
    while ana.ask(json!({"join": {"room": "r"}})).await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Spoken, heard, and read again.
    ana.ask(json!({"publish": {"room": "r", "data": "tangerine-said", "key": "tangerine-key"}})).await.unwrap();
    ana.messages(PATIENCE).await.unwrap();
    ana.ask(json!({"pull": {"room": "r", "lane": 2, "after": 0, "limit": 10}})).await.unwrap();
    // Refused: too broken to read, of an unknown command, to a room not joined.
    for broken in [
        r#"{"id":7,"publish":{"room":"r","data":"tangerine-broken""#.to_owned(),
        json!({"id": 8, "dance": {"data": "tangerine-unknown"}}).to_string(),
        json!({"id": 9, "publish": {"room": "elsewhere", "data": "tangerine-elsewhere"}}).to_string(),
    ] {
        ana.send(Message::text(broken)).await.unwrap();
    }
    // From a server.
    let publish = json!({"from": "host", "type": "text", "data": "tangerine-server"}).to_string();
    let status = request(gateway.public, API_KEY, "/v1/rooms/r/messages", &publish);
    assert!(status.contains(" 20"), "{status}");
    let directed = json!({"from": "shop", "type": "text", "data": "tangerine-directed"}).to_string();
    let status = request(gateway.public, API_KEY, "/v1/users/ana/messages", &directed);
    assert!(status.contains(" 20"), "{status}");
    assert!(request(gateway.public, "tangerine-api-key", "/v1/rooms/r/messages", &publish).contains("401"));
    // Tokens that are not accepted, in a hello and in a resume.
    let forged = format!("{}tangerine", token.rsplit_once('.').unwrap().0);
    assert!(Client::hello(&url, &forged).await.is_err());
    let mut stranger = Client::open(&url).await.unwrap();
    let answer = stranger.try_ask(json!({"hello": {"resume": "k1.tangerine-resume"}})).await;
    assert!(answer.is_err() || answer.unwrap().get("error").is_some());
    tokio::time::sleep(Duration::from_millis(500)).await;

    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    assert!(head.len() > 10);
    for role in roles {
        let log = cluster.log(role);
        assert!(log.contains("TRACE"), "the log of {role} says all that there is to say");
        for secret in ["tangerine", &resume, claims, signature, POD_KEY, API_KEY, SECRET] {
            let found = log.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "{role} has logged {secret}");
        }
    }
}
