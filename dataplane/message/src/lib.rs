//! The message role: relay of segments, home of user sessions.
