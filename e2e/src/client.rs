//! A client of the protocol over an independent WebSocket library.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// One connection. What the server says beside answers waits in a queue.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    said: VecDeque<Value>,
}

impl Client {
    /// Connects, without a word.
    pub async fn open(url: &str) -> Result<Self> {
        let (socket, _) = tokio::time::timeout(ANSWER, tokio_tungstenite::connect_async(url)).await??;
        Ok(Self { socket, next_id: 1, said: VecDeque::new() })
    }

    /// Connects and says hello.
    pub async fn hello(url: &str, token: &str) -> Result<(Self, Value)> {
        let mut client = Self::open(url).await?;
        let ok = client.ask(json!({"hello": {"token": token}})).await?;
        Ok((client, ok))
    }

    /// Sends a command; its `ok`, or the error as JSON text.
    pub async fn ask(&mut self, command: Value) -> Result<Value> {
        let answer = self.try_ask(command).await?;
        match answer.get("ok") {
            Some(ok) => Ok(ok.clone()),
            None => bail!("{answer}"),
        }
    }

    /// Sends a command; its whole answer.
    pub async fn try_ask(&mut self, mut command: Value) -> Result<Value> {
        let id = self.next_id;
        self.next_id += 1;
        command.as_object_mut().context("a command is an object")?.insert("id".into(), id.into());
        self.socket.send(Message::text(command.to_string())).await?;
        let until = tokio::time::Instant::now() + ANSWER;
        let mut kept = VecDeque::new();
        loop {
            while let Some(frame) = self.said.pop_front() {
                if frame["id"] == id {
                    kept.append(&mut self.said);
                    self.said = kept;
                    return Ok(frame);
                }
                kept.push_back(frame);
            }
            tokio::time::timeout_at(until, self.read()).await.context("no answer in time")??;
        }
    }

    /// The next thing the server says by itself.
    pub async fn next(&mut self, within: Duration) -> Result<Value> {
        let until = tokio::time::Instant::now() + within;
        while self.said.is_empty() {
            tokio::time::timeout_at(until, self.read()).await.context("nothing was said in time")??;
        }
        self.said.pop_front().context("just looked")
    }

    /// The messages of the next segment of a room.
    pub async fn messages(&mut self, within: Duration) -> Result<Vec<Value>> {
        let until = tokio::time::Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let frame = self.next(left).await?;
            if let Some(messages) = frame.pointer("/segment/messages").and_then(Value::as_array) {
                return Ok(messages.clone());
            }
        }
    }

    /// Sends a raw WebSocket message.
    pub async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(message).await?)
    }

    async fn read(&mut self) -> Result<()> {
        match self.socket.next().await.context("the connection has ended")?? {
            Message::Text(text) => {
                for line in text.as_str().lines() {
                    self.said.push_back(serde_json::from_str(line)?);
                }
            }
            Message::Close(frame) => bail!("closed: {frame:?}"),
            _ => {}
        }
        Ok(())
    }
}
