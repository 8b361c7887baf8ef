//! The command that a message of a running pipeline names, for the same pipeline.

use std::path::Path;

use super::args::RunArgs;
use super::connect::{ConnectArgs, PROPERTIES_VARIABLE};
use crate::config::Property;
use crate::kafka::is_secret;

/// What stands in place of a secret, for a person to put it there.
const HIDDEN: &str = "...";

impl RunArgs {
    /// `host reset` for this pipeline, up to its `--to`: what was given on the command line and is
    /// not the default. Where it is a secret, its place is there and the secret is not; properties
    /// in the environment are left there, for the same environment has them.
    pub fn reset_command(&self) -> String {
        let in_environment = std::env::var(PROPERTIES_VARIABLE).ok();
        self.reset_command_in(in_environment.as_deref())
    }

    fn reset_command_in(&self, properties: Option<&str>) -> String {
        let mut words = vec!["host".to_owned(), "reset".to_owned()];
        let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), quoted(value)]);
        if let Some(brokers) = &self.connect.brokers {
            flag("--brokers", brokers);
        }
        let plugins = &self.plugins.plugins;
        if plugins != Path::new(super::args::PLUGINS_DEFAULT) {
            flag("--plugins", &plugins.to_string_lossy());
        }
        if let Some(group) = &self.group.group {
            flag("--group", group);
        }
        for Property { key, value, .. } in given(&self.connect, properties) {
            let is_mechanism = matches!(key.as_str(), "sasl.mechanism" | "sasl.mechanisms");
            let hides = is_secret(&key) && !is_mechanism;
            let value = if hides { HIDDEN } else { &value };
            flag("-X", &format!("{key}={value}"));
        }
        words.join(" ")
    }
}

/// The properties of the command line, which replace those of the environment.
fn given(connect: &ConnectArgs, in_environment: Option<&str>) -> Vec<Property> {
    match (&connect.properties[..], in_environment) {
        ([one], Some(variable)) if one == variable => Vec::new(),
        // One that is wrong has ended the process before.
        _ => connect.properties().unwrap_or_default(),
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    #[track_caller]
    fn check(args: &[&str], properties: Option<&str>, expected: &str) {
        let args = ["run"].iter().chain(args);
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string()).expect("valid");
        assert_eq!(cli.run.reset_command_in(properties), expected);
    }

    #[test]
    fn the_command_resets_the_same_pipeline_and_tells_no_secret() {
        check(&["--brokers", "a:1,b:2"], None, "host reset --brokers a:1,b:2");
        let args =
            ["--brokers", "a:1", "--plugins", "my plugins", "--group", "g", "--workers", "2"];
        check(&args, None, "host reset --brokers a:1 --plugins 'my plugins' --group g");
        let secured = [
            "--brokers",
            "a:1",
            "-X",
            "security.protocol=SASL_SSL",
            "-X",
            "sasl.mechanisms=PLAIN",
            "-X",
            "sasl.password=hunter2",
        ];
        let expected = "host reset --brokers a:1 -X security.protocol=SASL_SSL \
                        -X sasl.mechanisms=PLAIN -X sasl.password=...";
        check(&secured, None, expected);
        check(&secured, Some("sasl.password=hunter2"), expected);
        let from_there = ["--brokers", "a:1", "-X", "sasl.password=hunter2"];
        check(&from_there, Some("sasl.password=hunter2"), "host reset --brokers a:1");
    }

    #[test]
    fn words_are_what_a_shell_reads_again() {
        for word in ["a b", "it's", "", "$HOME", "*"] {
            let echoed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .expect("a shell");
            assert_eq!(String::from_utf8_lossy(&echoed.stdout), word);
        }
    }
}
