//! The codec as its caller sees it: a client written from RFC 6455 on one side, [`throng_ws`] on the other.

#[cfg(test)]
mod client;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod streams;
