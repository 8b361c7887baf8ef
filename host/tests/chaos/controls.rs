//! The same comparison with one rule of delivery switched off in the host (`HOST_TEST_CONTROL`, which
//! only builds with debug assertions have): it must show. What random faults reach too rarely is
//! arranged; each says how often it is tried before the control counts as not noticed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::LIVENESS;
use crate::alone;
use crate::cluster::Cluster;
use crate::setting::events;
use crate::support::SOON;
use crate::support::broker::Broker;
use crate::support::comparison::Promise;
use crate::support::pipeline::{Feed, PARTITIONS, Pipeline, event, key_for};
use crate::support::proxy::{Fault as Cut, Proxy, api};

/// Events a second of the wall clock.
const PACE: u64 = 5_000;

/// A rule that is switched off in a process, if any.
type Rule = Option<&'static str>;

fn environment(rule: &Rule) -> Vec<(&'static str, &'static str)> {
    rule.iter().map(|rule| ("HOST_TEST_CONTROL", *rule)).collect()
}

/// Holds a scenario against the simulation: with the rule off it must show, and else not.
fn check_control(rule: &'static str, scenario: impl Fn(&Broker, &Proxy, Rule) -> u64) {
    let _alone = alone();
    let Cluster { broker, proxies } = Cluster::start(1);
    let (right, wrong) =
        (scenario(&broker, &proxies[0], None), scenario(&broker, &proxies[0], Some(rule)));
    println!("{rule}: {right} differences with the rule, {wrong} without it");
    assert_eq!(right, 0, "the scenario must be right as long as the rule holds");
    assert!(wrong > 0, "the comparison does not see that {rule} is broken");
}

/// Events for a control.
const FEW: u64 = 20_000;

/// A process dies at the one moment at which outputs are committed and offsets are not.
#[test]
fn offsets_outside_the_transaction_are_noticed() {
    check_control("offsets-outside-transaction", |broker, proxy, rule| {
        // The state of a window holds the offset as well, and would stop the process.
        let without_windows = |text: String| {
            let (before, rest) = text.split_once("[[window]]").unwrap();
            let (_, after) = rest.split_once("[sink]").unwrap();
            format!("{before}[sink]{after}")
        };
        let pipeline = Pipeline::with_input("offsets", &broker.brokers(), without_windows);
        let mut feed = Feed::new(&pipeline, events(7, FEW));
        let environment = environment(&rule);
        let mut process = pipeline.start_with("a", &proxy.brokers(), &environment, &[]);
        process.await_log("partitions taken over", SOON);
        // What tells the broker that the offsets are moved.
        let moves = if rule.is_some() { api::OFFSET_COMMIT } else { api::END_TXN };
        let armed = proxy.arm(Cut::Late { api: moves, after: Duration::from_secs(3_600) });
        feed.send(FEW / 2);
        feed.flush();
        armed.await_cut(SOON);
        process.kill();
        let process = pipeline.start_with("a", &proxy.brokers(), &environment, &[]);
        feed.send(FEW / 2);
        feed.finish();
        pipeline.await_end(&mut [process], LIVENESS);
        pipeline.record_differences(Promise::ExactlyOnce).count()
    });
}

/// A worker loses its transaction in the middle of everything.
#[test]
fn a_failed_transaction_that_is_not_read_again_is_noticed() {
    check_control("no-rewind", |broker, _, rule| {
        let pipeline = Pipeline::with_input("rewind", &broker.brokers(), |text| text);
        let mut feed = Feed::new(&pipeline, events(8, FEW));
        let mut process = pipeline.start_with("a", &broker.brokers(), &environment(&rule), &[]);
        process.await_log("partitions taken over", SOON);
        let is_fenced = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // The next transaction of a fenced producer fails, so one must come.
                feed.pace(0..FEW, PACE, |_| true);
                while !is_fenced.load(Ordering::Relaxed) {
                    feed.pace(0..100, PACE, |_| true);
                }
                feed.finish();
            });
            thread::sleep(Duration::from_secs(1));
            // A worker that replaces its producer at that moment takes the id back unharmed.
            let failed = || pipeline.logged(&["a"], "going back to what is committed") > 0;
            let until = Instant::now() + LIVENESS;
            while !failed() && Instant::now() < until {
                pipeline.fence("a");
                let seen_until = Instant::now() + Duration::from_secs(3);
                while !failed() && Instant::now() < seen_until {
                    thread::sleep(Duration::from_millis(50));
                }
            }
            is_fenced.store(true, Ordering::Relaxed);
        });
        let mut processes = [process];
        pipeline.await_end(&mut processes, LIVENESS);
        let recoveries = pipeline.logged(&["a"], "going back to what is committed");
        assert!(recoveries > 0, "the worker was not fenced: {}", processes[0].log_tail());
        pipeline.differences(Promise::ExactlyOnce).count()
    });
}

/// The last records are all filtered out: nothing is lost, but the group does not come to its end.
#[test]
fn a_commit_that_waits_for_an_output_is_noticed() {
    check_control("timer-by-output", |broker, _, rule| {
        let pipeline = Pipeline::with_input("timer", &broker.brokers(), |text| text);
        let mut feed = Feed::new(&pipeline, events(9, FEW));
        feed.send(FEW);
        feed.finish();
        let mut processes = [pipeline.start_with("a", &broker.brokers(), &environment(&rule), &[])];
        pipeline.await_end(&mut processes, LIVENESS);
        let now = Utc::now().timestamp_millis();
        for partition in 0..PARTITIONS {
            let key = key_for(partition);
            feed.send_one(partition, Some(key.as_bytes()), event("iOS", now).as_bytes(), now);
        }
        feed.flush();
        // Many times the commit interval of 200 ms.
        let within = if rule.is_some() { Duration::from_secs(6) } else { LIVENESS };
        let reaches_end = pipeline.reaches_end(&mut processes, within);
        let [process] = &mut processes;
        process.terminate();
        assert_eq!(pipeline.differences(Promise::ExactlyOnce).count(), 0);
        u64::from(!reaches_end)
    });
}
