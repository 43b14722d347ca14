//! One connection, whatever stands behind it.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{AsyncConnectionConfig, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError, RedisResult, Value};

use super::options::{Credentials, RedisMode, RedisOptions};
use super::sentinel::Sentinels;
use super::tls::{Tls, is_encrypted};
use crate::StoreError;

/// How long making a connection may take, with its handshake.
const CONNECT: Duration = Duration::from_secs(1);
/// Unacknowledged bytes end a connection after this time: a partition must not look like a slow server for minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// One answer of a cluster node; the deadline of the call ends before it where it is shorter.
const NODE_RESPONSE: Duration = Duration::from_secs(3);

/// A connection. Cloning is cheap: clones share it. It does not come back by itself when it breaks (of a cluster: when all
/// of it breaks).
#[derive(Clone)]
pub(super) enum Wire {
    /// To one server.
    One(MultiplexedConnection),
    /// To the nodes of a cluster.
    Many(ClusterConnection),
}

/// What is sent down a connection.
pub(super) enum Request {
    /// One command.
    One(Cmd),
    /// Commands of one hash tag, in order.
    InOrder(Vec<Cmd>),
    /// One command, to every primary.
    Everywhere(Cmd),
}

impl Wire {
    /// Sends a request. Fails with the first error of any of its replies.
    pub(super) async fn send(&mut self, request: Request) -> RedisResult<Vec<Value>> {
        match request {
            Request::One(command) => Ok(vec![self.one(&command).await?]),
            Request::InOrder(commands) => self.in_order(&commands).await,
            Request::Everywhere(command) => self.everywhere(&command).await?.into_iter().collect(),
        }
    }

    /// Sends one command. In a cluster it follows its key wherever it moves.
    async fn one(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let reply = match self {
            Self::One(connection) => connection.req_packed_command(cmd).await?,
            Self::Many(connection) => connection.req_packed_command(cmd).await?,
        };
        reply.extract_error()
    }

    /// Sends commands of one hash tag down one socket, in order. Fails with the first error of any.
    async fn in_order(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let replies = match self {
            Self::One(connection) => connection.req_packed_commands(&pipeline, 0, commands.len()).await?,
            Self::Many(connection) => connection.req_packed_commands(&pipeline, 0, commands.len()).await?,
        };
        replies.into_iter().map(Value::extract_error).collect()
    }

    /// Sends a command to every primary and returns what each said. Fails if one does not answer at all.
    pub(super) async fn everywhere(&mut self, cmd: &Cmd) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::One(connection) => Ok(vec![connection.req_packed_command(cmd).await?.extract_error()]),
            Self::Many(connection) => {
                let routing = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match connection.route_command(cmd.clone(), routing).await? {
                    Value::Map(replies) => Ok(replies.into_iter().map(|(_, reply)| reply.extract_error()).collect()),
                    reply => Ok(vec![reply.extract_error()]),
                }
            }
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Many(_))
    }
}

/// Where to connect to: checked once, used for every new connection.
#[derive(Clone)]
pub(super) struct Target {
    mode: RedisMode,
    infos: Vec<ConnectionInfo>,
    credentials: Option<Credentials>,
    tls: Tls,
}

impl Target {
    /// Checks the addresses. Nothing is connected yet.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        if options.urls.is_empty() {
            return Err(StoreError::refused("node.redis is empty"));
        }
        let infos: Vec<_> = options.urls.iter().map(|url| info(url)).collect::<Result<_, _>>()?;
        let encrypted = infos.iter().filter(|info| is_encrypted(info)).count();
        if encrypted > 0 && encrypted < infos.len() {
            return Err(StoreError::refused("write all of node.redis with rediss://, or none"));
        }
        if encrypted > 0 && matches!(options.mode, RedisMode::Sentinel { .. }) {
            return Err(StoreError::refused(
                "TLS to Redis is for one server or a Cluster: Sentinels are asked with redis://",
            ));
        }
        let (mode, credentials, tls) = (options.mode.clone(), options.credentials.clone(), options.tls.clone());
        Ok(Self { mode, infos, credentials, tls })
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> RedisResult<Wire> {
        match &self.mode {
            RedisMode::Standalone => {
                let Some(info) = self.infos.first() else { return Err(no_address()) };
                let client = self.tls.client(self.with_credentials(info.clone()))?;
                Ok(Wire::One(client.get_multiplexed_async_connection_with_config(&config()).await?))
            }
            RedisMode::Sentinel { primary } => {
                // The URLs and what they hold are the Sentinels'; the credentials are those of the servers behind them.
                let settings = self.infos.first().map(|info| self.with_credentials(info.clone()));
                let mut node = SentinelNodeConnectionInfo::default().set_tcp_settings(tcp());
                if let (Some(settings), Some(_)) = (settings, &self.credentials) {
                    node = node.set_redis_connection_info(settings.redis_settings().clone());
                }
                let mut client =
                    SentinelClient::build(self.infos.clone(), primary.clone(), Some(node), SentinelServerType::Master)?;
                Ok(Wire::One(client.get_async_connection_with_config(&config()).await?))
            }
            RedisMode::Cluster => {
                let mut builder = ClusterClient::builder(self.infos.clone())
                    .connection_timeout(CONNECT)
                    .response_timeout(NODE_RESPONSE)
                    .overall_response_timeout(None)
                    .retries(4)
                    .min_retry_wait(20)
                    .max_retry_wait(300)
                    .tcp_settings(tcp());
                if self.infos.iter().any(is_encrypted) {
                    builder = builder.certs(self.tls.read()?);
                }
                if let Some(credentials) = &self.credentials {
                    if let Some(username) = &credentials.username {
                        builder = builder.username(username);
                    }
                    if let Some(password) = &credentials.password {
                        builder = builder.password(password.reveal());
                    }
                }
                Ok(Wire::Many(builder.build()?.get_async_connection().await?))
            }
        }
    }

    fn with_credentials(&self, info: ConnectionInfo) -> ConnectionInfo {
        let Some(credentials) = &self.credentials else { return info };
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &credentials.password {
            settings = settings.set_password(password.reveal());
        }
        info.set_redis_settings(settings)
    }

    /// Those to ask which server is the primary.
    pub(super) fn sentinels(&self) -> Option<Sentinels> {
        match &self.mode {
            RedisMode::Sentinel { primary } => Some(Sentinels::new(self.infos.clone(), primary.clone())),
            RedisMode::Standalone | RedisMode::Cluster => None,
        }
    }

    /// Uses other credentials from the next connection on.
    pub(super) fn replace_credentials(&mut self, credentials: Credentials) {
        self.credentials = Some(credentials);
    }
}

fn info(url: &str) -> Result<ConnectionInfo, StoreError> {
    // The URL itself is not repeated: it may hold a password.
    let info = url.into_connection_info().map_err(|error| {
        StoreError::refused(format!("node.redis is not of the form redis://host:port/database: {}", error.category()))
    })?;
    Ok(info.set_tcp_settings(tcp()))
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(USER_TIMEOUT)
}

/// Deadlines are those of the calls; the library's own would cut loads short.
pub(super) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None)
}

fn no_address() -> RedisError {
    RedisError::from((redis::ErrorKind::InvalidClientConfig, "node.redis is empty"))
}
