//! `docs/server-api.md` is true: it has every path, and every example answers what it says.

use serde_json::Value;
use throng_proto::codes::ErrorCode;

use super::super::TABLE;
use super::super::error::status_of;
use super::cluster::{Gateway, Pod, Script, routes};

const TEXT: &str = include_str!("../../../../../docs/server-api.md");

/// A section: the call that its heading names, and its text.
fn sections() -> Vec<(String, &'static str)> {
    let parts = TEXT.split("\n### `").skip(1);
    parts.map(|part| part.split_once("`\n").unwrap()).map(|(call, text)| (call.to_owned(), text)).collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

#[test]
fn the_documents_have_the_paths_of_the_table() {
    let mut documented: Vec<_> = sections().into_iter().map(|(call, _)| call).collect();
    let mut real: Vec<_> = TABLE.iter().map(|(method, path)| format!("{method} {path}")).collect();
    documented.sort();
    real.sort();
    assert_eq!(documented, real);
}

/// `/v1/rooms/final` is an instance of `/v1/rooms/{room}`.
fn fits(path: &str, pattern: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let (parts, patterns): (Vec<_>, Vec<_>) = (path.split('/').collect(), pattern.split('/').collect());
    parts.len() == patterns.len() && parts.iter().zip(patterns).all(|(a, b)| *a == b || b.starts_with('{'))
}

#[tokio::test]
async fn every_call_has_an_example_that_answers_what_the_documents_say() {
    let pod = Pod::start(Script::default()).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[&pod.address]));
    for (call, text) in sections() {
        let (method, pattern) = call.split_once(' ').unwrap();
        let command = between(text, "```sh\ncurl ", "\n```").unwrap_or_else(|| panic!("{call} has no example"));
        let body = between(command, "-d '", "'");
        let used = between(command, "-X ", " ").unwrap_or(if body.is_some() { "POST" } else { "GET" });
        let path = between(command, "\"$API", "\"").unwrap();
        assert!(used == method && fits(path, pattern), "{call}: {command}");
        assert!(command.contains("-H \"$AUTH\""), "{call}");
        let expected: Value = serde_json::from_str(between(text, "```json\n", "\n```").unwrap()).unwrap();
        let answer = gateway.call(method, path, body.unwrap_or_default()).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, expected), "{call}");
    }
}

#[test]
fn the_documents_have_the_status_of_each_code_that_comes_up() {
    let rows: Vec<_> = TEXT.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let mut found = 0;
    for code in ErrorCode::ALL {
        if let Some(row) = rows.iter().find(|row| row.starts_with(&format!("{code}` |"))) {
            assert!(row.starts_with(&format!("{code}` | {} |", status_of(code).as_u16())), "{row}");
            found += 1;
        }
    }
    assert_eq!(found, 9);
}
