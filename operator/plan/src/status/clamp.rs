//! A status within the bounds of its schema. An API server refuses one that is not, and progress would be lost.

use super::pool::{MAX_BUCKETS, MAX_STARTS};
use super::{
    ClusterStatus, Condition, MAX_ANSWERS, MAX_CONDITIONS, MAX_DRAINS, MAX_EVENTS, MAX_LINE, MAX_REVISIONS, MAX_WHY,
    OperationStatus, PoolStatus,
};

/// Longest message of a condition, in characters.
const MAX_MESSAGE: usize = 32_768;

impl ClusterStatus {
    /// Cuts texts and lists to the bounds of the schema: of histories the oldest goes, of the rest the last.
    ///
    /// Drains beyond the bound must not be started at all; cutting one here only keeps the rest of the status alive.
    pub fn clamp(&mut self) {
        clamp_conditions(&mut self.conditions);
        self.why.truncate(MAX_WHY);
        self.why.iter_mut().for_each(|line| clamp_text(line, MAX_LINE));
        for pool in [&mut self.pools.gateway, &mut self.pools.chatroom, &mut self.pools.message] {
            clamp_pool(pool);
        }
        self.revisions.truncate(MAX_REVISIONS);
        self.drains.truncate(MAX_DRAINS);
        self.drains.iter_mut().for_each(|drain| clamp_text(&mut drain.why, MAX_LINE));
        self.events.truncate(MAX_EVENTS);
        keep_last(&mut self.answers, MAX_ANSWERS);
        self.answers.iter_mut().for_each(|answer| clamp_text(&mut answer.message, MAX_LINE));
        if let Some(because) = self.rollout.as_mut().and_then(|rollout| rollout.halted_because.as_mut()) {
            clamp_text(because, MAX_LINE);
        }
    }
}

impl OperationStatus {
    /// Cuts texts and lists to the bounds of the schema.
    pub fn clamp(&mut self) {
        clamp_text(&mut self.message, MAX_LINE);
        clamp_conditions(&mut self.conditions);
    }
}

fn clamp_pool(pool: &mut PoolStatus) {
    clamp_text(&mut pool.why, MAX_LINE);
    keep_last(&mut pool.memo.buckets, MAX_BUCKETS);
    keep_last(&mut pool.memo.starts_ms, MAX_STARTS);
}

fn clamp_conditions(conditions: &mut Vec<Condition>) {
    conditions.truncate(MAX_CONDITIONS);
    for condition in conditions {
        clamp_text(&mut condition.message, MAX_MESSAGE);
    }
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

/// Cuts `text` to `most` characters; the last one says that something is missing.
fn clamp_text(text: &mut String, most: usize) {
    if text.chars().count() > most {
        let end = text.char_indices().nth(most - 1).map_or(text.len(), |(at, _)| at);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::*;
    use crate::status::{Bucket, Utc};

    #[test]
    fn of_a_history_the_oldest_goes() {
        let mut status = ClusterStatus::default();
        status.pools.gateway.memo.buckets = (0..1000)
            .map(|n| Bucket { at: Utc(Millis(n * 10_000)), low: 1, high: 1, load_percent: 0, added: 0, removed: 0 })
            .collect();
        status.clamp();
        let buckets = &status.pools.gateway.memo.buckets;
        assert_eq!((buckets.len(), buckets[0].at), (MAX_BUCKETS, Utc(Millis((1000 - 361) * 10_000))));
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_so() {
        let mut text = "ü".repeat(600);
        clamp_text(&mut text, MAX_LINE);
        assert_eq!(text.chars().count(), MAX_LINE);
        assert!(text.ends_with("ü…"));
        let mut short = "ü".repeat(512);
        clamp_text(&mut short, MAX_LINE);
        assert_eq!(short, "ü".repeat(512));
    }
}
