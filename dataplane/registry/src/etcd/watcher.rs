//! Keeps the view of etcd: lists, follows, and after any interruption lists again.
//!
//! What makes it give up a stream: the stream ends or fails, etcd cancels it (the revision was compacted, permissions were
//! taken away), it is silent though asked for progress every second, or etcd answers from *before* the listing, as one that
//! came back empty between listing and following does: it would wait for the revision without a word.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, GetOptions, GetResponse, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::convert;
use super::failure::Failure;
use super::link::Link;
use crate::error::Error;
use crate::keys::Keys;
use crate::view::table::Table;
use crate::view::{VIEW_PAUSE_MS, View, unix_now};

/// Largest listing or change: 8,192 claims and 1,000 members are about 2 MB.
const MESSAGE_MOST_BYTES: usize = 64 * 1024 * 1024;
/// How often etcd is asked for a sign of life.
const BEAT: Duration = Duration::from_secs(1);
/// A stream that was silent for so long is dead.
const SILENT: Duration = Duration::from_secs(3);
/// Answers in a row from before the listing after which etcd is taken for another one. One may come from a member that
/// lags.
const BEHIND_MOST: u32 = 2;

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error(transparent)]
    Failed(#[from] Error),
    #[error("etcd ended the stream")]
    Ended,
    #[error("etcd compacted the history up to revision {0}")]
    Compacted(i64),
    #[error("etcd cancelled the stream: {0}")]
    Canceled(String),
    #[error("etcd was silent for {} s", SILENT.as_secs())]
    Silent,
    #[error("etcd went back to revision {0}")]
    Behind(u64),
}

pub(super) struct Watcher {
    link: Arc<Link>,
    keys: Keys,
    table: Table,
    views: watch::Sender<Arc<View>>,
}

impl Watcher {
    pub(super) fn new(link: Arc<Link>, keys: Keys) -> Self {
        let table = Table::new(keys.clone(), unix_now());
        let views = watch::Sender::new(Arc::new(table.view()));
        Self { link, keys, table, views }
    }

    pub(super) fn views(&self) -> watch::Sender<Arc<View>> {
        self.views.clone()
    }

    /// Until it is aborted.
    pub(super) async fn run(mut self) {
        let mut warned = false;
        loop {
            let why = self.session().await;
            // Once an outage, not once a try.
            warned &= !self.table.is_live();
            if !warned {
                tracing::warn!(%why, "the watch of the registry was interrupted; listing again");
                warned = true;
            }
            self.table.mark_stale(unix_now());
            self.show();
            if matches!(why, Interrupted::Silent) {
                self.link.forget().await;
            }
            sleep(Duration::from_millis(rand::random_range(0..=self.link.options.jitter_ms))).await;
        }
    }

    async fn session(&mut self) -> Interrupted {
        match self.begin().await {
            Ok(stream) => self.follow(stream).await,
            Err(failure) => Interrupted::Failed(failure.repeatable()),
        }
    }

    /// Lists everything and opens a stream of what comes after. The listing is shown only when the stream is open.
    async fn begin(&mut self) -> Result<WatchStream, Failure> {
        let listing = self.list().await?;
        let revision = convert::revision(listing.header());
        let stream = self.open(revision + 1).await?;
        let records = listing.kvs().iter().filter_map(|kv| Some((kv.key_str().ok()?, convert::record(kv))));
        self.table.rebuild(records, revision);
        self.show();
        tracing::info!(revision, "the registry was listed and is being followed");
        Ok(stream)
    }

    async fn list(&self) -> Result<GetResponse, Failure> {
        let prefix = self.keys.prefix();
        let get = |client: etcd_client::Client| async move {
            let mut kv = client.kv_client().max_decoding_message_size(MESSAGE_MOST_BYTES);
            kv.get(prefix, Some(GetOptions::new().with_prefix())).await
        };
        self.link.call(self.link.usual(), get).await
    }

    /// A stream of the changes from `revision` on.
    pub(super) async fn open(&self, revision: u64) -> Result<WatchStream, Failure> {
        let prefix = self.keys.prefix();
        let open = |client: etcd_client::Client| async move {
            let mut watch = client.watch_client().max_decoding_message_size(MESSAGE_MOST_BYTES);
            let options = WatchOptions::new().with_prefix().with_start_revision(revision.cast_signed());
            watch.watch(prefix, Some(options)).await
        };
        self.link.call(self.link.usual(), open).await
    }

