//! Evictions: deletions that ask the budgets first.

use throng_core::Millis;

use super::{Answer, Expected, Kind, Object, Refusal, Server};

impl Server {
    /// Evicts a Pod, as `kubectl drain` does.
    ///
    /// # Errors
    /// It is not there, or a budget does not allow it.
    pub fn evict(&mut self, now: Millis, name: &str) -> Answer {
        let pod = self.get(Kind::Pod, name).ok_or(Refusal::NotFound)?;
        if counts(pod) && self.budgets_of(pod).any(|least| self.healthy(pod.field("labels.role")) <= least) {
            return Err(Refusal::TooManyRequests);
        }
        self.delete(now, &(Kind::Pod, name.to_owned()), &Expected::default(), false)
    }

    /// How many of its kind each budget that selects the Pod wants.
    fn budgets_of<'s>(&'s self, pod: &'s Object) -> impl Iterator<Item = usize> + 's {
        let budgets =
            self.list(Kind::Budget).filter(|(_, budget)| budget.field("spec.role") == pod.field("labels.role"));
        budgets.map(|(_, budget)| budget.field("spec.min").parse().unwrap_or(0))
    }

    fn healthy(&self, role: &str) -> usize {
        self.list(Kind::Pod).filter(|(_, pod)| pod.field("labels.role") == role && counts(pod)).count()
    }
}

/// Whether a budget counts on the Pod. One that is not ready may always be evicted.
fn counts(pod: &Object) -> bool {
    pod.field("labels.serving") == "true" && pod.state("ready") == "true" && pod.deleted_at.is_none()
}
