//! How to reach an etcd, and as whom.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use crate::error::Error;

/// Time to open a connection to one endpoint.
const CONNECT: Duration = Duration::from_secs(1);
/// HTTP/2 pings find a connection whose other end is gone without a word. etcd hangs up on clients that ping more often than
/// every 5 s.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(3);

/// Where systems keep the authorities that they trust (Debian and the image, Fedora, Alpine), unless `SSL_CERT_FILE` says it.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where the etcd of a cluster is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// `http://host:port` or `https://host:port`, one for each member of etcd.
    pub endpoints: Vec<String>,
    /// Namespace of the `ChatroomCluster`: first part of every key.
    pub namespace: String,
    /// Name of the `ChatroomCluster`: second part of every key.
    pub cluster: String,
    /// As whom, if etcd has authentication enabled. The user needs a role that may read and write the prefix
    /// `<namespace>/<cluster>/`.
    pub credentials: Option<Credentials>,
    /// For `https`; none there: the authorities of the system are trusted, and no certificate is shown.
    pub tls: Option<Tls>,
    /// Deadline of a call that is not given one, in milliseconds.
    pub call_ms: u64,
    /// After an interruption the listing waits a random time up to this, in milliseconds, so that a thousand processes do
    /// not list at once.
    pub jitter_ms: u64,
}

impl EtcdOptions {
    /// Without TLS and authentication, with a deadline of 2 s and a jitter of 2 s.
    #[must_use]
    pub fn new(endpoints: Vec<String>, namespace: &str, cluster: &str) -> Self {
        Self {
            endpoints,
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            credentials: None,
            tls: None,
            call_ms: 2000,
            jitter_ms: 2000,
        }
    }

    /// Finds mistakes before anything is dialled.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() {
            return Err(Error::refused("no endpoint is given; name at least one, such as http://etcd:2379"));
        }
        for endpoint in &self.endpoints {
            let secure = endpoint.starts_with("https://");
            if !secure && !endpoint.starts_with("http://") {
                return Err(Error::refused(format!(
                    "{endpoint} is not a URL; write http://host:port or https://host:port"
                )));
            }
            if !secure && self.tls.is_some() {
                return Err(Error::refused(format!(
                    "TLS is configured but {endpoint} is not https; change one of them"
                )));
            }
            if secure != self.is_secure() {
                return Err(Error::refused("some endpoints are https and some are not; begin all of them alike"));
            }
        }
        Ok(())
    }

    fn is_secure(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"))
    }

    /// What to connect with. Files are read anew each time, so that rotated secrets are found.
    pub(super) fn connect(&self) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(PING_EVERY, PING_ANSWER)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(credentials) = &self.credentials {
            let (user, password) = credentials.read()?;
            options = options.with_user(user, password);
        }
        if self.is_secure() {
            options = options.with_tls(self.tls.clone().unwrap_or_default().read()?);
        }
        Ok(options)
    }
}

/// A user of etcd.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// As given.
    Given {
        /// Name of the user.
        user: String,
        /// Its password.
        password: String,
    },
    /// From the files of a mounted Secret, read again at every connection and after every refusal.
    Files {
        /// File with the name of the user.
        user: PathBuf,
        /// File with the password.
        password: PathBuf,
    },
}

impl Credentials {
    fn read(&self) -> Result<(String, String), Error> {
        match self {
            Self::Given { user, password } => Ok((user.clone(), password.clone())),
            Self::Files { user, password } => Ok((read_line(user)?, read_line(password)?)),
        }
    }
}

/// Never shows a password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { user, .. } => f.debug_struct("Given").field("user", user).finish_non_exhaustive(),
            Self::Files { user, password } => {
                f.debug_struct("Files").field("user", user).field("password", password).finish()
            }
        }
    }
}

/// A certificate or a key in PEM.
#[derive(Clone)]
#[non_exhaustive]
pub enum Pem {
    /// In a file, which is read again at every connection.
    File(PathBuf),
    /// As given: for a process that reads Secrets itself.
    Given(Arc<str>),
}

impl<T: Into<PathBuf>> From<T> for Pem {
    fn from(path: T) -> Self {
        Self::File(path.into())
    }
}

/// Never shows a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Given(_) => f.write_str("Given(..)"),
        }
    }
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::File(path) => read(path),
            Self::Given(text) => Ok(text.as_bytes().to_vec()),
        }
    }
}

/// Whom to trust, and who to be, on an encrypted connection.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates of the authorities to trust; none: those that the system trusts.
    pub ca: Option<Pem>,
    /// The client's own certificate and key, if etcd asks for one.
    pub identity: Option<(Pem, Pem)>,
    /// Name that etcd's certificate must have, if it is not the host of the endpoint.
    pub domain: Option<String>,
}

impl Tls {
    fn read(&self) -> Result<TlsOptions, Error> {
        let ca = self.ca.as_ref().map_or_else(system_authorities, Pem::read)?;
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate.read()?, key.read()?));
        }
        if let Some(domain) = &self.domain {
            tls = tls.domain_name(domain);
        }
        Ok(tls)
    }
}

/// The authorities that the system trusts.
fn system_authorities() -> Result<Vec<u8>, Error> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    let path = named.or_else(usual).ok_or_else(|| {
        Error::refused("this system trusts no authority of its own; name the file of the CA's certificate")
    })?;
    read(&path)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::refused(format!("{} cannot be read: {error}", path.display())))
}

fn read_line(path: &Path) -> Result<String, Error> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::refused(format!("{} is not text", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str, tls: bool) -> EtcdOptions {
        let tls = tls.then(|| Tls { ca: Some("ca.pem".into()), identity: None, domain: None });
        EtcdOptions { tls, ..EtcdOptions::new(vec![endpoint.to_owned()], "default", "live") }
    }

    #[test]
    fn mistakes_are_found_before_anything_is_dialled() {
        assert!(options("http://etcd:2379", false).check().is_ok());
        assert!(options("https://etcd:2379", true).check().is_ok());
        assert!(options("https://etcd:2379", false).check().is_ok(), "the system's authorities are trusted");
        for (endpoint, tls) in [("etcd:2379", false), ("http://etcd:2379", true)] {
            assert!(matches!(options(endpoint, tls).check(), Err(Error::Refused { .. })), "{endpoint}");
        }
        assert!(EtcdOptions::new(vec![], "default", "live").check().is_err());
        let mixed = vec!["https://a:2379".to_owned(), "http://b:2379".to_owned()];
        assert!(EtcdOptions::new(mixed, "default", "live").check().is_err());
    }

    #[test]
    fn a_key_that_is_given_is_read_as_it_is_and_never_shown() {
        let pem = Pem::Given("-----BEGIN".into());
        assert_eq!(pem.read().unwrap(), b"-----BEGIN");
        assert!(!format!("{pem:?}").contains("BEGIN"));
        assert!(Pem::from("no/such/file").read().is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials::Given { user: "throng".into(), password: "hunter2".into() };
        let shown = format!("{:?}", EtcdOptions { credentials: Some(credentials), ..options("http://e:1", false) });
        assert!(shown.contains("throng") && !shown.contains("hunter2"));
    }
}
