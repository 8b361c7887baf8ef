//! `host bench`: how fast the pipeline is on a real broker, beside two bare loops.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::connect::ConnectArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::bench::{self, Plan};
use crate::config::{self, FILE_NAME, Mode, Overrides};
use crate::demo::stop::Stop;
use crate::kafka::{ClientSettings, exactly_once_supported, reachable};
use crate::pipeline::{Generation, Loader};
use crate::plugin::defaults;

/// How long the brokers may take to answer at the start.
const ANSWER: Duration = Duration::from_secs(15);

/// Measure the pipeline on a real Kafka, beside two bare loops without rules.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host bench --brokers localhost:9092

Makes topics and groups of its own, named host-bench-..., and removes them at the end. Compare \
the ratios of one run only, and with nothing else running on the machine. A broker on the same \
machine competes for its cores.

Exit codes:
  0  measured, or asked to stop
  1  failed while running
  2  wrong arguments or configuration
  3  a broker or right that is needed is missing")]
pub struct BenchArgs {
    /// Which Kafka
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Events of the input, the same each time; some 400 bytes of disk for each and another 100 for
    /// each run
    #[arg(long, env = "HOST_EVENTS", value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,

    /// How often each of the three ways runs, in turn
    #[arg(long, env = "HOST_RUNS", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// The folder with pipeline.toml and the plugins [default: the default ones]
    #[arg(long, env = "HOST_PLUGINS", value_name = "FOLDER")]
    pub plugins: Option<PathBuf>,

    /// Print the figures as JSON
    #[arg(long, env = "HOST_JSON")]
    pub json: bool,
}

/// Runs the command; the figures go to stdout.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let generation = match &args.plugins {
        Some(folder) => load(args, folder)?,
        None => {
            let folder = Folder::new()?;
            defaults::lay_down(&folder.0, &folder.0)?;
            load(args, &folder.0)?
        }
    };
    let Some(brokers) = args.connect.brokers.as_deref() else {
        let message = "bench needs a real Kafka: give its address with --brokers HOST:PORT";
        return Err(Failure::new(Exit::Input, message).into());
    };
    let client = ClientSettings::new(brokers, generation.config.properties.iter())?;
    let stop = Stop::on_signal().context("listening for signals")?;
    reachable(&client, ANSWER)?;
    exactly_once_supported(&client, ANSWER)?;
    let plan = Plan { client, generation: &generation, events: args.events, runs: args.runs };
    let Some(report) = bench::measure(&plan, &stop)? else {
        tracing::info!("stopped before all was measured");
        return Ok(());
    };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", report.json())?;
    } else {
        write!(stdout, "{report}")?;
    }
    Ok(())
}

fn load(args: &BenchArgs, folder: &Path) -> anyhow::Result<Generation> {
    let properties = args.connect.properties();
    let properties = properties.map_err(|text| Failure::new(Exit::Input, text))?;
    let delivery = Some(Mode::ExactlyOnce);
    let overrides = Overrides { name: None, delivery, properties };
    let draft = config::read(&folder.join(FILE_NAME), &overrides, &properties::problem)?;
    Ok(Loader::new(folder, None)?.load(draft)?)
}

/// A folder that is removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    /// Fails if it is there already, whoever made it.
    fn new() -> anyhow::Result<Self> {
        let name = format!("host-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "not removed");
        }
    }
}
