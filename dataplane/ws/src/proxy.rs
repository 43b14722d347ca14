//! PROXY protocol version 2, as `HAProxy` publishes it: who really connected, when a load balancer stands in between.
//!
//! Without it every client behind the balancer has the balancer's address, and limits per address would hit all at once.
//! Read it only where the configuration says that a balancer sends it: anybody can claim any address in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The twelve bytes that no other protocol begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Longest header that is taken, extensions (TLVs) included. Known balancers send well under 600 bytes.
pub const MAX_BYTES: usize = 4096;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// The header is incomplete: come again with these bytes and more.
    NeedMore,
    /// A client's connection, passed on.
    Client {
        /// Address and port of the client.
        source: SocketAddr,
        /// Size of the header; what the client sent follows.
        head_bytes: usize,
    },
    /// The balancer's own connection, such as a health check, or of a kind without address: the socket's address counts.
    Own {
        /// Size of the header.
        head_bytes: usize,
    },
    /// No header of this protocol: close without a word, for no peer would understand one.
    Bad(ProxyError),
}

/// Why a header was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Something else came: a client that went past the balancer, or a balancer that was not told to send the header.
    #[error("no PROXY v2 header: turn it on at the load balancer, or off here")]
    Missing,
    /// Another version than 2.
    #[error("PROXY protocol version {0}; only version 2 is understood")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("PROXY command {0} is not defined")]
    Command(u8),
    /// An address that does not fit into the header that announces it.
    #[error("the PROXY header is shorter than the address it announces")]
    Truncated,
    /// Over [`MAX_BYTES`].
    #[error("the PROXY header is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Reads the start of a connection; `bytes` is everything since it began.
#[must_use]
pub fn read(bytes: &[u8]) -> Proxy {
    match parse(bytes) {
        Ok(None) => Proxy::NeedMore,
        Ok(Some((head_bytes, Some(source)))) => Proxy::Client { source, head_bytes },
        Ok(Some((head_bytes, None))) => Proxy::Own { head_bytes },
        Err(error) => Proxy::Bad(error),
    }
}

/// Size of the header and the address in it, or nothing yet.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, ProxyError> {
    if bytes.iter().zip(SIGNATURE).any(|(is, should)| *is != should) {
        return Err(ProxyError::Missing);
    }
    let Some(&command) = bytes.get(SIGNATURE.len()) else { return Ok(None) };
    if command >> 4 != 2 {
        return Err(ProxyError::Version(command >> 4));
    }
    let is_passed_on = match command & 0x0f {
        0 => false,
        1 => true,
        other => return Err(ProxyError::Command(other)),
    };
    let Some(&[.., family, high, low]) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let head_bytes = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if head_bytes > MAX_BYTES {
        return Err(ProxyError::TooLong);
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..head_bytes) else { return Ok(None) };
    let source = if is_passed_on { parse_source(family, addresses)? } else { None };
    Ok(Some((head_bytes, source)))
}

