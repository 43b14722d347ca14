//! What a Pod itself is asked for.

use std::time::Duration;

use throng_plan::status::Utc;
use throng_proto::key::PodKey;
use throng_proto::link::node_client::NodeClient;
use throng_proto::link::{DrainRequest, ShedRequest};
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::{Failure, Hands};
use crate::cluster::worker::address;

/// Longest wait for a connection to a Pod.
const CONNECT: Duration = Duration::from_secs(1);
/// Longest wait for its answer, the connection included.
const ANSWER: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone, Copy)]
enum Ask {
    Drain(DrainRequest),
    Undrain,
    Shed(ShedRequest),
}

impl Hands<'_> {
    /// Tells a Pod to empty itself until `deadline`.
    pub(super) async fn drain(&self, uid: &str, deadline: Utc, users_per_s: Option<u32>) -> Result<(), Failure> {
        let deadline_ms = deadline.0.since(self.world.now.0);
        self.ask(uid, Ask::Drain(DrainRequest { deadline_ms, per_second: users_per_s.unwrap_or(0) })).await
    }

    /// Tells a Pod to stay.
    pub(super) async fn undrain(&self, uid: &str) -> Result<(), Failure> {
        self.ask(uid, Ask::Undrain).await
    }

    /// Asks some users of a Pod to connect anew.
    pub(super) async fn shed(&self, uid: &str, users: u64, per_second: u32) -> Result<(), Failure> {
        self.ask(uid, Ask::Shed(ShedRequest { users, per_second })).await
    }

    /// Asks the Pod of this uid: the address is that of its process, so no other Pod is meant.
    async fn ask(&self, uid: &str, ask: Ask) -> Result<(), Failure> {
        let unreachable = |why: &str| Failure::Unreachable(why.to_owned());
        let key = self.pod_key.and_then(PodKey::new);
        let key = key.ok_or_else(|| unreachable("the key of its cluster is not known"))?;
        let pod = self.stored(uid).ok_or_else(|| unreachable("it is not known"))?;
        let view = self.registry.as_ref().map(|(_, view)| &**view);
        let address = address(pod, view).ok_or_else(|| unreachable("it has no address yet"))?;
        let within = self.term.within(ANSWER).ok_or(Failure::Deposed)?;
        let call = async {
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            let endpoint = endpoint.map_err(|error| unreachable(&error.to_string()))?.connect_timeout(CONNECT);
            let channel = endpoint.connect().await.map_err(|error| unreachable(&error.to_string()))?;
            let mut client = NodeClient::with_interceptor(channel, key.attach());
            match ask {
                Ask::Drain(request) => client.drain(request).await?,
                Ask::Undrain => client.undrain(DrainRequest::default()).await?,
                Ask::Shed(request) => client.shed(request).await?,
            };
            Ok(())
        };
        timeout(within, call).await.map_err(|_| unreachable("no answer in time"))?
    }
}
