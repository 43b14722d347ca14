//! Plain HTTP on the public port: sockets that asked for no WebSocket, with the bytes that were read of them. On a thread of
//! its own: a flood of requests costs chat nothing but what the machine shares.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use crate::reactor::Handed;

/// Requests served at a time; others wait.
const MAX_CONNECTIONS: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A key is looked for in the beginning of a request.
const LOOKED_AT_BYTES: usize = 4096;
/// A connection ends after so long, whatever it does.
const MAX_LIFE: Duration = Duration::from_mins(1);

/// Serves what reactors hand over until none is left.
pub(crate) async fn serve(mut handed: mpsc::Receiver<Handed>, pages: Router) {
    let places = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some((stream, read, of_address)) = handed.recv().await {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
        let pages = pages.clone();
        tokio::spawn(async move {
            let _places = (place, of_address);
            let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) else { return };
            let io = TokioIo::new(Resumed { read, at: 0, stream });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 * 1024);
            let pages = tower_service(pages);
            let _ = tokio::time::timeout(MAX_LIFE, server.serve_connection(io, pages)).await;
        });
    }
}

fn tower_service(
    pages: Router,
) -> TowerToHyperService<
    impl tower::Service<
        hyper::Request<hyper::body::Incoming>,
        Response = Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone,
> {
    TowerToHyperService::new(tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let pages = pages.clone();
        async move {
            if request.uri().path() == "/connect" {
                return Ok(no_upgrade());
            }
            let has_key = request.headers().contains_key(header::AUTHORIZATION);
            let mut answer = tower::ServiceExt::oneshot(pages, request.map(Body::new)).await?;
            if is_last(answer.status(), has_key) {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    }))
}

/// Nobody holds one of the places with requests that are refused: without a key, or with a wrong one, such an answer is the
/// last on its connection.
fn is_last(status: StatusCode, has_key: bool) -> bool {
    status == StatusCode::UNAUTHORIZED || !has_key && status.is_client_error()
}

/// Whether a request names a key in what was read of it, right or wrong.
pub(crate) fn shows_a_key(read: &[u8]) -> bool {
    const NAME: &[u8] = b"\r\nauthorization:";
    let head = read.get(..LOOKED_AT_BYTES).unwrap_or(read);
    head.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME))
}

/// The answer to who comes to the WebSocket's path and asks for none: a browser's address bar, or a client behind a proxy
/// that drops the headers.
fn no_upgrade() -> Response {
    let headers = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade, close")];
    let text = "This path speaks WebSocket: connect with a WebSocket client. If you did, a proxy on the way drops the \
                headers Upgrade and Connection.\n";
    (StatusCode::UPGRADE_REQUIRED, headers, text).into_response()
}

/// A stream whose beginning was read already.
struct Resumed {
    read: Vec<u8>,
    at: usize,
    stream: TcpStream,
}

impl AsyncRead for Resumed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.read.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            this.read = Vec::new();
            this.at = 0;
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let size = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..size).unwrap_or_default());
        this.at += size;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Resumed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_seen_in_the_head_of_a_request() {
        let shows = |head: &str| shows_a_key(head.as_bytes());
        assert!(shows("GET /v1/rooms HTTP/1.1\r\nHost: a\r\nAUTHORIZATION: Bearer k\r\n\r\n"));
        assert!(shows("GET / HTTP/1.1\r\nauthorization:k"));
        assert!(!shows("GET /authorization: HTTP/1.1\r\nHost: a\r\nX-Authorization-No: k\r\n\r\n"));
        assert!(!shows(""));
        let late = format!("GET / HTTP/1.1\r\nA: {}\r\nAuthorization: k\r\n\r\n", "a".repeat(LOOKED_AT_BYTES));
        assert!(!shows(&late));
    }

    #[test]
    fn a_refused_request_is_the_last_on_its_connection_unless_its_key_was_right() {
        let last = |has_key: bool| {
            [200, 401, 404, 429, 503].map(|status| is_last(StatusCode::from_u16(status).unwrap(), has_key))
        };
        assert_eq!(last(false), [false, true, true, true, false]);
        assert_eq!(last(true), [false, true, false, false, false]);
    }
}
