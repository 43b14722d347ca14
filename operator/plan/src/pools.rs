//! One value for each of the three pools.

use serde::{Deserialize, Serialize};
use throng_core::Role;

/// What there is of each pool, by role. In JSON an object with the keys `gateway`, `chatroom` and `message`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pools<T> {
    /// Of the pool of gateways, which hold the connections.
    pub gateway: T,
    /// Of the pool of chatroom Pods, which own the rooms.
    pub chatroom: T,
    /// Of the pool of message Pods, which relay rooms and are the home of users.
    pub message: T,
}

impl<T> Pools<T> {
    /// Asks `make` for each pool, in the order of [`Role::ALL`].
    pub fn from_fn(mut make: impl FnMut(Role) -> T) -> Self {
        Self { gateway: make(Role::Gateway), chatroom: make(Role::Chatroom), message: make(Role::Message) }
    }

    /// That of one pool.
    pub const fn of(&self, role: Role) -> &T {
        match role {
            Role::Gateway => &self.gateway,
            Role::Chatroom => &self.chatroom,
            Role::Message => &self.message,
        }
    }

    /// That of one pool, to be changed.
    pub const fn of_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Gateway => &mut self.gateway,
            Role::Chatroom => &mut self.chatroom,
            Role::Message => &mut self.message,
        }
    }

    /// All three, in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Role, &T)> {
        Role::ALL.into_iter().map(|role| (role, self.of(role)))
    }

    /// The same pools with other values.
    pub fn map<U>(&self, mut change: impl FnMut(Role, &T) -> U) -> Pools<U> {
        Pools::from_fn(|role| change(role, self.of(role)))
    }
}