    /// Takes changes until something is wrong, showing a view at most every 50 ms.
    pub(super) async fn follow(&mut self, mut stream: WatchStream) -> Interrupted {
        let pause = Duration::from_millis(VIEW_PAUSE_MS);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut shown, mut behind) = (Instant::now(), Instant::now(), 0);
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                message = stream.message() => {
                    heard = Instant::now();
                    let response = match message {
                        Ok(Some(response)) => response,
                        Ok(None) => return Interrupted::Ended,
                        Err(error) => return Interrupted::Failed(Failure::from(error).repeatable()),
                    };
                    match self.take(&response) {
                        Ok(Taken::Changes) => { due.get_or_insert((shown + pause).max(heard)); behind = 0; }
                        Ok(Taken::Nothing) => behind = 0,
                        Ok(Taken::Behind(revision)) => {
                            behind += 1;
                            if behind >= BEHIND_MOST { return Interrupted::Behind(revision); }
                        }
                        Err(why) => return why,
                    }
                }
                () = sleep_until(due.unwrap_or(heard)), if due.is_some() => {
                    self.show();
                    shown = Instant::now();
                    due = None;
                }
                _ = beat.tick() => {
                    if heard.elapsed() > SILENT { return Interrupted::Silent; }
                    if let Err(error) = stream.request_progress().await {
                        return Interrupted::Failed(Failure::from(error).repeatable());
                    }
                }
            }
        }
    }

    fn take(&mut self, response: &WatchResponse) -> Result<Taken, Interrupted> {
        if response.compact_revision() != 0 {
            return Err(Interrupted::Compacted(response.compact_revision()));
        }
        if response.canceled() {
            return Err(Interrupted::Canceled(response.cancel_reason().to_owned()));
        }
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let Ok(key) = kv.key_str() else { continue };
            let record = match event.event_type() {
                EventType::Put => Some(convert::record(kv)),
                EventType::Delete => None,
            };
            self.table.apply(key, record, kv.mod_revision().cast_unsigned());
        }
        let revision = convert::revision(response.header());
        Ok(match response.events() {
            [] if revision < self.table.revision() => Taken::Behind(revision),
            [] => Taken::Nothing,
            _ => Taken::Changes,
        })
    }

    fn show(&self) {
        self.views.send_replace(Arc::new(self.table.view()));
    }
}

enum Taken {
    Changes,
    /// A sign of life.
    Nothing,
    /// A sign of life from an etcd that has not come as far as the listing.
    Behind(u64),
}

#[cfg(test)]
mod tests {
    use super::super::etcd_server::EtcdServer;
    use super::super::options::EtcdOptions;
    use super::*;

    fn watcher(server: &EtcdServer) -> Watcher {
        let options = EtcdOptions { jitter_ms: 50, ..EtcdOptions::new(vec![server.url()], "test", "live") };
        Watcher::new(Arc::new(Link::new(options)), Keys::new("test", "live").unwrap())
    }

    async fn put(server: &EtcdServer, key: &str, value: &str) -> i64 {
        let mut client = etcd_client::Client::connect([server.url()], None).await.unwrap();
        client.put(key, value, None).await.unwrap().header().unwrap().revision()
    }

    #[tokio::test]
    async fn a_compacted_history_interrupts_and_a_new_listing_recovers() {
        let server = EtcdServer::start();
        let mut watcher = watcher(&server);
        for epoch in 1..20 {
            put(&server, "test/live/incarnation", &epoch.to_string()).await;
        }
        let last = put(&server, "test/live/leader", "7").await;
        let mut client = etcd_client::Client::connect([server.url()], None).await.unwrap();
        client.compact(last, None).await.unwrap();

        let stream = watcher.open(3).await.unwrap();
        let why = watcher.follow(stream).await;
        assert!(matches!(why, Interrupted::Compacted(revision) if revision == last), "{why}");
        watcher.begin().await.unwrap();
        let view = watcher.table.view();
        assert_eq!((view.incarnation, view.leader_epoch), (Some(19), Some(7)));
    }

    #[tokio::test]
    async fn an_etcd_that_is_behind_the_listing_is_noticed_though_it_says_nothing() {
        let server = EtcdServer::start();
        let mut watcher = watcher(&server);
        let now = put(&server, "test/live/incarnation", "1").await.cast_unsigned();
        // As if the listing came from an etcd that has been replaced by an empty one since.
        watcher.table.rebuild(std::iter::empty(), now + 1000);
        let stream = watcher.open(now + 1001).await.unwrap();
        let why = tokio::time::timeout(Duration::from_secs(5), watcher.follow(stream)).await.unwrap();
        assert!(matches!(why, Interrupted::Behind(revision) if revision == now), "{why}");
    }

    #[tokio::test]
    async fn a_quiet_cluster_is_followed_for_longer_than_silence_is_borne() {
        let server = EtcdServer::start();
        let mut watcher = watcher(&server);
        let mut stream = Some(watcher.begin().await.unwrap());
        let quiet = SILENT + BEAT * 2;
        let follow = watcher.follow(stream.take().unwrap());
        assert!(tokio::time::timeout(quiet, follow).await.is_err(), "it is asked for signs of life and gives them");
    }
}
