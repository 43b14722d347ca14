//! The three pools.

use std::fmt;

/// What a data-plane process is. Its text is part of keys in the registry, of Pod names and of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds connections; owns no slot.
    Gateway,
    /// Orders and governs rooms; owns room slots.
    Chatroom,
    /// Relays rooms and is the home of sessions; owns user slots.
    Message,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Chatroom, Self::Message];

    /// Its text: `gateway`, `chatroom` or `message`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Chatroom => "chatroom",
            Self::Message => "message",
        }
    }

    /// The role of a text, none of any other.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_from_its_text() {
        for role in Role::ALL {
            assert_eq!(Role::from_text(role.as_str()), Some(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert_eq!(Role::from_text("operator"), None);
    }
}
