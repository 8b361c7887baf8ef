//! Records that retention deletes before a running pipeline has read them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use host::demo::generate::Spec;
use host::kafka::remove_records;
use support::broker::Broker;
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::process::Process;
use support::{SOON, read_values};

/// From the deletion to everything committed; less than the time that a session or a client's own
/// patience adds up to.
const LIVENESS: Duration = Duration::from_secs(20);
/// Records that are left of each partition.
const LEFT: i64 = 10;

/// A pipeline that is caught up, and stopped by a signal while records come and most of them go.
fn passed_by(on_expired: &str) -> (Pipeline, Process) {
    let pipeline = Pipeline::with_input("expired", &Broker::shared().brokers(), |text| {
        text.replace("on-expired = \"stop\"", &format!("on-expired = \"{on_expired}\""))
    });
    let mut feed = Feed::new(&pipeline, Spec::default());
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    feed.send(1_000);
    feed.flush();
    pipeline.await_committed(&mut process, 100, SOON);
    process.pause();
    // What is on its way to the client already.
    feed.send(100);
    feed.flush();
    feed.send(2_000);
    feed.flush();
    let ends = pipeline.progress().unwrap().into_iter();
    let before: Vec<(i32, i64)> = ends.map(|(at, (_, end))| (at, end - LEFT)).collect();
    remove_records(&pipeline.settings(), &pipeline.name, &before, SOON).unwrap();
    process.resume();
    (pipeline, process)
}

#[test]
fn a_running_pipeline_that_may_skip_goes_on_with_the_oldest_that_are_kept() {
    let (pipeline, process) = passed_by("skip");
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    let skipped = "records were deleted by retention before they were processed: skipped";
    assert!(processes[0].log().contains(skipped), "{}", processes[0].log_tail());
    processes[0].terminate();
    let written = read_values(&pipeline.settings(), &pipeline.processed(), pipeline.partitions);
    assert!(!written.is_empty());
}

#[test]
fn a_running_pipeline_that_may_not_skip_stops_and_says_how_many_are_lost() {
    let (_pipeline, mut process) = passed_by("stop");
    process.assert_ends(
        LIVENESS,
        1,
        &["were deleted by retention before", "on-expired = \"skip\""],
    );
}
