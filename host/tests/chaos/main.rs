//! Chaos: processes of one group on real Apache Kafka, everything going wrong on the way, and what
//! comes out held against an exact simulation of the input. And the same with one rule of delivery
//! switched off, which must show ([`controls`]).
//!
//! `cargo test --test chaos` is the short run. The long one:
//! `CHAOS_SEEDS=50 CHAOS_EVENTS=500000 CHAOS_FIRST=1 cargo test --test chaos chaos_ -- --nocapture`;
//! `CHAOS_EVENTS` is how many events a seed has at least, which says how long its faults last. What
//! processes logged, and the topics of a seed that failed, stay in the folder `CHAOS_LOGS`.
//!
//! # Which test holds which rule of delivery
//!
//! The numbers are those that the host's comments use. What is not named here is held by the chaos run alone.
//!
//! | rule | test |
//! |---|---|
//! | 1 producer after a failed transaction | `kafka_write`: `a_producer_used_again_after_an_abort_loses_what_it_committed` and its counterpart |
//! | 2 member id | [`controls`], `a_member_that_is_not_checked_is_noticed`; `worker::tests`: `a_last_commit_that_fails_is_not_called_committed` |
//! | 3, 4, 6 calls of the crates | `rooms`: `what_delivery_must_not_call_is_not_called` |
//! | 5 queued messages and rebalances | `kafka_read`: `nothing_is_lost_repeated_or_reordered_by_rebalance_seek_and_revoke_with_messages_queued` |
//! | 7 unanswered events | `kafka_read`: `dropping_a_consumer_whose_event_nobody_answered_ends` |
//! | 8 offsets in the transaction | [`controls`], `offsets_outside_the_transaction_are_noticed`; `kafka_write`: `a_broker_before_2_5_is_refused_for_exactly_once` |
//! | 9 retried requests | [`controls`], `a_producer_kept_after_a_slow_commit_is_noticed`; `kafka_write`: `a_commit_that_held_a_retry_is_known_by_its_time` |
//! | 10 stable transactional ids | `kafka_write`: `committed_records_are_seen_and_aborted_ones_are_not`; that they are the instance's: `Pipeline::fence`, without which two of the [`controls`] find nothing |
//! | 11 settings | `kafka::settings`: `what_delivery_depends_on_cannot_be_changed`; `kafka_write`: `records_lie_where_java_clients_put_them` |
//! | 12 offsets that are gone | `kafka_read`: `an_offset_that_is_not_there_is_an_error_and_not_a_jump`; `expired` |
//! | 13 state after a failed commit | [`controls`], `a_failed_transaction_that_is_not_read_again_is_noticed` and `state_kept_after_a_failed_last_commit_is_noticed` |
//! | 14 every wait ends | `poison`: `sigterm_ends_the_process_also_when_the_broker_is_gone`; `kafka_write`: `offsets_without_an_answer_take_no_longer_than_they_may`; `watchdog`: `a_worker_that_hangs_ends_its_process_and_nothing_of_it_counts` |
//! | 15 commit timer | [`controls`], `a_commit_that_waits_for_an_output_is_noticed` |
//! | 16 batch in hand | `rooms`: `the_group_is_answered_between_batches_only` |
//! | 17 a broker's end with replicas | `cluster`: `nothing_is_lost_or_repeated_while_brokers_are_restarted_one_after_the_other` |
//! | restore not bounded by the last stable offset | `kafka_read`: `a_restore_waits_for_open_transactions_and_reads_past_their_markers` |
//! | committed offset waits for the predecessor | `kafka_read`: `committed_offsets_wait_for_the_transaction_that_moves_them` |
//!
//! A partition that is not caught up is never idle: `worker::idle`'s own test.

