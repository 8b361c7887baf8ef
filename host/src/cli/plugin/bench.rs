//! `host plugin bench`: what a plugin's calls cost, beside a plugin that does nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::look::{distinct, logins, plan_problem, shown_bytes, shown_millis};
use super::{Object, draft, expect_folder, file, no_such, object, stem};
use crate::authoring::nothing;
use crate::chain::Copied;
use crate::cli::args::PluginsArgs;
use crate::cli::exit::{Exit, Failure};
use crate::config::{Against, GivenSettings, Stage};
use crate::event::{Plan, Source};
use crate::pipeline::{Loader, probe, time};
use crate::plugin::defaults::default;
use crate::plugin::{Plugin, Timing};

/// Measure a plugin's calls, beside the boundary alone: a plugin that gets the same and does nothing.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin bench filter
  host plugin bench region.wasm --settings '{\"drop\": [\"FR\"]}'

Events are made-up logins; where values are all distinct, each field that the plugin reads has \
another value in each event. A call has 5 s here, also where limits give it less. What the host \
does around a call (JSON, Kafka) is not in it. Compare figures of one run only, with nothing else \
running on the machine.

Exit codes:
  0  done
  1  the plugin gave no answer
  2  it is no plugin, or refuses the settings")]
pub(super) struct BenchArgs {
    /// A .wasm file, or the name of a plugin in --plugins
    #[arg(env = "HOST_BENCH_FILE", value_name = "FILE")]
    file: PathBuf,

    /// Settings as a JSON object [default: those of the first stage that has it]
    #[arg(long, env = "HOST_SETTINGS", value_name = "JSON", value_parser = object)]
    settings: Option<Object>,

    /// Whose pipeline.toml says what stages, settings and limits there are
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Events over which the memory is watched
    #[arg(long, env = "HOST_EVENTS", value_name = "N", default_value_t = 1_000_000)]
    events: u64,

    /// One JSON object
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// Events a call.
const BATCHES: [usize; 4] = [1, 10, 100, 1_000];
/// A row is measured for so long, behind a first round that is not counted.
const ROW: Duration = Duration::from_millis(150);
/// A call may take so long at least: what is slow is to be measured, and only what never ends is not.
const CALL: Duration = Duration::from_secs(5);
/// Instances that are made to time that.
const INSTANCES: usize = 21;
/// No more of them are made once they took this long together.
const INSTANCES_MAX: Duration = Duration::from_secs(3);
/// Memory that is gained in the second half, as a part of what there was, from which on it grows.
const GROWS: f64 = 0.05;

/// All that was measured.
#[derive(Serialize)]
struct Measured {
    plugin: String,
    world: String,
    bytes: usize,
    compile_ms: f64,
    /// From nothing to an instance that has its settings; the median.
    instance_ms: f64,
    rows: Vec<Row>,
    memory: Memory,
}

/// Nanoseconds an event.
#[derive(Serialize)]
struct Row {
    /// `few` or `distinct`.
    values: &'static str,
    batch: usize,
    ns: f64,
    boundary_ns: f64,
}

/// Bytes of the instance.
#[derive(Serialize)]
struct Memory {
    events: u64,
    first: usize,
    half: usize,
    last: usize,
    most: usize,
    grows: bool,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let folder = &args.plugins.plugins;
    expect_folder(folder)?;
    let draft = draft(folder, true)?;
    let found = file(folder, &args.file);
    let name = stem(found.as_deref().unwrap_or(&args.file));
    let loader = Loader::new(folder, None)?;
    let inspection = match (found, default(&name)) {
        (Some(file), _) => loader.inspect(&file, &draft).map_err(anyhow::Error::from)?,
        (None, Some(component)) => loader.inspect_default(&name, component, &draft),
        (None, None) => return Err(no_such(folder, &args.file).into()),
    };
    let plugin = inspection
        .plugin
        .map_err(|error| Failure::because(Exit::Input, "it is no plugin of this host's", error))?;
    let settings = args.settings.clone().map(|json| GivenSettings { flag: "--settings", json });
    let stage = draft.stages().iter().position(|stage| stage.plugin == name);
    let against = |settings| Against { plugin: name.clone(), settings };
    let none = GivenSettings { flag: "--settings", json: Object::new() };
    let bare = patient(draft.alone(stage, &name, against(Some(none))));
    let stage = patient(draft.alone(stage, &name, against(settings)));
    let bench = Bench { plugin: &plugin, stage: &stage, topic: draft.topic() };
    let plan = bench.probe()?;
    let Some(component) = nothing(plan.as_ref()) else {
        let text = "the names of what it reads are longer than this can measure: 64 KiB together";
        return Err(Failure::new(Exit::Input, text).into());
    };
    let idle = loader.inspect_default("nothing", &component, &draft).plugin?;
    let idle = Bench { plugin: &idle, stage: &bare, ..bench };
    let measured = measure(&bench, &idle, plan.as_ref(), args.events.max(1), name)?;
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => writeln!(stdout, "{}", serde_json::to_string(&measured)?)?,
        false => stdout.write_all(shown(&measured).as_bytes())?,
    }
    Ok(())
}

/// With time for a call that the machine is slow about.
fn patient(mut stage: Stage) -> Stage {
    stage.limits.call = stage.limits.call.max(CALL);
    stage
}

/// A plugin with a stage's settings.
#[derive(Clone, Copy)]
struct Bench<'a> {
    plugin: &'a Plugin,
    stage: &'a Stage,
    topic: &'a str,
}

