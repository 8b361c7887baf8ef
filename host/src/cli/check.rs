//! `host check`: everything that `run` would refuse, without running.

use std::io::Write;

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::config::{self, Config, Draft, FILE_NAME};

/// Runs the command.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    let folder = &args.plugins.plugins;
    let mut draft = config::read(&folder.join(FILE_NAME), &overrides, &properties::problem)?;
    note_missing_plugins(&mut draft, folder);
    let config = draft.finish()?;
    std::io::stdout().write_all(summary(&config).as_bytes())?;
    Ok(())
}

/// Notes every stage whose plugin is not in the folder.
fn note_missing_plugins(draft: &mut Draft, folder: &std::path::Path) {
    for stage in 0..draft.stages().len() {
        let file = folder.join(format!("{}.wasm", draft.stages()[stage].plugin));
        if !file.exists() {
            draft.plugin_problem(
                stage,
                format!("there is no {}", file.display()),
                "build it, or take the stage out; `host run` lays the default plugins down"
                    .to_owned(),
            );
        }
    }
}

/// The pipeline in a few lines.
fn summary(config: &Config) -> String {
    let mut text = format!("{} is right\n", config.file);
    let mut line = |what: &str, value: &str| text += &format!("  {what:<13} {value}\n");
    line("group", &config.name);
    line("source", &config.source.topic.name);
    for stage in &config.stages {
        let plugin = format!("{}.wasm", stage.plugin);
        let named =
            if stage.name == stage.plugin { plugin } else { format!("{} ({plugin})", stage.name) };
        line("stage", &named);
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
