//! The page, in Chromium.

use std::time::Duration;

use serde_json::{Value, json};
use throng_e2e::browser::Browser;
use throng_e2e::dev::Dev;

use crate::SOON;

#[tokio::test]
async fn two_panes_of_the_page_really_chat() {
    let dev = Dev::start(&[]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    both_are_connected(&mut page).await;
    let say = |pane: usize, text: &str| {
        format!(
            "(() => {{ const form = document.querySelectorAll('.pane')[{pane}].querySelector('form');
               form.elements.text.value = '{text}'; form.requestSubmit(); return true; }})()"
        )
    };
    page.eval(&say(0, "hello ben")).await.unwrap();
    page.until("document.querySelectorAll('.messages')[1].textContent.includes('ana: hello ben')", SOON).await.unwrap();
    page.eval(&say(1, "hello ana")).await.unwrap();
    page.until("document.querySelectorAll('.messages')[0].textContent.includes('ben: hello ana')", SOON).await.unwrap();
    page.until("document.querySelectorAll('.pod').length === 6", SOON).await.unwrap();
    page.until("document.querySelector('#rooms tbody').textContent.includes('lobby')", SOON).await.unwrap();
}

/// Waits until both people of the page are in the room.
async fn both_are_connected(page: &mut Browser) {
    let connected =
        "[...document.querySelectorAll('.state')].filter(s => s.textContent.startsWith('connected')).length === 2";
    page.until(connected, Duration::from_secs(15)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_opens_its_new_connection_before_it_closes_the_old_one() {
    let dev = Dev::start(&[]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    both_are_connected(&mut page).await;
    // What is opened and closed from here on, in its order.
    let watch = "(() => {
        window.seen = [];
        const Real = WebSocket;
        window.WebSocket = class extends Real {
            constructor(...given) { super(...given); this.addEventListener('open', () => seen.push('open')); }
        };
        const close = Real.prototype.close;
        Real.prototype.close = function (...given) { seen.push('close'); return close.apply(this, given); };
    })()";
    page.eval(watch).await.unwrap();
    dev.act("add", "gateway").unwrap();
    for pod in dev.ready.pods.iter().filter(|pod| pod.role == "gateway") {
        dev.act("drain", &pod.name).unwrap();
    }
    let moved =
        "['ana', 'ben'].every(user => document.querySelector('#log').textContent.includes(`${user} connected: moved`))";
    page.until(moved, 6 * SOON).await.unwrap();
    page.until("seen.filter(what => what === 'close').length >= 2", SOON).await.unwrap();
    let seen = page.eval("seen.join(' ')").await.unwrap();
    let mut more = 0;
    for what in seen.as_str().unwrap().split(' ') {
        more += if what == "open" { 1 } else { -1 };
        assert!(more >= 0, "one was closed before another was open: {seen}");
    }
    let log = page.eval("document.querySelector('#log').textContent").await.unwrap();
    assert!(!log.as_str().unwrap().contains("disconnected"), "{log}");
}

/// While no other gateway lets it in, the page stays on the one that stops.
#[tokio::test]
async fn the_page_stays_where_it_is_until_it_is_let_in_elsewhere() {
    let dev = Dev::start(&[]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    both_are_connected(&mut page).await;
    let shut = "(() => {
        window.refuse = true;
        // Early in every span: a gateway closes whom it asked to go ten seconds later.
        Math.random = () => 0.1;
        const Real = WebSocket;
        window.WebSocket = class extends Real {
            constructor(url, ...given) { super(window.refuse ? 'ws://127.0.0.1:2/' : url, ...given); }
        };
    })()";
    page.eval(shut).await.unwrap();
    dev.act("add", "gateway").unwrap();
    for pod in dev.ready.pods.iter().filter(|pod| pod.role == "gateway") {
        dev.act("drain", &pod.name).unwrap();
    }
    let tries = "['ana', 'ben'].every(user =>
        document.querySelector('#log').textContent.includes(`${user} connected: moving (cannot connect, trying again)`))";
    page.until(tries, 3 * SOON).await.unwrap();
    let say = "(() => { const form = document.querySelectorAll('.pane')[0].querySelector('form');
               form.elements.text.value = 'still here'; form.requestSubmit(); return true; })()";
    page.eval(say).await.unwrap();
    page.until("document.querySelectorAll('.messages')[1].textContent.includes('ana: still here')", SOON)
        .await
        .unwrap();
    page.eval("window.refuse = false").await.unwrap();
    let moved =
        "['ana', 'ben'].every(user => document.querySelector('#log').textContent.includes(`${user} connected: moved`))";
    page.until(moved, 6 * SOON).await.unwrap();
    let log = page.eval("document.querySelector('#log').textContent").await.unwrap();
    assert!(!log.as_str().unwrap().contains("disconnected"), "{log}");
}

/// A first join that failed is said again on the next connection, which resumes a session that is in no room yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_joins_after_a_resume_what_it_could_not_join_before() {
    let dev = Dev::start(&[]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    both_are_connected(&mut page).await;
    let begin = "(async () => {
        window.heard = [];
        window.states = [];
        let joins = 0;
        const Real = WebSocket;
        window.WebSocket = class extends Real {
            send(text) {
                const { id, join } = JSON.parse(text);
                if (!join || joins++ > 0) return super.send(text);
                const data = JSON.stringify({ id, error: { code: 'unavailable', message: 'not now' } });
                setTimeout(() => this.dispatchEvent(new MessageEvent('message', { data })));
            }
        };
        const { Client } = await import('/dev/client.js');
        new Client({
            url: location.origin.replace(/^http/, 'ws') + '/connect',
            token: async () => (await fetch('/dev/token?user=eve')).text(),
            rooms: ['late'],
            onState: (state, why) => states.push(`${state} ${why}`),
            onMessage: (room, message) => heard.push(message.data),
            onGap() {},
            onEvent() {},
        }).start();
    })()";
    page.eval(begin).await.unwrap();
    page.until("states.includes('connected resumed')", SOON).await.unwrap();
    let said = dev.api("POST", "/v1/rooms/late/messages", &json!({"from": "ana", "data": 1, "lane": 1})).unwrap();
    assert!(said.0 < 300, "{}", said.1);
    page.until("heard.length === 1", SOON).await.unwrap();
    assert_eq!(page.eval("states.join(', ')").await.unwrap(), "disconnected not now, connected resumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kicked_from_the_page_does_not_come_back_by_itself() {
    let dev = Dev::start(&[]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    both_are_connected(&mut page).await;
    let kicked = dev.api("POST", "/v1/users/ana/kick", &Value::Null).unwrap();
    assert_eq!((kicked.0, &kicked.1["connections"]), (200, &json!(1)));
    let removed = "document.querySelector('.state').textContent.includes('an administrator removed you')";
    page.until(removed, SOON).await.unwrap();
    // Longer than the first attempts to come back would take.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(page.eval(removed).await.unwrap(), true);
    let members = dev.api("GET", "/v1/rooms/lobby/members", &Value::Null).unwrap().1;
    let users: Vec<&Value> = members["members"].as_array().unwrap().iter().map(|member| &member["user"]).collect();
    assert!(users.contains(&&json!("ben")), "{members}");
}
