//! The parent's end of the pipe.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::wire;
use crate::view::View;

/// A child that has not read for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// Writes the current view and then each newer one to a child, until there are no more views (`Ok`), or the child has closed
/// its end or not read for 10 s (`Err`). A child that is slower than the changes gets the latest, not each.
pub async fn feed(mut views: watch::Receiver<Arc<View>>, mut pipe: impl AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let line = wire::encode(&view)?;
        timeout(STUCK, async {
            pipe.write_all(&line).await?;
            pipe.flush().await
        })
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the child does not read its standard input"))??;
        if views.changed().await.is_err() {
            return Ok(());
        }
    }
}
