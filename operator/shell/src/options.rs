//! What the operator is started with.

use std::net::SocketAddr;

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespaces whose clusters it looks after.
    pub scope: Scope,
    /// Where health and metrics listen.
    pub listen: SocketAddr,
    /// Name of its Pod, or of its process elsewhere; begins its name as a leader.
    pub pod: String,
    /// Namespace of its Lease.
    pub namespace: String,
    /// Name of its Lease.
    pub lease: String,
}

/// Namespaces that are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// These, sorted, each once; at least one.
    Namespaces(Vec<String>),
}

/// A text that names no namespaces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no namespaces: write names with commas between them, as in live,rehearsal, or * for all")]
pub struct BadScope(String);

impl std::str::FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        if text == "*" {
            return Ok(Self::All);
        }
        let mut names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        names.sort();
        names.dedup();
        let fine = |name: &String| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !name.is_empty() && name.len() <= 63 && name.bytes().all(inner)
        };
        if names.iter().all(fine) { Ok(Self::Namespaces(names)) } else { Err(BadScope(text.to_owned())) }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Namespaces(names) => f.write_str(&names.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_names_with_commas_or_a_star() {
        assert_eq!("*".parse(), Ok(Scope::All));
        let several = Scope::Namespaces(vec!["a".into(), "b-2".into()]);
        assert_eq!("b-2, a,a".parse::<Scope>(), Ok(several.clone()));
        assert_eq!(several.to_string(), "a,b-2");
        for wrong in ["", ",", "a,,b", "A", "a/b", "a,*"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong:?}");
        }
    }
}
