//! Which server the Sentinels name as the primary.
//!
//! A primary that was replaced while it lives goes on taking writes until a Sentinel turns it into a replica, ten seconds
//! later: everything written to it meanwhile is lost. So the Sentinels are asked every second.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, ConnectionInfo, FromRedisValue, cmd};
use tokio::time::timeout;

use super::wire::config;

/// How often to ask.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// How long to wait for one Sentinel.
const ANSWER: Duration = Duration::from_millis(500);

/// Asks one Sentinel after the other, staying with the one that answers.
pub(super) struct Sentinels {
    infos: Vec<ConnectionInfo>,
    primary: String,
    connection: Option<MultiplexedConnection>,
    at: usize,
}

impl Sentinels {
    pub(super) const fn new(infos: Vec<ConnectionInfo>, primary: String) -> Self {
        Self { infos, primary, connection: None, at: 0 }
    }

    /// Host and port of the primary; none: no Sentinel said.
    pub(super) async fn primary(&mut self) -> Option<(String, u16)> {
        for _ in 0..=self.infos.len() {
            if let Ok(Some(address)) = timeout(ANSWER, self.ask()).await {
                return Some(address);
            }
            self.connection = None;
            self.at = (self.at + 1) % self.infos.len().max(1);
        }
        None
    }

    async fn ask(&mut self) -> Option<(String, u16)> {
        if self.connection.is_none() {
            let client = Client::open(self.infos.get(self.at)?.clone()).ok()?;
            self.connection = Some(client.get_multiplexed_async_connection_with_config(&config()).await.ok()?);
        }
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        let answer = self.connection.as_mut()?.req_packed_command(&question).await.ok()?;
        FromRedisValue::from_redis_value(answer).ok()
    }
}
