//! The table of `docs/operator.md`: every reason of a condition, every Event and every metric, made of what the code says.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::path::Path;

use throng_operator::cluster::statements;
use throng_operator::{events, metrics};
use throng_plan::plan::End;
use throng_plan::status::{Condition, Holds, Utc};

const HEAD: &str = "\n| Name | Kind | Of | Status or type | Meaning, and what to do |\n|---|---|---|---|---|\n";

/// Its status, and the type of the Event that tells of it.
fn status(kind: &str, status: Holds, reason: &str) -> String {
    let condition = Condition {
        kind: kind.to_owned(),
        status,
        observed_generation: None,
        last_transition_time: Utc::default(),
        reason: reason.to_owned(),
        message: String::new(),
    };
    let warns = if events::is_bad(&condition) { ", Warning" } else { "" };
    format!("{status:?}{warns}")
}

fn condition(reason: &str, says: &[(&str, Holds)], meaning: &str, table: &mut String) {
    let of: Vec<&str> = says.iter().map(|(kind, _)| *kind).collect();
    let all: Vec<String> = says.iter().map(|(kind, holds)| status(kind, *holds, reason)).collect();
    let (of, all) = (of.join(" and "), all.join(" and "));
    writeln!(table, "| `{reason}` | condition | {of} | {all} | {meaning} |").unwrap();
}

fn table() -> String {
    let mut table = HEAD.to_owned();
    for reason in throng_plan::plan::Reason::ALL {
        condition(reason.as_str(), reason.says(), reason.meaning(), &mut table);
    }
    for reason in statements::Reason::ALL {
        condition(reason.as_str(), &[reason.says()], reason.meaning(), &mut table);
    }
    for flaw in statements::FLAWS {
        condition(flaw.as_str(), &[("SpecValid", Holds::False)], flaw.meaning(), &mut table);
    }
    for End { kind, reason, meaning, .. } in throng_plan::plan::ENDS {
        let of = format!("{kind} of a ChatroomOperation");
        writeln!(table, "| `{reason}` | condition | {of} | {:?} | {meaning} |", Holds::True).unwrap();
    }
    for (reason, warns, meaning) in events::ACTIONS {
        let type_ = if warns { "Warning" } else { "Normal" };
        writeln!(table, "| `{reason}` | Event | | {type_} | {meaning} |").unwrap();
    }
    for (name, kind, meaning) in metrics::ALL {
        writeln!(table, "| `{name}` | metric | | {kind} | {meaning} |").unwrap();
    }
    table
}

#[test]
fn the_manual_has_one_table_of_every_condition_event_and_metric_as_the_code_has_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operator.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(HEAD).unwrap();
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    let wanted = format!("{before}{}{}", table(), rest.get(end..).unwrap());
    if std::env::var_os("THRONG_WRITE_GENERATED").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let command = "THRONG_WRITE_GENERATED=1 cargo test -p throng-operator --test manual";
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page == wanted, "docs/operator.md differs from the code; run: {command}");
    // A second table would grow old.
    assert_eq!(page.matches("\n| `throng_operator_").count(), metrics::ALL.len());
    assert_eq!(page.matches("\n| `SecretUnusable` |").count(), 1);
}
