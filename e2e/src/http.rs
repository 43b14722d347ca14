//! Calls of the server API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// One request with a key; the whole answer as text.
pub fn request(address: &str, key: &str, method: &str, path: &str, body: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What is sent for a value: nothing for `null`.
pub(crate) fn body(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string() }
}

/// Status and JSON body of an answer; a body that is no JSON is `null`.
pub(crate) fn read(answer: &str) -> Result<(u16, Value)> {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}
