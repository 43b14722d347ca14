//! Tokens that are not what they should be. The keys under `e2e/keys` are good for these tests only.

use std::io::Write as _;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;
use throng_e2e::raw::Raw;
use throng_e2e::talk::Talk;
use throng_e2e::tokens::{claims, hs256, in_seconds, signed, with_header};

use crate::{SOON, code, hello, join, plain};

const RSA_OWN: &str = include_str!("../../keys/rsa-own.pem");
const RSA_OWN_PUBLIC: &str = include_str!("../../keys/rsa-own.pub.pem");
const RSA_OTHER: &str = include_str!("../../keys/rsa-other.pem");
const EC_OWN: &str = include_str!("../../keys/ec-own.pem");
const EC_OWN_PUBLIC: &str = include_str!("../../keys/ec-own.pub.pem");
const EC_OTHER: &str = include_str!("../../keys/ec-other.pem");

/// Says hello with what must be refused: the error, and the close code that follows.
async fn refused(dev: &Dev, hello: &Value) -> (String, u16) {
    let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
    raw.text(&json!({"id": 1, "hello": hello}).to_string()).await.unwrap();
    let answer = raw.json(SOON).await.unwrap();
    (code(&answer).to_owned(), raw.closed(SOON).await.unwrap().0)
}

fn rsa(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

fn ec(pem: &str) -> EncodingKey {
    EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_hs256_takes_its_own_tokens_and_no_others() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let secret = dev.ready.token_secret.clone();
    let good = claims("ana");
    let own = |claims: Value| hs256(&secret, &claims).unwrap();
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let unauthorized = [
        ("no token", String::new()),
        ("noise", "x".into()),
        ("three parts of noise", "a.b.c".into()),
        ("60 KiB", "e".repeat(60 * 1024)),
        ("another key", hs256("somebody else's", &good).unwrap()),
        ("no signature", own(good.clone()).rsplit_once('.').unwrap().0.to_owned() + "."),
        ("alg none", with_header(&header("none"), &good, None).unwrap()),
        ("alg None", with_header(&header("None"), &good, Some(&secret)).unwrap()),
        ("alg none with a signature", with_header(&header("none"), &good, Some(&secret)).unwrap()),
        ("RS256 with the secret as key", with_header(&header("RS256"), &good, Some(&secret)).unwrap()),
        ("RS256", signed(Algorithm::RS256, &rsa(RSA_OTHER), &good).unwrap()),
        ("ES256", signed(Algorithm::ES256, &ec(EC_OTHER), &good).unwrap()),
        ("HS512", signed(Algorithm::HS512, &EncodingKey::from_secret(secret.as_bytes()), &good).unwrap()),
        ("no user", own(json!({"exp": in_seconds(60)}))),
        ("an empty user", own(json!({"sub": "", "exp": in_seconds(60)}))),
        ("a user of 129 bytes", own(claims(&"u".repeat(129)))),
        ("a user with a line break", own(claims("a\nb"))),
        ("a number as user", own(json!({"sub": 7, "exp": in_seconds(60)}))),
        ("no end", own(json!({"sub": "ana"}))),
        ("a text as end", own(json!({"sub": "ana", "exp": "tomorrow"}))),
        ("not valid yet", own(json!({"sub": "ana", "exp": in_seconds(600), "nbf": in_seconds(300)}))),
        ("a lane that is none", own(json!({"sub": "ana", "exp": in_seconds(60), "lane": 4}))),
        ("rooms that are no list", own(json!({"sub": "ana", "exp": in_seconds(60), "rooms": "all"}))),
    ];
    while !talk.is_enough() {
        for (what, token) in &unauthorized {
            assert_eq!(refused(dev, &json!({"token": token})).await, ("unauthorized".into(), 4001), "{what}");
        }
    }
    let expired = own(json!({"sub": "ana", "exp": in_seconds(-1)}));
    assert_eq!(refused(dev, &json!({"token": expired})).await, ("token_expired".into(), 4002));
    let (_ana, ok) = Client::hello(&dev.ready.url, &own(claims("ana"))).await.unwrap();
    let resume = ok["resume"].as_str().unwrap();
    let changed = resume.replace(&resume[20..24], "AAAA");
    for resume in ["", "x", "dev.x.y", &changed] {
        assert_eq!(refused(dev, &json!({"resume": resume})).await, ("bad_resume".into(), 4001), "{resume}");
    }
    println!("{}", talk.undisturbed().unwrap());
}

/// A cluster whose gateways take tokens of one algorithm only.
fn with_key(algorithm: &str, public: &str) -> (Dev, tempfile::NamedTempFile) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let key = json!({"gateway": {"auth": {"jwt": [{"algorithm": algorithm, "key": public}]}}});
    file.write_all(key.to_string().as_bytes()).unwrap();
    let args = ["--gateways", "1", "--chatrooms", "1", "--messages", "1", "--config"];
    let dev = Dev::start(&[&args[..], &[file.path().to_str().unwrap()]].concat()).unwrap();
    (dev, file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_with_rs256_and_es256_take_their_own_tokens_and_no_others() {
    let good = claims("ana");
    let none = with_header(&json!({"alg": "none"}), &good, None).unwrap();
    for (name, public) in [("RS256", RSA_OWN_PUBLIC), ("ES256", EC_OWN_PUBLIC)] {
        let (dev, _file) = with_key(name, public);
        let sign = |algorithm: &str, own: bool| match (algorithm, own) {
            ("RS256", true) => signed(Algorithm::RS256, &rsa(RSA_OWN), &good).unwrap(),
            ("RS256", false) => signed(Algorithm::RS256, &rsa(RSA_OTHER), &good).unwrap(),
            (_, true) => signed(Algorithm::ES256, &ec(EC_OWN), &good).unwrap(),
            (_, false) => signed(Algorithm::ES256, &ec(EC_OTHER), &good).unwrap(),
        };
        let (_, ok) = Client::hello(&dev.ready.url, &sign(name, true)).await.unwrap();
        assert_eq!(ok["user"], "ana");
        let other = if name == "RS256" { "ES256" } else { "RS256" };
        let header = json!({"alg": name});
        for (what, token) in [
            ("another key", sign(name, false)),
            ("the other algorithm", sign(other, true)),
            ("the public key as a shared secret", hs256(public, &good).unwrap()),
            (
                "the public key as a shared secret, under its own name",
                with_header(&header, &good, Some(public)).unwrap(),
            ),
            ("the secret of dev", hs256(&dev.ready.token_secret, &good).unwrap()),
            ("RS512", signed(Algorithm::RS512, &rsa(RSA_OWN), &good).unwrap()),
            ("alg none", none.clone()),
        ] {
            assert_eq!(refused(&dev, &json!({"token": token})).await, ("unauthorized".into(), 4001), "{name}: {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_during_the_connection_unless_it_is_refreshed_in_place() {
    let dev = plain();
    let secret = dev.ready.token_secret.clone();
    let until = |user: &str, seconds: i64| hs256(&secret, &json!({"sub": user, "exp": in_seconds(seconds)})).unwrap();
    let began = Instant::now();
    let (mut left, ok) = Raw::hello(&dev.ready.url, &until("left", 2)).await.unwrap();
    let (mut stays, _) = Client::hello(&dev.ready.url, &until("stays", 2)).await.unwrap();
    join(&mut stays, "r").await;
    let wrong = [
        ("token_expired", until("stays", -5)),
        ("unauthorized", hs256("somebody else's", &claims("stays")).unwrap()),
        ("forbidden", until("somebody-else", 60)),
    ];
    for (expected, token) in wrong {
        let answer = stays.try_ask(json!({"refresh": {"token": token}})).await.unwrap();
        assert_eq!(code(&answer), expected);
    }
    let refreshed = stays.ask(json!({"refresh": {"token": until("stays", 4)}})).await.unwrap();
    assert!(refreshed["resume"].is_string(), "{refreshed}");

    assert_eq!(left.closed(SOON).await.unwrap().0, 4002);
    assert!(began.elapsed() < Duration::from_millis(3200), "closed after {:?}", began.elapsed());
    // A resume token ends with the token that opened its session.
    assert_eq!(refused(dev, &json!({"resume": ok["ok"]["resume"]})).await, ("token_expired".into(), 4002));
    // Whoever refreshed is still there, in its room, until the new end.
    stays.ask(json!({"publish": {"room": "r", "data": 1}})).await.unwrap();
    let error = loop {
        match stays.next(SOON).await {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("4002"), "{error}");
    assert!(began.elapsed() < Duration::from_millis(5200), "closed after {:?}", began.elapsed());
    drop(hello(dev, "left").await);
}
