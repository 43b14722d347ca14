//! The main job from outside: `throng dev`, two people, a page, a client in another language.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::browser::Browser;
use throng_e2e::client::Client;
use throng_e2e::dev::{Dev, binary, root};
use throng_e2e::stores::Stores;
use throng_e2e::{slack, until};

const SOON: Duration = Duration::from_secs(5);
/// A cluster is ready so soon after its start.
const READY: Duration = Duration::from_secs(2);

#[tokio::test]
async fn two_people_chat_through_real_pods() {
    let dev = Dev::start(&[]).unwrap();
    assert!(dev.took < READY.mul_f64(slack()), "ready after {:?}", dev.took);
    let (mut ana, hello) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
    assert_eq!(hello["user"], "ana");
    let (mut ben, _) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
    let joined = ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    assert!(joined["epoch"].as_u64().unwrap() > 0, "{joined}");
    ben.ask(json!({"join": {"room": "r"}})).await.unwrap();
    for text in ["one", "two", "three"] {
        let ok = ana.ask(json!({"publish": {"room": "r", "data": {"text": text}}})).await.unwrap();
        assert_eq!(ok["state"], "accepted");
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(ben.messages(SOON).await.unwrap());
    }
    let texts: Vec<&Value> = heard.iter().map(|message| &message["data"]["text"]).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let numbers: Vec<u64> = heard.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(heard.iter().all(|message| message["from"] == "ana"));
}

