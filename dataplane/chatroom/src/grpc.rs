//! The gRPC `Chatroom`: thin streams around the task that owns the rooms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use throng_core::room::{Ack, GatewayNo, Publish, RelayNo};
use throng_core::{Epoch, InstanceId, Lane, Slot};
use throng_proto::DEAD_MS;
use throng_proto::convert::{self as base, BadFrame};
use throng_proto::link::chatroom_server::Chatroom;
use throng_proto::link::{self, chatroom_to_gateway, chatroom_to_relay, gateway_to_chatroom, relay_to_chatroom};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info};

use crate::convert;
use crate::handover;
use crate::input::Input;
use crate::links::LinkNo;
use crate::outbox::{Outbox, Outflow, outbox};
use crate::stream::{Clock, Inflow};

/// Longest wait of one call for its answer.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// Largest slot that is taken over in one call, in pieces of about a megabyte.
const MAX_PIECES: usize = 4096;

/// Behind every call.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) open: link::Open,
    pub(crate) gateway_queue_bytes: usize,
    pub(crate) relay_queue_bytes: usize,
    pub(crate) next: Arc<AtomicU64>,
    pub(crate) clock: Clock,
}

impl Calls {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the owner of the rooms something; fails if it takes too long.
    async fn tell(&self, input: Input) -> Option<()> {
        self.inputs.send_timeout(input, Duration::from_millis(DEAD_MS)).await.ok()
    }

    async fn ask<T>(&self, input: Input, answer: oneshot::Receiver<T>) -> Result<T, Status> {
        let busy = || Status::unavailable("the chatroom Pod is too busy; try again");
        self.tell(input).await.ok_or_else(busy)?;
        tokio::time::timeout(CALL_WITHIN, answer).await.ok().and_then(Result::ok).ok_or_else(busy)
    }

    async fn serve_gateway(
        self,
        inbound: Streaming<link::GatewayToChatroom>,
        outbox: Outbox<link::ChatroomToGateway>,
    ) -> Option<()> {
        use gateway_to_chatroom::Kind;
        let to_beat = |beat| link::ChatroomToGateway { kind: Some(chatroom_to_gateway::Kind::Beat(beat)) };
        let mut inflow = Inflow::new(inbound, outbox.clone(), to_beat);
        let Kind::Open(open) = inflow.next().await?.kind? else { return None };
        let instance = InstanceId::new(&open.instance).ok()?;
        let link = LinkNo(self.number());
        let (number, told) = oneshot::channel();
        self.tell(Input::GatewayOpened { link, instance, outbox: outbox.clone(), number }).await?;
        let gateway = told.await.ok()?;
        info!(pod = open.pod, instance = open.instance, "a gateway has linked");
        while let Some(heard) = inflow.next().await {
            match self.hear_gateway(gateway, heard).await {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(bad) => {
                    info!(pod = open.pod, %bad, "a gateway sent a frame that does not read: its link is cut");
                    break;
                }
            }
        }
        outbox.close();
        info!(pod = open.pod, instance = open.instance, "a gateway's link has ended");
        self.tell(Input::GatewayLost { link, gateway }).await
    }

    async fn hear_gateway(&self, gateway: GatewayNo, heard: link::GatewayToChatroom) -> Result<Option<()>, BadFrame> {
        use gateway_to_chatroom::Kind;
        let input = match heard.kind {
            None | Some(Kind::Beat(_) | Kind::Open(_)) => return Ok(Some(())),
            Some(Kind::Publish(from)) => {
                let request = from.request;
                let (room, publish) = convert::publish(from)?;
                Input::GatewayPublish { gateway, request, room, publish }
            }
            Some(Kind::LoadPercent(percent)) => Input::GatewayLoad(gateway, u8::try_from(percent).unwrap_or(u8::MAX)),
            Some(Kind::Members(batch)) => {
                let number = batch.number;
                Input::Members { gateway, number, rooms: convert::changes(batch.rooms, self.clock.now())? }
            }
        };
        Ok(self.tell(input).await)
    }

    async fn serve_relay(
        self,
        inbound: Streaming<link::RelayToChatroom>,
        outbox: Outbox<link::ChatroomToRelay>,
    ) -> Option<()> {
        use relay_to_chatroom::Kind;
        let to_beat = |beat| link::ChatroomToRelay { kind: Some(chatroom_to_relay::Kind::Beat(beat)) };
        let mut inflow = Inflow::new(inbound, outbox.clone(), to_beat);
        let Kind::Open(open) = inflow.next().await?.kind? else { return None };
        let relay = RelayNo(self.number());
        self.tell(Input::RelayOpened { relay, outbox: outbox.clone() }).await?;
        info!(pod = open.pod, instance = open.instance, "a relay has linked");
        while let Some(heard) = inflow.next().await {
            match self.hear_relay(relay, heard).await {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(bad) => {
                    info!(pod = open.pod, %bad, "a relay sent a frame that does not read: its link is cut");
                    break;
                }
            }
        }
        outbox.close();
        debug!(pod = open.pod, "a relay's link has ended");
        self.tell(Input::RelayLost(relay)).await
    }

