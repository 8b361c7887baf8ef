//! A naive model of windows, which knows no batches, commits, restarts or hops.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const GRACE: i64 = 4;
pub(super) const IDLE: i64 = 3;
const FUTURE_MAX: i64 = 25;
pub(super) const PARTITIONS: usize = 3;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Event {
        timestamp: Option<i64>,
        time: i64,
        key: usize,
        value: i64,
        passes: bool,
    },
    /// The wall clock says that the partition is silent.
    Idle {
        now: i64,
        others: Option<i64>,
    },
}

pub(super) const KEYS: [Value<'static>; 5] = [
    Value::Text("a"),
    Value::Text("b\"|/"),
    Value::Absent,
    Value::Integer(7),
    Value::Json("{\"x\": [1]}"),
];
const KEY_TEXTS: [&str; 5] = ["\"a\"", "\"b\\\"|/\"", "null", "7", "{\"x\": [1]}"];

pub(super) fn small_spec(shape: Shape, emit: Emit) -> WindowSpec {
    let field = || "/v".to_owned();
    let aggregates = [
        ("n", Kind::Count),
        ("sum", Kind::Sum(field())),
        ("max", Kind::Max(field())),
        ("different", Kind::Distinct { field: field(), exact_max: 1000 }),
        ("top", Kind::Top { field: field(), k: 1, counted_max: 1000 }),
    ];
    WindowSpec {
        shape,
        emit,
        grace: ms(GRACE),
        idle: ms(IDLE),
        future_max: ms(FUTURE_MAX),
        aggregates: aggregates.map(|(name, kind)| Aggregate { name: name.to_owned(), kind }).into(),
        filter: Some("/ok".to_owned()),
        ..spec()
    }
}

pub(super) fn tumbling() -> Shape {
    Shape::Tumbling { size: ms(10) }
}

pub(super) fn hopping() -> Shape {
    Shape::Hopping { size: ms(12), every: ms(4) }
}

pub(super) fn uneven() -> Shape {
    Shape::Hopping { size: ms(10), every: ms(4) }
}

pub(super) fn sessions() -> Shape {
    Shape::Session { gap: ms(20) }
}

/// What must not depend on how it came about.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Partition and place of each.
    pub(super) late: BTreeSet<(usize, usize)>,
    pub(super) results: Vec<String>,
    pub(super) watermarks: Vec<Option<i64>>,
}

/// Ends of the windows that hold a time, one by one.
fn ends(shape: Shape, time: i64) -> Vec<i64> {
    let (size, every) = match shape {
        Shape::Tumbling { size } => (size, size),
        Shape::Hopping { size, every } => (size, every),
        Shape::Session { .. } => unreachable!("sessions have no grid"),
    };
    let (size, every) = (size.as_millis() as i64, every.as_millis() as i64);
    let starts = (time - size + 1..=time).filter(|start| start.rem_euclid(every) == 0);
    starts.map(|start| start + size).collect()
}

/// When an event of this time is late, and where the clock may close its windows.
fn closes(shape: Shape, time: i64) -> (i64, Vec<i64>) {
    match shape {
        Shape::Session { gap } => {
            let (gap, step) = (gap.as_millis() as i64, 2);
            let end = (time + gap..).find(|end| end % step == 0).expect("soon");
            (time + GRACE + 1, vec![end + GRACE])
        }
        _ => {
            let width = if shape == tumbling() {
                10
            } else if shape == hopping() {
                4
            } else {
                2
            };
            let slice = (time + 1..).find(|end| end.rem_euclid(width) == 0).expect("soon");
            (slice + GRACE, ends(shape, time).into_iter().map(|end| end + GRACE).collect())
        }
    }
}

/// How far the watermark is closed, as the promise says it.
fn promised(shape: Shape, watermark: i64) -> i64 {
    let step = match shape {
        Shape::Session { .. } => 2,
        _ if shape == tumbling() => 10,
        _ if shape == hopping() => 4,
        _ => 2,
    };
    (watermark - GRACE).div_euclid(step)
}

