//! A way to the public port that can be shut.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A way to the public port that can be shut for who comes next.
pub(crate) struct Door {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// Who comes while this is set is not let in.
    pub(crate) is_shut: Arc<AtomicBool>,
    /// How many were not.
    pub(crate) refused: Arc<AtomicU64>,
}

impl Door {
    /// One to where `upstream` listens, open.
    pub(crate) fn to(upstream: &str) -> Self {
        let upstream: SocketAddr = upstream.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_shut, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (shut, count) = (Arc::clone(&is_shut), Arc::clone(&refused));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if shut.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let Ok(other) = TcpStream::connect(upstream) else { continue };
                carry(socket.try_clone().unwrap(), other.try_clone().unwrap());
                carry(other, socket);
            }
        });
        Self { address, is_shut, refused }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
