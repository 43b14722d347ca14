//! Sans-IO WebSocket server codec: handshake, parser, pre-encoded frames.
