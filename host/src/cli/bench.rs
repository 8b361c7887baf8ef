//! `host bench`: how fast the pipeline is on a real broker, beside two bare loops.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::connect::ConnectArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::bench::{self, Plan, swaps};
use crate::config::{self, FILE_NAME, Mode, Overrides};
use crate::demo::stop::Stop;
use crate::kafka::{ClientSettings, exactly_once_supported, reachable};
use crate::pipeline::Loader;
use crate::plugin::defaults;

/// How long the brokers may take to answer at the start.
const ANSWER: Duration = Duration::from_secs(15);

/// Measure the pipeline on a real Kafka, beside two bare loops without rules.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host bench --brokers localhost:9092
  host bench --brokers localhost:9092 --swaps 50

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

    /// Measure instead what changes of the rules cost: N under a load of --rate, then one each second
    /// while --events are read as fast as may be; two workers
    #[arg(long, env = "HOST_SWAPS", value_name = "N", conflicts_with = "plugins", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub swaps: Option<u32>,

    /// Events a second of that load; the brokers' clock must be right
    #[arg(long, env = "HOST_RATE", value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,

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
    // Removed at the end.
    let folder = Folder::new()?;
    let plugins = match &args.plugins {
        Some(plugins) => plugins,
        None => {
            defaults::lay_down(&folder.plugins(), &folder.0)?;
            &folder.plugins()
        }
    };
    let overrides = overrides(args)?;
    let draft = config::read(&plugins.join(FILE_NAME), &overrides, &properties::problem)?;
    let generation = Loader::new(plugins, None)?.load(draft)?;
    let Some(brokers) = args.connect.brokers.as_deref() else {
        let message = "bench needs a real Kafka: give its address with --brokers HOST:PORT";
        return Err(Failure::new(Exit::Input, message).into());
    };
    let client = ClientSettings::new(brokers, generation.config.properties.iter())?;
    let stop = Stop::on_signal().context("listening for signals")?;
    reachable(&client, ANSWER)?;
    exactly_once_supported(&client, ANSWER)?;
    let (events, runs) = (args.events, args.runs);
    let report = match args.swaps {
        None => {
            let plan = Plan { client, generation: &generation, events, runs };
            bench::measure(&plan, &stop)?.map(|report| text(args, &report, &report.json()))
        }
        Some(swaps) => {
            let plan = swaps::Plan {
                client,
                plugins: plugins.clone(),
                state_dir: folder.0.join("state"),
                overrides,
                check: properties::problem,
                swaps,
                rate: args.rate,
                events,
                runs,
            };
            swaps::measure(&plan, &stop)?.map(|report| text(args, &report, &report.json()))
        }
    };
    match report {
        Some(report) => std::io::stdout().lock().write_all(report.as_bytes())?,
        None => tracing::info!("stopped before all was measured"),
    }
    Ok(())
}

fn text(args: &BenchArgs, report: &impl Display, json: &serde_json::Value) -> String {
    if args.json { format!("{json}\n") } else { report.to_string() }
}

fn overrides(args: &BenchArgs) -> Result<Overrides, Failure> {
    let properties = args.connect.properties();
    let properties = properties.map_err(|text| Failure::new(Exit::Input, text))?;
    Ok(Overrides { name: None, delivery: Some(Mode::ExactlyOnce), properties })
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

    fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "not removed");
        }
    }
}
