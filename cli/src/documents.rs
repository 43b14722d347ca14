//! What the documents tell people to type is understood.

use std::path::Path;

use clap::CommandFactory as _;

use super::Args;

/// What begins a command of this program.
const CALLS: [&str; 3] = ["cargo run --release -- ", "kubectl throng ", "throng "];

/// Commands in code blocks, and measurements wherever they stand in code, with the name of the document.
fn commands() -> Vec<(String, String)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = vec!["README.md".to_owned(), "examples/gitops/README.md".to_owned()];
    let docs = std::fs::read_dir(repository.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    documents.extend(pages.map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap())));
    let mut found = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(repository.join(&document)).unwrap();
        let blocks = text.split("\n```").skip(1).step_by(2).flat_map(str::lines);
        let lines = blocks.filter_map(|line| line.split(" #").next()).flat_map(|line| line.split(';'));
        let spans = text.split('`').filter(|span| span.starts_with("throng bench ") && span.ends_with(" --json"));
        let calls = lines.chain(spans).filter_map(|line| CALLS.iter().find_map(|call| line.trim().strip_prefix(call)));
        found.extend(calls.map(|call| (document.clone(), call.trim().to_owned())));
    }
    found
}

#[test]
fn every_command_of_the_documents_is_one_that_this_program_understands() {
    let commands = commands();
    let of = |what: &str| commands.iter().filter(|(_, line)| line.starts_with(what)).count();
    assert!(of("dev") >= 3 && of("bench") >= 7 && of("drain") >= 2 && of("rollback") >= 1 && of("simulate") >= 3);
    for (document, line) in &commands {
        let words = line.split_whitespace().map(|word| word.trim_matches('\''));
        if let Err(error) = Args::command().try_get_matches_from(std::iter::once("throng").chain(words)) {
            let asks = [clap::error::ErrorKind::DisplayHelp, clap::error::ErrorKind::DisplayVersion];
            assert!(asks.contains(&error.kind()), "{document}: throng {line}: {error}");
        }
    }
}
