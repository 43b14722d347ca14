//! `throng dev --bots`: a room full of people that the page shows, and that lives on while Pods come and go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use throng_e2e::browser::Browser;
use throng_e2e::dev::Dev;
use throng_e2e::slack;

const SOON: Duration = Duration::from_secs(10);
/// A cluster is ready so soon after its start.
const READY: Duration = Duration::from_secs(2);
/// Hundreds of clients connect, on whatever machine this is.
const CROWD: Duration = Duration::from_mins(1);

fn lobby(state: &Value) -> Option<&Value> {
    state["rooms"].as_array()?.iter().find(|room| room["room"] == "lobby")
}

#[test]
fn bots_fill_the_lobby_and_come_back_when_a_gateway_dies() {
    let dev = Dev::start(&["--bots", "200", "--rate", "40"]).unwrap();
    assert!(dev.took < READY.mul_f64(slack()), "ready after {:?}: bots are not waited for", dev.took);
    let talking = dev
        .until("all bots talk and hear", CROWD, |state| {
            state["bots"]["ready"] == 200
                && state["bots"]["accepted"].as_u64() > Some(30)
                && lobby(state)
                    .is_some_and(|room| room["members"] == 200 && room["delivered_per_s"].as_u64() > Some(1000))
        })
        .unwrap();
    // 40/s are offered and a client takes 20/s: the rest is declared.
    let room = lobby(&talking).unwrap();
    assert!(room["dropped_per_s"].as_u64() > Some(1000), "{room}");
    assert!(room["p50_ms"].as_f64() > Some(0.0) && room["p99_ms"].as_f64() >= room["p50_ms"].as_f64(), "{room}");
    assert_eq!(talking["bots"]["refused"], 0, "{}", talking["bots"]);
    let gateways = |state: &Value, alive: &str| {
        let pods = state["pods"].as_array().unwrap().iter();
        pods.filter(|pod| pod["role"] == "gateway" && pod["state"] == alive).count()
    };
    assert_eq!(gateways(&talking, "running"), 2);

    let _ = dev.act("kill", "dev-gateway-1-0");
    dev.until("those of the dead gateway are back and missed nothing", CROWD, |state| {
        gateways(state, "running") == 1
            && state["bots"]["ready"] == 200
            && state["bots"]["resumed"].as_u64() > Some(40)
            && state["bots"]["accepted"].as_u64() > Some(30)
    })
    .unwrap();
    dev.act("add", "gateway").unwrap();
    dev.act("drain", "dev-gateway-1-1").unwrap();
    dev.until("the drained gateway is empty and gone, everybody is here", CROWD, |state| {
        gateways(state, "running") == 1 && gateways(state, "draining") == 0 && state["bots"]["ready"] == 200
    })
    .unwrap();
    dev.act("drain", "dev-chatroom-1-0").unwrap();
    dev.until("the talk goes on with one chatroom Pod", CROWD, |state| {
        let chatrooms = state["pods"].as_array().unwrap().iter().filter(|pod| pod["role"] == "chatroom");
        chatrooms.filter(|pod| pod["state"] == "running").count() == 1 && state["bots"]["accepted"].as_u64() > Some(30)
    })
    .unwrap();
}

/// An idle gateway says so, and the room that it carries hastens.
#[test]
fn the_tick_of_a_room_follows_the_load_of_its_gateways() {
    let dev = Dev::start(&["--gateways", "1", "--bots", "5", "--rate", "20"]).unwrap();
    let tick = |ms: u64| move |state: &Value| lobby(state).is_some_and(|room| room["tick_ms"] == ms);
    dev.until("a busy room ticks", CROWD, |state| lobby(state).is_some_and(|room| room["tick_ms"] != 0)).unwrap();
    dev.until("a shorter tick, for the gateway has time", CROWD, tick(50)).unwrap();
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let mut dev = Dev::start(&["--isolate-gateways", "--bots", "50", "--rate", "20"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let address = dev.ready.http.strip_prefix("http://").unwrap().to_owned();
    let processes: Vec<u32> = dev.ready.pods.iter().map(|pod| pod.pid).collect();
    assert!(processes.iter().any(|pid| *pid != dev.pid()), "gateways are processes of their own");
    Command::new("kill").args(["-INT", &dev.pid().to_string()]).status().unwrap();
    assert!(dev.wait(SOON).unwrap(), "it ends by itself, with success");
    let left = || processes.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
    let end = Instant::now() + Duration::from_secs(2);
    while left() > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(left(), 0, "of {processes:?}");
    assert!(std::net::TcpStream::connect(&address).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn two_panes_chat_beside_500_bots_and_the_figures_move() {
    let dev = Dev::start(&["--bots", "500", "--rate", "50"]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    let cell = |class: &str| format!("document.querySelector('#rooms tr[data-room=lobby] .{class}')?.textContent");
    let full = format!("{} === '502'", cell("members"));
    page.until(&full, CROWD).await.unwrap();
    page.until("document.querySelector('#bots').textContent.startsWith('500 of 500 bots in lobby')", CROWD)
        .await
        .unwrap();
    let number = |class: &str| format!("Number(({} ?? '0').replace(/[^0-9.]/g, ''))", cell(class));
    for class in ["in", "delivered", "dropped", "p50", "p99"] {
        page.until(&format!("{} > 0", number(class)), CROWD).await.unwrap();
    }
    let before = page.eval(&cell("delivered")).await.unwrap();
    page.until(&format!("{} !== {before}", cell("delivered")), SOON).await.unwrap();
    let panes =
        "[...document.querySelectorAll('.pane .figures')].every(f => /^[1-9].* msg.s.* p99 /.test(f.textContent))";
    page.until(panes, SOON).await.unwrap();

    let say = |pane: usize, text: &str| {
        format!(
            "(() => {{ const form = document.querySelectorAll('.pane')[{pane}].querySelector('form');
               form.elements.text.value = '{text}'; form.requestSubmit(); return true; }})()"
        )
    };
    let heard = |pane: usize, text: &str| {
        format!("document.querySelectorAll('.messages')[{pane}].textContent.includes('{text}')")
    };
    for round in 0..3 {
        page.eval(&say(0, &format!("hello {round}"))).await.unwrap();
        page.until(&heard(1, &format!("ana: hello {round}")), SOON).await.unwrap();
        page.eval(&say(1, &format!("and back {round}"))).await.unwrap();
        page.until(&heard(0, &format!("ben: and back {round}")), SOON).await.unwrap();
    }

    // The buttons work by keyboard, and a refresh does not take the focus away.
    page.eval("document.querySelector('#pools [data-role=message] button').focus()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    page.eval("(() => { document.activeElement.click(); return true; })()").await.unwrap();
    page.until("document.querySelectorAll('#pools [data-role=message] .pod').length === 3", SOON).await.unwrap();
    page.eval("document.querySelector('[data-pod=dev-message-1-2] [data-verb=drain]').click()").await.unwrap();
    page.eval("document.querySelector('[data-pod=dev-message-1-0] [data-verb=kill]').click()").await.unwrap();
    page.until("document.querySelector('[data-pod=dev-message-1-0]').classList.contains('dead')", SOON).await.unwrap();
    page.eval(&say(0, "still here")).await.unwrap();
    page.until(&heard(1, "ana: still here"), SOON).await.unwrap();
}
