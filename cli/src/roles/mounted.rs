//! Secrets that are mounted as files: what an operator gives to its Pods instead of texts in a configuration.
//!
//! They are read when the process starts, and again while it runs ([`super::rotation`]). An entry whose name begins with a dot is the kubelet's own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use throng_core::secrets::{self, Content};
use throng_gateway::options::{Auth, JwtKey, ResumeKey, Secret};

/// Text of one file, without the end of its last line.
pub(super) fn text(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Text of one file that must hold something of use.
pub(super) fn useful(path: &Path, content: Content) -> Result<String> {
    let text = text(path)?;
    match secrets::check(content, text.as_bytes()) {
        Ok(()) => Ok(text),
        Err(flaw) => bail!("{} {flaw}", path.display()),
    }
}

/// Entries of a directory, by name; at least one, and all of use.
fn entries(directory: &Path, content: Content) -> Result<Vec<(String, String)>> {
    let listed = fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut entries = Vec::new();
    for entry in listed {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !secrets::is_hidden(&name) {
            let text = useful(&directory.join(&name), content)?;
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
        let allowed = auth.jwt_algorithms.iter().copied().collect();
        for (name, key) in entries(directory, Content::JwtKey(allowed)).context("gateway.auth.jwt_dir")? {
            let algorithm = secrets::algorithm(&key, allowed).context("gateway.auth.jwt_dir")?;
            auth.jwt.push(JwtKey { id: Some(name), algorithm, key: Secret(key) });
        }
    }
    if let Some(directory) = &auth.resume_dir {
        let keys = entries(directory, Content::ResumeKey).context("gateway.auth.resume_dir")?.into_iter();
        auth.resume.extend(keys.map(|(id, secret)| ResumeKey { id, secret: Secret(secret) }));
    }
    if let Some(directory) = &auth.api_keys_dir {
        let keys = entries(directory, Content::ApiKey).context("gateway.auth.api_keys_dir")?.into_iter();
        auth.api_keys.extend(keys.map(|(_, key)| Secret(key)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use throng_gateway::options::Algorithm;

    use super::*;

    const OLD: &str = "an old secret of 32 bytes or more";
    const NEW: &str = "a new secret of 32 bytes or more";
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
        let resume = directory(&[("r1", OLD), ("r2", &format!("{NEW}\n"))]);
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
        assert_eq!(auth.resume[0].secret, Secret(NEW.into()));
    }

    #[test]
    fn a_key_of_an_algorithm_that_is_not_allowed_and_an_empty_secret_are_errors() {
        let shared = directory(&[("main", OLD)]);
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
        let said = format!("{:#}", read_keys(&mut auth).unwrap_err());
        assert!(said.contains("main has 5 bytes") && !said.contains("short"), "{said}");
        assert!(of(&short, Algorithm::HS256).is_err(), "who signs tokens with it can be found by trying");
        let broken = directory(&[("main", "-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----")]);
        assert!(of(&broken, Algorithm::ES256).is_err());
    }
}