impl Bench<'_> {
    /// What it reads, if it takes the settings.
    fn probe(&self) -> anyhow::Result<Option<Plan>> {
        let probed = probe(self.plugin, self.stage, self.topic, &[], 0);
        let refused = |error| Failure::because(Exit::Input, "it does not start", error);
        let plan = probed.map_err(refused)?.plan;
        match plan.as_ref().and_then(plan_problem) {
            Some(problem) => Err(Failure::new(Exit::Input, problem).into()),
            None => Ok(plan),
        }
    }

    fn time(
        &self,
        records: &Copied,
        batch: usize,
        go_on: &mut dyn FnMut(&Timing) -> bool,
    ) -> anyhow::Result<Timing> {
        let timed = records
            .with(|records| time(self.plugin, self.stage, self.topic, records, batch, go_on))?;
        Ok(timed.map_err(|fault| Failure::because(Exit::Runtime, "it gave no answer", fault))?)
    }

    /// Nanoseconds an event.
    fn nanos(&self, records: &Copied, batch: usize) -> anyhow::Result<f64> {
        let round = records.len() as u64;
        let mut first = None;
        let all = self.time(records, batch, &mut |timing| {
            if timing.records >= round && first.is_none() {
                first = Some(*timing);
            }
            first.is_none_or(|first| timing.time < first.time + ROW)
        })?;
        let first = first.unwrap_or_default();
        let counted = Timing {
            records: all.records - first.records,
            time: all.time.saturating_sub(first.time),
            ..all
        };
        Ok(counted.nanos())
    }

    /// The median time from nothing to an instance that has its settings.
    fn instance(&self) -> anyhow::Result<Duration> {
        let (mut times, started) = (Vec::new(), Instant::now());
        while times.len() < INSTANCES && started.elapsed() < INSTANCES_MAX {
            times.push(probe(self.plugin, self.stage, self.topic, &[], 0)?.start);
        }
        times.sort();
        Ok(times[times.len() / 2])
    }

    fn memory(&self, records: &Copied, events: u64) -> anyhow::Result<Memory> {
        let (mut first, mut half, mut most) = (None, None, 0);
        let last = self.time(records, BATCHES[3], &mut |timing| {
            most = most.max(timing.memory_bytes);
            first.get_or_insert(timing.memory_bytes);
            if timing.records >= events / 2 {
                half.get_or_insert(timing.memory_bytes);
            }
            timing.records < events
        })?;
        let (first, half) = (first.unwrap_or_default(), half.unwrap_or_default());
        let gained = last.memory_bytes.saturating_sub(half) as f64;
        let grows = gained > half as f64 * GROWS;
        Ok(Memory { events: last.records, first, half, last: last.memory_bytes, most, grows })
    }
}

fn measure(
    bench: &Bench<'_>,
    idle: &Bench<'_>,
    plan: Option<&Plan>,
    events: u64,
    plugin: String,
) -> anyhow::Result<Measured> {
    let few = logins(0);
    let fields: Vec<&str> = plan.map_or_else(Vec::new, |plan| {
        let fields = plan.reads.iter().map(|read| match &read.source {
            Source::Field(pointer) => Some(pointer.as_str()),
            _ => None,
        });
        fields.flatten().collect()
    });
    let all_distinct = distinct(0, &fields);
    let mut rows = Vec::new();
    for (values, records) in [("few", &few), ("distinct", &all_distinct)] {
        for batch in BATCHES {
            let (ns, boundary_ns) = (bench.nanos(records, batch)?, idle.nanos(records, batch)?);
            rows.push(Row { values, batch, ns, boundary_ns });
        }
    }
    Ok(Measured {
        plugin,
        world: bench.plugin.world().to_string(),
        bytes: bench.plugin.bytes(),
        compile_ms: bench.plugin.compile_time().as_secs_f64() * 1e3,
        instance_ms: bench.instance()?.as_secs_f64() * 1e3,
        rows,
        memory: bench.memory(&few, events)?,
    })
}

/// Characters of the longest bar.
const BAR: f64 = 32.0;

fn shown(measured: &Measured) -> String {
    let Measured { plugin, world, bytes, compile_ms, instance_ms, rows, memory } = measured;
    let mut text = format!("{plugin}, a {world} of {}\n", shown_bytes(*bytes));
    let _ = writeln!(text, "  compile   {}", shown_millis(*compile_ms));
    let _ = writeln!(text, "  instance  {}", shown_millis(*instance_ms));
    let verdict = match memory.grows {
        true => "it GROWS; the host replaces an instance past its `recycle-memory`",
        false => "flat",
    };
    let _ = writeln!(
        text,
        "  memory    {} behind the first batch, {} behind {} events, at most {}: {verdict}\n",
        shown_bytes(memory.first),
        shown_bytes(memory.last),
        memory.events,
        shown_bytes(memory.most)
    );
    text += "  values    batch  ns/event  boundary\n";
    let longest = rows.iter().map(|row| row.ns.max(row.boundary_ns)).fold(1.0, f64::max);
    // A call of one event costs a hundred times one of a thousand, an event: logarithms show both.
    let bar = |ns: f64| (ns.max(1.0).ln() / longest.ln() * BAR).round() as usize;
    for Row { values, batch, ns, boundary_ns } in rows {
        let boundary = bar(boundary_ns.min(*ns));
        let own = bar(*ns).saturating_sub(boundary);
        let (boundary, own) = ("█".repeat(boundary), "▒".repeat(own));
        let _ = writeln!(
            text,
            "  {values:<8}  {batch:>5}  {ns:>8.0}  {boundary_ns:>8.0}  {boundary}{own}"
        );
    }
    text += "            █ the boundary alone, ▒ the plugin (a logarithmic scale)\n";
    text
}
