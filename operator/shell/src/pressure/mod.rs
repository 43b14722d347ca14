//! What Pods say of themselves: a stream of samples from each, and what their slots carry.
//!
//! One task a Pod, at most as many as the cluster has Pods. A sample is dated by this process's clock when it arrives, so
//! that its age means the same for all Pods.

mod link;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_core::{Role, Slot};
use throng_plan::moves::Activity;
use throng_plan::status::Utc;
use throng_plan::world::Sample;
use throng_plan::world::sample::FRESH_MS;
use throng_proto::key::PodKey;
use throng_runtime::registry::Activities;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;

/// Where a Pod answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its pool.
    pub role: Role,
    /// `host:port` of its gRPC.
    pub address: String,
}

/// What was heard of the Pods of one cluster.
#[derive(Debug, Default)]
pub struct Heard {
    pods: Mutex<BTreeMap<String, OfPod>>,
}

#[derive(Debug, Default)]
struct OfPod {
    sample: Option<Sample>,
    /// What its slots carry, and when that was heard.
    slots: Option<(Utc, Role, BTreeMap<Slot, Activity>)>,
    /// Why it is not ready, and when that was heard.
    unready: Option<(Utc, Vec<String>)>,
}

impl Heard {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, OfPod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest sample of each Pod, by uid.
    #[must_use]
    pub fn samples(&self) -> BTreeMap<String, Sample> {
        let pods = self.pods();
        pods.iter().filter_map(|(uid, pod)| Some((uid.clone(), pod.told()?))).collect()
    }

    /// The latest sample of one Pod.
    #[must_use]
    pub fn sample(&self, uid: &str) -> Option<Sample> {
        self.pods().get(uid)?.told()
    }

    /// What slots carry, as far as it was heard so lately that it is still believed.
    #[must_use]
    pub fn activities(&self, now: Utc) -> Activities {
        let mut all = Activities::default();
        for (uid, pod) in &*self.pods() {
            let Some((at, role, slots)) = &pod.slots else { continue };
            if now.0.since(at.0) <= FRESH_MS {
                all.pods.insert(uid.clone());
                all.slots.of_mut(*role).extend(slots.iter().map(|(slot, activity)| (*slot, *activity)));
            }
        }
        all
    }

    fn hear_sample(&self, uid: &str, sample: Sample) {
        self.pods().entry(uid.to_owned()).or_default().sample = Some(sample);
    }

    fn hear_unready(&self, uid: &str, at: Utc, reasons: Vec<String>) {
        self.pods().entry(uid.to_owned()).or_default().unready = Some((at, reasons));
    }

    fn hear_slots(&self, uid: &str, at: Utc, role: Role, slots: BTreeMap<Slot, Activity>) {
        self.pods().entry(uid.to_owned()).or_default().slots = Some((at, role, slots));
    }
}

impl OfPod {
    /// The latest sample, with why the Pod was not ready shortly before.
    fn told(&self) -> Option<Sample> {
        let sample = self.sample.clone()?;
        let lately = self.unready.as_ref().filter(|(at, _)| sample.at.0.since(at.0) <= FRESH_MS);
        Some(Sample { unready: lately.map(|(_, reasons)| reasons.clone()).unwrap_or_default(), ..sample })
    }
}

/// The streams of one cluster. Ended when dropped.
#[derive(Debug)]
pub struct Streams {
    heard: Arc<Heard>,
    metrics: Metrics,
    running: BTreeMap<String, Running>,
    key: Option<String>,
}

#[derive(Debug)]
struct Running {
    place: Place,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Streams {
    /// None yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { heard: Arc::default(), metrics, running: BTreeMap::new(), key: None }
    }

    /// What was heard.
    #[must_use]
    pub fn heard(&self) -> &Arc<Heard> {
        &self.heard
    }

    /// Follows these Pods, by uid, and no others. Without the key of the cluster nobody would answer.
    pub fn follow(&mut self, pods: BTreeMap<String, Place>, key: Option<&str>) {
        if self.key.as_deref() != key {
            self.key = key.map(str::to_owned);
            self.running.clear();
        }
        self.running.retain(|uid, running| pods.get(uid) == Some(&running.place) && !running.task.is_finished());
        self.heard.pods().retain(|uid, _| pods.contains_key(uid));
        let Some(key) = key.and_then(PodKey::new) else { return };
        for (uid, place) in pods {
            if self.running.contains_key(&uid) {
                continue;
            }
            let (heard, metrics, key) = (Arc::clone(&self.heard), self.metrics.clone(), key.clone());
            let of = stream::Stream { uid: uid.clone(), place: place.clone(), key, heard, metrics };
            self.running.insert(uid, Running { place, task: tokio::spawn(of.run()) });
        }
    }
}
