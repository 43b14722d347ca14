//! Clients that take their time: header byte by byte, hello never.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use throng_e2e::raw::{Raw, TEXT, handshake, masked, rest, tcp};
use throng_e2e::talk::Talk;
use tokio::io::AsyncWriteExt as _;

use crate::{SOON, hello, plain, strict};

const CONNECTIONS: usize = 250;
/// Between two bytes.
const DRIP: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_a_connection_byte_by_byte_is_dropped_in_time() {
    let dev = strict();
    let talk = Talk::start(dev).unwrap();
    let before = dev.rss_bytes().unwrap();
    let head = handshake("/connect", "");
    let url = dev.ready.url.as_str();
    let dripping = join_all((0..CONNECTIONS).map(|_| async {
        let mut stream = tcp(url, Ipv4Addr::new(127, 0, 0, 2), None).await.unwrap();
        let began = Instant::now();
        for byte in head.as_bytes().chunks(1) {
            if stream.write_all(byte).await.is_err() || began.elapsed() > SOON {
                break;
            }
            tokio::time::sleep(DRIP).await;
        }
        (rest(&mut stream, SOON).await.unwrap(), began.elapsed())
    }));
    // Others get in meanwhile, from the same machine too.
    let (dripped, _) = tokio::join!(dripping, hello(dev, "ana"));
    for (answer, after) in dripped {
        assert_eq!(answer, "", "dropped without a word");
        assert!(after > Duration::from_secs(1) && after < Duration::from_secs(4), "after {after:?}");
    }
    let grown = dev.rss_bytes().unwrap().saturating_sub(before);
    assert!(grown < 24 * 1024 * 1024, "grew by {grown} bytes");
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_hello_in_time_is_closed_with_4000() {
    let dev = strict();
    let talk = Talk::start(dev).unwrap();
    let url = dev.ready.url.as_str();
    let token = dev.token("mallory").unwrap();
    let command = masked(TEXT, format!(r#"{{"id":1,"hello":{{"token":"{token}"}}}}"#).as_bytes());
    let silent = join_all((0..CONNECTIONS).map(|_| async {
        let mut raw = Raw::connect(url).await.unwrap();
        let began = Instant::now();
        let (code, _) = raw.closed(SOON).await.unwrap();
        (code, began.elapsed())
    }));
    // Nor does it help to say it slowly, or to ping instead.
    let slow = join_all((0..50).map(|number| {
        let command = &command;
        async move {
            let mut raw = Raw::connect(url).await.unwrap();
            let began = Instant::now();
            let drips = tokio::time::timeout(Duration::from_millis(1500), async {
                for byte in command.chunks(1) {
                    let bytes = if number % 2 == 0 { byte.to_vec() } else { masked(0x89, b"") };
                    raw.write(&bytes).await;
                    tokio::time::sleep(DRIP).await;
                }
            });
            let _ = drips.await;
            let (code, _) = raw.closed(SOON).await.unwrap();
            (code, began.elapsed())
        }
    }));
    let (silent, slow) = tokio::join!(silent, slow);
    for (code, after) in silent.into_iter().chain(slow) {
        assert_eq!(code, 4000);
        assert!(after > Duration::from_secs(1) && after < Duration::from_secs(4), "after {after:?}");
    }
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_right_behind_a_frame_that_needs_no_answer_is_noticed_at_once() {
    let dev = plain();
    let ended = join_all((0..50).map(|number| async move {
        let (mut raw, _) = Raw::hello(&dev.ready.url, &dev.token(&format!("brief-{number}")).unwrap()).await.unwrap();
        // A pong, and in the same moment the end: no ping of the server is due for a long time.
        raw.last(&masked(0x8a, b"")).await.unwrap();
        raw.closed(SOON).await.unwrap()
    }));
    for (code, reason) in ended.await {
        assert_eq!((code, reason.as_str()), (0, ""), "nobody is there to be told anything");
    }
}
