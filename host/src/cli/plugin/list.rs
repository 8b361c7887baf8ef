//! `host plugin list`: the plugins of a folder.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use clap::Args;

use super::look::{Look, Looker, Use, shown_bytes, shown_millis, uses};
use super::{draft, stem};
use crate::cli::args::{PluginsArgs, StateArgs};
use crate::cli::exit::{Exit, Failure};
use crate::config::Against;
use crate::demo::view::harmless;

/// List the plugins of a folder, with the stages that use them. Nothing is written.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host plugin list --plugins plugins/

A plugin that only pipeline.toml names is in the list, too. MEMORY is that of one instance \
behind a first batch of 1,000 made-up logins; READS and WRITES are under the settings of the \
first stage that uses it.

Exit codes:
  0  done
  2  a plugin is missing, broken or refuses its settings, or pipeline.toml is
     wrong")]
pub(super) struct ListArgs {
    /// The folder
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Where compiled plugins are
    #[command(flatten)]
    state: StateArgs,

    /// A JSON array in the place of the table
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let folder = &args.plugins.plugins;
    let draft = draft(folder, true)?;
    let mut names = in_folder(folder)?;
    names.extend(draft.all_stages().map(|stage| stage.plugin.clone()));
    let looker = Looker::new(folder, &args.state, &draft)?;
    let looks: Vec<Look> = names
        .iter()
        .map(|name| {
            let mut uses = uses(&draft, name);
            if uses.is_empty() {
                // Costs of one that nobody uses are those without settings, if it can do without.
                let plugin = Against { plugin: name.clone(), settings: None };
                uses.push((None, false, draft.alone(None, name, plugin)));
            }
            let mut look = looker.plugin(name, &uses);
            look.uses.retain(|used| used.stage.is_some() || used.refused.is_none());
            look
        })
        .collect();
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => {
            serde_json::to_writer_pretty(&mut stdout, &looks)?;
            writeln!(stdout)?;
        }
        false => stdout.write_all(table(&looks).as_bytes())?,
    }
    drop(draft.finish()?);
    match looks.iter().filter(|look| look.is_broken()).count() {
        0 => Ok(()),
        broken => {
            let text =
                format!("{broken} of {} plugins cannot be used, as the list says", looks.len());
            Err(Failure::new(Exit::Input, text).into())
        }
    }
}

fn in_folder(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let text = format!("reading the folder {}; --plugins names it", folder.display());
            return Err(Failure::because(Exit::Input, text, error));
        }
    };
    let files = entries.flatten().map(|entry| entry.path());
    let plugins =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    Ok(plugins.filter(|path| !path.is_dir()).map(|path| stem(&path)).collect())
}

const HEADS: [&str; 10] = [
    "PLUGIN", "WORLD", "WIT", "SIZE", "HASH", "LANGUAGE", "COMPILE", "MEMORY", "USED BY", "FIELDS",
];

/// The last column is as wide as it is; what is broken has its sentence there.
fn table(looks: &[Look]) -> String {
    let rows: Vec<[String; 10]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(looks.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 9] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            text += &format!("{cell:<width$}  ");
        }
        text += &row[9];
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn row(look: &Look) -> [String; 10] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let compile = look.compile_ms.map(|cold| match look.cached_ms {
        Some(cached) => format!("{}, cached {}", shown_millis(cold), shown_millis(cached)),
        None => shown_millis(cold),
    });
    let by = look.uses.iter().filter_map(|used| match (&used.stage, used.shadow) {
        (Some(stage), false) => Some(stage.clone()),
        (Some(stage), true) => Some(format!("{stage} (shadow)")),
        (None, _) => None,
    });
    let by: Vec<String> = by.collect();
    let memory = look.uses.iter().find_map(|used| used.batch_bytes.or(used.start_bytes));
    let last = match look.is_broken() {
        true => look.problems(),
        false => look.uses.first().map(fields).unwrap_or_default(),
    };
    [
        look.plugin.clone() + if look.built_in { " (not laid down yet)" } else { "" },
        or_none(look.world.clone()),
        or_none(look.wit.clone()),
        or_none((look.bytes > 0).then(|| shown_bytes(look.bytes))),
        or_none(Some(look.hash.clone()).filter(|hash| !hash.is_empty())),
        or_none(look.language.as_deref().map(harmless)),
        or_none(compile),
        or_none(memory.map(shown_bytes)),
        or_none((!by.is_empty()).then(|| by.join(", "))),
        last,
    ]
}

fn fields(used: &Use) -> String {
    let list = |fields: &[String]| match fields {
        [] => "nothing".to_owned(),
        fields => harmless(&fields.join(" ")),
    };
    match (&used.reads, &used.writes) {
        (Some(reads), Some(writes)) => format!("reads {}; writes {}", list(reads), list(writes)),
        _ => "whole records".to_owned(),
    }
}
