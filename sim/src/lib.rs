//! Models and simulations: the ownership protocol in stateright, and the operator in a model of Kubernetes.
//!
//! [`world`] is a cluster in the small: two or three chatroom processes that own one slot between them, each with the very
//! machine that production runs ([`throng_core::ownership`]), a tiny [`etcd`], a tiny [`redis`] and two message Pods
//! ([`relay`]); [`promises`] says what must never be seen in it. [`model`] lets stateright place faults in every order and at every step; [`cases`] are the stories that
//! each rule of the protocol ends, with the rule that can be taken away to see the story happen. All of that is
//! about who owns a slot; [`operator`] is about who runs the Pods.

pub mod cases;
pub mod etcd;
pub mod model;
pub mod operator;
pub mod process;
pub mod promises;
pub mod redis;
pub mod relay;
pub mod world;
