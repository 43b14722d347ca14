//! The `Node` gRPC of every role: pressure, drain, describe.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Takes new connections or takes none, where no Service sees to that. Roles without clients have nothing to do.
    fn open(&self, _: bool) {}
    /// Who it is and how it is.
    fn describe(&self) -> DescribeReply;
}

/// Whether a process was told to end. From then on it empties itself within the time that it has for that, whatever others ask:
/// a drain that is taken back a moment later, by who does not know yet, would cut off at its end whoever had stayed.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// It ends. There is no way back.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it ends.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The service of a process.
#[derive(Clone)]
pub struct NodeService {
    hooks: Arc<dyn Hooks>,
    ending: Ending,
}

impl NodeService {
    /// The service over a role's answers; put it behind `PodKey::demand`.
    #[must_use]
    pub fn server(hooks: Arc<dyn Hooks>, ending: Ending) -> NodeServer<Self> {
        NodeServer::new(Self { hooks, ending })
    }

    /// Does it, unless the process ends. How much is left.
    fn unless_ending(&self, change: impl FnOnce(&dyn Hooks) -> u64) -> Response<DrainReply> {
        let left = if self.ending.has_begun() { self.hooks.sample().left } else { change(&*self.hooks) };
        Response::new(DrainReply { left })
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    type PressureStream = Pin<Box<dyn Stream<Item = Result<PressureSample, Status>> + Send>>;

    async fn pressure(&self, _: Request<PressureRequest>) -> Result<Response<Self::PressureStream>, Status> {
        let hooks = Arc::clone(&self.hooks);
        let ticks = IntervalStream::new(tokio::time::interval(SAMPLE_EVERY));
        Ok(Response::new(Box::pin(ticks.map(move |_| Ok(hooks.sample())))))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainReply>, Status> {
        Ok(self.unless_ending(|hooks| hooks.drain(request.get_ref())))
    }

    async fn undrain(&self, _: Request<DrainRequest>) -> Result<Response<DrainReply>, Status> {
        Ok(self.unless_ending(Hooks::undrain))
    }

    async fn shed(&self, request: Request<ShedRequest>) -> Result<Response<DrainReply>, Status> {
        Ok(self.unless_ending(|hooks| hooks.shed(request.get_ref())))
    }

    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeReply>, Status> {
        Ok(Response::new(self.hooks.describe()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Ten users, and what was asked for.
    #[derive(Default)]
    struct Pod(Mutex<Vec<&'static str>>);

    impl Pod {
        fn note(&self, what: &'static str) -> u64 {
            self.0.lock().unwrap().push(what);
            10
        }
    }

    impl Hooks for Pod {
        fn sample(&self) -> PressureSample {
            PressureSample { left: 10, ..PressureSample::default() }
        }
        fn drain(&self, _: &DrainRequest) -> u64 {
            self.note("drain")
        }
        fn undrain(&self) -> u64 {
            self.note("undrain")
        }
        fn shed(&self, _: &ShedRequest) -> u64 {
            self.note("shed")
        }
        fn describe(&self) -> DescribeReply {
            DescribeReply::default()
        }
    }

    #[tokio::test]
    async fn nobody_changes_how_a_process_ends() {
        let (pod, ending) = (Arc::new(Pod::default()), Ending::default());
        let service = NodeService { hooks: Arc::clone(&pod) as Arc<dyn Hooks>, ending: ending.clone() };
        for asked in [&["drain", "undrain", "shed"][..], &[]] {
            let left = [
                service.drain(Request::new(DrainRequest::default())).await,
                service.undrain(Request::new(DrainRequest::default())).await,
                service.shed(Request::new(ShedRequest::default())).await,
            ];
            assert!(left.into_iter().all(|reply| reply.unwrap().get_ref().left == 10));
            assert_eq!(std::mem::take(&mut *pod.0.lock().unwrap()), asked);
            ending.begin();
        }
    }
}