/// One event at a time, one rule a line.
pub(super) fn model(shape: Shape, steps: &[Vec<Step>; PARTITIONS]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut counted: Vec<(i64, usize, i64)> = Vec::new();
    for (partition, steps) in steps.iter().enumerate() {
        let (mut watermark, mut seen) = (None, None);
        for (place, step) in steps.iter().enumerate() {
            match *step {
                Step::Event { timestamp, time, key, value, passes } => {
                    if passes {
                        if watermark.is_some_and(|watermark| watermark >= closes(shape, time).0) {
                            outcome.late.insert((partition, place));
                            continue;
                        }
                        counted.push((time, key, value));
                    }
                    let is_future =
                        timestamp.is_some_and(|timestamp| time > timestamp + FUTURE_MAX);
                    if !is_future && Some(time) > watermark {
                        (watermark, seen) = (Some(time), Some(time));
                    }
                }
                Step::Idle { now, others } => {
                    let own = seen.and_then(|seen| {
                        let due = |at: &i64| at + IDLE <= now;
                        closes(shape, seen).1.into_iter().filter(due).max()
                    });
                    let promise = watermark.map(|watermark| promised(shape, watermark));
                    let others = others.map(|at| at.min(now));
                    let others = others.filter(|at| Some(promised(shape, *at)) > promise);
                    watermark = watermark.max(own).max(others);
                }
            }
        }
        outcome.watermarks.push(watermark);
    }
    outcome.results = results_of(shape, counted);
    outcome
}

fn results_of(shape: Shape, mut counted: Vec<(i64, usize, i64)>) -> Vec<String> {
    let mut windows: BTreeMap<(i64, i64, usize), Vec<i64>> = BTreeMap::new();
    counted.sort_unstable();
    if let Shape::Session { gap } = shape {
        let gap = gap.as_millis() as i64;
        for key in 0..KEYS.len() {
            let mut open: Option<(i64, i64, Vec<i64>)> = None;
            for &(time, _, value) in counted.iter().filter(|(_, of, _)| *of == key) {
                match &mut open {
                    Some((_, end, values)) if time < *end => {
                        *end = time + gap;
                        values.push(value);
                    }
                    _ => {
                        let over = open.replace((time, time + gap, vec![value]));
                        windows
                            .extend(over.map(|(start, end, values)| ((start, end, key), values)));
                    }
                }
            }
            windows.extend(open.map(|(start, end, values)| ((start, end, key), values)));
        }
    } else {
        let size = if shape == hopping() { 12 } else { 10 };
        for (time, key, value) in counted {
            for end in ends(shape, time) {
                windows.entry((end - size, end, key)).or_default().push(value);
            }
        }
    }
    let result = |((start, end, key), values): ((i64, i64, usize), Vec<i64>)| {
        let mut counts: BTreeMap<String, (usize, i64)> = BTreeMap::new();
        for value in &values {
            counts.entry(value.to_string()).or_insert((0, *value)).0 += 1;
        }
        let most = counts.values().map(|(count, _)| *count).max().expect("one at least");
        let (_, (_, top)) = counts.iter().find(|(_, (count, _))| *count == most).expect("it");
        let (n, sum) = (values.len(), values.iter().sum::<i64>());
        let (max, different) = (values.iter().max().expect("one"), counts.len());
        format!(
            r#"{{"window":"counts","start":"{}","end":"{}","key":{},"n":{n},"sum":{sum},"max":{max},"different":{{"count":{different},"exact":true}},"top":{{"values":[{{"value":{top},"count":{most}}}],"exact":true}},"final":true}}"#,
            rfc3339(start),
            rfc3339(end),
            KEY_TEXTS[key]
        )
    };
    let mut results: Vec<_> = windows.into_iter().map(result).collect();
    results.sort_unstable();
    results
}
