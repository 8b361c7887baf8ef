//! A disk that is full: what a process writes is its history, compiled plugins and its lock.

use std::time::Duration;

use crate::alone;
use crate::cluster::Cluster;
use crate::run::swap;
use crate::setting::events;
use crate::support::SOON;
use crate::support::comparison::Promise;
use crate::support::feed::Feed;
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;
use crate::{LIVENESS, PACE};

/// Rules that are taken while nothing can be written.
const SWAPS: u64 = 6;
/// Events before each of them.
const EACH: u64 = 2_000;

#[test]
fn a_full_disk_stops_no_process_and_loses_nothing() {
    let _alone = alone();
    let cluster = Cluster::start(1);
    let pipeline = Pipeline::with_input("full", &cluster.straight(), |text| text);
    let mut command = Process::command_for_a_full_disk();
    pipeline.prepare(&mut command, "a", &cluster.straight(), &["--workers", "2"]);
    let mut process = Process::start_logged_here(&mut command, &pipeline.log_of("a"));
    pipeline.await_input(&mut process, SOON);
    let mut feed = Feed::new(&pipeline, events(1, SWAPS * EACH));
    for swapped in 0..SWAPS {
        // Not the first: rules are taken before, while and after the disk is full.
        process.set_disk_full((1..SWAPS - 1).contains(&swapped));
        swap(&pipeline);
        feed.pace(swapped * EACH..(swapped + 1) * EACH, PACE, |_| true);
        let taken = format!("first record processed by generation {}", swapped + 2);
        process.await_log(&taken, SOON);
    }
    process.await_log("not kept in the history", Duration::from_secs(1));
    feed.finish();
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}
