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
    /// The same for what is aggregated.
    pub values: Vec<String>,
    /// The same for a flag that says whether an event counts; none if all do.
    pub filter: Option<String>,
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
    /// The time of processing, which is that of the batch.
    Processing,
}

/// The times of the observers, in the layout in which the inputs are decoded.
pub(super) struct Times(Vec<Time>);

enum Time {
    Record,
    Field(FieldId, TimeUnit),
    Processing,
}

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
            let (pointer, unit) = match &seen.time {
                TimeSource::Record => return Time::Record,
                TimeSource::Processing => return Time::Processing,
                TimeSource::Field { pointer, unit } => (pointer, *unit),
            };
            match layout.field(pointer) {
                Ok(field) => Time::Field(field, unit),
                Err(error) => {
                    let problem = format!("time from {pointer:?}: {error}");
                    errors.push(ChainError::Observer { observer, problem });
                    Time::Record
                }
            }
        };
        Self(observers.iter().enumerate().map(&mut field).collect())
    }

    /// Reads the times of a batch that has not been edited. `input` says which record an event is.
    pub(super) fn read(
        &self,
        batch: &Batch<'_>,
        (records, now): (usize, i64),
        input: impl Fn(u32) -> u32,
    ) -> ReadTimes {
        let mut scratch = String::new();
        let mut read = |time: &Time| {
            let (field, unit) = match *time {
                Time::Record => return None,
                Time::Processing => return Some(vec![Some(now); records]),
                Time::Field(field, unit) => (field, unit),
            };
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
        let is_read = |time: &Time| matches!(time, Time::Field(..));
        let whole = (flow.records.len(), flow.now);
        if self.0.iter().any(is_read) {
            let (places, inputs) = flow.events(&[], &[], &[]);
            let batch = Batch::decode(layout, &inputs);
            // Nothing has happened yet: outputs are inputs.
            flow.times = self.read(&batch, whole, |event| places[event as usize]);
        } else {
            flow.times = self.read(&Batch::decode(layout, &[]), whole, |event| event);
        }
    }
}

/// The fields of the observers, in the layout in which the outputs are decoded.
pub(super) struct Groups(Vec<Fields>);

/// What an observer reads of an output.
struct Fields {
    group: Vec<ColumnId>,
    values: Vec<ColumnId>,
    filter: Option<ColumnId>,
}

/// What an observer has read of the outputs.
#[derive(Default)]
pub(super) struct Read {
    keys: Vec<Column>,
    values: Vec<Column>,
    filter: Option<Column>,
}

impl Groups {
    /// Adds the fields to a layout.
    pub(super) fn new(
        observers: &[Observer],
        layout: &mut LayoutBuilder,
        errors: &mut Vec<ChainError>,
    ) -> Self {
        let fields = |(observer, seen): (usize, &Observer)| {
            let mut column = |what: &str, pointer: &String| {
                let column = layout.column(&Source::Field(pointer.clone()));
                let problem = |error| {
                    let problem = format!("{what} {pointer:?}: {error}");
                    errors.push(ChainError::Observer { observer, problem });
                };
                column.map_err(problem).ok()
            };
            Fields {
                group: seen.group.iter().filter_map(|field| column("group by", field)).collect(),
                values: seen
                    .values
                    .iter()
                    .filter_map(|field| column("aggregate of", field))
                    .collect(),
                filter: seen.filter.as_ref().and_then(|field| column("where", field)),
            }
        };
        Self(observers.iter().enumerate().map(fields).collect())
    }

    /// The columns of each observer for the live events of a batch.
    pub(super) fn read(&self, batch: &mut Batch<'_>) -> Vec<Read> {
        let all: Vec<ColumnId> = self.0.iter().flat_map(Fields::all).collect();
        batch.prepare(&all);
        self.each(|column| batch.column(column).clone())
    }

    /// Decodes the outputs for their fields alone, if any are read.
    pub(super) fn read_apart(&self, layout: &Layout, flow: &mut Flow<'_>) {
        if self.0.is_empty() {
            return;
        }
        let emitted = &flow.processed.emitted;
        let headers: Vec<Vec<Header<'_>>> = emitted.iter().map(borrowed_headers).collect();
        let (places, inputs) = flow.events(&flow.processed.bytes, emitted, &headers);
        let any = self.0.iter().any(|fields| fields.all().next().is_some());
        let keys = if any && !inputs.is_empty() {
            let mut batch = Batch::decode(layout, &inputs);
            let mut read = self.read(&mut batch);
            for column in read.iter_mut().flat_map(Read::all_mut) {
                *column = spread(column, batch.live(), inputs.len());
            }
            read
        } else {
            self.each(|_| Column::default())
        };
        (flow.observed, flow.keys) = (places, keys);
    }

    fn each(&self, column: impl Fn(ColumnId) -> Column) -> Vec<Read> {
        let read = |fields: &Fields| Read {
            keys: fields.group.iter().map(|&field| column(field)).collect(),
            values: fields.values.iter().map(|&field| column(field)).collect(),
            filter: fields.filter.map(&column),
        };
        self.0.iter().map(read).collect()
    }
}

impl Fields {
    fn all(&self) -> impl Iterator<Item = ColumnId> {
        self.group.iter().chain(&self.values).copied().chain(self.filter)
    }
}

impl Read {
    fn all_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        self.keys.iter_mut().chain(&mut self.values).chain(&mut self.filter)
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
    let observation = |(times, read): (Option<Vec<Option<i64>>>, Read)| {
        let Read { keys, values, filter } = read;
        let outputs = flow.observed.clone();
        let mut seen = Observation { outputs, keys, values, filter, ..Observation::default() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Chain, Limits, Record};

    #[test]
    fn values_and_filter_are_read_like_keys_and_now_is_a_time() {
        let observer = |time| Observer {
            time,
            group: vec!["/k".to_owned()],
            values: vec!["/n".to_owned(), "/k".to_owned()],
            filter: Some("/big".to_owned()),
        };
        let field = TimeSource::Field { pointer: "/n".to_owned(), unit: TimeUnit::Millis };
        for time in [TimeSource::Processing, field] {
            let observers = vec![observer(TimeSource::Processing), observer(time)];
            let mut chain = Chain::new(vec![], observers, Limits::default()).expect("a chain");
            let record = |value: &'static str| Record {
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
                timestamp: Some(5),
                partition: 0,
                offset: 0,
            };
            let records = [record(r#"{"k":"a","n":1,"big":true}"#), record("nonsense")];
            let seen = chain.run(&records, 77).expect("it runs").observations;
            assert_eq!((&seen[0].times, seen[0].fallbacks), (&vec![77, 77], 0));
            let of = |column: &Column, event: usize| {
                format!("{:?}", column.value(column.index()[event] as usize))
            };
            assert_eq!(of(&seen[1].keys[0], 0), r#"Text("a")"#);
            assert_eq!(of(&seen[1].values[0], 0), "Integer(1)");
            assert_eq!(of(&seen[1].values[1], 0), r#"Text("a")"#);
            let filter = seen[1].filter.as_ref().expect("it is read");
            assert_eq!(
                (of(filter, 0).as_str(), of(filter, 1).as_str()),
                ("Boolean(true)", "Absent")
            );
        }
    }
}
