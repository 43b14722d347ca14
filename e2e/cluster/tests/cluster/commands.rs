//! `throng status`, `plan`, `check` and operations against an API server, as several people.
//!
//! No operator is needed: what the commands read and write is told by the API server alone.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use throng_cluster::api::{Namespace, eventually, kubectl, repository};

use crate::kinds::install_kinds;

/// The program under test: `THRONG_BIN`, or the release build.
fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let path = std::env::var_os("THRONG_BIN").map_or_else(|| target.join("release/throng"), PathBuf::from);
    assert!(path.is_file(), "build it first: cargo build --release ({} is missing)", path.display());
    path
}

/// What a command said, and whether it was content.
struct Said {
    fine: bool,
    out: String,
    errors: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { fine: output.status.success(), out: text(output.stdout), errors: text(output.stderr) }
    }
}

/// Runs the program with words parted by spaces, without a terminal.
fn throng(line: &str) -> Said {
    Said::of(Command::new(binary()).args(line.split_ascii_whitespace()).stdin(Stdio::null()).output().unwrap())
}

fn example(name: &str) -> String {
    repository().join("examples").join(name).display().to_string()
}

/// A kubeconfig that acts as somebody else; gone when dropped.
struct Somebody(PathBuf);

impl Somebody {
    fn named(name: &str) -> Self {
        let text = kubectl("config view --raw --minify --flatten -o json").unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"]["as"] = json!(name);
        let path = std::env::temp_dir().join(format!("throng-{}-{name}.json", std::process::id()));
        std::fs::write(&path, config.to_string()).unwrap();
        Self(path)
    }

