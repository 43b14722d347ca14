//! One HTTP/2 connection to a Pod, and nothing else: hundreds are open at a time.
//!
//! A channel of tonic keeps a queue, a task and the means to connect anew beside each, which whoever follows a Pod does by
//! itself: with 300 Pods that was 3 MB of 62 that the operator held in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// Where calls go. The connection ends when its [`Driver`] is dropped.
#[derive(Clone, Debug)]
pub(super) struct Link(SendRequest<Body>);

/// What moves the bytes of a connection; dropping it closes that.
#[derive(Debug)]
pub(super) struct Driver(#[expect(dead_code, reason = "held until the connection is to end")] AbortOnDropHandle<()>);

/// Connects. An error says that nobody answers there; a deadline is the caller's.
pub(super) async fn connect(address: &str) -> Result<(Link, Driver), Status> {
    let unavailable = |error: &dyn std::error::Error| Status::unavailable(error.to_string());
    let socket = TcpStream::connect(address).await.map_err(|error| unavailable(&error))?;
    socket.set_nodelay(true).map_err(|error| unavailable(&error))?;
    let shaken = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(socket)).await;
    let (sender, connection) = shaken.map_err(|error| unavailable(&error))?;
    let driver = tokio::spawn(async {
        // How it ended is told by the calls on it.
        let _ = connection.await;
    });
    Ok((Link(sender), Driver(AbortOnDropHandle::new(driver))))
}

impl Service<Request<Body>> for Link {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
