//! A queue to one stream, bounded by bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What an item costs beside its bytes on the wire.
const ITEM_BYTES: usize = 64;

/// The queue is full, or nobody reads it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The end that writes. Cheap to clone. The stream ends when [`Outbox::close`] was called or all clones are gone.
#[derive(Debug)]
pub struct Outbox<T> {
    queue: mpsc::UnboundedSender<(usize, T)>,
    waiting_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
    closed: CancellationToken,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            waiting_bytes: self.waiting_bytes.clone(),
            limit_bytes: self.limit_bytes,
            closed: self.closed.clone(),
        }
    }
}

/// The end that reads: the body of a response.
#[derive(Debug)]
pub struct Outflow<T> {
    queue: mpsc::UnboundedReceiver<(usize, T)>,
    waiting_bytes: Arc<AtomicUsize>,
    closed: Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>,
}

/// A queue that holds at most `limit_bytes`, counted as encoded.
#[must_use]
pub fn outbox<T: Message>(limit_bytes: usize) -> (Outbox<T>, Outflow<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let closed = CancellationToken::new();
    let outflow = Outflow {
        queue: receiver,
        waiting_bytes: waiting_bytes.clone(),
        closed: Box::pin(closed.clone().cancelled_owned()),
    };
    (Outbox { queue: sender, waiting_bytes, limit_bytes, closed }, outflow)
}

impl<T: Message> Outbox<T> {
    /// Queues an item if there is room for it, or if the queue is less than half full.
    pub fn send(&self, item: T) -> Result<(), Full> {
        self.send_within(item, self.limit_bytes)
    }

    /// Queues an item that must not be left out: such items may take as much room again.
    pub fn send_urgent(&self, item: T) -> Result<(), Full> {
        self.send_within(item, self.limit_bytes.saturating_mul(2))
    }

    fn send_within(&self, item: T, limit_bytes: usize) -> Result<(), Full> {
        let bytes = item.encoded_len() + ITEM_BYTES;
        let waiting_bytes = self.waiting_bytes.load(Ordering::Relaxed);
        // A queue that has room takes an item of any size, or one larger than the queue would never leave.
        let full = !self.has_room() && waiting_bytes + bytes > limit_bytes;
        if full || self.closed.is_cancelled() {
            return Err(Full);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queue.send((bytes, item)).map_err(|_| Full)
    }
}

impl<T> Outbox<T> {
    /// Whether it is less than half full: the next item fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) < self.limit_bytes / 2
    }

    /// Bytes waiting.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Ends the stream, whatever waits.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Waits until somebody closed it, or the reader is gone.
    pub async fn closed(&self) {
        tokio::select! {
            () = self.closed.cancelled() => {}
            () = self.queue.closed() => {}
        }
    }
}

impl<T> Stream for Outflow<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Future::poll(self.closed.as_mut(), cx).is_ready() {
            return Poll::Ready(None);
        }
        self.queue.poll_recv(cx).map(|next| {
            next.map(|(bytes, item)| {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                Ok(item)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_proto::link::Beat;
    use tokio_stream::StreamExt as _;

    #[tokio::test]
    async fn it_holds_so_many_bytes_and_no_more_until_they_are_read() {
        let (outbox, mut outflow) = outbox::<Beat>(ITEM_BYTES * 3);
        let sent = (0..10).filter(|_| outbox.send(Beat::default()).is_ok()).count();
        assert_eq!(sent, 3);
        assert!(outbox.send_urgent(Beat::default()).is_ok());
        assert!(!outbox.has_room());
        for _ in 0..4 {
            outflow.next().await.unwrap().unwrap();
        }
        assert_eq!(outbox.waiting_bytes(), 0);
        assert!(outbox.send(Beat::default()).is_ok());
    }

    #[tokio::test]
    async fn a_queue_that_has_room_takes_an_item_larger_than_itself() {
        let (outbox, mut outflow) = outbox::<Beat>(2);
        assert!(outbox.has_room() && outbox.send(Beat::default()).is_ok());
        assert!(!outbox.has_room());
        assert_eq!(outbox.send(Beat::default()), Err(Full));
        outflow.next().await.unwrap().unwrap();
        assert!(outbox.has_room() && outbox.send(Beat::default()).is_ok());
    }

    #[tokio::test]
    async fn a_closed_queue_ends_the_stream_and_takes_nothing() {
        let (outbox, mut outflow) = outbox::<Beat>(1_000);
        outbox.send(Beat::default()).unwrap();
        outbox.clone().close();
        assert!(outflow.next().await.is_none());
        assert_eq!(outbox.send(Beat::default()), Err(Full));
        outbox.closed().await;
    }
}
