//! `host init`: a pipeline folder of one's own.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::{PLUGINS_DEFAULT, StateArgs};
use super::exit::{Exit, Failure};
use crate::authoring::{Language, NewError, lay_down};
use crate::config::FILE_NAME;
use crate::plugin::World;
use crate::plugin::defaults::{Action, PIPELINE_TOML, begin};

/// Begin a pipeline: a folder with a pipeline.toml that explains itself, the default plugins, and the
/// source of a rule of one's own. Never overwrites a file.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host init
  host init orders/ --topic orders --lang python

The rule's folder is as `host plugin new` makes it; it is no stage yet. What is there already \
stays as it is; what was laid down is remembered in the state folder. `host run --plugins FOLDER` \
runs the pipeline, and `host try --plugins FOLDER` is its stages in a pipe, without Kafka. Within \
the folder neither needs --plugins.

Exit codes:
  0  done, also where all was there already
  2  wrong arguments
  3  the folder cannot be written")]
pub struct InitArgs {
    /// The folder, which is made if it is missing
    #[arg(env = "HOST_INIT_DIR", value_name = "FOLDER", default_value = PLUGINS_DEFAULT)]
    dir: PathBuf,

    /// The topic that is read; the names of all others are made of it
    #[arg(long, env = "HOST_TOPIC", value_name = "TOPIC", default_value = TOPIC, value_parser = topic)]
    topic: String,

    /// The language of the rule of one's own
    #[arg(long, env = "HOST_LANG", value_name = "LANGUAGE", value_enum, default_value_t = Language::Rust)]
    lang: Language,

    /// Where the pipeline is going to keep its state: remembers what was laid down
    #[command(flatten)]
    state: StateArgs,

    /// A JSON array in the place of the text
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// The folder of the rule of one's own.
const RULE: &str = "my-rule";

/// The topic of the pipeline.toml that ships, of which it makes all other names.
const TOPIC: &str = "user-login";

fn topic(text: &str) -> Result<String, String> {
    crate::config::check_name(text)?;
    Ok(text.to_owned())
}

/// Runs the command.
pub fn run(args: &InitArgs) -> anyhow::Result<()> {
    if args.dir.exists() && !args.dir.is_dir() {
        let text = format!("{} is a file: give a folder", args.dir.display());
        return Err(Failure::new(Exit::Input, text).into());
    }
    let text = PIPELINE_TOML.replace(TOPIC, &args.topic);
    let files = begin(&args.dir, &args.state.state_dir, &text)?;
    let rule = args.dir.join(RULE);
    let began = match lay_down(&args.dir, RULE, args.lang, World::Rule) {
        Ok(_) => Action::Written,
        Err(NewError::There(_) | NewError::Component(_)) => Action::Kept,
        Err(error) => {
            return Err(Failure::because(Exit::Environment, "beginning a rule", error).into());
        }
    };
    let mut stdout = std::io::stdout().lock();
    let name = |action| match action {
        Action::Written => "written",
        Action::Replaced => "replaced",
        Action::Current => "there already",
        Action::Kept => "kept as it is",
    };
    let all = files.iter().map(|file| (&file.path, file.action)).chain([(&rule, began)]);
    if args.json {
        let told = all.map(
            |(path, action)| json!({ "path": path.display().to_string(), "action": name(action) }),
        );
        writeln!(stdout, "{}", json!(told.collect::<Vec<_>>()))?;
        return Ok(());
    }
    for (path, action) in all {
        writeln!(stdout, "{:<13}  {}", name(action), path.display())?;
    }
    let folder = args.dir.display();
    writeln!(stdout, "next: host check --plugins {folder}, host run --plugins {folder}")?;
    let rule = rule.display();
    writeln!(
        stdout,
        "a rule of your own: host plugin build {rule}, host plugin test {rule}, and in"
    )?;
    writeln!(stdout, "{folder}/{FILE_NAME}, where it belongs: [[stage]] plugin = \"{RULE}\"")?;
    Ok(())
}
