//! What the workers published, in the OpenMetrics text format. Read at each scrape; nothing is
//! kept here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Pipeline;
use crate::worker::status::{Counters, Histogram, PartitionStatus, Snapshot, StageStatus};
use crate::{reload, shadow};

/// The text of `/metrics`.
pub(super) fn render(pipeline: &Arc<Pipeline>) -> String {
    let mut registry = Registry::with_prefix("pipeline");
    registry.register_collector(Box::new(Scrape(Arc::clone(pipeline))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a string cannot fail");
    text
}

#[derive(Debug)]
struct Scrape(Arc<Pipeline>);

/// A counter summed over the workers.
type Total = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

const TOTALS: [Total; 12] = [
    ("records_in", "Input records whose transaction is committed", |c| &c.records_in),
    ("bytes_in", "Bytes of keys and values of those records", |c| &c.bytes_in),
    ("records_out", "Output records committed to the sink", |c| &c.records_out),
    ("batches", "Batches that went through the stages, committed or not", |c| &c.batches),
    ("late_records", "Records that came too late for a window", |c| &c.late),
    ("window_results", "Results of windows, one per window and group, and updates", |c| {
        &c.window_results
    }),
    (
        "event_time_fallbacks",
        "Events without a usable time, for which the record's own was taken",
        |c| &c.event_time_fallbacks,
    ),
    (
        "future_events",
        "Events past future-max: counted in windows that stay open until then",
        |c| &c.future_events,
    ),
    ("commits", "Transactions, or offset commits, that succeeded", |c| &c.commits),
    ("aborted_transactions", "Transactions that were given up", |c| &c.aborts),
    ("recoveries", "Times that a worker began again from what is committed", |c| &c.recoveries),
    ("producers_replaced", "Producers replaced since a request may have been sent twice", |c| {
        &c.producers_replaced
    }),
];

/// A duration's histogram, summed over the workers.
type Durations = (&'static str, &'static str, fn(&Counters) -> &Histogram);

const DURATIONS: [Durations; 2] = [
    ("commit_duration_seconds", "From the start of a commit to its end", |c| &c.commit_seconds),
    (
        "latency_seconds",
        "From the timestamp of a transaction's oldest record to the end of its commit",
        |c| &c.latency_seconds,
    ),
];

/// A number of one stage, summed over the workers.
type StageTotal = (&'static str, &'static str, fn(&StageStatus) -> f64);

const STAGE_TOTALS: [StageTotal; 4] = [
    ("stage_records_in", "Records that came to a stage", |s| s.records_in as f64),
    ("stage_dropped", "Records that a stage dropped", |s| s.dropped as f64),
    ("stage_rejected", "Records that a stage rejected", |s| s.rejected as f64),
    ("stage_busy_seconds", "Time spent in a stage", |s| s.busy.as_secs_f64()),
];

/// A number of one worker.
type OfWorker = (&'static str, &'static str, fn(&crate::worker::status::WorkerStatus) -> f64);

const OF_WORKERS: [OfWorker; 2] = [
    ("worker_ready", "1 if a worker takes part in the group", |w| {
        f64::from(u8::from(w.ready.load(Relaxed)))
    }),
    ("worker_step_age_seconds", "For how long a worker has been in the same call", |w| {
        w.stuck_in().0.as_secs_f64()
    }),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pipeline = &*self.0;
        let snapshots: Vec<_> = pipeline.workers.iter().map(|worker| worker.snapshot()).collect();
        encode_info(pipeline, &mut encoder)?;
        for (name, help, get) in TOTALS {
            let sum: u64 =
                pipeline.workers.iter().map(|worker| get(&worker.counters).load(Relaxed)).sum();
            ConstCounter::new(sum).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        for (name, help, get) in DURATIONS {
            let all = pipeline.workers.iter().map(|worker| get(&worker.counters));
            encode_durations(
                all,
                encoder.encode_descriptor(name, help, None, MetricType::Histogram)?,
            )?;
        }
        encode_dead_letters(&snapshots, &mut encoder)?;
        encode_stages(&snapshots, &mut encoder)?;
        encode_partitions(&snapshots, &mut encoder)?;
        for (name, help, get) in OF_WORKERS {
            let values = pipeline.workers.iter().map(|worker| get(worker));
            gauges(&mut encoder, name, help, numbered(values))?;
        }
        let generations = snapshots.iter().map(|snapshot| snapshot.generation);
        let help = "The generation of the rules that a worker runs";
        gauges(&mut encoder, "generation", help, numbered(generations))?;
        let help = "1 while the pipeline pauses on request";
        let paused = u64::from(pipeline.pause.is_on());
        let paused = ConstGauge::new(paused);
        paused.encode(encoder.encode_descriptor("paused", help, None, MetricType::Gauge)?)?;
        let rules = pipeline.reload.status();
        encode_reloads(&rules, &mut encoder)?;
        encode_shadows(&rules.shadows, &mut encoder)
    }
}

fn numbered<V>(values: impl Iterator<Item = V>) -> impl Iterator<Item = ([Label; 1], V)> {
    values.enumerate().map(|(number, value)| ([("worker", number.to_string())], value))
}

type Label = (&'static str, String);

fn encode_info(pipeline: &Pipeline, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let build = [[("version", env!("CARGO_PKG_VERSION").to_owned())]];
    let help = "The version of the host";
    gauges(encoder, "build_info", help, build.into_iter().map(|labels| (labels, 1u64)))?;
    let labels = [
        ("name", pipeline.name.clone()),
        ("instance", pipeline.instance.clone()),
        ("delivery", pipeline.delivery.to_owned()),
        ("broker", if pipeline.demo { "demo" } else { "kafka" }.to_owned()),
        ("rules", pipeline.reload.status().hash),
    ];
    let help = "What runs here";
    gauges(encoder, "info", help, std::iter::once((labels, 1u64)))
}

/// Candidates, by what they are beside: a stage, or `*` for all of them.
fn encode_shadows(shadows: &[shadow::Status], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if shadows.is_empty() {
        return Ok(());
    }
    let of = |shadow: &shadow::Status| {
        let plugin = shadow.info.plugins.join(",");
        [("stage", shadow.info.label().to_owned()), ("candidate", plugin)]
    };
    let records = shadows.iter().map(|shadow| (of(shadow), shadow.report.records));
    let help = "Records that a candidate was compared on";
    counters(encoder, "shadow_records", help, records)?;
    let differ = shadows.iter().flat_map(|shadow| {
        let [stage, candidate] = of(shadow);
        shadow::Kind::ALL.map(|kind| {
            let count = shadow.report.differ.get(&kind).copied().unwrap_or_default();
            let kind = ("kind", kind.as_str().to_owned());
            ([stage.clone(), candidate.clone(), kind], count)
        })
    });
    let help = "Records that come out differently of a candidate, by kind";
    counters(encoder, "shadow_differing", help, differ)?;
    let passed_over = shadows.iter().map(|shadow| (of(shadow), shadow.batches_passed_over));
    let help = "Batches that a candidate was not compared on, since it is behind";
    counters(encoder, "shadow_batches_passed_over", help, passed_over)?;
    let busy = shadows.iter().flat_map(|shadow| {
        let [stage, candidate] = of(shadow);
        let sides = [("live", shadow.report.live), ("candidate", shadow.report.candidate)];
        sides.map(|(side, counts)| {
            let side = ("side", side.to_owned());
            ([stage.clone(), candidate.clone(), side], counts.nanos as f64 / 1e9)
        })
    });
    let help = "Time that the two sides of a comparison took for the same records";
    counters(encoder, "shadow_busy_seconds", help, busy)
}

fn encode_reloads(rules: &reload::Status, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counts = rules.counts;
    let outcomes = [
        ("offered", counts.offered),
        ("unchanged", counts.unchanged),
        ("refused", counts.refused),
        ("rolled-back", counts.rolled_back),
    ];
    let outcomes = outcomes.map(|(outcome, count)| ([("outcome", outcome.to_owned())], count));
    let help = "Changes of the plugins folder, by what became of them";
    counters(encoder, "reloads", help, outcomes.into_iter())?;
    let stages = rules.stages.iter().cloned().map(|stage| {
        ([("stage", stage.name), ("plugin", stage.plugin), ("hash", stage.hash)], 1u64)
    });
    gauges(encoder, "stage_info", "The plugin of each stage of the newest generation", stages)
}

fn encode_durations<'a>(
    all: impl Iterator<Item = &'a Histogram>,
    mut encoder: MetricEncoder<'_>,
) -> fmt::Result {
    let mut buckets: Vec<(f64, u64)> =
        Histogram::BOUNDS.into_iter().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
    let mut sum = 0.0;
    for histogram in all {
        let (counts, seconds) = histogram.read();
        buckets.iter_mut().zip(counts).for_each(|((_, total), count)| *total += count);
        sum += seconds;
    }
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

fn encode_dead_letters(snapshots: &[Snapshot], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in snapshots.iter().flat_map(|snapshot| &snapshot.dead_letters) {
        *reasons.entry(reason).or_default() += count;
    }
    let help = "Records that became dead letters, by reason";
    let reasons =
        reasons.into_iter().map(|(reason, count)| ([("reason", reason.to_owned())], count));
    counters(encoder, "dead_letters", help, reasons)
}

type StageLabels = [Label; 3];

fn stage_labels(stage: &StageStatus) -> StageLabels {
    let (plugin, generation) = (stage.plugin.clone(), stage.generation_label());
    [("stage", stage.name.clone()), ("plugin", plugin), ("generation", generation)]
}

fn encode_stages(snapshots: &[Snapshot], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all = || snapshots.iter().flat_map(|snapshot| &snapshot.stages);
    for (name, help, get) in STAGE_TOTALS {
        let mut sums: BTreeMap<StageLabels, f64> = BTreeMap::new();
        for stage in all() {
            *sums.entry(stage_labels(stage)).or_default() += get(stage);
        }
        counters(encoder, name, help, sums.into_iter())?;
    }
    let mut faults: BTreeMap<(StageLabels, &str), u64> = BTreeMap::new();
    for stage in all() {
        for (kind, count) in &stage.faults {
            *faults.entry((stage_labels(stage), kind)).or_default() += count;
        }
    }
    let faults = faults.into_iter().map(|(([stage, plugin, generation], kind), count)| {
        ([stage, plugin, generation, ("kind", kind.to_owned())], count)
    });
    counters(encoder, "stage_errors", "Calls of a stage that gave no answer, by kind", faults)
}

fn encode_partitions(snapshots: &[Snapshot], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    // During a rebalance two snapshots may name a partition; the one further on is the newer.
    let mut partitions: BTreeMap<i32, &PartitionStatus> = BTreeMap::new();
    for (&number, partition) in snapshots.iter().flat_map(|snapshot| &snapshot.partitions) {
        let newest = partitions.entry(number).or_insert(partition);
        if partition.next_offset > newest.next_offset {
            *newest = partition;
        }
    }
    let by_partition = |get: fn(&PartitionStatus) -> i64| {
        let values = partitions.iter();
        values.map(move |(number, p)| ([("partition", number.to_string())], get(p)))
    };
    let help = "Records of an input partition that are not processed yet";
    gauges(
        encoder,
        "lag_records",
        help,
        by_partition(|p| i64::try_from(p.lag()).unwrap_or(i64::MAX)),
    )?;
    let help = "The offset of the next record to process";
    gauges(encoder, "next_offset", help, by_partition(|p| p.next_offset))?;
    let watermarks = partitions.iter().flat_map(|(number, partition)| {
        // Before the first event there is no watermark to speak of.
        partition.watermarks.iter().filter(|(_, millis)| **millis > i64::MIN).map(
            |(window, &millis)| {
                let labels = [("partition", number.to_string()), ("window", window.clone())];
                (labels, millis as f64 / 1000.0)
            },
        )
    });
    let help = "The greatest event time of an input partition, in Unix time";
    gauges(encoder, "watermark_seconds", help, watermarks)?;
    encode_merges(snapshots, encoder)
}

/// The windows' second hop, as far as it is this process's.
fn encode_merges(snapshots: &[Snapshot], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut lags: BTreeMap<i32, u64> = BTreeMap::new();
    let mut ends: BTreeMap<&str, i64> = BTreeMap::new();
    for (&partition, merge) in snapshots.iter().flat_map(|snapshot| &snapshot.merges) {
        lags.insert(partition, merge.lag);
        for window in &merge.windows {
            // Before every input partition has said how far it is nothing is final.
            if let Some(end) = window.final_before {
                let least = ends.entry(&window.name).or_insert(end);
                *least = end.min(*least);
            }
        }
    }
    let lags =
        lags.into_iter().map(|(partition, lag)| ([("partition", partition.to_string())], lag));
    let help = "Records of a partition of the repartition topic that are not merged yet";
    gauges(encoder, "repartition_lag_records", help, lags)?;
    let ends = ends
        .into_iter()
        .map(|(window, end)| ([("window", window.to_owned())], end as f64 / 1000.0));
    let help = "Event time up to which a window's results are final, in Unix time";
    gauges(encoder, "window_final_seconds", help, ends)
}

fn counters<const N: usize, V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([Label; N], V)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges<const N: usize, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([Label; N], V)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
