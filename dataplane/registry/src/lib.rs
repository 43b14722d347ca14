//! Registry: etcd or memory, one conformance suite.
