//! Figures, not a promise: measured only when asked for, with nothing else running, and the host
//! optimised:
//!
//! `cargo test --release --test chaos measure -- --ignored --nocapture`
//!
//! `CHAOS_MEASURE_EVENTS` is how many events a run has.

use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use crate::cluster::Cluster;
use crate::controls::with_commit_interval;
use crate::setting::{events, number};
use crate::support::SOON;
use crate::support::pipeline::{Feed, Pipeline};
use crate::support::process::Process;

/// For one run to its end.
const RUN: Duration = Duration::from_secs(600);
/// Each way, in turn.
const ROUNDS: usize = 3;
const INTERVALS: [&str; 3] = ["50ms", "200ms", "1s"];
/// The brokers are asked that often; commits are seen so much later at most.
const LOOK: Duration = Duration::from_millis(20);

#[test]
#[ignore = "a measurement, for a machine with nothing else to do"]
fn measure_exactly_once_against_at_least_once() {
    let _alone = alone();
    println!("| commit interval | exactly-once | at-least-once | ratio |\n|---|--:|--:|--:|");
    for interval in INTERVALS {
        // Its disk is free again after it.
        let cluster = Cluster::start(1);
        let (mut exactly, mut least) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            exactly.push(throughput(&cluster, interval, "exactly-once"));
            least.push(throughput(&cluster, interval, "at-least-once"));
        }
        let (exactly, least) = (middle(exactly), middle(least));
        println!(
            "| {interval} | {exactly:.0} records/s | {least:.0} records/s | {:.2} |",
            exactly / least
        );
    }
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Records a second of one worker, between its first commit and its last.
fn throughput(cluster: &Cluster, interval: &str, delivery: &str) -> f64 {
    let pipeline = Pipeline::with_input("measure", &cluster.straight(), |text| {
        with_commit_interval(&text, interval)
    });
    let mut feed = Feed::new(&pipeline, events(1, 0));
    feed.send(number("CHAOS_MEASURE_EVENTS", 1_500_000));
    feed.finish();
    let mut process = pipeline.start("a", &["--delivery", delivery]);
    let end = Instant::now() + RUN;
    let mut first: Option<(Instant, i64)> = None;
    let rate = loop {
        process.assert_runs();
        assert!(Instant::now() < end, "not at its end: {}", process.log_tail());
        let progress = pipeline.progress().unwrap_or_default();
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

/// How long a process that starts takes to take its partitions over, with many open keys and with none.
#[test]
#[ignore = "a measurement, for a machine with nothing else to do"]
fn measure_restore() {
    let _alone = alone();
    let cluster = Cluster::start(1);
    let by_user = |text: String| {
        let text = text.replace("by = \"/app_version\"", "by = \"/user_id\"");
        text.replace("size = \"60s\"", "size = \"240h\"")
    };
    println!("| open keys | from the start to its partitions taken over |\n|--:|--:|");
    let mut times = Vec::new();
    for count in [0, number("CHAOS_MEASURE_EVENTS", 600_000)] {
        let pipeline = Pipeline::with_input("restore", &cluster.straight(), by_user);
        let mut feed = Feed::new(&pipeline, events(1, count));
        feed.send(count);
        feed.flush();
        let mut processes = [pipeline.start("a", &[])];
        pipeline.await_end(&mut processes, RUN);
        processes[0].terminate();
        // The group of the second hop, which has the counts.
        let taken = |log: &str| {
            let of_hop = |line: &&str| {
                line.contains("partitions taken over") && line.contains("-repartition ")
            };
            log.lines().filter(of_hop).count()
        };
        let before = taken(&processes[0].log());
        let started = Instant::now();
        processes[0] = pipeline.start("a", &[]);
        processes[0].await_in_log("its counts", |log| taken(log) > before, SOON);
        let took = started.elapsed().as_secs_f64();
        processes.iter_mut().for_each(Process::terminate);
        let state = crate::support::read_values(&pipeline.settings(), &pipeline.state(), 4);
        let keys = state.iter().filter(|value| value.contains("\"value\"")).count();
        println!("| {keys} | {took:.2} s |");
        times.push((keys, took));
    }
    let (none, many) = (times[0], times[1]);
    let per_million = (many.1 - none.1) / (many.0 - none.0) as f64 * 1e6;
    println!("restore: {per_million:.2} s per million open keys");
}
