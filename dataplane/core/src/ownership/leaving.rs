//! Leaving: emptying by moves, and the end.

use super::Ownership;
use super::words::Output;
use crate::Millis;

/// So long a process waits for its lease to be revoked, in milliseconds. It expires anyway.
const LAST_MS: u64 = 1000;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) enum Leaving {
    /// It stays.
    #[default]
    No,
    /// Slots are moved away.
    Draining {
        /// [`Output::Drained`] was said.
        told: bool,
        /// When it should be empty.
        by: Option<Millis>,
    },
    /// Claims are being given up.
    Stopping,
    /// The lease is being revoked.
    Revoking { until: Millis },
    /// The lease is gone.
    Left {
        /// [`Output::Stopped`] was said.
        told: bool,
    },
}

impl Leaving {
    /// Claims nothing new.
    pub(super) const fn is_leaving(self) -> bool {
        !matches!(self, Self::No)
    }

    /// Serves nothing any more.
    pub(super) const fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping | Self::Revoking { .. } | Self::Left { .. })
    }

    /// Needs no lease any more.
    pub(super) const fn has_left(self) -> bool {
        matches!(self, Self::Revoking { .. } | Self::Left { .. })
    }

    pub(super) const fn lease_gone(&mut self) {
        if let Self::Revoking { .. } = self {
            *self = Self::Left { told: false };
        }
    }

    /// When a drain should be over.
    pub(super) const fn deadline(self) -> Option<Millis> {
        match self {
            Self::Draining { by, .. } => by,
            _ => None,
        }
    }

    pub(super) const fn wake_at(self) -> Option<Millis> {
        match self {
            Self::Revoking { until } => Some(until),
            _ => None,
        }
    }
}

impl Ownership {
    pub(super) fn drain(&mut self, by: Option<Millis>, now: Millis, out: &mut Vec<Output>) {
        match &mut self.leaving {
            Leaving::No => {
                self.leaving = Leaving::Draining { told: false, by };
                self.part_changed(now, out);
            }
            Leaving::Draining { by: before, .. } => {
                *before = [*before, by].into_iter().flatten().min();
                self.pursue_all(now, out);
            }
            _ => {}
        }
    }

    pub(super) fn undrain(&mut self, now: Millis, out: &mut Vec<Output>) {
        if matches!(self.leaving, Leaving::Draining { .. }) {
            self.leaving = Leaving::No;
            self.part_changed(now, out);
        }
    }

    fn part_changed(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.wanted.clear();
        self.elect();
        self.pursue_all(now, out);
    }

    pub(super) fn stop(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.leaving.is_stopping() {
            return;
        }
        self.leaving = Leaving::Stopping;
        self.wanted.clear();
        self.elect();
        let lease = self.lease.id();
        let own = self.places.iter().filter_map(|(&slot, place)| place.own(slot, lease)).collect();
        for slot in self.config.slots.clone() {
            self.close(slot, out);
        }
        self.give_up(own, now, out);
    }

    /// Says when it is done.
    pub(super) fn leave(&mut self, now: Millis, out: &mut Vec<Output>) {
        let lease = self.lease.id();
        match self.leaving {
            Leaving::Draining { told: false, by } => {
                let empty = self.places.values().all(|place| {
                    place.tenure.is_none()
                        && place.next.is_none()
                        && place.busy.is_none()
                        && place.mine(lease).is_none()
                });
                if empty {
                    self.leaving = Leaving::Draining { told: true, by };
                    out.push(Output::Drained);
                }
            }
            Leaving::Stopping if self.places.values().all(|place| place.busy.is_none()) => {
                if self.config.fences() {
                    out.push(Output::Store(super::StoreCall::DropGrace));
                }
                match lease {
                    Some(lease) => {
                        self.leaving = Leaving::Revoking { until: now + LAST_MS };
                        out.push(Output::RevokeLease(lease));
                    }
                    None => self.leaving = Leaving::Left { told: false },
                }
            }
            Leaving::Revoking { until } if until <= now => self.leaving = Leaving::Left { told: false },
            _ => {}
        }
        if self.leaving == (Leaving::Left { told: false }) {
            self.leaving = Leaving::Left { told: true };
            out.push(Output::Stopped);
        }
    }
}
