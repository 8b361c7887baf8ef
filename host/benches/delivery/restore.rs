//! How long a process takes to have the state of many open groups.

use std::time::Instant;

use chrono::Utc;

use crate::support::broker::{Broker, Options};
use crate::support::feed::Feed;
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;
use crate::support::{SOON, read_values};
use crate::{EVENT_RATE, RUN, changed, spec};

/// How long a process that starts takes to take its partitions over, with many open groups and with
/// none.
pub fn restore(events: u64) {
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
