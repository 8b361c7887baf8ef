//! How long a partition stands still whose process ends, with nothing else going wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::spec;
use crate::support::SOON;
use crate::support::broker::{Broker, Options};
use crate::support::feed::Feed;
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;

const PARTITIONS: i32 = 8;
/// Events a second, over all partitions.
const PACE: u64 = 4_000;
/// How often commits are looked for.
const LOOK: Duration = Duration::from_millis(20);
const NAMES: [&str; 2] = ["a", "b"];
const WAYS: [&str; 2] = ["kill -9", "SIGTERM"];

/// Two processes of two workers; one of them ends, and is started again at once.
pub fn recovery(rounds: usize) {
    let broker = Broker::start(&Options::default());
    let pipeline =
        Pipeline::with_partitions("recovery", &broker.brokers(), PARTITIONS, |text| text);
    let start = |name: &str| pipeline.start(name, &["--workers", "2"]);
    let mut processes = NAMES.map(start);
    let mut feed = Feed::new(&pipeline, spec(Utc::now().timestamp_millis()));
    let is_over = AtomicBool::new(false);
    let mut times: [Vec<f64>; 2] = Default::default();
    thread::scope(|scope| {
        let over = &is_over;
        scope.spawn(|| feed.pace(0..u64::MAX, PACE, |_| !over.load(Ordering::Relaxed)));
        // However this ends, or the scope waits for the thread for ever.
        let _over = Until(over);
        for round in 0..2 * rounds.max(1) {
            let (way, one) = (round % 2, round / 2 % 2);
            let held = await_spread(&processes)[one].clone();
            let since = Instant::now();
            if WAYS[way] == "SIGTERM" {
                processes[one].terminate();
            } else {
                processes[one].kill();
            }
            // What is committed from here on is so by somebody else.
            let left = committed(&pipeline);
            processes[one] = start(NAMES[one]);
            times[way].extend(await_moved(&pipeline, &held, &left, since));
        }
    });
    processes.iter_mut().for_each(Process::terminate);
    println!(
        "| from the end of a process to the next commit of its partition | partitions | p50 | p99 |"
    );
    println!("|---|--:|--:|--:|");
    for (way, mut times) in WAYS.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("| {way} | {} | {:.1} s | {:.1} s |", times.len(), at(50), at(99));
    }
}

/// Says that it is over once it is dropped.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The partitions of each process, once all are held and each has some.
fn await_spread(processes: &[Process; 2]) -> [Vec<i32>; 2] {
    let end = Instant::now() + SOON;
    loop {
        let all = [0, 1].map(|one| partitions(&processes[one]));
        if all.iter().all(|one| !one.is_empty())
            && all.iter().map(Vec::len).sum::<usize>() == PARTITIONS as usize
        {
            return all;
        }
        assert!(Instant::now() < end, "the partitions are not spread: {all:?}");
        thread::sleep(LOOK);
    }
}

/// None of a process that has only just begun.
fn partitions(process: &Process) -> Vec<i32> {
    if !process.log().contains("admin=") {
        return Vec::new();
    }
    let Ok((200, status)) = process.try_ask("GET", "/api/v1/status", SOON) else {
        return Vec::new();
    };
    let workers = status["workers"].as_array().into_iter().flatten();
    let lags = workers.filter_map(|worker| worker["lag"].as_object());
    lags.flat_map(|lag| lag.keys()).filter_map(|key| key.parse().ok()).collect()
}

fn committed(pipeline: &Pipeline) -> BTreeMap<i32, i64> {
    let all = pipeline.progress().unwrap();
    all.into_iter().map(|(partition, (committed, _))| (partition, committed)).collect()
}

/// Seconds until each of these partitions is committed beyond where it was left.
fn await_moved(
    pipeline: &Pipeline,
    held: &[i32],
    left: &BTreeMap<i32, i64>,
    since: Instant,
) -> Vec<f64> {
    let mut standing = held.to_vec();
    let mut moved = Vec::new();
    while !standing.is_empty() {
        assert!(since.elapsed() < 2 * SOON, "{standing:?} stand still");
        thread::sleep(LOOK);
        let now = committed(pipeline);
        let took = since.elapsed().as_secs_f64();
        standing.retain(|partition| {
            let has_moved = now.get(partition) > left.get(partition);
            if has_moved {
                moved.push(took);
            }
            !has_moved
        });
    }
    moved
}
