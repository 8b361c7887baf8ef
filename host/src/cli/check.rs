//! `host check`: everything that `run` would refuse, without running.

use std::io::Write;

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::config::{self, FILE_NAME, Problems, WindowShape};
use crate::pipeline::{Generation, Loader};
use crate::plugin::defaults;
use crate::reload::{Examples, examples};

/// Runs the command.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    let folder = &args.plugins.plugins;
    let file = folder.join(FILE_NAME);
    // What `run` would lay down is taken from this program; a check leaves no trace.
    let draft = if file.exists() {
        config::read(&file, &overrides, &properties::problem)?
    } else {
        let name = file.display().to_string();
        config::parse(&name, defaults::PIPELINE_TOML, &overrides, &properties::problem)
    };
    let generation = Loader::new(folder, None)?.with_defaults().load(draft)?;
    let mut text = summary(&generation, file.exists());
    if let Some(file) = &args.prove.prove_with {
        let examples = examples(file, None, &generation).map_err(|problem| {
            let mut problems = Problems::default();
            problems.push(problem);
            problems
        })?;
        let (Examples { records, rejected }, file) = (examples, file.display());
        let s = if records == 1 { "" } else { "s" };
        text +=
            &format!("  proven with   {file}: {records} record{s}, {rejected} of them rejected\n");
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The pipeline in a few lines.
fn summary(generation: &Generation, is_there: bool) -> String {
    let config = &generation.config;
    let mut text = match is_there {
        true => format!("{} is right\n", config.file),
        false => format!("{} is not there yet; `host run` lays this down:\n", config.file),
    };
    let mut line = |what: &str, value: &str| text += &format!("  {what:<13} {value}\n");
    line("group", &config.name);
    line("source", &config.source.topic.name);
    for (stage, plugin) in generation.stages() {
        let (file, world) = (format!("{}.wasm", stage.plugin), plugin.world());
        line("stage", &format!("{}: {world} {file}", stage.name));
    }
    for (of, candidate, _) in generation.candidates() {
        let of = of.unwrap_or("all stages");
        line("shadow", &format!("{of}: {}.wasm, nothing of it is written", candidate.plugin));
    }
    for window in &config.windows {
        let length = humantime::format_duration;
        let size = match window.shape {
            WindowShape::Tumbling { size } => format!("each {}", length(size)),
            WindowShape::Hopping { size, every } => {
                format!("over {} each {}", length(size), length(every))
            }
            WindowShape::Session { gap } => format!("in sessions with gaps of {}", length(gap)),
        };
        let by = if window.by.is_empty() { "all events".to_owned() } else { window.by.join(", ") };
        line("window", &format!("{}: {by} {size}, to {}", window.name, window.results_topic));
    }
    line("sink", &config.sink.topic.name);
    line("dead letters", &config.dead_letters.topic.name);
    line("late records", &config.late.name);
    line("delivery", config.delivery.mode.name());
    text
}