    async fn hear_relay(&self, relay: RelayNo, heard: link::RelayToChatroom) -> Result<Option<()>, BadFrame> {
        use relay_to_chatroom::Kind;
        let input = match heard.kind {
            None | Some(Kind::Beat(_) | Kind::Open(_)) => return Ok(Some(())),
            Some(Kind::Subscribe(from)) => Input::Subscribe(relay, convert::subscription(&from)?),
            Some(Kind::Unsubscribe(room)) => Input::Unsubscribe(relay, base::room(&room)?),
            Some(Kind::Publish(from)) => {
                let request = from.request;
                let (room, publish) = convert::publish(from)?;
                Input::RelayPublish { relay, request, room, publish }
            }
            Some(Kind::Audit(list)) => {
                let rooms = list.rooms.iter().map(|room| base::room(room)).collect::<Result<_, _>>()?;
                Input::Audit(relay, rooms)
            }
            Some(Kind::ReadLog(from)) => {
                let (room, range) = convert::log_range(&from)?;
                Input::ReadLog(relay, room, range)
            }
            Some(Kind::Stale(stale)) => Input::Stale(slot(stale.slot)?, Epoch(stale.epoch)),
            Some(Kind::Offline(batch)) => Input::Away(convert::changes(batch.rooms, self.clock.now())?),
        };
        Ok(self.tell(input).await)
    }

    async fn take_over(&self, mut pieces: Streaming<link::HandOver>) -> Result<(), Status> {
        let bad = |bad: BadFrame| Status::invalid_argument(bad.to_string());
        let mut rooms = Vec::new();
        for _ in 0..MAX_PIECES {
            let piece = tokio::time::timeout(Duration::from_millis(DEAD_MS), pieces.message()).await;
            let piece = piece.map_err(|_| Status::deadline_exceeded("the hand-over has stopped"))??;
            let Some(piece) = piece else { break };
            if !piece.state.is_empty() {
                rooms.push(handover::decode(&piece.state).map_err(bad)?);
            }
            if piece.last {
                let (taken, done) = oneshot::channel();
                let (slot, epoch) = (slot(piece.slot).map_err(bad)?, Epoch(piece.epoch));
                let next_epoch = Epoch(piece.next_epoch);
                return self.ask(Input::HandOver { slot, epoch, next_epoch, rooms, taken }, done).await;
            }
        }
        Err(Status::invalid_argument("a hand-over without an end"))
    }
}

fn slot(number: u32) -> Result<Slot, BadFrame> {
    u16::try_from(number).ok().and_then(Slot::new).ok_or(BadFrame::Missing("a slot below 4096"))
}

#[tonic::async_trait]
impl Chatroom for Calls {
    type GatewayStream = Outflow<link::ChatroomToGateway>;
    type RelayStream = Outflow<link::ChatroomToRelay>;

    async fn gateway(
        &self,
        request: Request<Streaming<link::GatewayToChatroom>>,
    ) -> Result<Response<Self::GatewayStream>, Status> {
        let (outbox, outflow) = outbox(self.gateway_queue_bytes);
        let open = chatroom_to_gateway::Kind::Open(self.open.clone());
        let _ = outbox.send(link::ChatroomToGateway { kind: Some(open) });
        tokio::spawn(closing(outbox.clone(), self.clone().serve_gateway(request.into_inner(), outbox)));
        Ok(Response::new(outflow))
    }

    async fn relay(
        &self,
        request: Request<Streaming<link::RelayToChatroom>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        let (outbox, outflow) = outbox(self.relay_queue_bytes);
        let open = chatroom_to_relay::Kind::Open(self.open.clone());
        let _ = outbox.send(link::ChatroomToRelay { kind: Some(open) });
        tokio::spawn(closing(outbox.clone(), self.clone().serve_relay(request.into_inner(), outbox)));
        Ok(Response::new(outflow))
    }

    async fn hand_over(
        &self,
        request: Request<Streaming<link::HandOver>>,
    ) -> Result<Response<link::HandOverReply>, Status> {
        self.take_over(request.into_inner()).await?;
        Ok(Response::new(link::HandOverReply { accepted: true, message: String::new() }))
    }

    async fn admin(&self, request: Request<link::AdminRequest>) -> Result<Response<link::AdminReply>, Status> {
        let (reply, answer) = oneshot::channel();
        Ok(Response::new(self.ask(Input::Admin(Box::new(request.into_inner()), reply), answer).await?))
    }

    async fn announce(&self, request: Request<link::AnnounceRequest>) -> Result<Response<link::AnnounceReply>, Status> {
        let from = request.into_inner();
        let bad = |bad: BadFrame| Status::invalid_argument(bad.to_string());
        let publish = Publish {
            user: base::user(&from.from).map_err(bad)?,
            session: None,
            wish: base::lane(from.lane).map_err(bad)?,
            best: Lane::Control,
            kind: from.kind.into(),
            data: from.data,
            key: None,
            ack: Ack::Accepted,
        };
        let (reply, answer) = oneshot::channel();
        let rooms = self.ask(Input::Announce(publish, reply), answer).await?;
        Ok(Response::new(link::AnnounceReply { rooms }))
    }

    async fn list_rooms(
        &self,
        request: Request<link::ListRoomsRequest>,
    ) -> Result<Response<link::ListRoomsReply>, Status> {
        let from = request.into_inner();
        let after = if from.after.is_empty() { None } else { Some(base::room(&from.after)) };
        let after = after.transpose().map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let limit = convert::page_limit(from.limit);
        let (reply, answer) = oneshot::channel();
        Ok(Response::new(self.ask(Input::ListRooms(after, limit, reply), answer).await?))
    }
}

/// However a stream's task ends, the stream ends too.
async fn closing<T>(outbox: Outbox<T>, task: impl Future<Output = Option<()>>) {
    let _ = task.await;
    outbox.close();
}
