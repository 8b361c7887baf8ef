//! Flags that several commands share. Each has an environment variable: `HOST_` and its name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::address::admin;
use super::connect::ConnectArgs;
use super::reset::ResetArgs;
use crate::config::{FILE_NAME, Mode, Overrides, StartAt};

/// How much and in which form is logged.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// What to log: error, warn, info, debug or trace; also by part, as warn,host::worker=debug
    #[arg(long, env = "HOST_LOG", value_name = "LEVEL", default_value = "info", global = true)]
    pub log: String,

    /// The form of the log, which goes to stderr
    #[arg(
        long,
        env = "HOST_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    pub log_format: LogFormat,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line an event, with colours on a terminal
    #[default]
    Human,
    /// One JSON object an event
    Json,
}

/// The folder of plugins where no other is named.
pub const PLUGINS_DEFAULT: &str = "plugins";

/// Where the pipeline is described.
#[derive(Args, Clone, Debug)]
pub struct PluginsArgs {
    /// The folder with pipeline.toml and the plugins' .wasm files; this one, if it has a pipeline.toml
    /// and no `plugins`
    #[arg(
        long,
        env = "HOST_PLUGINS",
        value_name = "FOLDER",
        default_value = PLUGINS_DEFAULT,
        value_parser = plugins_folder
    )]
    pub plugins: PathBuf,
}

/// Someone who works within a pipeline's folder means that.
fn plugins_folder(text: &str) -> Result<PathBuf, Infallible> {
    let folder = PathBuf::from(text);
    let is_within = text == PLUGINS_DEFAULT && !folder.exists() && Path::new(FILE_NAME).is_file();
    Ok(if is_within { PathBuf::from(".") } else { folder })
}

/// Where a host keeps what it needs from one start to the next.
#[derive(Args, Clone, Debug)]
pub struct StateArgs {
    /// The state folder that the pipeline has
    #[arg(long, env = "HOST_STATE_DIR", value_name = "FOLDER", default_value = ".host")]
    pub state_dir: PathBuf,
}

impl StateArgs {
    /// The folder, if it is there: looking at plugins and trying them makes none, but takes what is
    /// compiled from one, and keeps it there.
    pub fn existing(&self) -> Option<&Path> {
        self.state_dir.is_dir().then_some(&*self.state_dir)
    }
}

/// Records that rules must cope with.
#[derive(Args, Clone, Debug, Default)]
pub struct ProveArgs {
    /// A file with the value of one record in each line: rules on which one of them fails, or that
    /// reject too many, are refused, at the start and at each change; at most 10,000 lines and 64 MiB
    #[arg(long, env = "HOST_PROVE_WITH", value_name = "FILE")]
    pub prove_with: Option<PathBuf>,
}

/// The pipeline's name on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct GroupArgs {
    /// The consumer group, also the first part of the state topics' names [default: name in
    /// pipeline.toml, or else the source's topic]
    #[arg(long, env = "HOST_GROUP", value_name = "NAME", value_parser = group)]
    pub group: Option<String>,
}

/// Run the pipeline, on a demo broker of its own or on a real Kafka.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host run --plugins plugins/
      no Kafka needed: an embedded demo broker, in memory, with made-up logins
  host run --plugins plugins/ --brokers localhost:9092
  host run --brokers kafka:9093 -X security.protocol=SSL \\
      -X ssl.ca.location=ca.pem
  export HOST_KAFKA_PROPERTIES='security.protocol=SASL_SSL
  sasl.mechanisms=PLAIN
  sasl.username=app
  sasl.password=...'
  host run --brokers kafka:9093
      keeps secrets out of the list of processes; any -X replaces the variable

Exit codes:
  0  asked to stop
  1  failed while running
  2  wrong arguments, configuration or topics
  3  a broker, port or right that is needed is missing")]
pub struct RunArgs {
    /// The folder with pipeline.toml and the plugins
    #[command(flatten)]
    pub plugins: PluginsArgs,

    /// Which Kafka; without brokers, the demo
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// What to promise [default: mode in pipeline.toml, exactly-once if it says nothing]
    #[arg(long, env = "HOST_DELIVERY", value_name = "MODE", value_enum)]
    pub delivery: Option<Mode>,

