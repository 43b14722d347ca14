//! A link to one chatroom Pod: connects, carries, and connects again until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use throng_core::relay::LinkId;
use throng_proto::DEAD_MS;
use throng_proto::key::PodKey;
use throng_proto::link::chatroom_client::ChatroomClient;
use throng_proto::link::{self, relay_to_chatroom};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::actor::Event;
use crate::outbox::Outbox;
use crate::wire;

/// Bytes that may wait for a chatroom Pod; beyond that the link starts anew and asks again.
const OUTBOX_BYTES: usize = 32 << 20;
/// Largest frame taken from a chatroom Pod.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// Shortest and longest pause between two attempts.
const PAUSE_MS: (u64, u64) = (50, 1_000);
/// HTTP/2 windows: bytes on the way that nobody has read yet.
const WINDOW_BYTES: u32 = 1 << 20;

/// What every link needs.
#[derive(Clone)]
pub(crate) struct Uplinks {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) notify: Arc<Notify>,
    pub(crate) open: link::Open,
    pub(crate) key: PodKey,
    /// Marked when routes change: a Pod that could not be reached may be there now.
    pub(crate) routes_changed: watch::Receiver<u64>,
}

/// Keeps a link until `stop`.
pub(crate) async fn run(link: LinkId, address: Arc<str>, mut uplinks: Uplinks, stop: CancellationToken) {
    let mut pause_ms = PAUSE_MS.0;
    loop {
        let session = async {
            match connect(&address).await {
                Ok(channel) => carry(link, channel, &uplinks).await,
                Err(error) => Outcome { lived: false, why: error.to_string() },
            }
        };
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = session => outcome,
        };
        tracing::info!(%address, why = outcome.why, "no link to the chatroom Pod");
        pause_ms = if outcome.lived { PAUSE_MS.0 } else { (pause_ms * 2).min(PAUSE_MS.1) };
        let pause = Duration::from_millis(rand::rng().random_range(pause_ms / 2..=pause_ms));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = uplinks.routes_changed.changed() => {
                if changed.is_err() {
                    return;
                }
                // Routes change in bursts when many slots move.
                tokio::time::sleep(Duration::from_millis(PAUSE_MS.0 / 2)).await;
            }
        }
    }
}

struct Outcome {
    lived: bool,
    why: String,
}

async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(1))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .tcp_nodelay(true);
    endpoint.connect().await
}

/// One connection, from its Open to its end.
async fn carry(link: LinkId, channel: Channel, uplinks: &Uplinks) -> Outcome {
    let silence = Duration::from_millis(DEAD_MS);
    let (outbox, outgoing) = Outbox::new(OUTBOX_BYTES, uplinks.notify.clone(), wire::beat_to_owner);
    let open = relay_to_chatroom::Kind::Open(uplinks.open.clone());
    outbox.push(link::RelayToChatroom { kind: Some(open) }, 0, 0);
    let mut client =
        ChatroomClient::with_interceptor(channel, uplinks.key.attach()).max_decoding_message_size(MAX_FRAME_BYTES);
    let mut stream = match timeout(silence, client.relay(outgoing)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Outcome { lived: false, why: status.message().to_owned() },
        Err(_) => return Outcome { lived: false, why: "no answer within 1.5 s".to_owned() },
    };
    if uplinks.events.send(Event::LinkUp { link, outbox: outbox.clone() }).await.is_err() {
        return Outcome { lived: true, why: "this Pod stops".to_owned() };
    }
    let why = loop {
        match timeout(silence, stream.message()).await {
            Ok(Ok(Some(frame))) => match wire::from_owner(frame) {
                Ok(Some(says)) => {
                    if uplinks.events.send(Event::Owner { link, says }).await.is_err() {
                        break "this Pod stops".to_owned();
                    }
                }
                Ok(None) => {}
                Err(error) => break format!("a frame does not read: {error}"),
            },
            Ok(Ok(None)) => break "it closed".to_owned(),
            Ok(Err(status)) => break format!("the stream broke: {}", status.message()),
            Err(_) => break "it was silent for 1.5 s".to_owned(),
        }
    };
    outbox.close();
    // A stopping actor needs no goodbye.
    uplinks.events.send(Event::LinkDown { link }).await.unwrap_or_default();
    Outcome { lived: true, why }
}
