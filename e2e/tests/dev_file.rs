//! `throng dev -f`: a cluster by the file that `kubectl` takes, which is followed while people talk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use throng_e2e::dev::{Dev, binary, root};

const SOON: Duration = Duration::from_secs(20);
/// Slots move and gateways send their clients away at a pace.
const MOVES: Duration = Duration::from_mins(2);

/// A file of a cluster, and what it says.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

/// Sizes as they stand in a file: gateways, chatroom and message Pods.
fn yaml(sizes: [&str; 3], more: &str) -> String {
    let [gateway, chatroom, message] = sizes;
    format!(
        "apiVersion: throng.dev/v1alpha1
kind: ChatroomCluster
metadata: {{name: live}}
spec:
  image: throng:0.1.0
  redis: {{url: \"redis://redis:6379\"}}
  etcd: {{endpoints: [\"http://etcd:2379\"]}}
  auth: {{jwt: {{secretRef: {{name: live-auth}}}}}}
  gateway: {{replicas: {{{gateway}}}}}
  chatroom: {{replicas: {{{chatroom}}}}}
  message: {{replicas: {{{message}}}}}
  drain: {{deadline: 30s}}
  rooms: {{upstream: {{userMessagesPerSecond: 100}}}}
{more}"
    )
}

fn fixed(size: u32) -> String {
    format!("min: {size}, max: {size}")
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.yaml");
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn start(&self, more: &[&str]) -> Dev {
        let mut args = vec!["-f", self.path.to_str().unwrap()];
        args.extend_from_slice(more);
        Dev::start(&args).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    fn sizes(&self, sizes: [u32; 3]) {
        let [gateway, chatroom, message] = sizes.map(fixed);
        self.write(&yaml([&gateway, &chatroom, &message], ""));
    }
}

/// Gateways, chatroom and message Pods that run, and how many Pods of any kind leave.
fn running(state: &Value) -> ([usize; 3], usize) {
    let pods = || state["pods"].as_array().unwrap().iter();
    let count = |role: &str| pods().filter(|pod| pod["role"] == role && pod["state"] == "running").count();
    (["gateway", "chatroom", "message"].map(count), pods().filter(|pod| pod["state"] == "draining").count())
}

fn at_rest(dev: &Dev, sizes: [usize; 3]) -> Value {
    dev.until(&format!("{sizes:?} Pods run and none leaves"), MOVES, |state| running(state) == (sizes, 0)).unwrap()
}

/// A person in Python, who listens to a room until so many messages have come, and says each.
fn listener(dev: &Dev, user: &str, count: usize) -> std::process::Child {
    Command::new("python3")
        .arg(root().join("examples/python/chat.py"))
        .args([
            "--url",
            &dev.ready.url,
            "--token",
            &dev.token(user).unwrap(),
            "--room",
            "r",
            "--count",
            &count.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Says the next message in the room, until it is taken: its key makes it safe to say it again.
fn say(dev: &Dev, number: usize) {
    let message = json!({"from": "ana", "data": number, "lane": 1, "key": number.to_string()});
    let began = Instant::now();
    while !dev.api("POST", "/v1/rooms/r/messages", &message).is_ok_and(|(status, _)| status < 300) {
        assert!(began.elapsed() < SOON, "the room takes message {number}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn pools_follow_the_file_while_people_talk_and_nobody_misses_a_word() {
    const WORDS: usize = 60;
    let file = File::new(&yaml([&fixed(1), &fixed(1), &fixed(1)], ""));
    let dev = file.start(&["--bots", "60", "--rate", "20"]);
    assert!(dev.ready.pods.iter().any(|pod| pod.name == "live-gateway-1-0"), "{:?}", dev.ready.pods);
    dev.until("the bots are there", SOON, |state| state["bots"]["ready"] == 60).unwrap();
    let listeners: Vec<_> = ["ben", "cem", "dan"].map(|user| listener(&dev, user, WORDS)).into();
    let members = |room: &Value| room["members"] == 3;
    let began = Instant::now();
    while !dev.api("GET", "/v1/rooms/r", &Value::Null).is_ok_and(|(_, room)| members(&room)) {
        assert!(began.elapsed() < SOON, "the listeners are in the room");
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut said = 0;
    // Each step speaks while the pools change, and waits until they have the size of the file.
    for sizes in [[3, 3, 2], [1, 2, 1], [2, 1, 2], [1, 1, 1]] {
        file.sizes(sizes);
        let wanted = sizes.map(|size| size as usize);
        let began = Instant::now();
        let mut rest = 0;
        while rest < 3 {
            assert!(began.elapsed() < MOVES, "{wanted:?}: {:#?}", dev.state());
            if said < WORDS - 5 {
                said += 1;
                say(&dev, said);
            }
            let there = dev.state().is_some_and(|state| running(&state) == (wanted, 0));
            rest = if there { rest + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(500));
        }
        println!("{wanted:?} after {:?}", began.elapsed());
    }
    ((said + 1)..=WORDS).for_each(|number| say(&dev, number));
    let expected: Vec<String> = (1..=WORDS).map(|number| number.to_string()).collect();
    for child in listeners {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let heard: Vec<&str> = text.lines().filter_map(|line| line.rsplit(": ").next()).collect();
        assert_eq!(heard, expected, "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    let bots = dev.until("every bot is there", SOON, |state| state["bots"]["ready"] == 60).unwrap();
    assert_eq!(bots["bots"]["refused"], 0, "{}", bots["bots"]);
}

#[test]
fn a_pool_grows_when_its_pods_carry_too_much() {
    let text = yaml(["min: 1, max: 3", &fixed(1), &fixed(1)], "").replace(
        "gateway: {replicas",
        "gateway: {pressure: {connections: 40, cpuPercent: 100, egressMbps: 100000}, replicas",
    );
    let file = File::new(&text);
    let dev = file.start(&["--bots", "100", "--rate", "5"]);
    let grown = dev.until("three gateways", MOVES, |state| running(state).0[0] == 3).unwrap();
    assert!(grown["why"].to_string().contains("gateway: 3 wanted"), "{}", grown["why"]);
}

#[test]
fn what_is_drained_or_killed_is_replaced_because_the_file_says_how_many() {
    let file = File::new(&yaml([&fixed(2), &fixed(2), &fixed(2)], ""));
    let dev = file.start(&[]);
    dev.act("drain", "live-chatroom-1-0").unwrap();
    let replaced = |name: &'static str| {
        move |state: &Value| {
            let living = state["pods"].as_array().unwrap().iter().filter(|pod| pod["state"] != "dead");
            running(state) == ([2, 2, 2], 0) && living.clone().all(|pod| pod["name"] != name)
        }
    };
    dev.until("another chatroom Pod took its place", MOVES, replaced("live-chatroom-1-0")).unwrap();
    let _ = dev.act("kill", "live-message-1-0");
    dev.until("another message Pod took its place", MOVES, |state| {
        running(state) == ([2, 2, 2], 0)
            && state["pods"].as_array().unwrap().iter().any(|pod| pod["name"] == "live-message-1-2")
    })
    .unwrap();
    dev.act("add", "gateway").unwrap();
    at_rest(&dev, [3, 2, 2]);
    file.sizes([2, 2, 1]);
    at_rest(&dev, [2, 2, 1]);
}

/// A release and the way back, as on a cluster: by the image, the canary and an operation, all of one file.
#[test]
fn another_image_gets_its_share_and_an_operation_of_the_file_takes_it_back() {
    let two = fixed(2);
    let text = yaml([&two, &two, &two], "  rollout: {canaryPercent: [50], hold: 10m, warmRollback: 0s}\n");
    let file = File::new(&text);
    let dev = file.start(&["--bots", "60", "--rate", "10"]);
    dev.until("the bots are there", SOON, |state| state["bots"]["ready"] == 60).unwrap();
    let users = |state: &Value, revision: &str| {
        let pods = state["pods"].as_array().unwrap().iter().filter(|pod| pod["role"] == "gateway");
        let of = pods.filter(|pod| pod["name"].as_str().unwrap().starts_with(revision));
        of.map(|pod| pod["users"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    let next = text.replace("throng:0.1.0", "throng:0.2.0");
    file.write(&next);
    // The bots stay where they are until they are asked; who would come to the old gateways meanwhile is let into the new.
    dev.until("about half of the users are on the canary", MOVES, |state| {
        (24..=36).contains(&users(state, "live-gateway-2-")) && users(state, "live-gateway-1-") > 0
    })
    .unwrap();
    let operation = "apiVersion: throng.dev/v1alpha1\nkind: ChatroomOperation\nmetadata: {name: back}\n\
                     spec: {cluster: live, rollback: {}}\n";
    file.write(&format!("{next}---\n{operation}"));
    let back = dev
        .until("everybody is back", MOVES, |state| {
            running(state) == ([2, 2, 2], 0)
                && users(state, "live-gateway-1-") >= 60
                && state["pods"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|pod| pod["state"] == "dead" || pod["name"].as_str().unwrap().contains("-1-"))
        })
        .unwrap();
    assert_eq!(back["bots"]["refused"], 0, "{}", back["bots"]);
}

/// A rollout is held, goes on and is ended, and a Pod is emptied, by operations of the file, one after the other.
#[test]
fn operations_of_the_file_hold_a_rollout_go_on_with_it_end_it_and_empty_a_pod() {
    const HOLD: Duration = Duration::from_secs(15);
    let two = fixed(2);
    let text = yaml([&two, &two, &two], "  rollout: {canaryPercent: [20, 60], hold: 15s, warmRollback: 0s}\n");
    let file = File::new(&text);
    let dev = file.start(&["--bots", "60", "--rate", "10"]);
    dev.until("the bots are there", SOON, |state| state["bots"]["ready"] == 60).unwrap();
    let on_canary = |state: &Value| {
        let pods = state["pods"].as_array().unwrap().iter();
        let of = pods.filter(|pod| pod["name"].as_str().unwrap().starts_with("live-gateway-2-"));
        of.map(|pod| pod["users"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    let mut asked = text.replace("throng:0.1.0", "throng:0.2.0");
    file.write(&asked);
    let mut ask = |name: &str, what: &str| {
        asked.push_str("---\napiVersion: throng.dev/v1alpha1\nkind: ChatroomOperation\n");
        writeln!(asked, "metadata: {{name: {name}}}\nspec: {{cluster: live, {what}}}").unwrap();
        file.write(&asked);
    };
    dev.until("some users are on the canary", MOVES, |state| on_canary(state) >= 6).unwrap();
    ask("hold", "pause: {}");
    // It is given longer than the hold of its first share.
    std::thread::sleep(HOLD + Duration::from_secs(10));
    let held = dev.state().map(|state| on_canary(&state)).unwrap();
    assert!((6..=20).contains(&held), "{held} of 60 users are on a canary of 20 % that is held");
    ask("go-on", "resume: {}");
    dev.until("the next share is there", MOVES, |state| on_canary(state) >= 30).unwrap();
    ask("all", "promote: {}");
    dev.until("everybody is on the new revision", MOVES, |state| {
        let old = |pod: &Value| pod["state"] != "dead" && pod["name"].as_str().unwrap().contains("-1-");
        on_canary(state) >= 60 && !state["pods"].as_array().unwrap().iter().any(old)
    })
    .unwrap();
    let rested = at_rest(&dev, [2, 2, 2]);
    let pods = rested["pods"].as_array().unwrap().iter();
    let mut chatrooms = pods.filter(|pod| pod["role"] == "chatroom" && pod["state"] == "running");
    let drained = chatrooms.next().unwrap()["name"].as_str().unwrap().to_owned();
    ask("empty", &format!("drain: {{pods: [{drained}]}}"));
    dev.until("another Pod is in the place of the drained one", MOVES, |state| {
        let living = |pod: &Value| pod["name"] == *drained && pod["state"] != "dead";
        running(state) == ([2, 2, 2], 0) && !state["pods"].as_array().unwrap().iter().any(living)
    })
    .unwrap();
    assert_eq!(dev.state().unwrap()["bots"]["refused"], 0);
}

#[test]
fn a_file_that_cannot_be_followed_changes_nothing_and_says_what_is_wrong() {
    let file = File::new(&yaml([&fixed(1), &fixed(1), &fixed(1)], ""));
    let dev = file.start(&[]);
    let good = |sizes: [&str; 3]| yaml(sizes, "");
    let one = fixed(1);
    let cases = [
        ("spec: [".to_owned(), "YAML"),
        (good(["min: 3, max: 2", &one, &one]), "spec.gateway.replicas"),
        (yaml([&one, &one, &one], "  gatewy: {}\n"), "gatewy"),
        (good([&one, &one, &one]).replace("name: live}", "name: other}"), "metadata.name"),
        (good([&one, &one, &one]).replace("message: {", "message: {settings: {no_such_key: \"1\"}, "), "no_such_key"),
    ];
    for (text, place) in cases {
        file.write(&text);
        let said = dev.until(place, SOON, |state| state["file"]["problem"].to_string().contains(place)).unwrap();
        assert_eq!(running(&said), ([1, 1, 1], 0), "{place}");
    }
    file.sizes([2, 1, 1]);
    let well = at_rest(&dev, [2, 1, 1]);
    assert_eq!(well["file"]["problem"], Value::Null);
}

#[test]
fn a_file_is_refused_at_the_start_as_an_api_server_would() {
    let refused = |text: &str| {
        let file = File::new(text);
        let mut command = Command::new(binary().unwrap());
        let output = command.args(["dev", "--json", "--listen", "127.0.0.1:0", "-f"]).arg(&file.path).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let one = fixed(1);
    let said = refused(&yaml([&one, &one, &one], "  rollout: {canaryPercent: [50, 20]}\n"));
    assert!(said.contains("cluster.yaml") && said.contains("spec.rollout.canaryPercent"), "{said}");
    let said = refused("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    assert!(said.contains("kind: ChatroomCluster"), "{said}");
}

#[test]
fn the_example_runs_and_says_what_one_machine_cannot_do() {
    let mut child = Command::new(binary().unwrap())
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "-f"])
        .arg(root().join("examples/live.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["pods"].as_array().unwrap().len(), 6);
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("on this machine")).collect();
    assert!(lines.len() == 1 && lines[0].contains("throng:0.1.0") && lines[0].contains("no Service"), "{said}");
}
