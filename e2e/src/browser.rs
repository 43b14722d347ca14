//! A headless Chromium, driven over its `DevTools` protocol.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const ANSWER: Duration = Duration::from_secs(20);

/// A browser with one page. Killed when dropped.
pub struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    next_id: u64,
}

impl Browser {
    /// Starts Chromium and opens a page.
    pub async fn open(url: &str) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--window-size=1280,900", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stderr(Stdio::piped())
            .spawn()
            .context("chromium is needed: apt-get install chromium")?;
        let stderr = child.stderr.take().context("standard error is a pipe")?;
        let endpoint = tokio::task::spawn_blocking(move || devtools_endpoint(stderr)).await??;
        let (socket, _) = tokio_tungstenite::connect_async(endpoint).await?;
        let mut browser = Self { child, _profile: profile, socket, session: String::new(), next_id: 1 };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await?;
        let id = &target["targetId"];
        let attached = browser.call("Target.attachToTarget", json!({"targetId": id, "flatten": true})).await?;
        attached["sessionId"].as_str().context("no session")?.clone_into(&mut browser.session);
        browser.call("Page.enable", json!({})).await?;
        browser.call("Page.navigate", json!({"url": url})).await?;
        Ok(browser)
    }

    /// The value of an expression in the page; promises are awaited.
    pub async fn eval(&mut self, expression: &str) -> Result<Value> {
        let arguments = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let reply = self.call("Runtime.evaluate", arguments).await?;
        if let Some(details) = reply.get("exceptionDetails") {
            bail!("{expression}: {details}");
        }
        Ok(reply["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str, within: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + within;
        while self.eval(expression).await? != Value::Bool(true) {
            if tokio::time::Instant::now() > until {
                let text = self.eval("document.body.innerText").await?;
                bail!("not within {within:?}: {expression}; the page says: {text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let mut call = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            call["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(call.to_string())).await?;
        let until = tokio::time::Instant::now() + ANSWER;
        loop {
            let message =
                tokio::time::timeout_at(until, self.socket.next()).await?.context("the browser has ended")??;
            let Message::Text(text) = message else { continue };
            let reply: Value = serde_json::from_str(text.as_str())?;
            if reply["id"] == id {
                if let Some(error) = reply.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(reply["result"].clone());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn devtools_endpoint(stderr: impl std::io::Read) -> Result<String> {
    for line in BufReader::new(stderr).lines() {
        if let Some(endpoint) = line?.strip_prefix("DevTools listening on ") {
            return Ok(endpoint.to_owned());
        }
    }
    bail!("chromium ended without an endpoint")
}