#![allow(clippy::print_stdout, reason = "each seed says in a line what was done and found")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod cluster;
mod controls;
mod disk;
mod fault;
mod instance;
mod least;
#[path = "../plugin_support/mod.rs"]
mod plugin_support;
mod reader;
mod recovery;
mod report;
mod run;
mod setting;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use cluster::Cluster;
use reader::Reader;
use recovery::Times;
use report::{Outcome, Totals};
use run::Run;
use setting::{MORE_WINDOWS, PACE, PROCESSES_MAX, Setting, events, number, with_more_windows};
use support::comparison::{Differences, Promise};
use support::feed::Feed;
use support::open::{Open, compare_open};
use support::pipeline::Pipeline;
use support::process::{Process, STOP_MAX};
use support::{Read, count_uncommitted, read_topic};

/// From the last fault to everything committed and merged: takeovers, restores, a broker that is still
/// warming up, and what waited meanwhile.
const LIVENESS: Duration = Duration::from_secs(120);
/// Events of a seed of the short run.
const EVENTS: u64 = 36_000;
/// Events that come after the last fault, so that none comes to a run that is done.
const AFTERWARDS: u64 = 2_000;
/// For a reader that is a little behind.
const BEHIND: Duration = Duration::from_secs(30);

/// The tests of this file need the whole machine, one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that the next could stumble over.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn chaos_nothing_is_lost_or_repeated_whatever_goes_wrong() {
    let _alone = alone();
    let (first, events) = (number("CHAOS_FIRST", 1), number("CHAOS_EVENTS", EVENTS));
    let (mut totals, mut failed) = (Totals::default(), Vec::new());
    for seed in first..first + number("CHAOS_SEEDS", 4) {
        // The other seeds of a long run are worth their time all the same.
        match catch_unwind(|| run_seed(seed, events)) {
            Ok(outcome) if outcome.differences.count() == 0 => totals.add(outcome),
            Ok(outcome) => {
                failed.push(seed);
                totals.add(outcome);
            }
            Err(_) => failed.push(seed),
        }
    }
    println!("{}", totals.tables());
    assert!(failed.is_empty(), "seeds {failed:?} failed, see above");
}

fn run_seed(seed: u64, sent: u64) -> Outcome {
    let started = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let setting = Setting::draw(seed, &mut random);
    println!("seed {seed} begins: {setting}");
    let cluster = Cluster::start(setting.brokers);
    let brokers = cluster.straight();
    let change = |text: String| with_more_windows(&text);
    let mut pipeline = Pipeline::with_partitions("chaos", &brokers, setting.partitions, change);
    pipeline.windows.extend(MORE_WINDOWS);
    pipeline.make_topic(&pipeline.processed(), &[]);
    for window in &pipeline.windows {
        pipeline.make_topic(&pipeline.results_of(window), &[]);
    }
    let logs = Logs { seed, cluster: &cluster, pipeline: &pipeline, is_exact: Cell::new(false) };
    let reader = Reader::start(&pipeline, pipeline.processed());
    let of_results: Vec<Reader> = pipeline
        .windows
        .iter()
        .map(|window| Reader::start(&pipeline, pipeline.results_of(window)))
        .collect();
    let mut run = Run::start(&cluster, &pipeline, &setting, random);
    let mut feed = Feed::new(&pipeline, events(seed, sent));
    under_load(&mut feed, || run.drive(Instant::now() + Duration::from_secs(sent / PACE)));
    let (mut processes, past) = run.into_processes();
    pipeline.await_end(&mut processes, LIVENESS.saturating_sub(past.mended.elapsed()));
    let drained = past.mended.elapsed();
    let open = pipeline.open_differences();
    feed.finish();
    pipeline.await_end(&mut processes, LIVENESS);
    processes.iter_mut().for_each(Process::terminate);
    assert!(past.slowest_stop <= STOP_MAX, "SIGTERM to the end: {:?}", past.slowest_stop);
    let mut differences = pipeline.differences(Promise::ExactlyOnce);
    differences.append(open);
    let mut results = 0;
    for (window, reader) in pipeline.windows.iter().zip(of_results) {
        let there = records(&pipeline, &pipeline.results_of(window));
        results += count(&there);
        reader.compare(&there, BEHIND, &mut differences);
    }
    let there = records(&pipeline, &pipeline.processed());
    let seen = reader.compare(&there, BEHIND, &mut differences);
    let written = count_uncommitted(&pipeline.settings(), &pipeline.processed());
    let names = names();
    let outcome = Outcome {
        records: feed.sent(),
        results,
        took: started.elapsed(),
        drained,
        faults: past.counts,
        recoveries: pipeline.logged(
            &names.iter().map(String::as_str).collect::<Vec<_>>(),
            "going back to what is committed",
        ),
        aborted_records: written.saturating_sub(count(&there)),
        ended: past.ended,
        slowest_stop: past.slowest_stop,
        times: Times::of(&past.struck, &seen),
        differences,
        setting,
    };
    println!("{}", outcome.line(seed));
    logs.is_exact.set(outcome.differences.count() == 0);
    if outcome.differences.count() > 0 {
        println!("differences:\n{}", outcome.differences.told().join("\n"));
    }
    outcome
}

