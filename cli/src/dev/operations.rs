//! Operations that a file asks for, as an API server would hold them. Pure.
//!
//! One that stands in the file is asked for once: it stays as it is, whatever the file changes around it, and ends. Taken out of
//! the file it is forgotten, and may be asked for again.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::Millis;
use throng_plan::spec::Operation;
use throng_plan::status::{OperationPhase, OperationStatus};

/// The operations of a cluster.
#[derive(Debug, Default)]
pub(super) struct Operations {
    known: BTreeMap<String, Operation>,
    /// Names of those whose time is over, though they still stand in the file.
    over: BTreeSet<String>,
    /// How many there ever were: makes their uids.
    count: u64,
}

impl Operations {
    /// The file asks for these.
    pub(super) fn follow(&mut self, asked: &[Operation], now: Millis) {
        let names: BTreeSet<&str> = asked.iter().map(|operation| operation.name.as_str()).collect();
        self.known.retain(|name, _| names.contains(name.as_str()));
        self.over.retain(|name| names.contains(name.as_str()));
        for operation in asked {
            let name = &operation.name;
            if !self.known.contains_key(name) && !self.over.contains(name) {
                self.count += 1;
                let uid = format!("operation-{}", self.count);
                self.known.insert(name.clone(), Operation { uid, asked_at: now, ..operation.clone() });
            }
        }
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> BTreeMap<String, Operation> {
        self.known.clone()
    }

    /// Writes what became of one, if it is still the same. A line for people, if that changes how far it is.
    pub(super) fn write(&mut self, name: &str, uid: &str, status: &OperationStatus) -> Option<String> {
        let operation = self.known.get_mut(name).filter(|operation| operation.uid == uid)?;
        let before: OperationPhase = operation.status.phase;
        operation.status = status.clone();
        (before != status.phase).then(|| format!("operation {name}: {:?}: {}", status.phase, status.message))
    }

    /// Its time is over.
    pub(super) fn delete(&mut self, name: &str, uid: &str) {
        if self.known.get(name).is_some_and(|operation| operation.uid == uid) {
            self.known.remove(name);
            self.over.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_plan::spec::operation::Action;

    use super::*;

    fn asked(name: &str) -> Operation {
        Operation {
            name: name.to_owned(),
            uid: String::new(),
            asked_at: Millis::ZERO,
            action: Action::Pause,
            ttl_ms: 1000,
            status: OperationStatus::default(),
        }
    }

    #[test]
    fn an_operation_is_asked_for_once_as_long_as_it_stands_in_the_file() {
        let mut operations = Operations::default();
        operations.follow(&[asked("a")], Millis(5));
        let first = operations.all()["a"].clone();
        assert_eq!((first.asked_at, first.uid.as_str()), (Millis(5), "operation-1"));
        operations.follow(&[asked("a"), asked("b")], Millis(9));
        assert_eq!((&operations.all()["a"], operations.all().len()), (&first, 2));
        operations.delete("a", "another");
        assert!(operations.all().contains_key("a"));
        operations.delete("a", &first.uid);
        operations.follow(&[asked("a"), asked("b")], Millis(11));
        assert!(!operations.all().contains_key("a"), "it has been");
        operations.follow(&[asked("b")], Millis(12));
        operations.follow(&[asked("a"), asked("b")], Millis(13));
        assert_ne!(operations.all()["a"].uid, first.uid, "it was taken out and is asked for anew");
    }

    #[test]
    fn people_are_told_when_it_gets_further_and_not_at_every_word() {
        let mut operations = Operations::default();
        operations.follow(&[asked("a")], Millis(5));
        let uid = operations.all()["a"].uid.clone();
        let status =
            |phase, message: &str| OperationStatus { phase, message: message.into(), ..OperationStatus::default() };
        let running = status(OperationPhase::Running, "holds");
        assert_eq!(operations.write("a", &uid, &running).as_deref(), Some("operation a: Running: holds"));
        assert_eq!(operations.write("a", &uid, &status(OperationPhase::Running, "still")), None);
        assert_eq!(operations.write("a", "another", &status(OperationPhase::Failed, "")), None);
        assert_eq!(operations.all()["a"].status.message, "still");
    }
}
