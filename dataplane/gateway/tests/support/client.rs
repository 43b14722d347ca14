//! A client that speaks JSON, made of another library's WebSocket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::token;

/// One connection; what is said beside answers waits.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: VecDeque<Value>,
    id: u64,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/connect")).await.unwrap();
        Self { socket, lines: VecDeque::new(), id: 0 }
    }

    pub async fn hello(address: SocketAddr, user: &str) -> Self {
        let mut client = Self::connect(address).await;
        let ok = client.call("hello", json!({"token": token(user)})).await;
        assert_eq!(ok["ok"]["user"], user, "{ok}");
        client
    }

    pub async fn send(&mut self, value: &Value) {
        self.socket.send(Ws::text(value.to_string())).await.unwrap();
    }

    /// The next line, whatever it is; none after a close.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            let message =
                tokio::time::timeout(Duration::from_secs(10), self.socket.next()).await.expect("nothing came")?;
            match message.ok()? {
                Ws::Text(text) => {
                    self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                }
                Ws::Close(close) => {
                    return close.map(|close| json!({"close": u16::from(close.code), "reason": close.reason.as_str()}));
                }
                _ => {}
            }
        }
    }

    /// The next line that has a field of this name.
    pub async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let line = self.next().await.unwrap_or_else(|| panic!("closed while waiting for {name}"));
            if line.get(name).is_some() {
                return line;
            }
        }
    }

    /// Sends a command and waits for its answer; other lines are kept.
    pub async fn call(&mut self, command: &str, body: Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(&json!({"id": id, command: body})).await;
        let mut kept = Vec::new();
        loop {
            let line = self.next().await.unwrap_or_else(|| panic!("closed during {command}"));
            if line["id"] == id || line.get("close").is_some() {
                for line in kept.into_iter().rev() {
                    self.lines.push_front(line);
                }
                return line;
            }
            kept.push(line);
        }
    }
}
