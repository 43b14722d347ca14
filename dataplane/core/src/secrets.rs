//! What an entry of a Secret must hold to be of use. The one place that knows it: processes ask before they take a key, the
//! operator before they would, and `throng check` before anybody runs.
//!
//! What is said of an entry never holds any of its text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Fewest bytes of a secret that signs: as many as the MAC that it makes (RFC 2104, section 3; RFC 7518, section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Object identifiers as they stand in DER: RSA, keys on a curve, and the curve P-256.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// How the point of a P-256 key begins: 66 bytes of bits, uncompressed.
const P256_POINT: &[u8] = &[0x03, 0x42, 0x00, 0x04];

/// Signature algorithms of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// RSA with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
}

/// Which algorithms are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    hs256: bool,
    rs256: bool,
    es256: bool,
}

impl Algorithms {
    /// Whether one of them is.
    #[must_use]
    pub const fn allow(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::HS256 => self.hs256,
            Algorithm::RS256 => self.rs256,
            Algorithm::ES256 => self.es256,
        }
    }
}

impl FromIterator<Algorithm> for Algorithms {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(all: I) -> Self {
        let mut allowed = Self::default();
        for algorithm in all {
            match algorithm {
                Algorithm::HS256 => allowed.hs256 = true,
                Algorithm::RS256 => allowed.rs256 = true,
                Algorithm::ES256 => allowed.es256 = true,
            }
        }
        allowed
    }
}

impl fmt::Display for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [Algorithm::ES256, Algorithm::RS256, Algorithm::HS256].into_iter();
        let names: Vec<_> = all.filter(|one| self.allow(*one)).map(|one| format!("{one:?}")).collect();
        f.write_str(&if names.is_empty() { "none".to_owned() } else { names.join(", ") })
    }
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A key that verifies tokens of users, for one of these algorithms.
    JwtKey(Algorithms),
    /// A key of the server API.
    ApiKey,
    /// A secret that signs resume tokens.
    ResumeKey,
    /// The key between Pods: one, or several on lines of their own.
    PodKey,
    /// The name of a user, or a password.
    Credential,
    /// Certificates.
    Certificates,
    /// The private key of a certificate.
    PrivateKey,
}

/// Why an entry is of no use, and what to write instead. Said after the name of the entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// Nothing, or white space alone.
    #[error("is empty: fill in this entry")]
    Empty,
    /// Bytes that are no text.
    #[error("is not text: write it in UTF-8, and base64 only once under data")]
    NotText,
    /// Something else where only public keys are allowed.
    #[error("is no public key in PEM: write one for {0}, as openssl pkey -pubout makes it")]
    NoPublicKey(Algorithms),
    /// A key that nobody but whoever signs may have.
    #[error("is a private key: write the public one, which openssl pkey -pubout makes of it, and replace the key")]
    PrivateKey,
    /// It begins like a key in PEM.
    #[error("cannot be read as PEM: write the whole key, with its lines BEGIN and END and the line breaks between")]
    BrokenPem,
    /// A public key that no algorithm here is for.
    #[error("is a public key of another kind: write one for {0}; ES256 is for an uncompressed key on the curve P-256")]
    OtherKey(Algorithms),
    /// A good key for an algorithm that tokens may not use.
    #[error("is a key for {is:?}, and allowed is {allowed}: write a key for that, or allow {is:?}")]
    NotAllowed {
        /// What it is for.
        is: Algorithm,
        /// What tokens may use.
        allowed: Algorithms,
    },
    /// A secret that can be found by trying.
    #[error(
        "has {0} bytes, and signs who a user is: write at least {MIN_SECRET_BYTES} random ones, as openssl rand -base64 32 \
         makes them"
    )]
    Short(usize),
    /// It cannot be sent from Pod to Pod.
    #[error("is no key of visible ASCII: write one, as openssl rand -hex 32 makes it")]
    NotAscii,
    /// No certificate.
    #[error("is no certificate in PEM: write the lines from BEGIN CERTIFICATE to END CERTIFICATE")]
    NoCertificate,
    /// No private key, or one that nobody can open.
    #[error("is no private key in PEM without a passphrase: write the lines from BEGIN PRIVATE KEY to END PRIVATE KEY")]
    NoPrivateKey,
}

/// An entry as text, without the end of its last line.
///
/// # Errors
/// It is no text.
pub fn text(entry: &[u8]) -> Result<&str, Flaw> {
    std::str::from_utf8(entry).map(|text| text.trim_end_matches(['\n', '\r'])).map_err(|_| Flaw::NotText)
}

/// Whether the name of an entry of a mounted Secret is the kubelet's own, so that nobody reads it.
#[must_use]
pub fn is_hidden(entry: &str) -> bool {
    entry.starts_with('.')
}

