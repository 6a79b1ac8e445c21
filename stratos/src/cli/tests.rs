//! Command lines: what they mean, and what is refused.

use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::cli::node::NodeCommand;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn up_has_defaults_and_takes_units() {
    let Ok(Command::Up(up)) = parse("stratos up") else { panic!("up without flags") };
    assert_eq!((up.dir.as_path(), up.listen.port()), (Path::new("./data"), 9000));
    assert!(up.nodes.is_none() && up.scheme.is_none() && up.epoch.is_none());
    let Ok(Command::Up(up)) = parse("stratos up d --listen 0.0.0.0:0 --scheme 8+4 --epoch 5s")
    else {
        panic!("up with flags")
    };
    assert_eq!(up.scheme.expect("a scheme").to_string(), "8+4");
    assert_eq!(up.epoch, Some(Duration::from_secs(5)));
}

#[test]
fn a_role_is_run_with_a_file_and_a_network_is_asked_by_a_subcommand() {
    let Ok(Command::Node(node)) = parse("stratos node -c n.toml") else { panic!("a role") };
    assert!(node.command.is_none());
    assert_eq!(node.role.expect("a role").config, Path::new("n.toml"));
    let Ok(Command::Node(node)) = parse("stratos node invite --ttl 2h --data d") else {
        panic!("a question")
    };
    assert!(node.role.is_none());
    assert!(matches!(node.command, Some(NodeCommand::Invite { ttl: Some(ttl), .. })
        if ttl == Duration::from_secs(7200)));
    assert!(parse("stratos ledger -c l.toml --print-id").is_ok());
    assert!(parse("stratos ledger verify f").is_ok());
    assert!(parse("stratos ledger export --data d f").is_ok());
    assert!(parse("stratos gateway --config g.toml").is_ok());
}

#[test]
fn the_documented_commands_are_understood() {
    for line in [
        "stratos account create a --display-name D --email E --data d",
        "stratos account show a --admin http://h:1 --json",
        "stratos key create --account a --data d --json",
        "stratos key delete AK --data d",
        "stratos bucket list --data d",
        "stratos epoch list --last 3 --data d --log-format json",
        "stratos presign s3://b/k --data d --method put --expires 10m",
        "stratos bench --data d --sizes 4KiB,64MiB --ops put,get --count 5 --json",
        "stratos bench --endpoint http://h:1 --access-key a --secret-key s --duration 1s",
        "stratos completions zsh",
        "stratos health --data d",
        "stratos health --endpoint http://h:1",
        "stratos health --endpoint https://h:1 --ca-bundle f",
        "stratos bench --endpoint https://h:1 --access-key a --secret-key s --ca-bundle f",
        "stratos up d --tls --tls-name s3.example.org --tls-name 10.0.0.7",
        "stratos key create --account a --policy p.json --data d",
        "stratos key create --account a --policy - --data d",
        "stratos node -c n.toml --advertise h:1 --invite-file f",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    let check = |line: &str, want: ErrorKind| {
        let Err(error) = parse(line) else { panic!("{line:?} was taken") };
        assert_eq!(error.kind(), want, "{line:?}");
        assert_eq!(error.exit_code(), 2, "{line:?}");
    };
    check("stratos", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    check("stratos frobnicate", ErrorKind::InvalidSubcommand);
    check("stratos gateway", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    check("stratos node", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    check("stratos node --print-id", ErrorKind::MissingRequiredArgument);
    check("stratos node -c f list", ErrorKind::ArgumentConflict);
    check("stratos node --advertise h:1", ErrorKind::MissingRequiredArgument);
    check("stratos node -c f --advertise 0.0.0.0:1", ErrorKind::ValueValidation);
    check("stratos health", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    check("stratos health --data d --endpoint http://h:1", ErrorKind::ArgumentConflict);
    check("stratos up d --nodes 1", ErrorKind::ValueValidation);
    check("stratos up d --scheme 4", ErrorKind::ValueValidation);
    check("stratos up d --epoch 600", ErrorKind::ValueValidation);
    check("stratos up d --epoch 8d", ErrorKind::ValueValidation);
    check("stratos up d --region US", ErrorKind::ValueValidation);
    check("stratos up d --tls-name h", ErrorKind::MissingRequiredArgument);
    check("stratos up d --tls --tls-name https://h", ErrorKind::ValueValidation);
    check("stratos up d --listen 9000", ErrorKind::ValueValidation);
    check("stratos key create --data d", ErrorKind::MissingRequiredArgument);
    check("stratos key list --data d --admin http://h:1", ErrorKind::ArgumentConflict);
    check("stratos epoch list --last 0 --data d", ErrorKind::ValueValidation);
    check("stratos presign b/k --data d", ErrorKind::ValueValidation);
    check("stratos bench", ErrorKind::MissingRequiredArgument);
    check("stratos bench --data d --ops scan", ErrorKind::InvalidValue);
    check("stratos bench --data d --sizes 4KB", ErrorKind::ValueValidation);
    check("stratos bench --data d --count 5 --duration 5s", ErrorKind::ArgumentConflict);
}

#[tokio::test]
async fn a_question_without_a_network_is_a_usage_error() {
    let Ok(Command::Epoch(epoch)) = parse("stratos epoch list") else { panic!("a question") };
    let failure = epoch.run().await.unwrap_err();
    assert_eq!(failure.code(), 2);
    assert!(failure.to_string().starts_with("say which network: --data DIR"), "{failure}");
}
