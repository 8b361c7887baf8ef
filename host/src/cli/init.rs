//! `host init`: a pipeline folder of one's own.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::{PLUGINS_DEFAULT, StateArgs};
use crate::plugin::defaults::{Action, PIPELINE_TOML, begin};

/// Begin a pipeline: a folder with a pipeline.toml that explains itself, and the default plugins.
/// Never overwrites a file.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host init
  host init orders/ --topic orders

What is there already stays as it is. `host run --plugins FOLDER` runs the pipeline, and `host \
try --plugins FOLDER` is its stages in a pipe, without Kafka.

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

    /// Where the pipeline is going to keep its state: remembers what was laid down
    #[command(flatten)]
    state: StateArgs,

    /// A JSON array in the place of the text
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// The topic of the pipeline.toml that ships, of which it makes all other names.
const TOPIC: &str = "user-login";

fn topic(text: &str) -> Result<String, String> {
    crate::config::check_name(text)?;
    Ok(text.to_owned())
}

/// Runs the command.
pub fn run(args: &InitArgs) -> anyhow::Result<()> {
    let text = PIPELINE_TOML.replace(TOPIC, &args.topic);
    let files = begin(&args.dir, &args.state.state_dir, &text)?;
    let mut stdout = std::io::stdout().lock();
    let name = |action| match action {
        Action::Written => "written",
        Action::Replaced => "replaced",
        Action::Current => "there already",
        Action::Kept => "kept as it is",
    };
    if args.json {
        let file = |file: &crate::plugin::defaults::LaidDown| json!({ "path": file.path.display().to_string(), "action": name(file.action) });
        writeln!(stdout, "{}", json!(files.iter().map(file).collect::<Vec<_>>()))?;
        return Ok(());
    }
    for file in &files {
        writeln!(stdout, "{:<13}  {}", name(file.action), file.path.display())?;
    }
    let folder = args.dir.display();
    writeln!(stdout, "next: host check --plugins {folder}, host run --plugins {folder}")?;
    Ok(())
}
