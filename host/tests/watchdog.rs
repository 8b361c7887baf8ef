//! A worker that never comes back from a call ends its process (delivery rule 14).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use host::demo::generate::Spec;
use support::broker::Broker;
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::Pipeline;

/// Half a minute without a step, and what a busy machine takes to start.
const LIVENESS: Duration = Duration::from_secs(60);

#[test]
fn a_worker_that_hangs_ends_its_process_and_nothing_of_it_counts() {
    let brokers = Broker::shared().brokers();
    let pipeline = Pipeline::with_input("watchdog", &brokers, |text| text);
    let mut feed = Feed::new(&pipeline, Spec::default());
    feed.send(1_000);
    feed.finish();
    let hangs = [("HOST_TEST_CONTROL", "stand-still")];
    let mut process = pipeline.start_with("a", &brokers, &hangs, &[]);
    process.assert_ends(LIVENESS, 1, &["a worker hangs", "committing"]);
    let mut again = [pipeline.start("a", &[])];
    pipeline.await_end(&mut again, LIVENESS);
    again[0].terminate();
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}