#[tokio::test]
async fn a_newcomer_reads_what_was_said_before() {
    let dev = Dev::start(&[]).unwrap();
    let (mut ana, _) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
    ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    for text in ["one", "two"] {
        ana.ask(json!({"publish": {"room": "r", "data": text}})).await.unwrap();
    }
    ana.messages(SOON).await.unwrap();
    let (mut ben, _) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
    let joined = ben.ask(json!({"join": {"room": "r", "history": 20}})).await.unwrap();
    let texts: Vec<&Value> = joined["messages"].as_array().unwrap().iter().map(|message| &message["data"]).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn it_leaves_nothing_behind_and_says_when_its_port_is_taken() {
    let mut dev = Dev::start(&[]).unwrap();
    let address = dev.ready.http.strip_prefix("http://").unwrap().to_owned();
    let second = Command::new(binary().unwrap()).args(["dev", "--listen", &address]).output().unwrap();
    assert!(!second.status.success());
    let complaint = String::from_utf8_lossy(&second.stderr);
    assert!(complaint.contains(&address) && complaint.contains("--listen"), "{complaint}");
    assert!(dev.end(SOON).unwrap(), "it ends by itself when asked to");
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

/// The page and its buttons are served by gateways: without one nobody could ask for another.
#[test]
fn the_last_gateway_is_replaced_when_it_is_killed() {
    let dev = Dev::start(&["--gateways", "1"]).unwrap();
    let alone = dev.ready.pods.iter().find(|pod| pod.role == "gateway").unwrap();
    // The answer may die with the gateway that was asked.
    let _ = dev.act("kill", &alone.name);
    let began = Instant::now();
    while !dev.http("GET", "/dev/state", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(began.elapsed() < 3 * SOON, "no gateway serves the page any more");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Each run is a cluster of its own in a Redis and an etcd, which nobody will ask for again.
#[test]
fn ctrl_c_leaves_no_key_in_redis_and_etcd() {
    let stores = Stores::start().unwrap();
    let args = stores.args();
    let mut dev = Dev::start(&args.each_ref().map(String::as_str)).unwrap();
    let said = dev.api("POST", "/v1/rooms/r/messages", &json!({"data": 1, "lane": 1, "ack": "stored"})).unwrap();
    assert_eq!(said.0, 200, "{}", said.1);
    // One that dies without a goodbye gives nothing back.
    dev.act("kill", "dev-message-1-0").unwrap();
    let (redis, etcd) = stores.keys().unwrap();
    assert!(redis > 0 && etcd > 0, "the run uses both: {redis}, {etcd}");
    dev.interrupt().unwrap();
    assert!(dev.wait(3 * SOON).unwrap(), "it ends by itself when asked to");
    assert_eq!(stores.keys().unwrap(), (0, 0), "keys are left in Redis, etcd");
}

/// Ctrl-C as soon as something is written, long before it is ready.
#[test]
fn ctrl_c_while_it_starts_leaves_no_key_either() {
    let stores = Stores::start().unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["dev", "--json", "--listen", "127.0.0.1:0"]).args(stores.args());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut dev = command.spawn().unwrap();
    let began = Instant::now();
    while stores.keys().unwrap() == (0, 0) {
        assert!(began.elapsed() < 3 * SOON, "nothing is written");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = rustix::process::Pid::from_child(&dev);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Only the test's patience ends it otherwise.
    while dev.try_wait().unwrap().is_none() {
        if began.elapsed() > 6 * SOON {
            dev.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = dev.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(stores.keys().unwrap(), (0, 0), "keys are left in Redis, etcd");
    assert!(output.stdout.is_empty(), "it was not ready yet: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_redis_or_etcd_that_is_not_there_is_named_before_anything_starts() {
    for (flag, url) in [("--redis", "redis://127.0.0.1:1"), ("--etcd", "http://127.0.0.1:1")] {
        let mut command = Command::new(binary().unwrap());
        let output = command.args(["dev", "--json", "--listen", "127.0.0.1:0", flag, url]).output().unwrap();
        assert!(!output.status.success(), "{flag}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().last().unwrap_or_default();
        assert!(last.starts_with("throng: ") && last.contains(flag) && last.contains("127.0.0.1:1"), "{complaint}");
        assert!(complaint.lines().count() < 20, "{complaint}");
    }
}

#[test]
fn a_client_in_python_written_from_the_documents_works() {
    let dev = Dev::start(&[]).unwrap();
    let chat = |user: &str, more: &[&str]| {
        let mut command = Command::new("python3");
        command.arg(root().join("examples/python/chat.py"));
        command.args(["--url", &dev.ready.url, "--token", &dev.token(user).unwrap(), "--room", "r"]).args(more);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let listener = chat("ben", &["--count", "2"]);
    std::thread::sleep(Duration::from_millis(700));
    let speaker = chat("ana", &["--count", "2", "--say", "hi ben", "--say", "how are you"]);
    for child in [speaker, listener] {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "2/1 ana: {\"text\": \"hi ben\"}\n2/2 ana: {\"text\": \"how are you\"}\n");
    }
}

#[test]
fn the_client_in_python_says_why_it_is_refused_and_ends() {
    let dev = Dev::start(&[]).unwrap();
    let blocked = dev.api("POST", "/v1/rooms/r/lists/block", &json!({"add": [{"user": "eve"}]})).unwrap();
    assert_eq!(blocked.0, 200, "{}", blocked.1);
    let (good, eve) = (dev.token("ben").unwrap(), dev.token("eve").unwrap());
    for (token, room, why) in [("forged", "r", "unauthorized"), (&eve, "r", "blocked"), (&good, "", "bad_id")] {
        let mut client = Command::new("python3")
            .arg(root().join("examples/python/chat.py"))
            .args(["--url", &dev.ready.url, "--token", token, "--room", room])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while client.try_wait().unwrap().is_none() {
            if began.elapsed() > SOON {
                client.kill().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{why}: {said}");
    }
}

/// Says a number to the room. An answer may die with the gateway that was asked: its key makes it safe to say it again.
fn say(dev: &Dev, number: u64) {
    let message = json!({"from": "ana", "data": number, "lane": 1, "key": number.to_string()});
    until("the room takes a message", || {
        dev.api("POST", "/v1/rooms/r/messages", &message).is_ok_and(|(status, _)| status < 300)
    });
}

fn ben_is_in(dev: &Dev) {
    until("ben is in the room", || {
        dev.api("GET", "/v1/rooms/r", &Value::Null).is_ok_and(|(_, room)| room["members"] == 1)
    });
}

/// It resumes after an abrupt end, and changes over in time when it is asked to.
#[test]
fn the_client_in_python_misses_nothing_when_its_gateway_is_killed_or_drained() {
    for verb in ["kill", "drain"] {
        let dev = Dev::start(&["--gateways", "1"]).unwrap();
        let mut listener = Command::new("python3")
            .arg(root().join("examples/python/chat.py"))
            .args(["--url", &dev.ready.url, "--token", &dev.token("ben").unwrap(), "--room", "r", "--count", "6"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        ben_is_in(&dev);
        (1..=2).for_each(|number| say(&dev, number));
        dev.act("add", "gateway").unwrap();
        let _ = dev.act(verb, "dev-gateway-1-0");
        (3..=6).for_each(|number| say(&dev, number));
        let began = Instant::now();
        while listener.try_wait().unwrap().is_none() {
            if began.elapsed() > 6 * SOON {
                listener.kill().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let output = listener.wait_with_output().unwrap();
        let heard: Vec<String> = (1..=6).map(|number| format!("1/{number} ana: {number}")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), heard, "{verb}");
    }
}

/// A way to the public port that can be shut for who comes next.
struct Door {
    address: SocketAddr,
    is_shut: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl Door {
    fn to(upstream: &str) -> Self {
        let upstream: SocketAddr = upstream.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_shut, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (shut, count) = (Arc::clone(&is_shut), Arc::clone(&refused));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if shut.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let Ok(other) = TcpStream::connect(upstream) else { continue };
                carry(socket.try_clone().unwrap(), other.try_clone().unwrap());
                carry(other, socket);
            }
        });
        Self { address, is_shut, refused }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// It stays on the gateway that stops as long as no other lets it in, and hears everything.
#[test]
fn the_client_in_python_stays_where_it_is_until_it_is_let_in_elsewhere() {
    let dev = Dev::start(&["--gateways", "1"]).unwrap();
    let door = Door::to(&dev.ready.http);
    let mut listener = Command::new("python3")
        .arg(root().join("examples/python/chat.py"))
        .args(["--url", &format!("ws://{}/connect", door.address), "--token", &dev.token("ben").unwrap()])
        .args(["--room", "r", "--count", "5"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let (lines, noted) = (BufReader::new(listener.stdout.take().unwrap()).lines(), Arc::clone(&heard));
    let reader =
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| noted.lock().unwrap().push(line)));
    ben_is_in(&dev);
    say(&dev, 1);
    door.is_shut.store(true, Ordering::Relaxed);
    dev.act("add", "gateway").unwrap();
    let _ = dev.act("drain", "dev-gateway-1-0");
    until("it tries more than once", || door.refused.load(Ordering::Relaxed) >= 2);
    (2..=3).for_each(|number| say(&dev, number));
    until("it hears what is said meanwhile", || heard.lock().unwrap().len() == 3);
    door.is_shut.store(false, Ordering::Relaxed);
    (4..=5).for_each(|number| say(&dev, number));
    until("it hears everything", || heard.lock().unwrap().len() >= 5);
    let output = listener.wait_with_output().unwrap();
    reader.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("not connected"), "{said}");
    let expected: Vec<String> = (1..=5).map(|number| format!("1/{number} ana: {number}")).collect();
    assert_eq!(*heard.lock().unwrap(), expected, "{said}");
}

#[tokio::test]
async fn two_panes_of_the_page_really_chat() {
    let dev = Dev::start(&[]).unwrap();
    let mut page = Browser::open(&dev.ready.http).await.unwrap();
    let connected =
        "[...document.querySelectorAll('.state')].filter(s => s.textContent.startsWith('connected')).length === 2";
    page.until(connected, Duration::from_secs(15)).await.unwrap();
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

/// What the documents say of `sealed` and gaps, in the client that was written from them.
#[test]
fn the_client_in_python_moves_its_cursor_forward_only() {
    let frames = json!([
        {"segment": {"room": "r", "epoch": 7, "messages": [{"lane": 2, "seq": 4}], "gaps": [
            {"epoch": 7, "lane": 3, "from": 1, "to": 9}, {"epoch": 5, "lane": 0, "from": 1, "to": 8}]}},
        {"sealed": {"room": "r", "epoch": 7, "last": [0, 0, 4, 9], "next_epoch": 9}},
        {"segment": {"room": "r", "epoch": 9, "messages": [{"lane": 2, "seq": 1}]}},
        {"sealed": {"room": "r", "epoch": 7, "last": [0, 0, 6, 9], "next_epoch": 9}},
        {"segment": {"room": "r", "epoch": 7, "messages": [{"lane": 2, "seq": 6}], "gaps": [
            {"epoch": 7, "lane": 2, "from": 5, "to": 5}]}},
    ]);
    let script = "
import json, sys
sys.path.insert(0, sys.argv[1])
import chat
client = chat.Chat('ws://x', 'token', 'r', lambda message: None)
for frame in json.loads(sys.argv[2]):
    client._take(frame)
    print(json.dumps([client.cursor['epoch'], client.cursor['seq']]))
";
    let folder = root().join("examples/python");
    let output =
        Command::new("python3").args(["-B", "-c", script]).arg(folder).arg(frames.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cursors: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (before, after) = (json!([7, [0, 0, 4, 9]]), json!([9, [0, 0, 1, 0]]));
    assert_eq!(cursors, [before, json!([9, [0, 0, 0, 0]]), after.clone(), after.clone(), after]);
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

#[test]
fn the_client_in_python_enters_again_when_it_was_taken_out_of_the_room() {
    let dev = Dev::start(&[]).unwrap();
    let room_has = |field: &str, value: Value| {
        let began = Instant::now();
        while dev.api("GET", "/v1/rooms/r", &Value::Null).unwrap().1[field] != value {
            assert!(began.elapsed() < 3 * SOON, "{field} is not {value}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut client = Command::new("python3")
        .arg(root().join("examples/python/chat.py"))
        .args(["--url", &dev.ready.url, "--token", &dev.token("ben").unwrap(), "--room", "r", "--count", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    room_has("members", json!(1));
    writeln!(input, "before").unwrap();
    room_has("seq", json!([0, 0, 1, 0]));
    let kicked = dev.api("POST", "/v1/rooms/r/kick", &json!({"user": "ben"})).unwrap();
    assert_eq!(kicked.0, 200, "{}", kicked.1);
    room_has("members", json!(0));
    let said = dev.api("POST", "/v1/rooms/r/messages", &json!({"from": "ana", "data": "meanwhile"})).unwrap();
    assert_eq!(said.0, 200, "{}", said.1);
    writeln!(input, "after").unwrap();
    let began = Instant::now();
    while client.try_wait().unwrap().is_none() && began.elapsed() < 6 * SOON {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = client.kill();
    let output = client.wait_with_output().unwrap();
    let heard = String::from_utf8_lossy(&output.stdout);
    assert_eq!(heard, "2/1 ben: {\"text\": \"before\"}\n2/2 ana: \"meanwhile\"\n2/3 ben: {\"text\": \"after\"}\n");
}
