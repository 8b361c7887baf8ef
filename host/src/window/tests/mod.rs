//! Behaviours of windows by example; `life` holds them against a naive model.

mod first_hop;
mod life;
mod model;
mod second_hop;
mod shapes;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::event::{Column, Value};

const MINUTE: i64 = 60_000;
const INPUTS: i32 = 2;

fn ms(millis: i64) -> Duration {
    Duration::from_millis(millis as u64)
}

fn spec() -> WindowSpec {
    WindowSpec {
        name: "counts".to_owned(),
        shape: Shape::Tumbling { size: ms(MINUTE) },
        grace: ms(5000),
        group: vec!["/app_version".to_owned()],
        time: "field /timestamp auto".to_owned(),
        aggregates: vec![Aggregate::count()],
        filter: None,
        emit: Emit::Final,
        future_max: WindowSpec::FUTURE_MAX_DEFAULT,
        idle: WindowSpec::IDLE_DEFAULT,
        limits: Limits::default(),
    }
}

fn specs(specs: impl IntoIterator<Item = WindowSpec>) -> Arc<[Arc<WindowSpec>]> {
    specs.into_iter().map(Arc::new).collect()
}

fn windows(spec: WindowSpec, partitions: &[i32]) -> Windows {
    let spec = Arc::new(spec);
    let mut windows = Windows::new(spec.clone());
    for &partition in partitions {
        windows.adopt(Watch::new(spec.clone(), partition, 3));
    }
    windows
}

/// A column of texts; none is absent.
fn column<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Column {
    let mut distinct: Vec<Value<'_>> = Vec::new();
    let mut index = Vec::new();
    for value in values {
        let entry = distinct.iter().position(|&other| other == value).unwrap_or_else(|| {
            distinct.push(value);
            distinct.len() - 1
        });
        index.push(entry as u32);
    }
    Column::new(&distinct, index)
}

/// Observes events (partition, record timestamp, time, key) as one batch; late ones by place.
fn observe(
    windows: &mut Windows,
    events: &[(i32, i64, i64, &str)],
) -> Result<(Vec<u32>, u32), StateError> {
    observe_values(windows, events, &[], None)
}

fn observe_values(
    windows: &mut Windows,
    events: &[(i32, i64, i64, &str)],
    values: &[Column],
    filter: Option<&Column>,
) -> Result<(Vec<u32>, u32), StateError> {
    let origin = |&(partition, timestamp, ..): &(i32, i64, i64, &str)| {
        // Behind all that a progress may hold.
        Origin { partition, offset: i64::MAX, not_after: timestamp }
    };
    let origins: Vec<_> = events.iter().map(origin).collect();
    let times: Vec<_> = events.iter().map(|event| event.2).collect();
    let keys = [column(events.iter().map(|event| Value::Text(event.3)))];
    let (origins, times, keys) = (&origins, &times, &keys);
    let observed = windows.observe(Events { origins, times, keys, values, filter })?;
    Ok((observed.late.iter().map(|late| late.event).collect(), observed.future))
}

/// Events of a partition whose records are as old as they are.
fn observe_times(windows: &mut Windows, partition: i32, times: &[i64]) -> Vec<u32> {
    let events: Vec<_> = times.iter().map(|&time| (partition, time, time, "a")).collect();
    observe(windows, &events).expect("windows take events").0
}

/// Sends the deltas of a partition to one merge partition; as texts.
fn deltas(windows: &mut Windows, partition: i32) -> Vec<String> {
    let mut to = Vec::new();
    let windows = std::slice::from_mut(windows);
    write_deltas(windows, partition, 7, INPUTS, 1, 1 << 19, |_| 0, &mut to);
    values(&to[0])
}

fn values(records: &Records) -> Vec<String> {
    let value = |(_, value): (_, Option<&[u8]>)| text(value.expect("no tombstone"));
    records.iter().map(value).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("records are text")
}

fn lines(records: &Records) -> Vec<String> {
    let line = |(key, value): (&[u8], Option<&[u8]>)| {
        format!("{} {}", text(key), value.map_or("-".to_owned(), text))
    };
    records.iter().map(line).collect()
}

fn merge_all(merge: &mut Merge, deltas: &[String]) {
    for value in deltas {
        merge.apply(i64::MAX, value.as_bytes()).expect("deltas are read");
    }
}

/// What was written to the results of the first window.
fn results(merge: &mut Merge) -> Vec<String> {
    lines(&merge.take_results(&mut everything()).windows[0].records)
}

fn everything() -> Portion {
    Portion::of_bytes(usize::MAX)
}

fn changes(merge: &mut Merge, next_offset: i64) -> Records {
    let mut records = Records::default();
    merge.take_changes(next_offset, &mut records);
    records
}

fn restore(
    specs: &Arc<[Arc<WindowSpec>]>,
    records: &[Records],
) -> Result<(Merge, Option<MergeMarker>), StateError> {
    let mut restore = RestoreMerge::new(specs.clone(), 0, INPUTS, 1);
    for (key, value) in records.iter().flat_map(Records::iter) {
        restore.apply(Some(key), value);
    }
    restore.finish()
}

fn result(start: i64, end: i64, key: &str, members: &str, is_final: bool) -> String {
    let (start, end) = (rfc3339(start), rfc3339(end));
    format!(
        r#"{start}|{key} {{"window":"counts","start":"{start}","end":"{end}","key":"{key}",{members},"final":{is_final}}}"#
    )
}
