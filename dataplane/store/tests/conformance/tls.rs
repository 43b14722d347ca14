//! Redis behind TLS: both sides show who they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use throng_core::InstanceId;
use throng_store::redis::Tls;
use throng_store::{RedisOptions, RedisStore, Store};

use crate::servers::{RedisServer, free_port};

/// An authority whose files are in a folder.
struct Authority<'d> {
    dir: &'d Path,
    name: &'static str,
    issuer: Issuer<'static, KeyPair>,
}

impl<'d> Authority<'d> {
    fn new(dir: &'d Path, name: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        std::fs::write(dir.join(format!("{name}-ca.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, name, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join(format!("{}-ca.pem", self.name))
    }

    /// Certificate and key of somebody at the loopback.
    fn sign(&self, whose: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let file = |end: &str| self.dir.join(format!("{}-{whose}.{end}", self.name));
        std::fs::write(file("pem"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        (file("pem"), file("key"))
    }
}

#[tokio::test]
async fn over_tls_both_sides_show_who_they_are_and_strangers_are_not_served() {
    let dir = std::env::temp_dir().join(format!("throng-store-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let authority = Authority::new(&dir, "house");
    let (certificate, key) = authority.sign("redis");
    let (port, ca) = (free_port(), authority.ca());
    let text = |path: &Path| path.display().to_string();
    let _server = RedisServer::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &text(&certificate),
        "--tls-key-file",
        &text(&key),
        "--tls-ca-cert-file",
        &text(&ca),
    ]);
    let open = |tls: Tls| {
        let url = format!("rediss://127.0.0.1:{port}");
        let options = RedisOptions::standalone(&url, "n", "c", InstanceId::new("a").unwrap());
        RedisStore::open(RedisOptions { tls, ..options }).unwrap()
    };
    let known = open(Tls { ca: Some(ca.clone()), identity: Some(authority.sign("throng")) });
    known.ready(Duration::from_secs(5)).await.unwrap();
    assert_eq!(known.raise_incarnation(7).await.unwrap(), 7);

    let stranger = Authority::new(&dir, "stranger");
    for (why, tls) in [
        ("Redis asks for a certificate", Tls { ca: Some(ca.clone()), identity: None }),
        ("Redis asks for one of its house", Tls { ca: Some(ca), identity: Some(stranger.sign("throng")) }),
        ("Redis is of another house", Tls { ca: Some(stranger.ca()), identity: Some(authority.sign("again")) }),
        ("there is no such file", Tls { ca: Some(dir.join("missing.pem")), identity: None }),
    ] {
        assert!(open(tls).ready(Duration::from_secs(1)).await.is_err(), "{why}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
