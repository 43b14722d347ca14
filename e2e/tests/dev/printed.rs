//! What `throng dev` prints for people: every line of it works as it stands.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use throng_e2e::client::Client;
use throng_e2e::dev::{binary, root};
use throng_e2e::http;

use crate::SOON;

/// A `throng dev` that speaks to a person, and ends as that person ends it.
struct Spoken {
    child: Child,
    lines: Vec<String>,
}

impl Spoken {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(binary().unwrap());
        command.args(["dev", "--listen", "127.0.0.1:0"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            lines.push(line.unwrap());
            if lines.last().is_some_and(|line| line.starts_with("NOT FOR PRODUCTION")) {
                break;
            }
        }
        Self { child, lines }
    }

    /// What follows a word at the beginning of a line.
    fn after(&self, word: &str) -> &str {
        let line = self.lines.iter().find_map(|line| line.trim_start().strip_prefix(word));
        assert!(line.is_some(), "no line begins with {word:?}: {:#?}", self.lines);
        line.unwrap().trim()
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

#[tokio::test]
async fn what_it_prints_for_people_works_as_it_stands() {
    let dev = Spoken::start(&[]);
    assert!(dev.after("Throng dev is ready").contains("2 gateways, 2 chatroom and 2 message Pods"), "{:?}", dev.lines);
    let warning = dev.after("NOT FOR PRODUCTION");
    assert!(warning.contains("fixed keys") && warning.contains("in memory") && warning.contains("Ctrl-C"), "{warning}");

    let page = dev.after("page").strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    let html = http::request(&page, "", "GET", "/", "").unwrap();
    assert!(html.starts_with("HTTP/1.1 200") && html.contains("<html"), "{html}");

    let call = dev.after("API");
    let key = call.split_once("Bearer ").unwrap().1.split_once('\'').unwrap().0;
    let (address, path) = call.rsplit_once("http://").unwrap().1.split_once('/').unwrap();
    let rooms = http::request(address, key, "GET", &format!("/{path}"), "").unwrap();
    assert!(rooms.starts_with("HTTP/1.1 200") && rooms.contains("\"rooms\""), "{rooms}");

    let (mut listener, hello) = Client::hello(dev.after("connect"), dev.after("token")).await.unwrap();
    assert_eq!(hello["user"], "you");
    let line = dev.after("examples/python/chat.py");
    let room = line.rsplit(' ').next().unwrap();
    listener.ask(serde_json::json!({"join": {"room": room}})).await.unwrap();
    let pasted = format!("examples/python/chat.py {line} --say hi --count 1");
    let output = Command::new("sh").args(["-c", &pasted]).current_dir(root()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("you: {\"text\": \"hi\"}"), "{output:?}");
    assert_eq!(listener.messages(SOON).await.unwrap()[0]["data"]["text"], "hi");
    drop(listener);
    dev.end();
}

#[test]
fn bots_are_announced_with_their_room_and_rate() {
    let dev = Spoken::start(&["--bots", "20", "--rate", "5", "--gateways", "1"]);
    assert!(dev.after("Throng dev is ready").contains("1 gateway, 2"), "{:?}", dev.lines);
    let bots = dev.after("20 bots are on their way to the room ");
    assert!(bots.ends_with("to say 5 messages/s."), "{bots}");
    dev.end();
}
