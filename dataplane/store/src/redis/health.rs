//! Whether a Redis server may keep our rooms: judged by its INFO.

use crate::StoreError;

/// What a usable server promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Append-only file on.
    pub(super) durable: bool,
    /// What an operator should know.
    pub(super) warnings: Vec<String>,
}

/// Judges the INFO text of one primary (sections server, memory, persistence).
pub(super) fn assess(info: &str) -> Result<Health, StoreError> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.trim().split_once(':').filter(|(key, _)| *key == name).map(|(_, value)| value))
    };
    let version = field("redis_version").unwrap_or("");
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < 7 {
        return Err(StoreError::refused(format!("Redis {version} has no Functions: use 7.0 or later")));
    }
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    if policy.starts_with("allkeys-") {
        return Err(StoreError::refused(format!(
            "maxmemory-policy {policy} would throw rooms away in silence: set maxmemory-policy noeviction"
        )));
    }
    let mut health = Health { durable: field("aof_enabled") == Some("1"), warnings: Vec::new() };
    if !health.durable {
        health.warnings.push(
            "Redis runs without its append-only file: what is acknowledged as stored is lost when it restarts; \
             set appendonly yes"
                .to_owned(),
        );
    }
    if policy.starts_with("volatile-") {
        health.warnings.push(format!(
            "maxmemory-policy {policy} may shorten the kept messages when memory is short; noeviction does not"
        ));
    }
    Ok(health)
}

/// What several primaries promise together.
pub(super) fn together(all: impl IntoIterator<Item = Health>) -> Health {
    let mut together = Health { durable: true, warnings: Vec::new() };
    for health in all {
        together.durable &= health.durable;
        for warning in health.warnings {
            if !together.warnings.contains(&warning) {
                together.warnings.push(warning);
            }
        }
    }
    together
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, policy: &str, aof: &str) -> String {
        format!("# Server\r\nredis_version:{version}\r\n# Memory\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n")
    }

    #[test]
    fn a_server_with_its_file_on_is_durable_and_quiet() {
        assert_eq!(assess(&info("7.0.15", "noeviction", "1")), Ok(Health { durable: true, warnings: vec![] }));
    }

    #[test]
    fn without_its_file_it_warns() {
        let health = assess(&info("7.2.4", "noeviction", "0")).unwrap();
        assert!(!health.durable && health.warnings[0].contains("appendonly yes"));
    }

    #[test]
    fn eviction_of_any_key_is_refused_and_of_expiring_keys_warned_about() {
        let refused = assess(&info("7.0.15", "allkeys-lru", "1")).unwrap_err();
        assert!(refused.to_string().contains("noeviction"));
        assert_eq!(assess(&info("7.0.15", "volatile-ttl", "1")).unwrap().warnings.len(), 1);
    }

    #[test]
    fn servers_without_functions_are_refused() {
        assert!(matches!(assess(&info("6.2.7", "noeviction", "1")), Err(StoreError::Refused { .. })));
    }

    #[test]
    fn a_cluster_is_as_durable_as_its_worst_primary() {
        let good = assess(&info("7.0.15", "noeviction", "1")).unwrap();
        let bad = assess(&info("7.0.15", "noeviction", "0")).unwrap();
        let both = together([good, bad.clone(), bad]);
        assert!(!both.durable);
        assert_eq!(both.warnings.len(), 1);
    }
}
