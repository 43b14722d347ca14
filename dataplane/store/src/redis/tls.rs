//! Encrypted connections to Redis.

use std::io;
use std::path::{Path, PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates};

/// Whom to trust, and who to be, where a URL begins with `rediss://`. All files are PEM, read again at every connection, so
/// that rotated certificates are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificate of the authority that signed Redis's; none: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and key, if Redis asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    pub(super) fn read(&self) -> io::Result<TlsCertificates> {
        let client_tls = match &self.identity {
            Some((certificate, key)) => {
                Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
            }
            None => None,
        };
        Ok(TlsCertificates { client_tls, root_cert: self.ca.as_deref().map(read).transpose()? })
    }

    /// A client of one server, encrypted if its address says so.
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        if is_encrypted(&info) { Client::build_with_tls(info, self.read()?) } else { Client::open(info) }
    }
}

pub(super) fn is_encrypted(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display())))
}