    /// Where a new group begins: earliest, latest, a time as 2026-01-31T12:00:00Z, or seconds or
    /// milliseconds since the epoch; a group that has committed goes on where it was
    #[arg(long, env = "HOST_FROM", value_name = "START", default_value_t)]
    pub from: StartAt,

    /// Worker threads, each a member of the group; more than the source has partitions are idle
    /// [default: the number of cores; one for the demo]
    #[arg(long, env = "HOST_WORKERS", value_name = "N", value_parser = workers)]
    pub workers: Option<NonZeroUsize>,

    /// The consumer group
    #[command(flatten)]
    pub group: GroupArgs,

    /// This process's own name in the group, the same after a restart; two that run must not share
    /// it [default: the host's name and the first free slot in --state-dir]
    #[arg(long, env = "HOST_INSTANCE", value_name = "NAME", value_parser = group)]
    pub instance: Option<String>,

    /// What rules are tried on
    #[command(flatten)]
    pub prove: ProveArgs,

    /// The folder for compiled plugins, the history of the rules and lock files; only its owner may be able to write there
    #[arg(long, env = "HOST_STATE_DIR", value_name = "FOLDER", default_value = ".host")]
    pub state_dir: PathBuf,

    /// Where to serve metrics, health and status, and to take requests to reload or pause, without a password
    /// [default: 127.0.0.1:9600, or the next port that is free]
    #[arg(long, env = "HOST_ADMIN", value_name = "IP:PORT", value_parser = admin)]
    pub admin: Option<SocketAddr>,
}

/// Load and configure everything as `run` would, and say all that is wrong with it.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host check --plugins plugins/

Kafka is not asked.

Exit codes:
  0  nothing is wrong
  2  something is")]
pub struct CheckArgs {
    /// The folder with pipeline.toml and the plugins
    #[command(flatten)]
    pub plugins: PluginsArgs,

    /// Properties are checked; brokers are not asked
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// The consumer group
    #[command(flatten)]
    pub group: GroupArgs,

    /// What rules are tried on
    #[command(flatten)]
    pub prove: ProveArgs,
}

/// Write a completion script for a shell to stdout.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  host completions bash > ~/.local/share/bash-completion/completions/host"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(env = "HOST_SHELL")]
    pub shell: clap_complete::Shell,
}

impl RunArgs {
    /// What the flags say about the pipeline. The error repeats no secret.
    pub fn overrides(&self) -> Result<Overrides, String> {
        overrides(&self.connect, &self.group, self.delivery)
    }

    /// How many workers to start. The demo's broker lets a group of several come together only after
    /// seconds, in which it refuses commits, and sometimes not at all; a thousand events a second
    /// need no second worker.
    pub fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let default = || if self.connect.brokers.is_none() { 1 } else { cores() };
        self.workers.map_or_else(default, NonZeroUsize::get)
    }
}

impl CheckArgs {
    /// As [`RunArgs::overrides`].
    pub fn overrides(&self) -> Result<Overrides, String> {
        overrides(&self.connect, &self.group, None)
    }
}

impl ResetArgs {
    /// As [`RunArgs::overrides`].
    pub fn overrides(&self) -> Result<Overrides, String> {
        overrides(&self.connect, &self.group, None)
    }
}

fn overrides(
    connect: &ConnectArgs,
    group: &GroupArgs,
    delivery: Option<Mode>,
) -> Result<Overrides, String> {
    Ok(Overrides { name: group.group.clone(), delivery, properties: connect.properties()? })
}

impl ValueEnum for Mode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::ExactlyOnce, Self::AtLeastOnce]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// More threads than this are a mistake, not a machine.
const WORKERS_MAX: usize = 1024;

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(workers) if workers.get() <= WORKERS_MAX => Ok(workers),
        _ => Err(format!("expected a number from 1 to {WORKERS_MAX}")),
    }
}

fn group(text: &str) -> Result<String, String> {
    crate::config::check_name(text)?;
    Ok(text.to_owned())
}
