//! Store: Redis or memory, one conformance suite.