/// The source of a pair of addresses; none for local sockets and unspecified families. Extensions after it are skipped.
fn parse_source(family: u8, addresses: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    match family >> 4 {
        1 => {
            let &[a, b, c, d, _, _, _, _, high, low, _, _] =
                addresses.first_chunk::<12>().ok_or(ProxyError::Truncated)?;
            let source = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            Ok(Some(SocketAddr::new(source, u16::from_be_bytes([high, low]))))
        }
        2 => {
            let &[.., high, low, _, _] = addresses.first_chunk::<36>().ok_or(ProxyError::Truncated)?;
            let &source = addresses.first_chunk::<16>().ok_or(ProxyError::Truncated)?;
            // A client that reached an IPv6 listener over IPv4 must not count as another address.
            let source = Ipv6Addr::from(source).to_canonical();
            Ok(Some(SocketAddr::new(source, u16::from_be_bytes([high, low]))))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, addresses].concat()
    }

    fn ipv4() -> Vec<u8> {
        vec![203, 0, 113, 7, 10, 0, 0, 1, 0xc3, 0x50, 0x00, 0x50]
    }

    fn client(source: &str, head_bytes: usize) -> Proxy {
        Proxy::Client { source: source.parse().expect("an address"), head_bytes }
    }

    #[test]
    fn an_ipv4_client_is_told_with_its_port_and_extensions_are_skipped() {
        assert_eq!(read(&header(0x21, 0x11, &ipv4())), client("203.0.113.7:50000", 28));
        let with_extension = [&ipv4()[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let bytes = [&header(0x21, 0x11, &with_extension)[..], b"GET / HTTP/1.1"].concat();
        assert_eq!(read(&bytes), client("203.0.113.7:50000", 35));
    }

    #[test]
    fn an_ipv6_client_is_told_and_a_mapped_one_is_ipv4() {
        let addresses =
            |source: Ipv6Addr| [&source.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0x1f, 0x90, 0, 80]].concat();
        let source: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        assert_eq!(read(&header(0x21, 0x21, &addresses(source))), client("[2001:db8::1]:8080", 52));
        let mapped = Ipv4Addr::new(203, 0, 113, 7).to_ipv6_mapped();
        assert_eq!(read(&header(0x21, 0x21, &addresses(mapped))), client("203.0.113.7:8080", 52));
    }

    #[test]
    fn health_checks_and_families_without_an_address_are_the_balancers_own() {
        assert_eq!(read(&header(0x20, 0x00, &[])), Proxy::Own { head_bytes: 16 });
        assert_eq!(read(&header(0x20, 0x11, &ipv4())), Proxy::Own { head_bytes: 28 });
        assert_eq!(read(&header(0x21, 0x00, &[1, 2, 3])), Proxy::Own { head_bytes: 19 });
        assert_eq!(read(&header(0x21, 0x31, &[0; 216])), Proxy::Own { head_bytes: 232 });
    }

    #[test]
    fn what_is_no_such_header_is_refused_at_the_first_byte_that_shows_it() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Proxy::Bad(ProxyError::Missing));
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIX"), Proxy::Bad(ProxyError::Missing));
        assert_eq!(read(b"PROXY TCP4 1.2.3.4"), Proxy::Bad(ProxyError::Missing));
        assert_eq!(read(&header(0x11, 0x11, &ipv4())), Proxy::Bad(ProxyError::Version(1)));
        assert_eq!(read(&header(0x22, 0x11, &ipv4())), Proxy::Bad(ProxyError::Command(2)));
        assert_eq!(read(&header(0x21, 0x11, &ipv4()[..11])), Proxy::Bad(ProxyError::Truncated));
        assert_eq!(read(&header(0x21, 0x21, &[0; 35])), Proxy::Bad(ProxyError::Truncated));
        assert_eq!(read(&header(0x21, 0x11, &[0; MAX_BYTES])[..16]), Proxy::Bad(ProxyError::TooLong));
    }

    proptest! {
        /// However a header is cut, it is incomplete until its last byte, and then says the same whatever follows.
        #[test]
        fn a_verdict_is_final(
            command in prop::sample::select(vec![0x20u8, 0x21, 0x22, 0x11]),
            family in prop::sample::select(vec![0x00u8, 0x11, 0x12, 0x21, 0x31, 0xff]),
            addresses in prop::collection::vec(any::<u8>(), 0..80),
            edit in prop::option::weighted(0.2, (0usize..16, any::<u8>())),
        ) {
            let mut bytes = header(command, family, &addresses);
            if let Some((at, byte)) = edit {
                bytes[at] = byte;
            }
            if let Some(first) = (0..=bytes.len()).find(|&cut| read(&bytes[..cut]) != Proxy::NeedMore) {
                let verdict = read(&bytes[..first]);
                for cut in first..=bytes.len() {
                    prop_assert_eq!(read(&bytes[..cut]), verdict);
                }
                if let Proxy::Client { head_bytes, .. } | Proxy::Own { head_bytes } = verdict {
                    prop_assert_eq!(first, head_bytes);
                }
            }
        }
    }
}
