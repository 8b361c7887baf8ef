//! `host plugin`: what is done with plugins, apart from running them; one module for each of its
//! commands.

mod bench;
mod build;
mod diff;
mod difference;
mod history;
mod inspect;
mod list;
mod look;
mod new;
mod rollback;
mod test;
mod watch;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::args::{PLUGINS_DEFAULT, PluginsArgs, StateArgs};
use super::exit::{Exit, Failure};
use super::properties;
use crate::config::{self, Draft, FILE_NAME, Overrides, Problems};
use crate::plugin::defaults;
use crate::reload::history::{Record, Store, folder_name};

/// Begin, build, test, look at and compare plugins, look at the rules that ran, and go back to earlier ones.
#[derive(Args, Clone)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  host plugin new region --lang python
  host plugin build plugins/region
  host plugin list
  host plugin inspect filter
  host plugin test plugins/filter
  host plugin diff filter filter-next --brokers localhost:9092
  host plugin history"
)]
pub struct PluginArgs {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone)]
enum Command {
    New(new::NewArgs),
    Build(build::BuildArgs),
    Bench(bench::BenchArgs),
    Diff(Box<diff::DiffArgs>),
    History(history::HistoryArgs),
    Inspect(inspect::InspectArgs),
    List(list::ListArgs),
    Rollback(rollback::RollbackArgs),
    Test(test::TestArgs),
}

/// Runs the command.
pub fn run(args: &PluginArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::New(args) => new::run(args),
        Command::Build(args) => build::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Diff(args) => diff::run(args),
        Command::History(args) => history::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::List(args) => list::run(args),
        Command::Rollback(args) => rollback::run(args),
        Command::Test(args) => test::run(args),
    }
}

/// Whose history is meant.
#[derive(Args, Clone, Debug)]
struct WhichArgs {
    /// The folder with pipeline.toml and the plugins
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Where the history is
    #[command(flatten)]
    state: StateArgs,
}

impl WhichArgs {
    fn store(&self) -> Store {
        Store::new(&self.state.state_dir)
    }

    /// The generations of the folder, the newest first.
    fn records(&self) -> Result<Vec<Record>, Failure> {
        let records = self.store().records(&folder_name(&self.plugins.plugins));
        let failed = |error| Failure::because(Exit::Environment, "reading the history", error);
        records.map_err(failed)
    }

    /// What to say where there are none.
    fn nothing(&self) -> String {
        format!(
            "the history in {} has no generation of the plugins folder {} (--state-dir and --plugins \
             name others): `host run` begins it, unless [reload] history is 0",
            self.state.state_dir.display(),
            self.plugins.plugins.display()
        )
    }
}

/// The pipeline.toml of a folder, or, where it may be missing, the one that `run` would lay down.
pub(super) fn draft(folder: &Path, may_be_missing: bool) -> Result<Draft, Problems> {
    let (file, overrides) = (folder.join(FILE_NAME), Overrides::default());
    if !may_be_missing || file.exists() {
        return config::read(&file, &overrides, &properties::problem);
    }
    let name = file.display().to_string();
    Ok(config::parse(&name, defaults::PIPELINE_TOML, &overrides, &properties::problem))
}

/// Whether a folder that was named is there; the default one need not be.
pub(super) fn expect_folder(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() || folder == Path::new(PLUGINS_DEFAULT) {
        return Ok(());
    }
    let text =
        format!("--plugins {}: there is no such folder; `host init` makes one", folder.display());
    Err(Failure::new(Exit::Input, text))
}

/// Settings on the command line.
pub(super) fn object(text: &str) -> Result<Object, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("expected a JSON object such as {{\"keep\": \"all\"}}: {error}"))
}

/// Settings as a flag has them.
pub(super) type Object = serde_json::Map<String, serde_json::Value>;

/// The component that is meant: a file, the name of a plugin in the folder, or the folder of a
/// plugin's source, beside which `host plugin build` puts it.
pub(super) fn file(folder: &Path, named: &Path) -> Option<PathBuf> {
    let in_folder = folder.join(format!("{}.wasm", named.display()));
    let beside = named.is_dir().then(|| named.canonicalize().ok()).flatten();
    let beside = beside.map(|source| source.with_added_extension("wasm"));
    [Some(named.to_owned()), Some(in_folder), beside]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

/// What to say where [`file()`] finds none.
pub(super) fn no_such(folder: &Path, named: &Path) -> Failure {
    let (named, folder) = (named.display(), folder.display());
    let text = format!(
        "there is neither {named} nor {folder}/{named}.wasm: give a .wasm file, the name of a \
         plugin in --plugins, or the folder of a plugin that is built"
    );
    Failure::new(Exit::Input, text)
}

/// A plugin's name by its file.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A time as it is shown: 2026-01-31 12:00:00Z.
fn time(millis: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(millis) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        None => millis.to_string(),
    }
}
