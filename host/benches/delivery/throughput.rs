//! Exactly-once against at-least-once, by commit interval.

use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::support::broker::{Broker, Options};
use crate::support::feed::Feed;
use crate::support::pipeline::Pipeline;
use crate::{RUN, changed, spec};

const WAYS: [&str; 2] = ["exactly-once", "at-least-once"];
const INTERVALS: [&str; 3] = ["50ms", "200ms", "1s"];
/// The brokers are asked that often; commits are seen so much later at most.
const LOOK: Duration = Duration::from_millis(20);

pub fn throughput(events: u64, rounds: usize) {
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
            let one = run(&pipeline, WAYS[round % 2], 2 * round);
            let other = run(&pipeline, WAYS[(round + 1) % 2], 2 * round + 1);
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

/// Records a second of one worker, between its first commit and its last. Each run is a group of its
/// own, which reads the same records.
fn run(pipeline: &Pipeline, delivery: &str, number: usize) -> f64 {
    let group = format!("{}-{number}", pipeline.name);
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