/// Keeps what a run leaves in the folder `CHAOS_LOGS` for whoever looks for the cause of something: the
/// logs of the processes however it ends, and of one that failed all that the brokers have.
struct Logs<'a> {
    seed: u64,
    cluster: &'a Cluster,
    pipeline: &'a Pipeline,
    is_exact: Cell<bool>,
}

impl Drop for Logs<'_> {
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os("CHAOS_LOGS").map(PathBuf::from) else { return };
        fs::create_dir_all(&folder).unwrap();
        for name in names() {
            // A process that was never started has none.
            let to = folder.join(format!("{}-{name}.log", self.seed));
            let _ = fs::copy(self.pipeline.log_of(&name), to);
        }
        // Of a process that crashed, if the system writes it there.
        let core = self.pipeline.plugins().with_file_name("core");
        let _ = fs::copy(core, folder.join(format!("{}.core", self.seed)));
        if !self.is_exact.get() {
            let given_up = self.cluster.broker.logged("likely deleted already");
            println!("partitions that brokers took for deleted (delivery rule 17): {given_up:#?}");
            self.cluster.broker.keep(&folder.join(format!("{}-brokers", self.seed)));
        }
    }
}

/// Of all instances that a run can have.
fn names() -> Vec<String> {
    (0..PROCESSES_MAX).map(instance::name).collect()
}

/// Sends events for as long as `run` takes, then some more.
fn under_load(feed: &mut Feed, run: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            feed.pace(0..u64::MAX, PACE, |_| !over.load(Ordering::Relaxed));
            feed.pace(0..AFTERWARDS, PACE, |_| true);
            feed.flush();
        });
        let ran = catch_unwind(AssertUnwindSafe(run));
        over.store(true, Ordering::Relaxed);
        if let Err(failure) = ran {
            resume_unwind(failure);
        }
    });
}

fn count(records: &BTreeMap<i32, Vec<Read>>) -> u64 {
    records.values().map(|of_partition| of_partition.len() as u64).sum()
}

fn records(pipeline: &Pipeline, topic: &str) -> BTreeMap<i32, Vec<Read>> {
    read_topic(&pipeline.settings(), topic, pipeline.partitions)
}

#[test]
fn an_open_window_that_is_not_as_its_records_say_is_told() {
    let open = |all: &[(i64, &str, u64)]| {
        let mut open = Open::new();
        for (start, group, count) in all {
            open.entry(*start).or_default().insert((*group).to_owned(), *count);
        }
        open
    };
    let differences = |shown: &[(i64, &str, u64)]| {
        let mut differences = Differences::default();
        compare_open(&open(&[(0, "a", 1), (0, "b", 2)]), &open(shown), &mut differences);
        differences.count()
    };
    assert_eq!(differences(&[(0, "a", 1), (0, "b", 2)]), 0);
    assert_eq!(differences(&[(0, "a", 1)]), 1);
    assert_eq!(differences(&[]), 1);
    assert_eq!(differences(&[(0, "a", 1), (0, "b", 2), (60_000, "a", 1)]), 1);
}
