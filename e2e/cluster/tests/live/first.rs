//! The README's three commands, and what comes of them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use throng_cluster::api::{helm, kubectl, repository, shell};
use throng_e2e::client::Client;

use crate::Said;
use crate::people::binary;
use crate::world::{NAMESPACE, World, install, make_namespace, rest, until, urls};

/// Where the README has the lines, and what they are.
const SECTION: &str = "\n## On Kubernetes\n";
const LINES: [&str; 3] = ["helm install throng-crds ", "helm install throng ", "kubectl --namespace "];
/// What `kubectl get` prints first, there and here.
const HEADER: &str = "NAME ";

/// From nothing to a message that somebody reads, by the very lines of the README, in a namespace that enforces the *restricted*
/// Pod Security Standard.
pub(crate) fn first_message(_: &World) -> Result<Said> {
    let readme = std::fs::read_to_string(repository().join("README.md"))?;
    let lines = lines(&readme)?;
    make_namespace()?;
    hand_over_kinds()?;
    let is_there = |release: &str| helm(&format!("status {release}")).is_ok();
    let again = is_there("throng-crds --namespace default") || is_there(&format!("throng --namespace {NAMESPACE}"));
    let began = Instant::now();
    let mut took = Vec::new();
    for line in lines {
        // Whoever ran this before on a cluster that stays has a release of that name.
        shell(&if again { line.replace("helm install ", "helm upgrade --install ") } else { line.to_owned() })?;
        took.push(began.elapsed());
    }
    let &[_, installed, applied] = took.as_slice() else { bail!("there are three lines") };
    rest("live")?;
    let served = began.elapsed();
    let shown = kubectl(&format!("--namespace {NAMESPACE} get throng"))?;
    let header = |text: &str| text.lines().find(|line| line.starts_with(HEADER)).map(words);
    ensure!(header(&shown) == header(&readme) && shown.contains(" 6/6 "), "the README promises another sight: {shown}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = urls("live")?.into_iter().next().context("no node has an address")?;
    let mut said = Ok(());
    until("a message arrives", Duration::from_mins(1), || {
        said = runtime.block_on(talk(&url));
        said.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")).copied()
    })?;
    let heard = began.elapsed();
    // As all other scenarios have it: a second operator.
    install("--wait --timeout 3m")?;
    let seconds = Duration::as_secs_f64;
    Ok(Said::Well(format!(
        "installed after {:.1} s, applied after {:.1} s, every Pod serves after {:.1} s, first message after {:.1} s",
        seconds(&installed),
        seconds(&applied),
        seconds(&served),
        seconds(&heard)
    )))
}

/// The three lines of the README.
fn lines(readme: &str) -> Result<Vec<&str>> {
    let (_, section) = readme.split_once(SECTION).context("the README has no such section")?;
    let (_, block) = section.split_once("```sh\n").context("there is no line to run")?;
    let (block, _) = block.split_once("\n```").context("the lines have no end")?;
    let lines: Vec<&str> = block.lines().collect();
    let known = lines.len() == LINES.len() && lines.iter().zip(LINES).all(|(line, begins)| line.starts_with(begins));
    ensure!(known, "these are not the three lines: {lines:?}");
    Ok(lines)
}

/// What another test has applied without Helm is given to the release that is to come: Helm takes nothing that is not its own.
fn hand_over_kinds() -> Result<()> {
    for kind in ["chatroomclusters", "chatroomoperations"] {
        let kind = format!("crd {kind}.throng.dev");
        let owner = r"-o jsonpath={.metadata.name}:{.metadata.annotations.meta\.helm\.sh/release-name}";
        // None is there, or it is somebody's already.
        if !kubectl(&format!("get {kind} --ignore-not-found {owner}"))?.trim().ends_with(':') {
            continue;
        }
        let release = "meta.helm.sh/release-name=throng-crds meta.helm.sh/release-namespace=default";
        kubectl(&format!("annotate {kind} {release}"))?;
        kubectl(&format!("label {kind} app.kubernetes.io/managed-by=Helm --overwrite"))?;
    }
    Ok(())
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Two people with tokens of `throng token`; one says something, the other hears it.
async fn talk(url: &str) -> Result<()> {
    let (mut ana, _) = Client::hello(url, &token("ana")?).await?;
    let (mut ben, _) = Client::hello(url, &token("ben")?).await?;
    for client in [&mut ana, &mut ben] {
        client.ask(json!({"join": {"room": "first"}})).await?;
    }
    ana.ask(json!({"publish": {"room": "first", "data": {"text": "hello"}}})).await?;
    let messages = ben.messages(Duration::from_secs(5)).await?;
    let heard = messages.iter().any(|message| message["from"] == "ana" && message["data"]["text"] == "hello");
    ensure!(heard, "{messages:?}");
    Ok(())
}

fn token(user: &str) -> Result<String> {
    let output = Command::new(binary()?).args(["token", "--user", user]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
