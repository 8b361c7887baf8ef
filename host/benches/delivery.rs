//! What delivery costs, from topic to topic, on an Apache Kafka of its own with processes of the host.
//!
//! `cargo bench --bench delivery` measures; `-- throughput` or `-- restore` one of the two, and
//! `--events N` says how many events a run has. For a machine with nothing else to do.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails may panic")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use clap::{Parser, ValueEnum};
use host::demo::generate::{Mix, Spec};

use support::broker::{Broker, Options};
use support::pipeline::{Feed, Pipeline};
use support::process::Process;
use support::{SOON, mix, read_values};

/// For one run to its end.
const RUN: Duration = Duration::from_secs(600);
const WAYS: [&str; 2] = ["exactly-once", "at-least-once"];
const INTERVALS: [&str; 3] = ["50ms", "200ms", "1s"];
/// The brokers are asked that often; commits are seen so much later at most.
const LOOK: Duration = Duration::from_millis(20);
/// Events a second of event time.
const EVENT_RATE: u32 = 500;

#[derive(Parser)]
#[command(name = "delivery")]
struct Arguments {
    /// What to measure; all if nothing is said.
    what: Option<What>,
    /// How many events a run has.
    #[arg(long, default_value_t = 1_500_000)]
    events: u64,
    /// How often throughput is measured each way.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// Exactly-once against at-least-once, by commit interval.
    Throughput,
    /// How long a process takes to have the state of many open groups.
    Restore,
}

fn main() {
    let Arguments { what, events, rounds, bench: _ } = Arguments::parse();
    if what.is_none_or(|what| what == What::Throughput) {
        throughputs(events, rounds);
    }
    if what.is_none_or(|what| what == What::Restore) {
        restore(events);
    }
}

fn throughputs(events: u64, rounds: usize) {
    println!("| commit interval | exactly-once | at-least-once | ratio |\n|---|--:|--:|--:|");
    for interval in INTERVALS {
        // Its disk is free again after it.
        let broker = Broker::start(&Options::default());
        let pipeline = Pipeline::with_input("measure", &broker.brokers(), |text| {
            let own = format!("commit-interval = \"{interval}\"");
            changed(&text, "commit-interval = \"200ms\"", &own)
        });
        let mut feed = Feed::new(&pipeline, spec(Utc::now().timestamp_millis()));
        feed.send(events);
        feed.finish();
        let (mut exactly, mut least, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds.max(1) {
            let one = throughput(&pipeline, WAYS[round % 2], 2 * round);
            let other = throughput(&pipeline, WAYS[(round + 1) % 2], 2 * round + 1);
            // Each is the first as often.
            let (of_exactly, of_least) = if round % 2 == 0 { (one, other) } else { (other, one) };
            exactly.push(of_exactly);
            least.push(of_least);
            ratios.push(of_exactly / of_least);
        }
        let (exactly, least, ratio) = (middle(exactly), middle(least), middle(ratios));
        println!("| {interval} | {exactly:.0} records/s | {least:.0} records/s | {ratio:.2} |");
    }
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Each event of a user of its own, of which some are good for nothing.
fn spec(start_ms: i64) -> Spec {
    let mix = Mix { missing: 0.01, malformed: 0.01, invalid: 0.01, ..mix() };
    Spec { seed: 1, start_ms, rate: EVENT_RATE, users: 0, mix, ..Spec::default() }
}

/// Records a second of one worker, between its first commit and its last. Each run is a group of its
/// own, which reads the same records.
fn throughput(pipeline: &Pipeline, delivery: &str, run: usize) -> f64 {
    let group = format!("{}-{run}", pipeline.name);
    let more = ["--workers", "1", "--delivery", delivery, "--group", &group];
    let mut process = pipeline.start("a", &more);
    let end = Instant::now() + RUN;
    let mut first: Option<(Instant, i64)> = None;
    let rate = loop {
        process.assert_runs();
        assert!(Instant::now() < end, "not at its end: {}", process.log_tail());
        let progress = pipeline.progress_of(&group).unwrap_or_default();
        let done: i64 = progress.values().map(|(committed, _)| committed).sum();
        let now = Instant::now();
        if done > 0 {
            let (since, from) = *first.get_or_insert((now, done));
            if progress.values().all(|(committed, end)| committed == end) {
                break (done - from) as f64 / (now - since).as_secs_f64();
            }
        }
        thread::sleep(LOOK);
    };
    process.terminate();
    rate
}

/// How long a process that starts takes to take its partitions over, with many open groups and with
/// none.
fn restore(events: u64) {
    let broker = Broker::start(&Options::default());
    println!("| open groups | from the start to its partitions taken over |\n|--:|--:|");
    let (none, many) = (restore_of(&broker, 0), restore_of(&broker, events));
    let per_million = (many.1 - none.1) / (many.0 - none.0) as f64 * 1e6;
    println!("restore: {per_million:.2} s per million open groups");
}

/// The open groups, and seconds.
fn restore_of(broker: &Broker, events: u64) -> (usize, f64) {
    let pipeline = Pipeline::with_input("restore", &broker.brokers(), |text| {
        let text = changed(&text, "by = \"/app_version\"", "by = \"/user_id\"");
        changed(&text, "size = \"60s\"", "size = \"240h\"")
    });
    let lasts_ms = (events * 1_000 / u64::from(EVENT_RATE)) as i64;
    let mut feed = Feed::new(&pipeline, spec(Utc::now().timestamp_millis() - lasts_ms));
    feed.send(events);
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, RUN);
    processes[0].terminate();
    // The group of the second hop, which has the counts.
    let taken = |log: &str| {
        let of_hop =
            |line: &&str| line.contains("partitions taken over") && line.contains("-repartition ");
        log.lines().filter(of_hop).count()
    };
    let before = taken(&processes[0].log());
    let started = Instant::now();
    processes[0] = pipeline.start("a", &[]);
    processes[0].await_in_log("its counts", |log| taken(log) > before, SOON);
    let took = started.elapsed().as_secs_f64();
    processes.iter_mut().for_each(Process::terminate);
    let state = read_values(&pipeline.settings(), &pipeline.state(), 4);
    let groups = state.iter().filter(|value| value.contains("\"value\"")).count();
    println!("| {groups} | {took:.2} s |");
    (groups, took)
}

/// The text with another setting than the shipped one.
fn changed(text: &str, shipped: &str, own: &str) -> String {
    assert!(text.contains(shipped), "no {shipped} is shipped");
    text.replace(shipped, own)
}
