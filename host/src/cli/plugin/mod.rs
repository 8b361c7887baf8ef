//! `host plugin …`: what is done with plugins, apart from running them.

pub mod diff;
mod difference;

use clap::{Args, Subcommand};

/// Compare plugins.
#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:\n  host plugin diff filter filter-next --brokers localhost:9092"
)]
pub struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Subcommand)]
enum PluginCommand {
    Diff(Box<diff::DiffArgs>),
}

/// Runs the command.
pub fn run(args: &PluginArgs) -> anyhow::Result<()> {
    match &args.command {
        PluginCommand::Diff(args) => diff::run(args),
    }
}
