//! The port of the page, `/connect` and `/v1/`: ours from the beginning to the end.
//!
//! Gateways come and go and share the port (`SO_REUSEPORT`), so none of them can keep others off it. A socket that never
//! listens does: it is bound while an ordinary listener proves that nobody else is there, and stays bound.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// A port that no other program gets while this lives, and that any gateway of this process may listen on.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Takes `wanted`; port 0 takes any that is free.
    pub(crate) fn take(wanted: SocketAddr) -> Result<Self> {
        let alone = TcpListener::bind(wanted).map_err(|error| refusal(wanted, &error))?;
        let address = alone.local_addr()?;
        let held = share(&alone, address).with_context(|| format!("cannot keep {address}"))?;
        Ok(Self { address, _held: held })
    }

    /// Where to listen.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// From a socket that suffers no other beside it to one that suffers those of its own user who ask to share. There is
/// no moment in between at which a third could come.
fn share(alone: &TcpListener, address: SocketAddr) -> std::io::Result<Socket> {
    SockRef::from(alone).set_reuse_port(true)?;
    let held = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run may still linger on the port.
    held.set_reuse_address(true)?;
    held.set_reuse_port(true)?;
    held.bind(&address.into())?;
    // From here on a newcomer that does not ask to share is refused, and none of them does at first.
    held.set_reuse_address(false)?;
    Ok(held)
}

fn refusal(wanted: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program has it, perhaps another throng dev",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 are for root",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "the system refuses it",
    };
    anyhow::anyhow!("cannot listen on {wanted}: {hint} ({error}). Choose another with --listen 127.0.0.1:PORT")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_port_is_ours_while_nobody_listens_and_gateways_may() {
        let port = Port::take(any()).unwrap();
        let refused = Port::take(port.address()).unwrap_err().to_string();
        assert!(refused.contains(&port.address().to_string()) && refused.contains("--listen"), "{refused}");
        assert!(TcpListener::bind(port.address()).is_err());
        let first = throng_gateway::bind(port.address()).unwrap();
        let second = throng_gateway::bind(port.address()).unwrap();
        // What is held takes no connections: each goes to a gateway.
        for _ in 0..32 {
            drop(std::net::TcpStream::connect(port.address()).unwrap());
        }
        let taken = |listener: &TcpListener| std::iter::from_fn(|| listener.accept().ok()).count();
        assert_eq!(taken(&first) + taken(&second), 32);
        drop((first, second));
        assert!(Port::take(port.address()).is_err(), "all gateways are dead, the port is ours all the same");
    }

    #[test]
    fn a_port_is_free_again_at_once() {
        let port = Port::take(any()).unwrap();
        let address = port.address();
        let listener = throng_gateway::bind(address).unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        // The server closes first, so its end lingers.
        drop(listener.accept().unwrap());
        drop((client, listener, port));
        drop(throng_gateway::bind(Port::take(address).unwrap().address()).unwrap());
    }

    #[test]
    fn many_at_once_get_a_port_each() {
        let takers: Vec<_> = (0..16).map(|_| std::thread::spawn(|| Port::take(any()).unwrap())).collect();
        let ports: Vec<Port> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        let addresses: BTreeSet<SocketAddr> = ports.iter().map(Port::address).collect();
        assert_eq!(addresses.len(), 16);
        let contested = addresses.first().copied().unwrap();
        drop(ports);
        let takers: Vec<_> = (0..16).map(|_| std::thread::spawn(move || Port::take(contested).ok())).collect();
        let won: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        assert_eq!(won.iter().flatten().count(), 1);
    }
}
