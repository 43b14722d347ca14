//! What decided a size, in one line for people.

use std::fmt;

use super::demand::{Demand, Term};

/// What decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    /// What the pool carries.
    Carries(Term, Demand),
    /// The load differs too little from the size.
    NearEnough(Demand),
    /// Too few Pods say what they carry.
    Frozen {
        /// Those that do not.
        silent: usize,
        /// Of so many.
        pods: usize,
    },
    /// The window: other sizes were wished in it.
    Window {
        /// What the load asks for now.
        recommended: u32,
        /// Length of the window in seconds.
        window_s: u64,
    },
    /// The policies do not allow more for now.
    Policy {
        /// What the load asks for.
        recommended: u32,
    },
    /// The pool may not change in this direction.
    Disabled {
        /// What the load asks for.
        recommended: u32,
    },
    /// An event asks for so many.
    Event(String),
    /// Not fewer than the spec says.
    Smallest,
    /// Not more than the spec says.
    Largest {
        /// What is asked for.
        asked: u32,
    },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carries(Term::Load, demand) => write!(f, "the load is that of {:.1} full Pods", demand.sum),
            Self::Carries(Term::Hot, demand) => {
                write!(f, "the hottest Pods carry {:.0} % of what they should", demand.p95 * 100.0)
            }
            Self::Carries(Term::Ahead, demand) => {
                let Demand { sum, growth, .. } = demand;
                let (then, seconds) = (sum + growth.pods(), growth.start_ms.div_ceil(1000));
                write!(
                    f,
                    "the load is that of {sum:.1} full Pods, and of {then:.1} in {seconds} s, when a new Pod serves"
                )
            }
            Self::NearEnough(demand) => {
                write!(f, "the load is that of {:.1} full Pods, which is near enough", demand.sum)
            }
            Self::Frozen { silent, pods } => {
                write!(f, "{silent} of {pods} Pods do not say what they carry, so it does not shrink")
            }
            Self::Window { recommended, window_s } => {
                write!(f, "{recommended} are enough now but were not in the last {window_s} s")
            }
            Self::Policy { recommended } => {
                write!(f, "{recommended} are asked for, in the steps that its behavior allows")
            }
            Self::Disabled { recommended } => {
                write!(f, "{recommended} would be right, but its behavior keeps the size")
            }
            Self::Event(name) => write!(f, "the event {name} asks for them"),
            Self::Smallest => write!(f, "the smallest number of the spec"),
            Self::Largest { asked } => write!(f, "the largest number of the spec, although {asked} are asked for"),
        }
    }
}