    fn throng(&self, line: &str) -> Said {
        throng(&format!("{line} --kubeconfig {}", self.0.display()))
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A namespace with the smallest cluster, which no operator looks after.
fn place(name: &str) -> Namespace {
    install_kinds();
    let namespace = Namespace::make(name, "restricted").unwrap();
    namespace.apply(&std::fs::read_to_string(example("minimal.yaml")).unwrap()).unwrap();
    namespace
}

#[test]
fn a_cluster_that_nobody_looks_after_is_shown_and_what_it_lacks_is_told() {
    let _namespace = place("commands-status");
    let tree = throng("status live -n commands-status");
    assert!(tree.fine && tree.out.starts_with("live  in commands-status  not looked at yet\n"), "{}", tree.out);
    let json = throng("status live -n commands-status -o json");
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap()["phase"], "Unseen");
    let all: Value = serde_json::from_str(&throng("status -A -o json").out).unwrap();
    assert!(all.as_array().unwrap().iter().any(|one| one["namespace"] == "commands-status"), "{all}");
    let check = throng("check live -n commands-status");
    assert!(!check.fine, "{}", check.out);
    for part in [
        "ok  kind ChatroomCluster  installed, of this version",
        "no operator has looked at it",
        "spec.auth.jwt.secretRef names live-auth: create that Secret",
    ] {
        assert!(check.out.contains(part), "{part}: {}", check.out);
    }
    let wrong = throng("status lvie -n commands-status");
    assert!(!wrong.fine && wrong.errors.contains("it has live"), "{}", wrong.errors);
}

/// A program that goes on; killed when dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_watch_tells_every_change_and_that_the_cluster_is_gone() {
    let namespace = place("commands-watch");
    let line = "status live -n commands-watch --watch -o json";
    let mut command = Command::new(binary());
    let spawned =
        command.args(line.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut running = Running(spawned.unwrap());
    let (tell, told) = std::sync::mpsc::sync_channel(16);
    let out = running.0.stdout.take().unwrap();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let next = || -> Value { serde_json::from_str(&told.recv_timeout(Duration::from_secs(20)).unwrap()).unwrap() };
    let first = next();
    let change = r#"{"spec":{"image":"throng:0.2.0"}}"#;
    namespace.kubectl(&format!("patch crc live --type=merge -p {change}")).unwrap();
    let second = next();
    assert_eq!((&first["image"], &second["image"]), (&json!("throng:0.1.0"), &json!("throng:0.2.0")));
    namespace.kubectl("delete crc live --wait=false").unwrap();
    // Nobody put a finalizer on it, so it goes at once, and with it the watch.
    assert!(told.recv_timeout(Duration::from_secs(20)).is_err());
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_plan_tells_what_would_be_made_and_makes_nothing() {
    install_kinds();
    let namespace = Namespace::make("commands-plan", "restricted").unwrap();
    let plan = throng(&format!("plan -f {} -n commands-plan", example("event.yaml")));
    assert!(plan.fine, "{}", plan.errors);
    for part in ["live  in commands-plan  would be made", "make gateway Pods of revision 1: live-gateway-1-0"] {
        assert!(plan.out.contains(part), "{part}: {}", plan.out);
    }
    assert_eq!(namespace.kubectl("get crc,pods,services -l throng.dev/cluster=live -o name").unwrap(), "");
    namespace.apply(&std::fs::read_to_string(example("minimal.yaml")).unwrap()).unwrap();
    let change: Value =
        serde_json::from_str(&throng(&format!("plan -f {} -n commands-plan -o json", example("event.yaml"))).out)
            .unwrap();
    let changes = change["changes"].as_array().unwrap();
    assert!(changes.iter().any(|one| one["path"] == "spec.redis.url" && one["makesNewPods"] == true), "{change}");
}

#[test]
fn an_operation_is_created_only_after_a_yes_and_the_api_server_takes_each() {
    let namespace = place("commands-ask");
    let made = || namespace.kubectl("get cro -o name").unwrap();
    let asked = throng("pause live -n commands-ask");
    assert!(!asked.fine && asked.errors.contains("add --yes"), "{}", asked.errors);
    assert_eq!(made(), "");
    let dry = throng("pause live -n commands-ask --dry-run");
    assert!(dry.fine && dry.out.contains("generateName: pause-"), "{}", dry.out);
    assert_eq!(made(), "");
    for line in
        ["pause live", "resume live", "promote live", "drain --zone eu-1a", "drain --node node-a --cluster live"]
    {
        let done = throng(&format!("{line} -n commands-ask --yes --note somebody"));
        let expected = line.starts_with("drain --node");
        // No Pod is on that node: that is told, and nothing asked for.
        assert_eq!(done.fine, !expected, "{line}: {}{}", done.out, done.errors);
    }
    assert_eq!(made().lines().count(), 4, "{}", made());
    let back = throng("rollback live -n commands-ask --yes");
    assert!(!back.fine && back.errors.contains("no revision yet"), "{}", back.errors);
    let waited = throng("pause live -n commands-ask --yes --wait --timeout 2s");
    assert!(!waited.fine && waited.errors.contains("not at its end yet"), "{}", waited.errors);
}

#[test]
fn whoever_lacks_a_right_is_told_which_and_whom_to_ask_for_it() {
    let namespace = place("commands-rights");
    let desk = Somebody::named("desk");
    let none = desk.throng("status -n commands-rights");
    assert!(!none.fine);
    for part in ["you may not list chatroomclusters.throng.dev in namespace commands-rights", "the role throng-view:"] {
        assert!(none.errors.contains(part), "{part}: {}", none.errors);
    }
    namespace
        .kubectl("create role desk --verb=get,list,watch --resource=chatroomclusters.throng.dev,chatroomoperations.throng.dev")
        .unwrap();
    namespace.kubectl("create rolebinding desk --role=desk --user=desk").unwrap();
    eventually("the right counts", Duration::from_secs(30), || Ok(desk.throng("status -n commands-rights").fine))
        .unwrap();
    let some = desk.throng("status -n commands-rights");
    assert!(some.out.contains("Pods are not shown: you may not list pods"), "{}", some.out);
    let pause = desk.throng("pause live -n commands-rights --yes");
    assert!(!pause.fine && pause.errors.contains("the role throng-live-ops:"), "{}", pause.errors);
    namespace.kubectl("create role ask --verb=create --resource=chatroomoperations.throng.dev").unwrap();
    namespace.kubectl("create rolebinding ask --role=ask --user=desk").unwrap();
    eventually("the right counts", Duration::from_secs(30), || {
        Ok(desk.throng("pause live -n commands-rights --yes").fine)
    })
    .unwrap();
}

#[test]
fn kubectl_finds_it_as_its_plugin() {
    let folder = std::env::temp_dir().join(format!("throng-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(binary(), folder.join("kubectl-throng")).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let called = Command::new("kubectl").args(["throng", "status", "--help"]).env("PATH", path).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = Said::of(called);
    assert!(
        said.fine && said.out.contains("Usage: kubectl throng status [OPTIONS] [CLUSTER]"),
        "{}{}",
        said.out,
        said.errors
    );
}