/// Whether a key can be sent as a header: visible ASCII.
#[must_use]
pub fn is_sendable(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether an entry is of use for what it is for.
///
/// # Errors
/// Why it is not.
pub fn check(content: Content, entry: &[u8]) -> Result<(), Flaw> {
    let text = text(entry)?;
    if text.trim().is_empty() {
        return Err(Flaw::Empty);
    }
    match content {
        Content::JwtKey(allowed) => algorithm(text, allowed).map(drop),
        Content::ApiKey | Content::Credential => Ok(()),
        Content::ResumeKey => long_enough(text),
        Content::PodKey => {
            let mut keys = text.lines().map(str::trim);
            if keys.all(is_sendable) { Ok(()) } else { Err(Flaw::NotAscii) }
        }
        Content::Certificates => match blocks(text) {
            Some(blocks) if blocks.iter().any(|block| block.label == "CERTIFICATE" && is_whole(&block.der)) => Ok(()),
            _ => Err(Flaw::NoCertificate),
        },
        Content::PrivateKey => match blocks(text) {
            Some(blocks) if blocks.iter().any(|block| is_private(block) && is_whole(&block.der)) => Ok(()),
            _ => Err(Flaw::NoPrivateKey),
        },
    }
}

/// What a key verifies: a public key says so itself, any other text is a shared secret.
///
/// # Errors
/// It is no key for an algorithm that is allowed.
pub fn algorithm(key: &str, allowed: Algorithms) -> Result<Algorithm, Flaw> {
    let key = key.trim();
    if key.is_empty() {
        return Err(Flaw::Empty);
    }
    let is = if key.starts_with("-----BEGIN") { of_public_key(key, allowed)? } else { Algorithm::HS256 };
    match is {
        _ if !allowed.allow(is) => {
            let shared = is == Algorithm::HS256;
            Err(if shared { Flaw::NoPublicKey(allowed) } else { Flaw::NotAllowed { is, allowed } })
        }
        Algorithm::HS256 => long_enough(key).map(|()| is),
        Algorithm::RS256 | Algorithm::ES256 => Ok(is),
    }
}

fn long_enough(secret: &str) -> Result<(), Flaw> {
    match secret.trim().len() {
        0 => Err(Flaw::Empty),
        bytes if bytes < MIN_SECRET_BYTES => Err(Flaw::Short(bytes)),
        _ => Ok(()),
    }
}

fn of_public_key(key: &str, allowed: Algorithms) -> Result<Algorithm, Flaw> {
    if key.contains("PRIVATE KEY-----") {
        return Err(Flaw::PrivateKey);
    }
    // What verifies takes the first block, too.
    let block = blocks(key).and_then(|blocks| blocks.into_iter().next()).ok_or(Flaw::BrokenPem)?;
    if !is_whole(&block.der) {
        return Err(Flaw::BrokenPem);
    }
    let has = |part: &[u8]| block.der.windows(part.len()).any(|window| window == part);
    match block.label {
        // The older form of an RSA key names no algorithm.
        "RSA PUBLIC KEY" => Ok(Algorithm::RS256),
        "PUBLIC KEY" | "CERTIFICATE" if has(EC) && has(P256) && has(P256_POINT) => Ok(Algorithm::ES256),
        "PUBLIC KEY" | "CERTIFICATE" if has(RSA) && !has(EC) => Ok(Algorithm::RS256),
        _ => Err(Flaw::OtherKey(allowed)),
    }
}

/// A part of a text in PEM.
struct Block<'a> {
    label: &'a str,
    der: Vec<u8>,
}

fn is_private(block: &Block<'_>) -> bool {
    ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"].contains(&block.label)
}

/// All parts of a text in PEM, with what stands between them left out; none if one of them does not read.
fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    let (mut blocks, mut lines) = (Vec::new(), text.lines().map(str::trim));
    while let Some(line) = lines.next() {
        let Some(label) = marked(line, "-----BEGIN ") else { continue };
        let mut body = String::new();
        loop {
            let line = lines.next()?;
            match marked(line, "-----END ") {
                Some(end) if end == label => break,
                Some(_) => return None,
                None => body.push_str(line),
            }
        }
        blocks.push(Block { label, der: STANDARD.decode(body).ok()? });
    }
    Some(blocks)
}

fn marked<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.strip_prefix(mark)?.strip_suffix("-----")
}

/// Whether DER is one sequence that is as long as it says.
fn is_whole(der: &[u8]) -> bool {
    let Some((&[0x30, first], rest)) = der.split_first_chunk::<2>() else { return false };
    if first < 0x80 {
        return usize::from(first) == rest.len();
    }
    let count = usize::from(first & 0x7f);
    let Some((length, rest)) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count)) else { return false };
    length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)) == rest.len()
}

#[cfg(test)]
mod tests;
