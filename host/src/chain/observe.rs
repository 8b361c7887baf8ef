//! What the windows see of a batch: event times from the inputs, group keys from the outputs.

use super::flow::{Flow, borrowed_headers};
use super::{ChainError, Header, Observation, TimeUnit};
use crate::event::{Batch, Column, ColumnId, FieldId, Layout, LayoutBuilder, Source, Value};

/// Someone who wants to know times and keys of what comes out of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    /// Where the event time comes from.
    pub time: TimeSource,
    /// JSON Pointers into the output event, one column each; may be empty.
    pub group: Vec<String>,
}

/// Where an event's time comes from. It is read before the chain, from the input record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The record's own timestamp. A record without one counts as 1970-01-01: never on time, so
    /// that no clock decides.
    Record,
    /// A field of the event; where it is missing or no time the record's own timestamp, counted.
    Field {
        /// A JSON Pointer.
        pointer: String,
        /// How to read it.
        unit: TimeUnit,
    },
}

/// The time fields of the observers, in the layout in which the inputs are decoded.
pub(super) struct Times(Vec<Option<(FieldId, TimeUnit)>>);

/// The event time of each input by observer; none where the record's own timestamp counts, and no
/// list at all where it always does.
pub(super) type ReadTimes = Vec<Option<Vec<Option<i64>>>>;

impl Times {
    /// Adds the time fields to a layout.
    pub(super) fn new(
        observers: &[Observer],
        layout: &mut LayoutBuilder,
        errors: &mut Vec<ChainError>,
    ) -> Self {
        let mut field = |(observer, seen): (usize, &Observer)| {
            let TimeSource::Field { pointer, unit } = &seen.time else { return None };
            match layout.field(pointer) {
                Ok(field) => Some((field, *unit)),
                Err(error) => {
                    let problem = format!("time from {pointer:?}: {error}");
                    errors.push(ChainError::Observer { observer, problem });
                    None
                }
            }
        };
        Self(observers.iter().enumerate().map(&mut field).collect())
    }

    /// Reads the times of a batch that has not been edited. `input` says which record an event is.
    pub(super) fn read(
        &self,
        batch: &Batch<'_>,
        records: usize,
        input: impl Fn(u32) -> u32,
    ) -> ReadTimes {
        let mut scratch = String::new();
        let mut read = |field: &Option<(FieldId, TimeUnit)>| {
            let (field, unit) = (*field)?;
            let mut times = vec![None; records];
            for &event in batch.live() {
                let value = batch.value(field, event, &mut scratch);
                times[input(event) as usize] = unit.millis(value);
            }
            Some(times)
        };
        self.0.iter().map(&mut read).collect()
    }

    /// Decodes the inputs for their times alone, if any are read.
    pub(super) fn read_apart(&self, layout: &Layout, flow: &mut Flow<'_>) {
        if self.0.iter().any(Option::is_some) {
            let (places, inputs) = flow.events(&[], &[], &[]);
            let batch = Batch::decode(layout, &inputs);
            // Nothing has happened yet: outputs are inputs.
            flow.times = self.read(&batch, flow.records.len(), |event| places[event as usize]);
        } else {
            flow.times = vec![None; self.0.len()];
        }
    }
}

/// The group fields of the observers, in the layout in which the outputs are decoded.
pub(super) struct Groups(Vec<Vec<ColumnId>>);

impl Groups {
    /// Adds the group fields to a layout.
    pub(super) fn new(
        observers: &[Observer],
        layout: &mut LayoutBuilder,
        errors: &mut Vec<ChainError>,
    ) -> Self {
        let mut columns = |(observer, seen): (usize, &Observer)| {
            let mut columns = Vec::with_capacity(seen.group.len());
            for pointer in &seen.group {
                match layout.column(&Source::Field(pointer.clone())) {
                    Ok(column) => columns.push(column),
                    Err(error) => {
                        let problem = format!("group by {pointer:?}: {error}");
                        errors.push(ChainError::Observer { observer, problem });
                    }
                }
            }
            columns
        };
        Self(observers.iter().enumerate().map(&mut columns).collect())
    }

    /// The columns of each observer for the live events of a batch.
    pub(super) fn read(&self, batch: &mut Batch<'_>) -> Vec<Vec<Column>> {
        let all: Vec<ColumnId> = self.0.iter().flatten().copied().collect();
        batch.prepare(&all);
        let columns = |group: &Vec<ColumnId>| {
            group.iter().map(|&column| batch.column(column).clone()).collect()
        };
        self.0.iter().map(columns).collect()
    }

    /// Decodes the outputs for their keys alone, if any are read.
    pub(super) fn read_apart(&self, layout: &Layout, flow: &mut Flow<'_>) {
        if self.0.is_empty() {
            return;
        }
        let emitted = &flow.processed.emitted;
        let headers: Vec<Vec<Header<'_>>> = emitted.iter().map(borrowed_headers).collect();
        let (places, inputs) = flow.events(&flow.processed.bytes, emitted, &headers);
        let any = self.0.iter().any(|group| !group.is_empty());
        let keys = if any && !inputs.is_empty() {
            let mut batch = Batch::decode(layout, &inputs);
            let keys = self.read(&mut batch);
            let spread = |column: &Column| spread(column, batch.live(), inputs.len());
            keys.iter().map(|group| group.iter().map(spread).collect()).collect()
        } else {
            self.0.iter().map(|group| vec![Column::default(); group.len()]).collect()
        };
        (flow.observed, flow.keys) = (places, keys);
    }
}

/// A column of the live events as a column of all, `absent` where an event is not live.
fn spread(column: &Column, live: &[u32], events: usize) -> Column {
    if live.len() == events {
        return column.clone();
    }
    let mut values: Vec<Value<'_>> = (0..column.len()).map(|entry| column.value(entry)).collect();
    let absent = values.iter().position(|value| *value == Value::Absent).unwrap_or(values.len());
    if absent == values.len() {
        values.push(Value::Absent);
    }
    let mut index = vec![absent as u32; events];
    for (&event, &entry) in live.iter().zip(column.index()) {
        index[event as usize] = entry;
    }
    Column::new(&values, index)
}

/// What each observer saw of the outputs at the end of the chain.
pub(super) fn observations(flow: &mut Flow<'_>) -> Vec<Observation> {
    let times = std::mem::take(&mut flow.times);
    let keys = std::mem::take(&mut flow.keys);
    let observation = |(times, keys): (Option<Vec<Option<i64>>>, Vec<Column>)| {
        let mut seen =
            Observation { outputs: flow.observed.clone(), keys, ..Observation::default() };
        seen.times.reserve(flow.observed.len());
        for &output in &flow.observed {
            let input = flow.processed.outputs[output as usize].input as usize;
            let own = || flow.records[input].timestamp.unwrap_or(0);
            let read = times.as_ref().map(|times| times[input]);
            seen.fallbacks += u32::from(read == Some(None));
            seen.times.push(read.flatten().unwrap_or_else(own));
        }
        seen
    };
    times.into_iter().zip(keys).map(observation).collect()
}
