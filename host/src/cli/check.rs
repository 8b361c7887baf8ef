//! `host check`: everything that `run` would refuse, without running.

use std::io::Write;

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::config::{self, FILE_NAME};
use crate::pipeline::{Generation, Loader};

/// Runs the command.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    let folder = &args.plugins.plugins;
    let draft = config::read(&folder.join(FILE_NAME), &overrides, &properties::problem)?;
    // Nothing is kept: a check leaves no trace.
    let generation = Loader::new(folder, None)?.load(draft)?;
    std::io::stdout().write_all(summary(&generation).as_bytes())?;
    Ok(())
}

/// The pipeline in a few lines.
fn summary(generation: &Generation) -> String {
    let config = &generation.config;
    let mut text = format!("{} is right\n", config.file);
    let mut line = |what: &str, value: &str| text += &format!("  {what:<13} {value}\n");
    line("group", &config.name);
    line("source", &config.source.topic.name);
    for (stage, plugin) in generation.stages() {
        let (file, world) = (format!("{}.wasm", stage.plugin), plugin.world());
        line("stage", &format!("{}: {world} {file}", stage.name));
    }
    for window in &config.windows {
        let size = humantime::format_duration(window.size);
        let by = if window.by.is_empty() { "all events".to_owned() } else { window.by.join(", ") };
        line("window", &format!("{}: {by} each {size}, to {}", window.name, window.partial_topic));
    }
    line("sink", &config.sink.topic.name);
    line("dead letters", &config.dead_letters.topic.name);
    line("late records", &config.late.name);
    line("delivery", config.delivery.mode.name());
    text
}
