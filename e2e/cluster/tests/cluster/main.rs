//! What only a real cluster can prove. `cargo xtask test --only cluster` starts one and runs this; any other cluster will do too,
//! by `KUBECONFIG`, if it has the images.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "these are tests; a JSON value answers null where nothing is"
)]

mod charts;
mod commands;
mod kinds;
mod memory;
mod nodes;
mod pods;
