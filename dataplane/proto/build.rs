//! Compiles the two protocols. Bodies are [`bytes::Bytes`], so that passing them on copies nothing.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(true)
        .compile_protos(&["proto/link.proto", "proto/client.proto"], &["proto"])
}
