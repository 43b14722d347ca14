//! Models and simulations: the ownership protocol in stateright.
