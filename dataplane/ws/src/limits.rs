//! What one peer may make the server keep.

/// Limits of one connection; the same value serves all connections of a gateway. They may change between calls: a
/// message that is already longer than a new limit may end, but not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of a message, all its fragments together, in bytes. Over it: close 1009.
    pub message_bytes: usize,
    /// Most frames that one message may come in. Over it: close 1009.
    pub fragments: u32,
    /// Largest HTTP head of a handshake, in bytes, up to and with the empty line. Over it: status 431.
    pub header_bytes: usize,
}

impl Default for Limits {
    /// 64 KiB a message, 64 fragments, 8 KiB of HTTP head.
    fn default() -> Self {
        Self { message_bytes: 64 * 1024, fragments: 64, header_bytes: 8 * 1024 }
    }
}
