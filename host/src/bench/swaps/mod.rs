//! What a change of the rules costs a running pipeline: from the save of `pipeline.toml` to the
//! first record by the new rules, the gap in the output around it, and the throughput with a change
//! each second. Every run is also held against its input: each record once, in order, by one
//! generation, and generations rising.

mod ground;
mod input;
mod output;
mod paced;
mod report;
mod saturated;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::PARTITIONS;
use super::scratch::Scratch;
use crate::config::Overrides;
use crate::demo::stop::Stop;
use crate::kafka::{ClientSettings, TopicSpec, ensure as ensure_topics};

pub use report::{Quantiles, Report};

/// Workers of the pipeline.
const WORKERS: usize = 2;

/// What is measured.
pub struct Plan {
    /// The brokers.
    pub client: ClientSettings,
    /// A folder with the default plugins and `pipeline.toml`, which are changed.
    pub plugins: PathBuf,
    /// Where compiled plugins and the history are kept.
    pub state_dir: PathBuf,
    /// What flags say.
    pub overrides: Overrides,
    /// Judges the properties of librdkafka.
    pub check: fn(&str, &str) -> Option<(String, String)>,
    /// Changes of the rules under a paced load, at least 1.
    pub swaps: u32,
    /// That load, in events a second, at least 1.
    pub rate: u32,
    /// Events of the input that is read as fast as may be, at most `input::EVENTS_MAX`.
    pub events: u64,
    /// How often it is read in each of three ways, at least 1.
    pub runs: u32,
}

/// Measures; none after a request to stop. What was made on the brokers is removed at the end,
/// however it ends.
pub fn measure(plan: &Plan, stop: &Stop) -> Result<Option<Report>> {
    ensure!(
        plan.events <= input::EVENTS_MAX,
        "--events {}: with --swaps at most {}",
        plan.events,
        input::EVENTS_MAX
    );
    let mut scratch = Scratch::new(plan.client.clone());
    let ground = ground::Ground::new(plan)?;
    let Some(paced) = paced::measure(&ground, &mut scratch, stop)? else { return Ok(None) };
    let [written, gap, quiet] =
        [&paced.written, &paced.gaps, &paced.quiet_gaps].map(|values| Quantiles::of(values));
    tracing::info!(
        written_p99_ms = written.p99,
        gap_p99_ms = gap.p99,
        quiet_gap_p99_ms = quiet.p99,
        "measured"
    );
    let Some(rounds) = saturated::measure(&ground, &mut scratch, stop)? else { return Ok(None) };
    Ok(Some(Report { rate: plan.rate, events: plan.events, paced, rounds }))
}

/// Makes a topic of the measurement.
fn make(plan: &Plan, name: &str, configs: &[(&str, &str)]) -> Result<()> {
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let spec = TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS,
        replication: -1,
        configs: configs.collect(),
    };
    ensure_topics(&plan.client, &[spec], super::TOPICS)?;
    Ok(())
}
