//! The commands as people call them.

use std::path::Path;

use clap::{CommandFactory as _, Parser};

use super::*;

#[derive(Parser)]
#[command(name = "throng")]
struct Called {
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &str) -> Result<Command, clap::Error> {
    Called::try_parse_from(line.split(' ')).map(|called| called.command)
}

#[test]
fn every_command_explains_itself_with_examples() {
    let mut root = Called::command();
    root.build();
    for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let help = command.clone().term_width(100).render_long_help().to_string();
        assert!(help.contains("Examples:\n") && help.contains(&format!("  throng {name}")), "{help}");
        insta::assert_snapshot!(format!("help-{name}"), help);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for wrong in [
        "throng drain",
        "throng drain live-gateway-7-2 --node a",
        "throng drain --node a --zone b",
        "throng rollback --to 0",
        "throng rollback --pace quick",
        "throng pause --timeout soon",
        "throng status -A -n show",
        "throng status live -o table",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    for right in [
        "throng status",
        "throng status live -n show --watch -o json",
        "throng drain live-gateway-7-2 live-gateway-7-5 -y --wait --timeout 1h30m",
        "throng drain --node node-a --cluster live --dry-run",
        "throng rollback live --to 7 --pace gentle --note late",
        "throng rollback live --mode gentle",
        "throng promote -n show --context prod",
    ] {
        assert!(parse(right).is_ok(), "{right}");
    }
}

#[test]
fn kubectl_finds_it_by_its_name() {
    assert!(is_plugin(Path::new("/usr/local/bin/kubectl-throng")));
    assert!(!is_plugin(Path::new("/usr/local/bin/throng")) && !is_plugin(Path::new("kubectl")));
}
