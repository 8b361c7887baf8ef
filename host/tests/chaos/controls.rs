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
use crate::support::comparison::Promise;
use crate::support::feed::Feed;
use crate::support::pipeline::{PARTITIONS, Pipeline, event, key_for};
use crate::support::proxy::{Fault as Cut, api};
use crate::support::{SOON, count_uncommitted, without_windows};

/// Events a second of the wall clock.
const PACE: u64 = 5_000;

/// The control that a process is started with: none where every rule holds.
type Controls = Option<&'static str>;

fn environment(control: &Controls) -> Vec<(&'static str, &'static str)> {
    control.iter().map(|control| ("HOST_TEST_CONTROL", *control)).collect()
}

/// One rule, and how often its absence is tried before it counts as not noticed.
struct Rule {
    /// How it is switched off.
    off: &'static str,
    tries: u64,
}

impl Rule {
    /// One whose moment is arranged exactly.
    fn arranged(off: &'static str) -> Rule {
        Rule { off, tries: 1 }
    }

    /// Holds a scenario against the simulation: with the rule off it must show, and else not.
    fn check(&self, scenario: impl Fn(&Cluster, u64, Controls) -> u64) {
        let _alone = alone();
        let cluster = Cluster::start(1);
        let mut found = 0;
        for seed in 1..=self.tries {
            let (off, right) = (self.off, scenario(&cluster, seed, None));
            assert_eq!(right, 0, "seed {seed} must be right as long as the rule holds");
            found = scenario(&cluster, seed, Some(off));
            println!("{off}, seed {seed}: {right} differences with the rule, {found} without it");
            if found > 0 {
                return;
            }
        }
        assert!(found > 0, "{} seeds do not see that {} is broken", self.tries, self.off);
    }
}

/// Events for a control.
const FEW: u64 = 20_000;

