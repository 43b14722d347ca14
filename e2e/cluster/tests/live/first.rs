//! The README's three commands, and what comes of them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use throng_cluster::api::{apply, repository};
use throng_e2e::client::Client;

use crate::Said;
use crate::people::binary;
use crate::world::{NAMESPACE, World, install, rest, until, urls};

/// From nothing to a message that somebody reads.
pub(crate) fn first_message(_: &World) -> Result<Said> {
    let began = Instant::now();
    install("")?;
    let installed = began.elapsed();
    let example = std::fs::read_to_string(repository().join("examples/quickstart.yaml"))?;
    apply(&format!("--namespace {NAMESPACE} apply"), &example)?;
    let applied = began.elapsed();
    rest("live")?;
    let served = began.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = urls("live")?.into_iter().next().context("no node has an address")?;
    let mut said = Ok(());
    until("a message arrives", Duration::from_mins(1), || {
        said = runtime.block_on(talk(&url));
        said.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")).copied()
    })?;
    let heard = began.elapsed();
    let seconds = Duration::as_secs_f64;
    Ok(Said::Well(format!(
        "installed after {:.1} s, applied after {:.1} s, every Pod serves after {:.1} s, first message after {:.1} s",
        seconds(&installed),
        seconds(&applied),
        seconds(&served),
        seconds(&heard)
    )))
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
