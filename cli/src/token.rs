//! Tokens for `throng dev`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use throng_core::UserId;

/// The key that `throng dev` signs and checks tokens with. No other configuration accepts it.
pub(crate) const DEV_SECRET: &str = "throng-dev-only-not-for-production";

/// Arguments of `throng token`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  throng token --user ana\n  throng token --user host --lane 1 --room 'final' --hours 2"
)]
pub(crate) struct TokenArgs {
    /// Who it is for.
    #[arg(long, value_parser = user)]
    user: String,
    /// The most important lane that the user may publish on: 1 protected, 2 normal, 3 low.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    lane: u8,
    /// A room that the user may enter, or a prefix ending in `*`; may be repeated. Without it: every room.
    #[arg(long = "room")]
    rooms: Vec<String>,
    /// Hours until it expires.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    hours: u32,
    /// Sign with this secret (HS256) instead of the one of `throng dev`.
    #[arg(long, env = "THRONG_TOKEN_SECRET", hide_env_values = true)]
    secret: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    lane: u8,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    rooms: &'a [String],
}

/// A name that a server takes.
fn user(name: &str) -> Result<String, String> {
    UserId::new(name).map(|_| name.to_owned()).map_err(|error| error.to_string())
}

/// Prints a token.
pub(crate) fn run(args: &TokenArgs) -> Result<ExitCode> {
    let secret = args.secret.as_deref().unwrap_or(DEV_SECRET);
    println!("{}", sign(secret, &args.user, args.lane, &args.rooms, u64::from(args.hours) * 3600)?);
    Ok(ExitCode::SUCCESS)
}

/// Signs a token of `user` for `seconds`.
pub(crate) fn sign(secret: &str, user: &str, lane: u8, rooms: &[String], seconds: u64) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs();
    let claims = Claims { sub: user, exp: now + seconds, lane, rooms };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).context("cannot sign a token")
}
