//! The chatroom role: owner of rooms.
