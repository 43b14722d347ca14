//! Stub.
/// Which form a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Text.
    Json,
    /// Binary.
    Protobuf,
}
/// Why.
#[derive(Debug)]
pub struct ReadError;
