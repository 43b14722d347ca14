//! Secrets that are mounted as files: what an operator gives to its Pods instead of texts in a configuration.
//!
//! They are read when the process starts, and again while it runs ([`super::rotation`]). An entry whose name begins with a dot is the kubelet's own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use throng_gateway::options::{Algorithm, Auth, JwtKey, ResumeKey, Secret};

/// Object identifiers of the kinds of public keys, as they stand in DER.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Text of one file, without the end of its last line.
pub(super) fn text(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Entries of a directory, by name; at least one.
fn entries(directory: &Path) -> Result<Vec<(String, String)>> {
    let listed = fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut entries = Vec::new();
    for entry in listed {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            let text = text(&directory.join(&name))?;
            if text.trim().is_empty() {
                bail!("{} is empty: fill in this entry of its Secret", directory.join(&name).display());
            }
            entries.push((name, text));
        }
    }
    if entries.is_empty() {
        bail!("{} is empty: its Secret needs an entry", directory.display());
    }
    // The latest name first: of keys that are rotated by name, the newest signs.
    entries.sort_by(|a, b| b.0.cmp(&a.0));
    Ok(entries)
}

/// What is configured, with the keys of mounted directories.
pub(super) fn with_keys(configured: &Auth) -> Result<Auth> {
    let mut auth = configured.clone();
    read_keys(&mut auth)?;
    Ok(auth)
}

fn read_keys(auth: &mut Auth) -> Result<()> {
    if let Some(directory) = &auth.jwt_dir {
        for (name, key) in entries(directory).context("gateway.auth.jwt_dir")? {
            let algorithm = algorithm(&key).filter(|algorithm| auth.jwt_algorithms.contains(algorithm));
            let algorithm = algorithm.with_context(|| {
                let allowed = &auth.jwt_algorithms;
                format!("gateway.auth.jwt_dir: the key {name} is for none of the algorithms {allowed:?}")
            })?;
            auth.jwt.push(JwtKey { id: Some(name), algorithm, key: Secret(key) });
        }
    }
    if let Some(directory) = &auth.resume_dir {
        let keys = entries(directory).context("gateway.auth.resume_dir")?.into_iter();
        auth.resume.extend(keys.map(|(id, secret)| ResumeKey { id, secret: Secret(secret) }));
    }
    if let Some(directory) = &auth.api_keys_dir {
        let keys = entries(directory).context("gateway.auth.api_keys_dir")?.into_iter();
        auth.api_keys.extend(keys.map(|(_, key)| Secret(key)));
    }
    Ok(())
}

/// What a key can verify: a public key says so itself, any other text is a shared secret.
fn algorithm(key: &str) -> Option<Algorithm> {
    if !key.trim_start().starts_with("-----BEGIN") {
        return Some(Algorithm::HS256);
    }
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    let der = STANDARD.decode(lines.map(str::trim).collect::<String>()).ok()?;
    let has = |identifier: &[u8]| der.windows(identifier.len()).any(|window| window == identifier);
    match () {
        () if has(EC) => Some(Algorithm::ES256),
        // The older form of an RSA key names no algorithm.
        () if has(RSA) || key.contains("BEGIN RSA PUBLIC KEY") => Some(Algorithm::RS256),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----";

    fn directory(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in entries {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn keys_are_named_as_their_entries_and_say_what_they_are() {
        let jwt = directory(&[("main", EC_KEY), (".hidden", "no key")]);
        let resume = directory(&[("r1", "old\n"), ("r2", "new\n")]);
        let mut auth = Auth {
            jwt_dir: Some(jwt.path().into()),
            jwt_algorithms: vec![Algorithm::ES256],
            resume_dir: Some(resume.path().into()),
            ..Auth::default()
        };
        read_keys(&mut auth).unwrap();
        assert_eq!(auth.jwt.len(), 1);
        assert_eq!((auth.jwt[0].id.as_deref(), auth.jwt[0].algorithm), (Some("main"), Algorithm::ES256));
        let resume: Vec<&str> = auth.resume.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(resume, ["r2", "r1"], "the newest signs");
        assert_eq!(auth.resume[0].secret, Secret("new".into()));
    }

    #[test]
    fn a_key_of_an_algorithm_that_is_not_allowed_and_an_empty_secret_are_errors() {
        let shared = directory(&[("main", "a shared secret")]);
        let of = |directory: &tempfile::TempDir, algorithm| {
            let mut auth =
                Auth { jwt_dir: Some(directory.path().into()), jwt_algorithms: vec![algorithm], ..Auth::default() };
            read_keys(&mut auth).map(|()| auth)
        };
        assert!(format!("{:#}", of(&shared, Algorithm::ES256).unwrap_err()).contains("main"));
        assert_eq!(of(&shared, Algorithm::HS256).unwrap().jwt.len(), 1);
        assert!(format!("{:#}", of(&directory(&[]), Algorithm::HS256).unwrap_err()).contains("empty"));
        for unfilled in ["", " ", "\n"] {
            let mounted = directory(&[("main", unfilled)]);
            let said = format!("{:#}", of(&mounted, Algorithm::HS256).unwrap_err());
            assert!(said.contains("gateway.auth.jwt_dir") && said.contains("main is empty"), "{said}");
            let mut resume = Auth { resume_dir: Some(mounted.path().into()), ..Auth::default() };
            assert!(format!("{:#}", read_keys(&mut resume).unwrap_err()).contains("main is empty"));
            let mut api = Auth { api_keys_dir: Some(mounted.path().into()), ..Auth::default() };
            assert!(format!("{:#}", read_keys(&mut api).unwrap_err()).contains("main is empty"));
        }
        let short = directory(&[("main", "short")]);
        let mut auth = Auth { resume_dir: Some(short.path().into()), ..Auth::default() };
        read_keys(&mut auth).unwrap();
        assert!(auth.check().unwrap_err().to_string().contains("(main)"), "the gateway refuses it when it starts");
        let broken = directory(&[("main", "-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----")]);
        assert!(of(&broken, Algorithm::ES256).is_err());
    }
}
