//! Members that join and leave under load, at-least-once: a rebalance is no fault, and repeats nothing.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use chrono::Utc;
use host::demo::generate::Spec;
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::proxy::{Fault, Proxy, api};
use support::{SOON, mix, without_windows};

/// From the last join to everything committed.
const LIVENESS: Duration = Duration::from_secs(60);
/// Events a second.
const RATE: u64 = 2_000;
/// Longer than several commit intervals, shorter than a session.
const HELD_UP: Duration = Duration::from_secs(1);

/// While the leader of the group has not said who gets what, the broker takes no offsets from any
/// member.
/// With windows there are two groups, and where one refuses offsets while the other takes partitions away
/// there is nothing to wait for.
#[test]
fn at_least_once_a_member_that_joins_under_load_makes_the_others_repeat_nothing() {
    let proxy = Proxy::bind();
    let broker = Broker::start(&Options { proxies: vec![proxy.port()], ..Options::default() });
    proxy.forward_to(broker.proxied(0));
    let pipeline = Pipeline::with_input("joins", &broker.brokers(), without_windows);
    let start_ms = Utc::now().timestamp_millis() - 200_000;
    let spec = Spec { seed: 11, start_ms, rate: 200, mix: mix(), ..Spec::default() };
    let mut feed = Feed::new(&pipeline, spec);
    let at_least_once = ["--delivery", "at-least-once"];
    let through = proxy.brokers();
    let mut leader = pipeline.start_with("leader", &through, &[], &at_least_once);
    pipeline.await_input(&mut leader, SOON);
    let mut second = pipeline.start("second", &at_least_once);
    pipeline.await_input(&mut second, SOON);

    let held_up = proxy.arm(Fault::Slow { api: api::SYNC_GROUP, after: HELD_UP });
    let third = pipeline.start("third", &at_least_once);
    feed.pace(0..10 * RATE, RATE, |_| true);
    held_up.await_cut(SOON);
    feed.finish();
    let mut processes = [leader, second, third];
    pipeline.await_end(&mut processes, LIVENESS);
    processes.iter_mut().for_each(|process| process.terminate());

    let all = ["leader", "second", "third"];
    let back = pipeline.logged(&all, "going back to what is committed");
    assert_eq!(back, 0, "{}", processes[1].log_tail());
    let waited = pipeline.logged(&all, "the commit waits for the group");
    assert!(waited > 0, "no offsets were refused: {}", processes[1].log_tail());
    pipeline.record_differences(Promise::ExactlyOnce).assert_none();
}