/// A process dies at the one moment at which outputs are committed and offsets are not.
#[test]
fn offsets_outside_the_transaction_are_noticed() {
    Rule::arranged("offsets-outside-transaction").check(|cluster, _, rule| {
        let Cluster { broker, proxies } = cluster;
        let proxy = &proxies[0];
        // The state of a window holds the offset as well, and would stop the process.
        let pipeline = Pipeline::with_input("offsets", &broker.brokers(), without_windows);
        let mut feed = Feed::new(&pipeline, events(7, FEW));
        let environment = environment(&rule);
        let mut process = pipeline.start_with("a", &proxy.brokers(), &environment, &[]);
        pipeline.await_input(&mut process, SOON);
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
    Rule::arranged("no-rewind").check(|cluster, _, rule| {
        let broker = &cluster.broker;
        let pipeline = Pipeline::with_input("rewind", &broker.brokers(), |text| text);
        let mut feed = Feed::new(&pipeline, events(8, FEW));
        let mut process = pipeline.start_with("a", &broker.brokers(), &environment(&rule), &[]);
        pipeline.await_input(&mut process, SOON);
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
            pipeline.await_committed(&mut process, 1, SOON);
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
    Rule::arranged("timer-by-output").check(|cluster, _, rule| {
        let broker = &cluster.broker;
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

/// A commit's last request is sent again, and its first copy comes to the broker in the middle of the
/// next transaction, and ends it.
#[test]
fn a_producer_kept_after_a_slow_commit_is_noticed() {
    Rule { off: "keep-producer", tries: 3 }.check(|cluster, seed, rule| {
        let proxy = &cluster.proxies[0];
        let pipeline = Pipeline::with_input("slow", &cluster.straight(), |text| {
            with_commit_interval(&text, "3s")
        });
        let mut feed = Feed::new(&pipeline, events(seed, 12 * PACE));
        let environment = environment(&rule);
        let mut process = pipeline.start_with("a", &proxy.brokers(), &environment, &[]);
        pipeline.await_input(&mut process, SOON);
        thread::scope(|scope| {
            scope.spawn(|| feed.pace(0..12 * PACE, PACE, |_| true));
            let late = Cut::Late { api: api::END_TXN, after: Duration::from_millis(1_500) };
            let armed = proxy.arm(late);
            armed.await_cut(SOON);
            armed.await_delivery(SOON);
        });
        feed.finish();
        let mut processes = [process];
        pipeline.await_end(&mut processes, LIVENESS);
        processes[0].terminate();
        pipeline.differences(Promise::ExactlyOnce).count()
    });
}

/// The last commit of a worker that ends fails, and its offsets are committed all the same.
#[test]
fn state_kept_after_a_failed_last_commit_is_noticed() {
    Rule::arranged("keep-state").check(|cluster, seed, rule| {
        let pipeline = Pipeline::with_input("kept", &cluster.straight(), |text| {
            with_commit_interval(&text, "4s")
        });
        pipeline.make_topic(&pipeline.processed(), &[]);
        let mut feed = Feed::new(&pipeline, events(seed, FEW));
        let environment = environment(&rule);
        let start = || pipeline.start_with("a", &cluster.straight(), &environment, &[]);
        let mut process = start();
        pipeline.await_input(&mut process, SOON);
        feed.send(FEW / 10);
        feed.flush();
        await_written(&pipeline);
        pipeline.fence("a");
        process.terminate();
        let log = process.log();
        assert!(log.contains("the last commit failed"), "{log}");
        let mut processes = [start()];
        feed.send(FEW / 10);
        feed.finish();
        pipeline.await_end(&mut processes, LIVENESS);
        processes[0].terminate();
        pipeline.differences(Promise::ExactlyOnce).count()
    });
}

/// A member whose heartbeat gets no answer loses its partitions with a transaction open. A broker
/// refuses what it would commit then, so what counts is whether it asks for it. With the rule goes the
/// check of the member's id, which it has lost as well.
#[test]
fn a_commit_of_partitions_that_are_lost_is_noticed() {
    Rule::arranged("commit-when-lost").check(|cluster, seed, rule| {
        let proxy = &cluster.proxies[0];
        let pipeline = Pipeline::with_input("lost", &cluster.straight(), |text| {
            // Nothing falls due before the session is over.
            with_late_commits(&without_windows(text))
        });
        let mut feed = Feed::new(&pipeline, events(seed, FEW));
        let mut process = pipeline.start_with("a", &proxy.brokers(), &environment(&rule), &[]);
        pipeline.await_input(&mut process, SOON);
        let heartbeats = proxy.arm(Cut::Slow { api: api::HEARTBEAT, after: LONGER_THAN_A_SESSION });
        heartbeats.await_cut(SOON);
        let asked = proxy.seen(api::TXN_OFFSET_COMMIT);
        feed.send(FEW / 10);
        feed.flush();
        process.await_log("going back to what is committed", SOON);
        let asked = proxy.seen(api::TXN_OFFSET_COMMIT) - asked;
        feed.finish();
        let mut processes = [process];
        pipeline.await_end(&mut processes, LIVENESS);
        processes[0].terminate();
        assert_eq!(pipeline.record_differences(Promise::ExactlyOnce).count(), 0);
        asked
    });
}

/// Waits until outputs are written that are not committed, and no more come.
fn await_written(pipeline: &Pipeline) {
    let written = || count_uncommitted(&pipeline.settings(), &pipeline.processed());
    let (end, mut before) = (Instant::now() + SOON, 0);
    loop {
        let now = written();
        if now > 0 && now == before {
            return;
        }
        before = now;
        assert!(Instant::now() < end, "nothing is written");
        thread::sleep(Duration::from_millis(200));
    }
}

fn with_commit_interval(text: &str, interval: &str) -> String {
    let shipped = "commit-interval = \"200ms\"";
    assert!(text.contains(shipped));
    text.replace(shipped, &format!("commit-interval = \"{interval}\""))
}

/// With commits that are later than the end of a session.
fn with_late_commits(text: &str) -> String {
    with_commit_interval(text, "8s")
        .replace("transaction-timeout = \"10s\"", "transaction-timeout = \"20s\"")
}

/// A member whose session runs out while it rejoins keeps its partitions under another id, behind a
/// broker that gives it one at once: others have them by now, and what it has in hand is theirs.
///
/// Brokers since 2.2 want the new id to be asked for (KIP-394), whereupon librdkafka gives everything
/// up; so the proxy stands for an older one. Static members, which need no such id, came to the same in
/// two of five runs with other faults.
#[test]
fn a_member_that_is_not_checked_is_noticed() {
    Rule::arranged("no-member-check").check(|cluster, seed, rule| {
        let (proxy, straight) = (&cluster.proxies[0], cluster.straight());
        proxy.limit(api::JOIN_GROUP, BEFORE_KIP_394);
        let pipeline = Pipeline::with_input("member", &straight, |text| {
            // No commit falls due, and fails, between the end of the session and the new id.
            with_late_commits(&without_windows(text))
        });
        let mut feed = Feed::new(&pipeline, events(seed, 12 * PACE));
        let environment = environment(&rule);
        let start = |name: &str, brokers: &str| {
            let mut process = pipeline.start_with(name, brokers, &environment, &[]);
            process.await_log("running", SOON);
            process
        };
        let mut first = start("first", &proxy.brokers());
        pipeline.await_input(&mut first, SOON);
        let mut processes = thread::scope(|scope| {
            scope.spawn(|| feed.pace(0..12 * PACE, PACE, |_| true));
            let joins = Cut::Slow { api: api::JOIN_GROUP, after: LONGER_THAN_A_SESSION };
            let joins = proxy.arm(joins);
            let second = start("second", &straight);
            joins.await_cut(SOON);
            [first, second]
        });
        feed.finish();
        pipeline.await_end(&mut processes, LIVENESS);
        processes.iter_mut().for_each(|process| process.terminate());
        if rule.is_none() {
            let seen = pipeline.logged(&["first"], "another member of the group now");
            assert!(seen > 0, "it has no other id: {}", processes[0].log_tail());
        }
        pipeline.record_differences(Promise::ExactlyOnce).count()
    });
}

/// The newest JoinGroup of brokers before 2.2.
const BEFORE_KIP_394: i16 = 3;
/// Sessions are of 3 s.
const LONGER_THAN_A_SESSION: Duration = Duration::from_secs(5);
