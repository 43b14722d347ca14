//! `throng status --watch`: watches of what is shown, drawn again when they tell something.
//!
//! A watch that breaks is opened again by itself; meanwhile the last known state stays, with a line that says how old it is.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_plan::status::Utc;
use tokio::time::{Instant, sleep, timeout};

use super::{Found, Look, Scope};
use crate::error::Error;
use crate::overview::Overview;
use crate::screen::{Format, is_read, now};
use crate::text::span;

/// A watch is opened anew after so long: one that died without a word is noticed by then.
const REOPEN_S: u32 = 45;
/// Changes that come together are drawn together.
const GATHER: Duration = Duration::from_millis(200);
/// A terminal is drawn at least so often: ages change by themselves.
const AGES: Duration = Duration::from_secs(5);
/// To the top, and everything away.
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// What a watch tells: everything is listed, something changed, or it broke.
enum Word {
    Listed(usize),
    Changed,
    Broke(String),
}

type Words = SelectAll<BoxStream<'static, Word>>;

/// Draws until the cluster that was named is gone, or nobody reads it any more.
pub(super) async fn run(scope: &Scope, first: Found, look: Look) -> Result<ExitCode, Error> {
    let mut words = Words::new();
    let stores = Stores::open(scope, &first, &mut words);
    let terminal = std::io::stdout().is_terminal() && look.format == Format::Tree;
    let (mut listed, mut found, mut broken, mut drawn) = (BTreeSet::new(), first, None, None);
    loop {
        if listed.len() == stores.watched {
            found = stores.found(&found);
        }
        if scope.cluster.is_some() && found.clusters.is_empty() {
            eprintln!("it is gone");
            return Ok(ExitCode::SUCCESS);
        }
        if !draw(&found, look, terminal, broken.as_ref(), &mut drawn)? {
            return Ok(ExitCode::SUCCESS);
        }
        let heard = if terminal { timeout(AGES, words.next()).await.ok() } else { Some(words.next().await) };
        if matches!(heard, Some(None)) {
            return Ok(ExitCode::SUCCESS);
        }
        let mut next = heard.flatten();
        if next.is_some() {
            sleep(GATHER).await;
        }
        while let Some(word) = next {
            match word {
                Word::Listed(which) => {
                    broken = None;
                    listed.insert(which);
                }
                Word::Changed => broken = None,
                Word::Broke(why) => broken = broken.or_else(|| Some((why, Instant::now()))),
            }
            next = timeout(Duration::ZERO, words.next()).await.ok().flatten();
        }
    }
}

/// Draws what is new; a terminal also when only ages are. False: nobody reads it any more.
fn draw(
    found: &Found,
    look: Look,
    terminal: bool,
    broken: Option<&(String, Instant)>,
    drawn: &mut Option<Vec<Overview>>,
) -> Result<bool, Error> {
    let overviews = found.overviews(now());
    let timeless = || overviews.iter().cloned().map(|overview| Overview { now: Utc::default(), ..overview }).collect();
    if terminal {
        let mut text = look.page(&overviews)?;
        if let Some((why, since)) = broken {
            let age = span(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
            text = format!("{text}\nthe watch is interrupted for {age}, above is what was known before: {why}\n");
        }
        return Ok(is_read(&format!("{CLEAR}{text}")));
    }
    if drawn.as_ref() != Some(&timeless()) {
        let text = match look.format {
            Format::Json => overviews
                .iter()
                .filter_map(|overview| serde_json::to_string(overview).ok())
                .map(|line| line + "\n")
                .collect(),
            Format::Yaml => format!("---\n{}", look.page(&overviews)?),
            Format::Tree => look.page(&overviews)? + "\n",
        };
        *drawn = Some(timeless());
        return Ok(is_read(&text));
    }
    Ok(true)
}

/// What the watches know. Of a kind that may not be listed there is none.
struct Stores {
    clusters: Store<ChatroomCluster>,
    pods: Option<Store<Pod>>,
    operations: Option<Store<ChatroomOperation>>,
    watched: usize,
}

impl Stores {
    fn open(scope: &Scope, first: &Found, words: &mut Words) -> Self {
        let every = watcher::Config::default().timeout(REOPEN_S);
        let named = match &scope.cluster {
            Some(name) => every.clone().fields(&format!("metadata.name={name}")),
            None => every.clone(),
        };
        let mut watched = 0;
        let clusters = open(scope.api(), named, &mut watched, words);
        let labelled = every.clone().labels(&scope.label());
        let pods = first.pods.is_ok().then(|| open(scope.api(), labelled, &mut watched, words));
        let operations = first.operations.is_ok().then(|| open(scope.api(), every, &mut watched, words));
        Self { clusters, pods, operations, watched }
    }

    fn found(&self, before: &Found) -> Found {
        let pods = self.pods.as_ref().map_or_else(|| before.pods.clone(), |store| Ok(owned(store)));
        let operations = self.operations.as_ref().map_or_else(|| before.operations.clone(), |store| Ok(owned(store)));
        // Nodes hardly change: on one that came later, a Pod is in the zone that it was made for.
        Found { clusters: owned(&self.clusters), pods, operations, nodes: before.nodes.clone() }
    }
}

fn owned<K: Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>) -> Vec<K> {
    let mut all: Vec<K> = store.state().iter().map(|object| (**object).clone()).collect();
    all.sort_by_key(ResourceExt::name_any);
    all
}

/// Opens a watch of a kind.
fn open<K>(api: Api<K>, config: watcher::Config, watched: &mut usize, words: &mut Words) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let which = *watched;
    *watched += 1;
    let (store, writer) = reflector::store();
    let events = watcher(api, config).default_backoff();
    let events = reflector::reflector(writer, events).filter_map(move |event| {
        let word = match event {
            Ok(watcher::Event::InitDone) => Some(Word::Listed(which)),
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => Some(Word::Changed),
            Ok(_) => None,
            Err(error) => Some(Word::Broke(error.to_string())),
        };
        std::future::ready(word)
    });
    words.push(events.boxed());
    store
}
