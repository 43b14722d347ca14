//! What a reader of JSON says of a mistake, in words for people who write JSON and not the program behind it.

/// Kinds of numbers as the reader calls them, and their largest.
const NUMBERS: [(&str, u64); 5] = [
    ("expected u8", u8::MAX as u64),
    ("expected u16", u16::MAX as u64),
    ("expected u32", u32::MAX as u64),
    ("expected u64", u64::MAX),
    ("expected usize", u64::MAX),
];

/// The words of an error, with the kinds of the program's numbers and lists told as what may be written.
#[must_use]
pub fn for_people(error: &impl ToString) -> String {
    let said = error.to_string();
    // What was expected stands behind what was found, which may be anybody's text.
    let Some(at) = said.rfind("expected ") else { return said };
    let (found, expected) = said.split_at(at);
    let kind_ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
    let number = NUMBERS.iter().find_map(|(kind, most)| {
        let rest = expected.strip_prefix(kind).filter(|rest| kind_ends(rest))?;
        Some(format!("{found}expected a whole number from 0 to {most}{rest}"))
    });
    let list = || {
        let rest = expected.strip_prefix("expected a sequence").filter(|rest| kind_ends(rest))?;
        Some(format!("{found}expected a list{rest}"))
    };
    number.or_else(list).unwrap_or(said)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its name is read")]
    struct Named {
        expected: u8,
    }

    fn said<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        for_people(&serde_json::from_str::<T>(json).unwrap_err())
    }

    #[test]
    fn numbers_and_lists_are_told_as_what_may_be_written() {
        assert!(said::<u8>("300").contains("expected a whole number from 0 to 255 at line 1"), "{}", said::<u8>("300"));
        assert!(said::<u32>("-1").contains("expected a whole number from 0 to 4294967295"));
        assert!(said::<u64>("\"x\"").contains("expected a whole number from 0 to 18446744073709551615"));
        assert!(said::<Vec<u8>>("7").contains("expected a list"));
    }

    #[test]
    fn what_somebody_wrote_stays_as_it_is() {
        let said = said::<u64>("\"expected u8\"");
        assert!(said.contains("\"expected u8\", expected a whole number from 0 to 18"), "{said}");
        assert!(for_people(&serde_json::from_str::<Named>("{}").unwrap_err()).contains("missing field `expected`"));
        assert_eq!(for_people(&"expected u8s"), "expected u8s");
    }
}
