//! Measuring the pipeline from topic to topic on a real broker, beside two bare loops in the same
//! run. Makes topics of its own and removes them; touches no others.

mod bare;
mod meter;
mod piped;
mod report;
mod scratch;
pub mod swaps;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::config::Config;
use crate::demo::generate::{Generator, Spec};
use crate::demo::send::{Kafka, Totals, send};
use crate::demo::stop::Stop;
use crate::kafka::{ClientSettings, TopicSpec, ensure as ensure_topics};
use crate::pipeline::{self, Generation, Setup};
use crate::worker::Start;
use bare::Task;
use meter::Measured;
use scratch::Scratch;

pub use report::{Report, Round};

/// Partitions of the input and the outputs.
const PARTITIONS: i32 = 4;
/// The time of the first event; with the seed it makes every measurement one of the same events.
const START_MS: i64 = 1_694_479_551_000;
/// How long making topics may take.
const TOPICS: Duration = Duration::from_secs(30);
/// How long the last events of the input may take to be confirmed.
const FILLED: Duration = Duration::from_secs(60);
/// A run in which nothing is committed for so long has failed.
const STILL_MAX: Duration = Duration::from_secs(60);

/// What is measured.
pub struct Plan<'a> {
    /// The brokers.
    pub client: ClientSettings,
    /// The rules.
    pub generation: &'a Generation,
    /// Events of the input.
    pub events: u64,
    /// How often each way runs.
    pub runs: u32,
}

/// Fills the input and runs every way in turn; none after a request to stop. What was made on the
/// brokers is removed at the end, however it ends.
pub fn measure(plan: &Plan<'_>, stop: &Stop) -> Result<Option<Report>> {
    let config = &plan.generation.config;
    ensure!(
        config.sink.further.is_empty(),
        "{}: [sink] topics must be empty: bench writes to topics of its own only",
        config.file
    );
    let mut scratch = Scratch::new(plan.client.clone());
    let input = scratch.topic("in");
    make(plan, &input)?;
    let Some(totals) = fill(plan, &input, stop)? else { return Ok(None) };
    let mut rounds = Vec::new();
    for run in 1..=plan.runs {
        let mut bare = |way, measure: fn(&Task<'_>) -> Result<Option<Measured>>| {
            let output = scratch.topic(&format!("{way}{run}-out"));
            make(plan, &output)?;
            let task = Task {
                client: &plan.client,
                group: scratch.group(&format!("{way}{run}")),
                input: &input,
                partitions: PARTITIONS,
                output,
                events: plan.events,
                commit_interval: config.delivery.commit_interval,
                stop,
            };
            let measured = measure(&task).with_context(|| format!("run {run} of way {way}"))?;
            Ok::<_, anyhow::Error>(say(way, run, measured))
        };
        let Some(usual) = bare("a", bare::usual)? else { return Ok(None) };
        let Some(quick) = bare("b", bare::quick)? else { return Ok(None) };
        let job = job(plan, &mut scratch, &input, run)?;
        let piped = piped::run(job, plan.generation.chain()?, plan.events, stop)
            .with_context(|| format!("run {run} of way c"))?;
        let Some(piped) = say("c", run, piped) else { return Ok(None) };
        rounds.push(Round { usual, quick, piped });
    }
    Ok(Some(Report {
        events: plan.events,
        event_bytes: totals.bytes / totals.events.max(1),
        partitions: PARTITIONS,
        stages: config.stages.len(),
        windows: config.windows.len(),
        rounds,
    }))
}

fn say(way: &str, run: u32, measured: Option<Measured>) -> Option<Measured> {
    let Measured { events_per_second, cpu_ns_per_event, written } = measured?;
    tracing::info!(
        run,
        way,
        events_per_second = events_per_second.round(),
        cpu_ns_per_event = cpu_ns_per_event.round(),
        written,
        "measured"
    );
    measured
}

fn make(plan: &Plan<'_>, name: &str) -> Result<()> {
    let replication = plan.generation.config.source.topic.replication;
    let name = name.to_owned();
    let spec = TopicSpec { name, partitions: PARTITIONS, replication, configs: Vec::new() };
    ensure_topics(&plan.client, &[spec], TOPICS)?;
    Ok(())
}

/// None after a request to stop.
fn fill(plan: &Plan<'_>, input: &str, stop: &Stop) -> Result<Option<Totals>> {
    tracing::info!(events = plan.events, topic = input, "filling the input");
    let mut kafka = Kafka::connect(&plan.client, input, None, stop)?;
    let mut generator = Generator::new(Spec { start_ms: START_MS, ..Spec::default() });
    let totals = send(&mut generator, Some(plan.events), None, stop, &mut kafka, &mut |_| {})?;
    if stop.stopped() {
        return Ok(None);
    }
    kafka.finish(FILLED)?;
    Ok(Some(totals))
}

/// The pipeline with a group and topics of its own, so that it begins at the start.
fn job(
    plan: &Plan<'_>,
    scratch: &mut Scratch,
    input: &str,
    run: u32,
) -> Result<crate::worker::Job> {
    let mut config: Config = plan.generation.config.clone();
    config.name = scratch.group(&format!("c{run}"));
    input.clone_into(&mut config.source.topic.name);
    config.source.topic.partitions = PARTITIONS;
    config.sink.topic.partitions = PARTITIONS;
    config.sink.topic.name = scratch.topic(&format!("c{run}-out"));
    config.dead_letters.topic.name = scratch.topic(&format!("c{run}-dead-letters"));
    config.late.name = scratch.topic(&format!("c{run}-late"));
    for window in &mut config.windows {
        window.results_topic = scratch.topic(&format!("c{run}-{}", window.name));
    }
    config.repartition.topic.name = scratch.topic(&format!("c{run}-repartition"));
    config.repartition.topic.partitions = PARTITIONS;
    config.state.progress_topic = scratch.topic(&format!("c{run}-progress"));
    config.state.windows_topic = scratch.topic(&format!("c{run}-windows"));
    let setup = Setup {
        client: plan.client.clone(),
        instance: "bench".to_owned(),
        start: Start::Earliest,
        // Nothing is left of a bench that could go on elsewhere.
        reset_command: "host reset".to_owned(),
        is_demo: false,
    };
    Ok(pipeline::job(&config, setup)?)
}

/// Fails when nothing has moved for too long.
fn check_moving(still: Duration, done: u64, events: u64) -> Result<()> {
    if still > STILL_MAX {
        bail!("nothing was committed for {} s, at {done} of {events} events", still.as_secs());
    }
    Ok(())
}
