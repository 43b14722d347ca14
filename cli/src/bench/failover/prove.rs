//! What the servers of a store that are left do, while the one that led is still dead: a fault that is healed before they
//! have done their work shows nothing.

use std::time::Duration;

use throng_core::Role;

use super::faults::{Blow, Fault};
use super::stores::{Harm, Kept};
use super::{Bench, SETTLED_WITHIN, world};
use crate::bench::clock::now_us;

/// Every room has something stored again by then, or the test goes on without.
const STORED_WITHIN: Duration = Duration::from_mins(2);
/// What was stored is read by then.
const READ_WITHIN: Duration = Duration::from_mins(1);

/// What was seen of those that are left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Proof {
    /// From the blow until they had done it; none: not within the time allowed.
    pub(super) after_ms: Option<f64>,
    /// Messages that were acknowledged as stored and are not in the store.
    pub(super) missing: u64,
}

impl Bench<'_> {
    /// Lets the fault last, and those that are left do their work; none if the fault leaves none.
    pub(super) fn prove(&mut self, fault: Fault, struck_us: u64) -> anyhow::Result<Option<Proof>> {
        let lasts = fault.lasts(self.args);
        let proof = match fault.blow() {
            Blow::Redis(Harm::Leader) => Some(self.stores(struck_us)?),
            Blow::Etcd(Harm::Leader) => {
                self.turns(lasts, |_| false)?;
                let after_ms = self.registers()?.then(|| since_ms(struck_us));
                Some(Proof { after_ms, missing: 0 })
            }
            _ => None,
        };
        let left = lasts.saturating_sub(Duration::from_micros(now_us() - struck_us));
        self.turns(left, |_| false)?;
        Ok(proof)
    }

    /// Every slot moves to the other Pod and back, and a Pod comes and registers: placements, claims, leases.
    fn registers(&mut self) -> anyhow::Result<bool> {
        self.world.operator.swap(true);
        self.turns(SETTLED_WITHIN, |bench| bench.world.operator.look().settled)?;
        let mut done = self.world.operator.look().settled;
        self.world.add(Role::Gateway)?;
        let comes =
            |bench: &Self| bench.world.operator.look().members.first().is_some_and(|gateways| *gateways > world::PODS);
        self.turns(SETTLED_WITHIN, comes)?;
        done &= comes(self);
        self.world.remove_newest();
        self.world.operator.swap(false);
        self.turns(SETTLED_WITHIN, |bench| bench.world.operator.look().settled)?;
        Ok(done && self.world.operator.look().settled)
    }

    /// Every room gets something stored that was not there before the blow, and the new primary has all that anybody was
    /// told to be stored.
    fn stores(&mut self, struck_us: u64) -> anyhow::Result<Proof> {
        self.turns(STORED_WITHIN, |bench| bench.probes.stored_since(struck_us))?;
        if !self.probes.stored_since(struck_us) {
            return Ok(Proof::default());
        }
        let after_ms = Some(since_ms(struck_us));
        let kept = Kept::read(self.world.redis_urls(), self.world.names(), self.probes.stored(&self.fleet));
        self.turns(READ_WITHIN, |_| kept.is_done())?;
        anyhow::ensure!(kept.is_done(), "what is stored could not be read within {READ_WITHIN:?}");
        Ok(Proof { after_ms, missing: kept.missing()? })
    }
}

fn since_ms(us: u64) -> f64 {
    (now_us() - us) as f64 / 1000.0
}
