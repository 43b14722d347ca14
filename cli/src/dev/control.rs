//! What the page, the file and the planner share: the Pods, what is asked for, and what the planner says.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use throng_core::Role;
use throng_plan::spec::ClusterSpec;
use tokio::sync::{Notify, watch};

use super::fleet::Fleet;
use super::given::Given;
use super::recipe;
use super::web::{FileRow, PageState};
use super::wishes::Wishes;
use crate::roles::Config;

/// Longest time that a button waits for the planner to have seen it.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// The cluster of one `throng dev`.
pub(crate) struct Control {
    /// Its name.
    pub(super) name: String,
    /// Its Pods.
    pub(super) fleet: Fleet,
    asked: Mutex<Asked>,
    shown: Mutex<Shown>,
    /// Somebody asks for something else.
    bell: Notify,
    /// Looks of the planner that have begun, and those that have ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
}

/// What is asked for.
struct Asked {
    wishes: Wishes,
    image: String,
    config: Arc<Config>,
}

/// The same at one instant.
pub(super) struct Wanted {
    pub(super) spec: ClusterSpec,
    pub(super) generation: i64,
    /// What its Pods are called to be made of; for people.
    pub(super) image: String,
    /// What they run with.
    pub(super) config: Arc<Config>,
    /// Names of Pods that must go.
    pub(super) leaving: BTreeSet<String>,
}

#[derive(Default)]
struct Shown {
    why: Vec<String>,
    failure: Option<String>,
    starts: bool,
    file: Option<FileRow>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A spec with the rooms of a configuration: flags count more than the file, and dev is laxer than both.
fn as_configured(given: &Given, config: &Config) -> ClusterSpec {
    ClusterSpec { rooms: recipe::rooms(config), ..given.spec.clone() }
}

impl Control {
    pub(super) fn new(given: &Given, file: Option<&PathBuf>, config: Arc<Config>, fleet: Fleet) -> Self {
        let wishes = Wishes::new(as_configured(given, &config), file.is_some());
        let file = file.map(|path| FileRow { path: path.display().to_string(), problem: None });
        Self {
            name: given.name.clone(),
            fleet,
            asked: Mutex::new(Asked { wishes, image: given.written.image.clone(), config }),
            shown: Mutex::new(Shown { file, ..Shown::default() }),
            bell: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::channel(0).0,
        }
    }

    /// The file says something else.
    pub(super) fn follow(&self, given: &Given, config: Arc<Config>) {
        let mut asked = lock(&self.asked);
        asked.wishes.replace(as_configured(given, &config));
        asked.image.clone_from(&given.written.image);
        asked.config = config;
        drop(asked);
        self.refuse(None);
        self.bell.notify_one();
    }

    /// The file says something that cannot be followed; none: it can.
    pub(super) fn refuse(&self, problem: Option<String>) {
        if let Some(file) = &mut lock(&self.shown).file {
            file.problem = problem;
        }
    }

    /// A look begins: what is wanted, of the Pods that there are.
    pub(super) fn begin_look(&self, names: &BTreeSet<String>) -> Wanted {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut asked = lock(&self.asked);
        asked.wishes.keep(names);
        Wanted {
            spec: asked.wishes.spec(),
            generation: asked.wishes.generation(),
            image: asked.image.clone(),
            config: Arc::clone(&asked.config),
            leaving: names.iter().filter(|name| asked.wishes.leaves(name)).cloned().collect(),
        }
    }

    /// A look has ended: what was said, what could not be done, and whether Pods start.
    pub(super) fn end_look(&self, why: Vec<String>, failure: Option<String>, starts: bool) {
        let mut shown = lock(&self.shown);
        (shown.why, shown.failure, shown.starts) = (why, failure, starts);
        drop(shown);
        self.ended.send_replace(self.begun.load(Ordering::SeqCst));
    }

    /// Resolves when something else is asked for.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// What could not be done in the last look.
    fn failure(&self) -> Option<String> {
        lock(&self.shown).failure.clone()
    }

    /// Why a Pod did not start in the last look.
    pub(super) fn not_started(&self) -> Option<String> {
        self.failure().filter(|_| !lock(&self.shown).starts)
    }

    /// What is wanted now.
    pub(super) fn spec(&self) -> ClusterSpec {
        lock(&self.asked).wishes.spec()
    }

    /// A gateway that runs in a process of its own has ended: who measures the others does not want another.
    pub(super) fn forgo(&self, role: Role, name: &str) {
        lock(&self.asked).wishes.drain(role, name);
    }

    /// Does what a button says. Returns when the planner has seen it and has done what can be done at once.
    pub(crate) async fn act(self: Arc<Self>, verb: &str, name: &str) -> Result<()> {
        match verb {
            "add" => {
                let role = Role::from_text(name).with_context(|| format!("there is no role {name:?}"))?;
                lock(&self.asked).wishes.add(role);
            }
            "drain" => {
                let role = self.fleet.role(name)?;
                lock(&self.asked).wishes.drain(role, name);
            }
            "undrain" => {
                let role = self.fleet.role(name)?;
                lock(&self.asked).wishes.undrain(role, name);
            }
            "kill" => {
                let role = self.fleet.role(name)?;
                lock(&self.asked).wishes.kill(role, name);
                let (control, name) = (Arc::clone(&self), name.to_owned());
                tokio::task::spawn_blocking(move || control.fleet.kill(&name)).await?;
            }
            _ => bail!("a Pod can be added, drained, undrained and killed, not {verb:?}"),
        }
        self.seen().await
    }

    async fn seen(&self) -> Result<()> {
        // A look that is under way may not have seen it.
        let next = self.begun.load(Ordering::SeqCst) + 1;
        self.bell.notify_one();
        let mut ended = self.ended.subscribe();
        let seen = ended.wait_for(|ended| *ended >= next);
        tokio::time::timeout(SEEN_WITHIN, seen).await.context("it is asked for, but the planner does not answer")??;
        match self.failure() {
            Some(failure) => bail!("it is tried again: {failure}"),
            None => Ok(()),
        }
    }

    /// What the page shows.
    pub(crate) async fn page_state(&self) -> PageState {
        let mut state = self.fleet.page_state(&self.spec().pools).await;
        let shown = lock(&self.shown);
        state.why = shown.failure.iter().map(|failure| format!("it is tried again: {failure}")).collect();
        state.why.extend(shown.why.iter().cloned());
        state.file.clone_from(&shown.file);
        state
    }
}
