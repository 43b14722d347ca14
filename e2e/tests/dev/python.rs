//! The client in Python, written from the documents.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::dev::{Dev, root};
use throng_e2e::until;

use crate::SOON;
use crate::door::Door;

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

/// Runs a client that draws the early tenth of every pause: its gateway closes it ten seconds after it asked it to go.
const EARLY: &str = "
import random, runpy, sys
random.uniform = lambda low, high: low + (high - low) / 10
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
";

/// It stays on the gateway that stops as long as no other lets it in, and hears everything.
#[test]
fn the_client_in_python_stays_where_it_is_until_it_is_let_in_elsewhere() {
    let dev = Dev::start(&["--gateways", "1"]).unwrap();
    let door = Door::to(&dev.ready.http);
    let mut listener = Command::new("python3")
        .args(["-c", EARLY])
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
