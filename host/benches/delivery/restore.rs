//! How long a process takes to have the state of many open groups.

use std::collections::HashSet;
use std::time::Instant;

use chrono::Utc;

use crate::support::broker::{Broker, Options};
use crate::support::feed::Feed;
use crate::support::pipeline::{PARTITIONS, Pipeline};
use crate::support::process::Process;
use crate::support::{SOON, read_topic};
use crate::{EVENT_RATE, RUN, changed, spec};

/// How long a process that starts takes to take its partitions over, with many open groups, with none,
/// and with few behind as many that are final.
pub fn restore(events: u64) {
    let broker = Broker::start(&Options::default());
    println!("| open groups | closed before | from the start to its partitions taken over |");
    println!("|--:|--:|--:|");
    let none = restore_of(&broker, 0, "240h");
    let many = restore_of(&broker, events, "240h");
    restore_of(&broker, events, "60s");
    let per_million = (many.1 - none.1) / (many.0 - none.0) as f64 * 1e6;
    println!("restore: {per_million:.2} s per million open groups");
}

/// The open groups, and seconds.
fn restore_of(broker: &Broker, events: u64, size: &str) -> (usize, f64) {
    let pipeline = Pipeline::with_input("restore", &broker.brokers(), |text| {
        let text = changed(&text, "by = \"/app_version\"", "by = \"/user_id\"");
        changed(&text, "size = \"60s\"", &format!("size = \"{size}\""))
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
    let (open, closed) = groups(&pipeline);
    println!("| {open} | {closed} | {took:.2} s |");
    (open, took)
}

/// How many the state topic has, and how many results there are.
fn groups(pipeline: &Pipeline) -> (usize, usize) {
    let read =
        |topic: &str| read_topic(&pipeline.settings(), topic, PARTITIONS).into_values().flatten();
    let mut open = HashSet::new();
    for record in read(&pipeline.state()) {
        let is_group = record.text().contains("\"value\"");
        let key = record.key.unwrap_or_default();
        if is_group {
            open.insert(key);
        } else if record.value.is_none() {
            open.remove(&key);
        }
    }
    (open.len(), read(&pipeline.results()).count())
}
