//! Numbers with their nouns.

/// "1 Pod", "2 Pods".
pub(super) fn pods(count: impl Into<u64>) -> String {
    many(count, "Pod")
}

/// "1 user", "2 users".
pub(super) fn users(count: impl Into<u64>) -> String {
    many(count, "user")
}

/// "is" of one, "are" of several.
pub(super) fn are(count: impl Into<u64>) -> &'static str {
    if count.into() == 1 { "is" } else { "are" }
}

fn many(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_the_rest_are_several() {
        let all = [0u32, 1, 2].map(|count| format!("{} {}", pods(count), are(count)));
        assert_eq!(all, ["0 Pods are", "1 Pod is", "2 Pods are"]);
        assert_eq!([users(1u64), users(24_113u64)], ["1 user", "24113 users"]);
    }
}
