//! How long the calls of a plugin take, apart from everything around them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guest::{ConfigureError, Pre, WasmRule, WasmTransform};
use super::limits::Limits;
use super::load::Plugin;
use super::slot::Slot;
use crate::chain::Record;
use crate::chain::guest::{Fault, Rule as _, RuleBatch, Transform as _, TransformRecord};
use crate::event::{Batch, ColumnId, EventInput, Layout, Plan};

/// What an instance has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Records that were handed over.
    pub records: u64,
    /// Time within the calls, the crossing of the boundary included.
    pub time: Duration,
    /// Memory of the instance behind the last call, in bytes.
    pub memory_bytes: usize,
}

impl Timing {
    /// Nanoseconds a record.
    pub fn nanos(&self) -> f64 {
        self.time.as_nanos() as f64 / self.records.max(1) as f64
    }
}

/// What is called, and with what.
pub struct Timed<'a> {
    /// The stage's settings, a JSON object.
    pub settings: &'a str,
    /// The stage's name.
    pub stage: &'a str,
    /// The topic of the records.
    pub topic: &'a str,
    /// The stage's limits.
    pub limits: &'a Limits,
    /// The records, at least one; a rule gets those that are events.
    pub records: &'a [Record<'a>],
    /// Records a call, at least 1.
    pub batch: usize,
    /// The time of processing, in milliseconds since the epoch.
    pub now: i64,
}

impl Plugin {
    /// Makes an instance and calls it with the records, over and over, as long as `go_on` says so
    /// behind each call. The answers are read, and not looked at.
    pub fn time(
        &self,
        timed: &Timed<'_>,
        go_on: &mut dyn FnMut(&Timing) -> bool,
    ) -> Result<Result<Timing, Fault>, ConfigureError> {
        let plugin = Arc::clone(&self.loaded);
        let (settings, stage, limits) = (timed.settings, timed.stage, timed.limits);
        let (records, batch, now) = (timed.records, timed.batch, timed.now);
        Ok(match plugin.world {
            Pre::Rule(_) => {
                let mut rule = WasmRule(Slot::new(plugin, settings, stage, limits)?);
                let layout = layout_of(rule.plan()).map_err(Fault::WrongAnswer);
                layout.and_then(|layout| time_rule(&mut rule, layout, records, batch, now, go_on))
            }
            Pre::Transform(_) => {
                let slot = Slot::new(plugin, settings, stage, limits)?;
                let mut transform = WasmTransform { slot, topic: timed.topic.into() };
                time_transform(&mut transform, records, batch, now, go_on)
            }
        })
    }
}

/// Where a plan's reads are in a batch; the error says why no chain takes it.
pub(super) fn layout_of(plan: &Plan) -> Result<(Layout, Vec<ColumnId>), String> {
    let mut layout = Layout::builder();
    let columns = plan.reads.iter().map(|read| layout.column(&read.source));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok((layout.build(), columns))
}

/// Calls a rule with those of the records that are events, `batch` at a time, at least 1 of them.
pub(super) fn time_rule(
    rule: &mut WasmRule,
    (layout, columns): (Layout, Vec<ColumnId>),
    records: &[Record<'_>],
    batch: usize,
    now: i64,
    go_on: &mut dyn FnMut(&Timing) -> bool,
) -> Result<Timing, Fault> {
    let plan = rule.plan().clone();
    let inputs = records.chunks(batch.max(1)).map(|records| {
        let inputs = records.iter().filter_map(|record| {
            let Record { key, headers, timestamp, .. } = *record;
            Some(EventInput { text: record.value?, key, headers, timestamp })
        });
        inputs.collect::<Vec<_>>()
    });
    let inputs: Vec<Vec<EventInput<'_>>> = inputs.collect();
    let decoded = inputs.iter().map(|inputs| {
        let mut batch = Batch::decode(&layout, inputs);
        batch.prepare(&columns);
        batch
    });
    let batches: Vec<Batch<'_>> = decoded.filter(|batch| !batch.live().is_empty()).collect();
    let given = batches.iter().map(|batch| {
        let forms = plan.reads.iter().map(|read| read.form);
        let given: Vec<_> = columns.iter().map(|&id| batch.column(id)).zip(forms).collect();
        (batch.live().len(), given)
    });
    let given: Vec<_> = given.collect();
    let mut timing = Timing::default();
    for (count, columns) in given.iter().cycle() {
        let batch = RuleBatch { events: *count as u32, now, columns };
        let started = Instant::now();
        rule.evaluate(batch)?;
        timing.time += started.elapsed();
        timing.records += *count as u64;
        timing.memory_bytes = rule.0.memory_bytes().unwrap_or_default();
        if !go_on(&timing) {
            break;
        }
    }
    Ok(timing)
}

/// Calls a transform with records, `batch` at a time, at least 1 of them.
pub(super) fn time_transform(
    transform: &mut WasmTransform,
    records: &[Record<'_>],
    batch: usize,
    now: i64,
    go_on: &mut dyn FnMut(&Timing) -> bool,
) -> Result<Timing, Fault> {
    let given = records.iter().filter_map(|record| {
        Some(TransformRecord {
            key: record.key,
            value: record.value?,
            headers: record.headers,
            timestamp: record.timestamp,
            partition: record.partition,
            offset: record.offset,
        })
    });
    let given: Vec<_> = given.collect();
    let mut timing = Timing::default();
    for records in given.chunks(batch.max(1)).cycle() {
        let started = Instant::now();
        transform.transform(records, now)?;
        timing.time += started.elapsed();
        timing.records += records.len() as u64;
        timing.memory_bytes = transform.slot.memory_bytes().unwrap_or_default();
        if !go_on(&timing) {
            break;
        }
    }
    Ok(timing)
}
