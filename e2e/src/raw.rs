//! A WebSocket client that may break every rule: its frames are made by hand and written to a plain socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// First byte of a whole text frame.
pub const TEXT: u8 = 0x81;
/// First byte of a whole binary frame.
pub const BINARY: u8 = 0x82;
/// First byte of a close frame.
pub const CLOSE: u8 = 0x88;
/// First byte of a ping.
pub const PING: u8 = 0x89;

/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(10);
const MASK: [u8; 4] = [7, 1, 200, 33];

/// A connection after its handshake.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A frame as a client must send it: masked.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0x80, payload.len());
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame as only a server may send it.
#[must_use]
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// First byte and length of a frame, the bit of the mask as given.
#[must_use]
pub fn head(first: u8, mask_bit: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => frame.push(mask_bit | short),
        (_, Ok(medium)) => {
            frame.push(mask_bit | 0x7e);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 0x7f);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame
}

/// Connects from an address of this machine; `receive_bytes` bounds what the kernel takes for a client that does not read.
pub async fn tcp(url: &str, from: Ipv4Addr, receive_bytes: Option<u32>) -> Result<TcpStream> {
    let address: SocketAddr = host(url)?.parse()?;
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = tokio::time::timeout(SOON, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `host:port` of a URL.
pub fn host(url: &str) -> Result<&str> {
    let (_, rest) = url.split_once("://").context("a URL has ://")?;
    rest.split('/').next().context("a URL has a host")
}

/// The head of a handshake, with further header lines, each with its line end.
#[must_use]
pub fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: throng\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n{more}\r\n"
    )
}

impl Raw {
    /// Connects and shakes hands.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::over(tcp(url, Ipv4Addr::LOCALHOST, None).await?, "").await
    }

    /// Shakes hands on a socket, with further header lines.
    pub async fn over(mut stream: TcpStream, more: &str) -> Result<Self> {
        stream.write_all(handshake("/connect", more).as_bytes()).await?;
        Self::answered(stream).await
    }

    /// Reads the answer to a handshake that was sent already.
    pub async fn answered(mut stream: TcpStream) -> Result<Self> {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if tokio::time::timeout(SOON, stream.read_buf(&mut read)).await.context("no answer to a handshake")?? == 0 {
                bail!("closed in the handshake after {} bytes", read.len());
            }
        };
        let answer = String::from_utf8_lossy(read.get(..end).unwrap_or_default()).into_owned();
        if !answer.starts_with("HTTP/1.1 101") {
            bail!("{}", answer.lines().next().unwrap_or_default());
        }
        read.drain(..end);
        Ok(Self { stream, read })
    }

    /// Connects and says hello; the answer.
    pub async fn hello(url: &str, token: &str) -> Result<(Self, Value)> {
        let mut raw = Self::connect(url).await?;
        let ok = raw.say_hello(token).await?;
        Ok((raw, ok))
    }

    /// Says hello; the answer.
    pub async fn say_hello(&mut self, token: &str) -> Result<Value> {
        self.text(&format!(r#"{{"id":1,"hello":{{"token":"{token}"}}}}"#)).await?;
        self.json(SOON).await
    }

    /// Writes bytes as they are. That the server has closed is seen when reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(SOON, self.stream.write_all(bytes)).await;
    }

    /// Writes bytes, and that nothing more comes, with nothing between the two.
    pub async fn last(&mut self, bytes: &[u8]) -> Result<()> {
        tokio::time::timeout(SOON, self.stream.write_all(bytes)).await??;
        Ok(self.stream.shutdown().await?)
    }

    /// Sends a text message.
    pub async fn text(&mut self, text: &str) -> Result<()> {
        Ok(tokio::time::timeout(SOON, self.stream.write_all(&masked(TEXT, text.as_bytes()))).await??)
    }

    /// The next frame; none at the end of the stream.
    pub async fn frame(&mut self, within: Duration) -> Result<Option<Frame>> {
        let until = tokio::time::Instant::now() + within;
        loop {
            if let Some((frame, size)) = parse(&self.read) {
                self.read.drain(..size);
                return Ok(Some(frame));
            }
            let reading = self.stream.read_buf(&mut self.read);
            match tokio::time::timeout_at(until, reading).await.context("the server said nothing in time")? {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // A reset after the last frame.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The first object of the next text message.
    pub async fn json(&mut self, within: Duration) -> Result<Value> {
        loop {
            let frame = self.frame(within).await?.context("the connection has ended")?;
            match frame.opcode {
                1 => {
                    let text = std::str::from_utf8(&frame.payload)?;
                    return Ok(serde_json::from_str(text.lines().next().unwrap_or_default())?);
                }
                8 => bail!("closed with {:?}", close_code(&frame)),
                _ => {}
            }
        }
    }

    /// Reads on to the close frame: its code and reason. 0 if the connection ended without one.
    pub async fn closed(&mut self, within: Duration) -> Result<(u16, String)> {
        let until = tokio::time::Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let Some(frame) = self.frame(left).await? else { return Ok((0, String::new())) };
            if frame.opcode == 8 {
                let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).into_owned();
                return Ok((close_code(&frame).unwrap_or(1005), reason));
            }
        }
    }
}

/// What is answered until the server closes the socket: all of it, as text.
pub async fn rest(stream: &mut TcpStream, within: Duration) -> Result<String> {
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(within, stream.read_to_end(&mut answer)).await;
    match reading.context("the server did not close in time")? {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error.into()),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn close_code(frame: &Frame) -> Option<u16> {
    frame.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))
}

/// A whole frame at the front, and its size.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second] = *bytes.first_chunk::<2>()?;
    let (length, start) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk::<2>()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk::<8>()?), 10),
        short => (u64::from(short), 2),
    };
    let end = start + usize::try_from(length).ok()?;
    let payload = bytes.get(start..end)?.to_vec();
    Some((Frame { opcode: first & 0x0f, payload }, end))
}
