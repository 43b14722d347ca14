//! The way to the API server: two clients, and what is known of their calls.

mod observe;

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
pub use observe::{Observer, Request, request};

/// Longest wait for an answer to a call that changes or reads one thing.
pub const CALL: Duration = Duration::from_secs(5);

/// The clients.
#[derive(Clone)]
pub struct Clients {
    /// For watches and writes. Calls that are refused for a moment (429, 503) are tried again by it.
    pub usual: Client,
    /// For the Lease, where a call that is tried again behind one's back could outlive the right to make it.
    pub strict: Client,
}

impl Clients {
    /// Connects as the kubeconfig says, or as a Pod's service account.
    ///
    /// # Errors
    /// There is no configuration, or it cannot be used.
    pub async fn connect(observer: &Observer) -> Result<Self, Unusable> {
        let config = Config::infer().await?;
        Ok(Self::with(config, observer)?)
    }

    /// Connects as given.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn with(config: Config, observer: &Observer) -> kube::Result<Self> {
        let mut strict = config.clone();
        strict.default_retry = false;
        let client = |config| ClientBuilder::try_from(config).map(|builder| builder.with_layer(observer).build());
        Ok(Self { usual: client(config)?, strict: client(strict)? })
    }
}

/// Why there is no way to an API server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// No configuration.
    #[error("no way to an API server: set KUBECONFIG, or run as a Pod with a service account: {0}")]
    NoConfig(#[from] kube::config::InferConfigError),
    /// One that cannot be used.
    #[error("the way to the API server cannot be used: {0}")]
    Client(#[from] kube::Error),
}
