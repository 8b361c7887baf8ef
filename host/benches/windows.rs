//! What windows cost: an event in the first hop, its commits included, and a row in the second.
//!
//! `cargo bench --bench windows` measures; the last lines are a table in nanoseconds.

#![allow(clippy::print_stdout, reason = "the table is what it is run for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use host::event::{Column, Value};
use host::window::{
    Aggregate, Emit, Events, Kind, Limits, Merge, Origin, Portion, Records, Shape, Watch,
    WindowSpec, Windows, write_deltas,
};

/// Events of a batch.
const EVENTS: usize = 2_000;
/// Batches of a commit.
const BATCHES: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

fn spec(shape: Shape, kind: Kind) -> Arc<WindowSpec> {
    Arc::new(WindowSpec {
        name: "counts".to_owned(),
        shape,
        grace: Duration::from_secs(5),
        group: vec!["/group".to_owned()],
        time: "record".to_owned(),
        aggregates: vec![Aggregate { name: "it".to_owned(), kind }],
        filter: None,
        emit: Emit::Final,
        future_max: WindowSpec::FUTURE_MAX_DEFAULT,
        idle: WindowSpec::IDLE_DEFAULT,
        limits: Limits::default(),
    })
}

fn cases() -> Vec<(&'static str, Arc<WindowSpec>)> {
    let tumbling = Shape::Tumbling { size: MINUTE };
    let field = || "/value".to_owned();
    let distinct = Kind::Distinct { field: field(), exact_max: 1_000 };
    let top = Kind::Top { field: field(), k: 5, counted_max: 10_000 };
    vec![
        ("count", spec(tumbling, Kind::Count)),
        ("count, hopping", spec(Shape::Hopping { size: MINUTE, every: MINUTE / 6 }, Kind::Count)),
        ("count, session", spec(Shape::Session { gap: MINUTE }, Kind::Count)),
        ("sum", spec(tumbling, Kind::Sum(field()))),
        ("distinct", spec(tumbling, distinct)),
        ("top", spec(tumbling, top)),
    ]
}

/// A batch in which each group comes as often as any other.
struct Batch {
    origins: Vec<Origin>,
    times: Vec<i64>,
    keys: [Column; 1],
    values: Vec<Column>,
}

impl Batch {
    fn new(groups: usize, spec: &WindowSpec) -> Self {
        let names: Vec<String> = (0..groups).map(|group| format!("group {group}")).collect();
        let names: Vec<Value<'_>> = names.iter().map(|name| Value::Text(name)).collect();
        let group_of = (0..EVENTS).map(|event| (event * 7 % groups) as u32);
        let numbers: Vec<Value<'_>> = (0..100).map(Value::Integer).collect();
        let number_of = (0..EVENTS).map(|event| (event * 13 % 100) as u32);
        let has_value = !matches!(spec.aggregates[0].kind, Kind::Count);
        let values = has_value.then(|| Column::new(&numbers, number_of.collect()));
        Self {
            origins: vec![Origin { partition: 0, offset: 1, not_after: i64::MAX }; EVENTS],
            times: (0..EVENTS as i64).collect(),
            keys: [Column::new(&names, group_of.collect())],
            values: values.into_iter().collect(),
        }
    }

    fn events(&self) -> Events<'_> {
        let Self { origins, times, keys, values } = self;
        Events { origins, times, keys, values, filter: None }
    }
}

fn watched(spec: &Arc<WindowSpec>) -> Windows {
    let mut windows = Windows::new(spec.clone());
    windows.adopt(Watch::new(spec.clone(), 0, 1));
    windows
}

/// Some batches and their commit.
fn first_hop(windows: &mut Windows, batch: &Batch, to: &mut Vec<Records>) {
    for _ in 0..BATCHES {
        windows.observe(batch.events()).expect("they are taken");
    }
    to.iter_mut().for_each(Records::clear);
    write_deltas(std::slice::from_mut(windows), 0, 1, 1, 1, 512 << 10, |_| 0, to);
}

/// What a commit of the first hop sends, into results and state.
fn second_hop(merge: &mut Merge, deltas: &Records, state: &mut Records) {
    for (_, value) in deltas.iter() {
        merge.apply(1, value.expect("deltas have a value")).expect("they are read");
    }
    black_box(merge.take_results(&mut Portion::of_bytes(usize::MAX)));
    state.clear();
    merge.take_changes(1, state);
}

fn merging(spec: &Arc<WindowSpec>) -> Merge {
    Merge::new(Arc::from([spec.clone()]), 0, 1, 1)
}

fn windows(criterion: &mut Criterion) {
    for (name, spec) in cases() {
        for groups in [20, EVENTS] {
            let batch = Batch::new(groups, &spec);
            let mut group = criterion.benchmark_group(name);
            let (mut to, mut windows) = (Vec::new(), watched(&spec));
            group.throughput(Throughput::Elements((EVENTS * BATCHES) as u64));
            group.bench_function(BenchmarkId::new("first hop", groups), |bencher| {
                bencher.iter(|| first_hop(&mut windows, &batch, &mut to));
            });
            first_hop(&mut windows, &batch, &mut to);
            let (mut merge, mut state) = (merging(&spec), Records::default());
            group.throughput(Throughput::Elements(groups as u64));
            group.bench_function(BenchmarkId::new("second hop", groups), |bencher| {
                bencher.iter(|| second_hop(&mut merge, &to[0], &mut state));
            });
            group.finish();
        }
    }
}

/// The shortest of many rounds: what it takes where nothing else runs.
fn shortest(mut round: impl FnMut()) -> f64 {
    let took = (0..100).map(|_| {
        let started = Instant::now();
        round();
        started.elapsed()
    });
    took.min().unwrap_or_default().as_nanos() as f64
}

fn table() {
    println!("\nns                first hop, an event    second hop, a row");
    println!("groups                 20       2000          20      2000");
    for (name, spec) in cases() {
        let mut cells = [0.0; 4];
        for (place, groups) in [20, EVENTS].into_iter().enumerate() {
            let batch = Batch::new(groups, &spec);
            let (mut to, mut windows) = (Vec::new(), watched(&spec));
            let took = shortest(|| first_hop(&mut windows, &batch, &mut to));
            cells[place] = took / (EVENTS * BATCHES) as f64;
            let (mut merge, mut state) = (merging(&spec), Records::default());
            let took = shortest(|| second_hop(&mut merge, &to[0], &mut state));
            cells[place + 2] = took / groups as f64;
        }
        let [a, b, c, d] = cells;
        println!("{name:<16} {a:>8.1}   {b:>8.1}    {c:>8.0}  {d:>8.0}");
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    windows(&mut criterion);
    criterion.final_summary();
    table();
}
