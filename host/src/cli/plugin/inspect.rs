//! `host plugin inspect`: one plugin, without running it in a pipeline.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::look::{Imported, Look, Looker, Use, shown_bytes, shown_millis, uses};
use super::{Object, draft, expect_folder, file, no_such, object, stem};
use crate::cli::args::{PluginsArgs, StateArgs};
use crate::cli::exit::{Exit, Failure};
use crate::config::{Against, GivenSettings};
use crate::demo::view::harmless;
use crate::plugin::defaults::default;

/// Say what a plugin is, what it reads, writes and imports, and what it costs. Nothing is written.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin inspect filter
  host plugin inspect target/wasm32-wasip2/release/region.wasm \\
       --settings '{\"field\": \"/locale\", \"region\": \"RU\"}'

Fields are those under the settings of each stage that has the plugin, or of --settings. The \
first batch is of 1,000 made-up logins.

Exit codes:
  0  done
  2  it is no plugin, or refuses the settings")]
pub(super) struct InspectArgs {
    /// A .wasm file, or the name of a plugin in --plugins
    #[arg(env = "HOST_INSPECT_FILE", value_name = "FILE")]
    file: PathBuf,

    /// Settings as a JSON object [default: those of each stage that has it]
    #[arg(long, env = "HOST_SETTINGS", value_name = "JSON", value_parser = object)]
    settings: Option<Object>,

    /// Whose pipeline.toml says what stages, settings and limits there are
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Where compiled plugins are
    #[command(flatten)]
    state: StateArgs,

    /// One JSON object
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let folder = &args.plugins.plugins;
    expect_folder(folder)?;
    let draft = draft(folder, true)?;
    let found = file(folder, &args.file);
    let name = stem(found.as_deref().unwrap_or(&args.file));
    let mut uses = uses(&draft, &name);
    if uses.is_empty() || args.settings.is_some() {
        let settings = args.settings.clone();
        let settings = settings.map(|json| GivenSettings { flag: "--settings", json });
        let plugin = Against { plugin: name.clone(), settings };
        let stage = draft.stages().iter().position(|stage| stage.plugin == name);
        uses = vec![(None, false, draft.alone(stage, &name, plugin))];
    }
    let looker = Looker::new(folder, &args.state, &draft)?;
    let look = match found {
        Some(file) => looker.file(&file, &uses),
        None if default(&name).is_some() => looker.plugin(&name, &uses),
        None => return Err(no_such(folder, &args.file).into()),
    };
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => writeln!(stdout, "{}", serde_json::to_string(&look)?)?,
        false => stdout.write_all(shown(&look).as_bytes())?,
    }
    match look.is_broken() {
        true => {
            let text = format!("{}: {}", look.file, look.problems());
            Err(Failure::new(Exit::Input, text).into())
        }
        false => Ok(()),
    }
}

/// What an import comes to: of the parts of WASI that languages ask for most are there, and empty.
fn granted(import: &Imported) -> &'static str {
    let is = |interface: &str| import.name.starts_with(interface);
    match import.granted {
        false => "NOT granted",
        true if is("wasi:filesystem/") => "granted, without any file",
        true if is("wasi:sockets/") => "granted, without any network",
        true if is("wasi:cli/environment") => "granted, without any variable",
        true => "granted",
    }
}

/// A plugin in a few lines.
fn shown(look: &Look) -> String {
    let mut text = match look.built_in {
        true => format!("{}, which `host run` lays down\n", look.file),
        false => format!("{}\n", look.file),
    };
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<9} {}", harmless(value));
    };
    if let Some(world) = &look.world {
        line("world", &format!("{world}, WIT {}", look.wit.as_deref().unwrap_or("unknown")));
    } else if let Some(wit) = &look.wit {
        line("world", &format!("none of this host's, WIT {wit}"));
    }
    if !look.hash.is_empty() {
        line("hash", &look.hash);
        line("size", &shown_bytes(look.bytes));
    }
    if let Some(language) = &look.language {
        line("language", language);
    }
    let tools = look.producers.iter().filter(|producer| producer.role != "language");
    let tools = tools.map(|tool| format!("{} {}", tool.name, tool.version).trim_end().to_owned());
    let tools: Vec<String> = tools.collect();
    if !tools.is_empty() {
        line("made by", &tools.join(", "));
    }
    for import in &look.imports {
        line("imports", &format!("{}, {}", import.name, granted(import)));
    }
    if look.imports.is_empty() && look.problem.is_none() {
        line("imports", "nothing");
    }
    if let Some(cold) = look.compile_ms {
        let cached =
            look.cached_ms.map(|cached| format!(", {} from the cache", shown_millis(cached)));
        let cached = cached.unwrap_or_else(|| ", not in the cache yet".to_owned());
        line("compile", &format!("{}{cached}", shown_millis(cold)));
    }
    look.uses.iter().for_each(|used| used_in(&mut text, used));
    text
}

fn used_in(text: &mut String, used: &Use) {
    let Use { stage, shadow, reads, writes, .. } = used;
    *text += &match (stage, shadow) {
        (Some(stage), false) => format!("stage {stage}\n"),
        (Some(stage), true) => format!("candidate for stage {stage}\n"),
        (None, _) => "with the settings given, or none\n".to_owned(),
    };
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<9} {}", harmless(value));
    };
    let list = |fields: &Option<Vec<String>>| match fields {
        None => "whole records".to_owned(),
        Some(fields) if fields.is_empty() => "nothing".to_owned(),
        Some(fields) => fields.join(", "),
    };
    if let Some(refused) = &used.refused {
        refused.lines().for_each(|problem| line("refused", problem));
    }
    let (Some(start), Some(bytes)) = (used.start_ms, used.start_bytes) else { return };
    line("reads", &list(reads));
    line("writes", &list(writes));
    line("start", &format!("{}, {}", shown_millis(start), shown_bytes(bytes)));
    if let (Some(records), Some(time), Some(bytes)) =
        (used.batch_records, used.batch_ms, used.batch_bytes)
    {
        let (time, bytes) = (shown_millis(time), shown_bytes(bytes));
        line("batch", &format!("{time} for a first one of {records} records, {bytes} then"));
    }
    if let Some(failed) = &used.failed {
        line("batch", &format!("no answer to a first one: {failed}"));
    }
}
