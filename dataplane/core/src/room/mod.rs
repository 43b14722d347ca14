//! The room: what its owner, a chatroom Pod, decides.
