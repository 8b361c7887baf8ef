//! Arguments and exit codes, one module per command. Decides nothing about records.

pub mod address;
pub mod again;
pub mod args;
pub mod ask;
pub mod bench;
pub mod check;
pub mod connect;
pub mod exit;
pub mod generate;
pub mod health;
pub mod init;
pub mod log;
pub mod pause;
pub mod plugin;
pub mod properties;
pub mod reset;
pub mod run;
pub mod tryout;
pub mod view;
pub mod windows;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use args::{CheckArgs, CompletionsArgs, LogArgs, RunArgs};
use exit::{Exit, exit_of};

use crate::config::Problems;

/// A Kafka pipeline whose rules are WebAssembly plugins.
#[derive(Parser)]
#[command(
    name = "host",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Try it, with no Kafka anywhere:  host run --plugins plugins/

Every flag can be given as an environment variable, which its help names; the flag wins."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// One paragraph per command in its own module.
#[derive(Subcommand)]
#[allow(missing_docs, reason = "the help of each is at its arguments")]
pub enum Command {
    Init(init::InitArgs),
    Run(Box<RunArgs>),
    Check(CheckArgs),
    Try(tryout::TryArgs),
    Generate(generate::GenerateArgs),
    View(view::ViewArgs),
    Windows(windows::WindowsArgs),
    Health(health::HealthArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Plugin(plugin::PluginArgs),
    Reset(reset::ResetArgs),
    Bench(bench::BenchArgs),
    Completions(CompletionsArgs),
}

/// The whole command: arguments in, exit code out.
pub fn main() -> ExitCode {
    // Ends the process with code 2 if the arguments are wrong, 0 if help was asked for.
    let cli = Cli::parse();
    let done =
        log::set_up(&cli.log).map_err(anyhow::Error::from).and_then(|()| match cli.command {
            Command::Init(args) => init::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Try(args) => tryout::run(&args),
            Command::Generate(args) => generate::run(&args),
            Command::View(args) => view::run(&args),
            Command::Windows(args) => windows::run(&args),
            Command::Health(args) => health::run(&args),
            Command::Pause(args) => pause::pause(&args),
            Command::Resume(args) => pause::resume(&args),
            Command::Plugin(args) => plugin::run(&args),
            Command::Reset(args) => reset::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Completions(args) => completions(&args),
        });
    match done {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            report(&error);
            exit_of(&error).into()
        }
    }
}

/// Says on stderr why the process ends.
fn report(error: &anyhow::Error) {
    let mut stderr = anstream::stderr().lock();
    let red = anstyle::AnsiColor::Red.on_default().bold();
    // If nobody reads any more, the exit code still says it.
    let _ = match error.downcast_ref::<Problems>() {
        Some(problems) => {
            let plural = if problems.len() == 1 { "problem" } else { "problems" };
            let (text, count) = (problems.styled(), problems.len());
            writeln!(stderr, "{text}{red}error{red:#}: {count} {plural} found")
        }
        None => writeln!(stderr, "{red}error{red:#}: {error:#}"),
    };
}

fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "host", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}

#[cfg(test)]
mod tests;
