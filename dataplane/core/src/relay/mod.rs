//! What a message Pod decides: rings of recent segments, and the homes of users.
