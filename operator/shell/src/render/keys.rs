//! The Secret with the keys of a cluster: made once, from randomness that comes from outside.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::Owner;

/// Entry that Pods prove themselves to each other with.
pub const POD_KEY: &str = "pod-key";
/// Entry that gateways sign resume tokens with; its name stands in each token.
pub const RESUME: &str = "r1";
/// Random bytes behind each key.
pub const RANDOM_BYTES: usize = 32;

/// Renders the Secret; each key is the hexadecimal text of its random bytes.
#[must_use]
pub fn secret(owner: &Owner<'_>, name: &str, random: [[u8; RANDOM_BYTES]; 2]) -> Secret {
    let [pod_key, resume] = random.map(|bytes| ByteString(hex(&bytes).into_bytes()));
    Secret {
        metadata: owner.meta(name),
        type_: Some("Opaque".to_owned()),
        data: Some([(POD_KEY.to_owned(), pod_key), (RESUME.to_owned(), resume)].into()),
        ..Secret::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
