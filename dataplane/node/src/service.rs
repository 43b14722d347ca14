//! The `Node` gRPC of every role: pressure, drain, describe.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use throng_proto::link::node_server::{Node, NodeServer};
use throng_proto::link::{
    DescribeReply, DescribeRequest, DrainReply, DrainRequest, PressureRequest, PressureSample, ShedRequest,
};
use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// Time between two samples of a pressure stream.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What a role answers. Cheap calls on counters: none of them waits.
pub trait Hooks: Send + Sync + 'static {
    /// The load now, by the names of the targets in `ChatroomCluster`.
    fn sample(&self) -> PressureSample;
    /// Starts to empty the process; idempotent. Returns how much is left.
    fn drain(&self, request: &DrainRequest) -> u64;
    /// Takes a drain back; idempotent. Returns how much is left.
    fn undrain(&self) -> u64;
    /// Asks some users to connect anew. Returns how much is left. Roles without connections have nobody to ask.
    fn shed(&self, _: &ShedRequest) -> u64 {
        self.sample().left
    }
    /// Who it is and how it is.
    fn describe(&self) -> DescribeReply;
}

/// The service of a process.
#[derive(Clone)]
pub struct NodeService(Arc<dyn Hooks>);

impl NodeService {
    /// The service over a role's answers; put it behind `PodKey::demand`.
    #[must_use]
    pub fn server(hooks: Arc<dyn Hooks>) -> NodeServer<Self> {
        NodeServer::new(Self(hooks))
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    type PressureStream = Pin<Box<dyn Stream<Item = Result<PressureSample, Status>> + Send>>;

    async fn pressure(&self, _: Request<PressureRequest>) -> Result<Response<Self::PressureStream>, Status> {
        let hooks = Arc::clone(&self.0);
        let ticks = IntervalStream::new(tokio::time::interval(SAMPLE_EVERY));
        Ok(Response::new(Box::pin(ticks.map(move |_| Ok(hooks.sample())))))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainReply>, Status> {
        Ok(Response::new(DrainReply { left: self.0.drain(request.get_ref()) }))
    }

    async fn undrain(&self, _: Request<DrainRequest>) -> Result<Response<DrainReply>, Status> {
        Ok(Response::new(DrainReply { left: self.0.undrain() }))
    }

    async fn shed(&self, request: Request<ShedRequest>) -> Result<Response<DrainReply>, Status> {
        Ok(Response::new(DrainReply { left: self.0.shed(request.get_ref()) }))
    }

    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeReply>, Status> {
        Ok(Response::new(self.0.describe()))
    }
}
