//! `host plugin`: what is done with plugins, apart from running them; one module for each of its
//! commands.

mod diff;
mod difference;
mod history;
mod rollback;

use clap::{Args, Subcommand};

use super::args::{PluginsArgs, StateArgs};
use super::exit::{Exit, Failure};
use crate::reload::history::{Record, Store, folder_name};

/// Compare plugins, look at the rules that ran, and go back to earlier ones.
#[derive(Args, Clone)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
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
    Diff(Box<diff::DiffArgs>),
    History(history::HistoryArgs),
    Rollback(rollback::RollbackArgs),
}

/// Runs the command.
pub fn run(args: &PluginArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Diff(args) => diff::run(args),
        Command::History(args) => history::run(args),
        Command::Rollback(args) => rollback::run(args),
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
            "the history in {} has no generation of the plugins folder {}: `host run` begins it, \
             unless [reload] history is 0",
            self.state.state_dir.display(),
            self.plugins.plugins.display()
        )
    }
}

/// A time as it is shown: 2026-01-31 12:00:00Z.
fn time(millis: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(millis) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        None => millis.to_string(),
    }
}
