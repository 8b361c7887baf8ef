//! The command line as clap has it.

use clap::{Arg, CommandFactory, Parser};

use super::args::LogFormat;
use super::*;
use crate::config::{Mode, StartAt};

fn run_args(args: &[&str]) -> Result<Box<RunArgs>, String> {
    let all = ["host", "run"].iter().chain(args);
    match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
        Command::Run(args) => Ok(args),
        _ => Err("another command".to_owned()),
    }
}

/// Each command, and what is below it.
fn all_commands() -> Vec<clap::Command> {
    let mut all: Vec<_> = Cli::command().get_subcommands().cloned().collect();
    let below: Vec<_> = all.iter().flat_map(clap::Command::get_subcommands).cloned().collect();
    all.extend(below);
    all
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

/// `HOST_` and the flag's name, except where that would say nothing.
fn expected_variable(command: &str, arg: &Arg) -> String {
    match (command, arg.get_id().as_str()) {
        (_, "properties") => "HOST_KAFKA_PROPERTIES".to_owned(),
        ("view", "topic") => "HOST_VIEW_TOPIC".to_owned(),
        ("diff", id @ ("old" | "new")) => format!("HOST_DIFF_{}", id.to_uppercase()),
        ("new", "name") => "HOST_NEW_NAME".to_owned(),
        ("build", id @ ("dir" | "into")) => format!("HOST_BUILD_{}", id.to_uppercase()),
        ("bench", "file") => "HOST_BENCH_FILE".to_owned(),
        ("init", "dir") => "HOST_INIT_DIR".to_owned(),
        ("test", "path") => "HOST_TEST_PATH".to_owned(),
        ("inspect", "file") => "HOST_INSPECT_FILE".to_owned(),
        (_, id) => format!("HOST_{}", id.to_uppercase()),
    }
}

#[test]
fn every_flag_has_help_and_an_environment_variable() {
    let mut checked = 0;
    for command in all_commands() {
        assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        for arg in command.get_arguments() {
            let id = arg.get_id();
            assert!(arg.get_help().is_some(), "{} {id} has no help", command.get_name());
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            let expected = expected_variable(command.get_name(), arg);
            assert_eq!(variable, Some(expected), "{} {id}", command.get_name());
            checked += 1;
        }
    }
    for arg in Cli::command().get_arguments() {
        assert!(arg.get_env().is_some(), "{}", arg.get_id());
    }
    assert!(checked > 30, "only {checked} flags");
}

/// Paragraphs are wrapped by clap, which must not break lines that are lines already: commands, lists.
#[test]
fn the_end_of_each_help_is_whole_in_80_columns() {
    for command in all_commands().into_iter().chain([Cli::command()]) {
        let help = command.get_after_help().expect("an example").to_string();
        let lines: Vec<&str> = help.lines().collect();
        for (line, next) in lines.iter().zip(lines.iter().skip(1).chain([&""])) {
            let is_paragraph = !line.starts_with(' ') && !line.ends_with(':');
            let name = command.get_name();
            assert!(is_paragraph || line.chars().count() <= 80, "{name}: {line}");
            assert!(!is_paragraph || line.is_empty() || next.is_empty(), "{name}: {line}");
        }
    }
}

#[test]
fn run_needs_no_flag() {
    let args = run_args(&[]).expect("no flags");
    assert_eq!(args.plugins.plugins.to_str(), Some("plugins"));
    assert_eq!(args.state_dir.to_str(), Some(".host"));
    assert_eq!(args.from, StartAt::Earliest);
    assert!(args.connect.brokers.is_none() && args.delivery.is_none() && args.admin.is_none());
    assert!(args.workers() >= 1);
}

#[test]
fn flags_are_checked_types() {
    let args = run_args(&[
        "--brokers",
        "a:1,b:2",
        "--delivery",
        "at-least-once",
        "--from",
        "2023-09-12T00:45:51Z",
        "--workers",
        "3",
        "-X",
        "sasl.password=a=b",
        "-X",
        "client.rack=r",
        "--group",
        "g",
        "--admin",
        "0.0.0.0:80",
    ])
    .expect("right flags");
    let overrides = args.overrides().expect("right properties");
    assert_eq!(overrides.name.as_deref(), Some("g"));
    assert_eq!(overrides.delivery, Some(Mode::AtLeastOnce));
    let properties = overrides.properties.iter().map(|p| (p.key.as_str(), p.value.as_str()));
    assert!(properties.eq([("sasl.password", "a=b"), ("client.rack", "r")]));
    assert_eq!(args.from, StartAt::Time(1_694_479_551_000));
    assert_eq!(args.workers(), 3);
    assert_eq!(args.admin.map(|address| address.port()), Some(80));
}

#[test]
fn wrong_flags_are_refused() {
    let check = |args: &[&str], expected: &str| {
        let error = run_args(args).err().unwrap_or_default();
        assert!(error.contains(expected), "{args:?}: {error}");
    };
    check(&["--workers", "0"], "expected a number from 1 to 1024");
    check(&["--workers", "1025"], "expected a number from 1 to 1024");
    check(&["--delivery", "twice"], "[possible values: exactly-once, at-least-once]");
    check(&["--from", "yesterday"], "expected earliest, latest, a time");
    check(&["--admin", "9700"], "expected an address and a port: 127.0.0.1:9700");
    check(&["--group", "a b"], "use letters, digits");
    check(&["--borkers", "a:1"], "--brokers");
}

#[test]
fn a_malformed_property_is_refused_without_repeating_it() {
    let args = run_args(&["-X", "hunter2"]).expect("clap takes it");
    let error = args.overrides().expect_err("no =");
    assert!(error.contains("key=value") && !error.contains("hunter2"), "{error}");
}

#[test]
fn log_flags_stand_before_or_after_the_command() {
    for args in
        [["host", "--log-format", "json", "check"], ["host", "check", "--log-format", "json"]]
    {
        let cli = Cli::try_parse_from(args).expect("right flags");
        assert_eq!(cli.log.log_format, LogFormat::Json);
    }
}
