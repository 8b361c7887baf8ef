//! Three brokers with three replicas of everything: what one broker's shutdown must not do.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::Spec;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::process::Process;
use support::{SOON, mix};

/// From the last fault to everything committed.
const LIVENESS: Duration = Duration::from_secs(60);
const BROKERS: usize = 3;
/// Events a second of the wall clock.
const PACE: u64 = 1_000;
/// The brokers are asked that often.
const LOOK: Duration = Duration::from_millis(100);

/// The cluster, for one test at a time; all brokers run.
fn cluster() -> MutexGuard<'static, Broker> {
    static CLUSTER: OnceLock<Mutex<Broker>> = OnceLock::new();
    let options = Options { brokers: BROKERS, ..Options::default() };
    let cluster = CLUSTER.get_or_init(|| Mutex::new(Broker::start(&options)));
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Event time passes five times as fast as the wall clock.
fn events(seed: u64) -> Spec {
    let start_ms = Utc::now().timestamp_millis() - 600_000;
    Spec { seed, start_ms, rate: (PACE / 5) as u32, mix: mix(), ..Spec::default() }
}

/// A partition: topic, number, replicas, and how many of them are in sync.
type Partition = (String, i32, usize, usize);

/// Every partition of every topic; none where no broker answers.
fn replicas(broker: &Broker) -> Option<Vec<Partition>> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.brokers())
        .set("log_level", "0")
        .create()
        .unwrap();
    // A broker that is just coming back answers the next time.
    let metadata = client.fetch_metadata(None, SOON).ok()?;
    let topics = metadata.topics().iter().flat_map(|topic| {
        let name = topic.name();
        topic.partitions().iter().map(move |partition| {
            let in_sync = partition.isr().len();
            (name.to_owned(), partition.id(), partition.replicas().len(), in_sync)
        })
    });
    Some(topics.collect())
}

/// What an operator waits for before he stops the next broker.
fn await_in_sync(broker: &Broker) {
    let end = Instant::now() + LIVENESS;
    loop {
        let all = replicas(broker);
        let is_in_sync =
            |all: &Vec<Partition>| all.iter().all(|(_, _, replicas, in_sync)| in_sync == replicas);
        if all.as_ref().is_some_and(is_in_sync) {
            return;
        }
        assert!(Instant::now() < end, "not in sync: {all:?}");
        thread::sleep(LOOK);
    }
}

/// Waits until more is committed than now.
fn await_commit(pipeline: &Pipeline, process: &mut Process) {
    let committed = || {
        let progress = pipeline.progress();
        progress.map(|all| all.values().map(|(committed, _)| *committed).sum::<i64>())
    };
    let end = Instant::now() + LIVENESS;
    let mut before = None;
    loop {
        if let Ok(now) = committed()
            && now > *before.get_or_insert(now)
        {
            return;
        }
        process.assert_runs();
        assert!(Instant::now() < end, "nothing is committed: {}", process.log_tail());
        thread::sleep(LOOK);
    }
}

#[test]
fn nothing_is_lost_or_repeated_while_brokers_are_restarted_one_after_the_other() {
    let broker = cluster();
    let pipeline = Pipeline::with_input("rolling", &broker.brokers(), |text| text);
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    let mut feed = Feed::new(&pipeline, events(1));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| feed.pace(0..u64::MAX, PACE, |_| !over.load(Ordering::Relaxed)));
        let restarts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for node in 0..BROKERS {
                await_in_sync(&broker);
                await_commit(&pipeline, &mut process);
                broker.stop(node);
                await_commit(&pipeline, &mut process);
                broker.restart(node);
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(failure) = restarts {
            std::panic::resume_unwind(failure);
        }
    });
    feed.finish();
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let log = processes[0].log();
    let recoveries = log.lines().filter(|line| line.contains("going back to what is committed"));
    println!("{} records, {:#?}", feed.sent(), recoveries.collect::<Vec<_>>());
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}

/// `replication = -1` is the brokers' default.
#[test]
fn topics_that_the_host_makes_have_the_brokers_replicas() {
    let broker = cluster();
    let pipeline = Pipeline::new("replicas", &broker.brokers(), |text| text);
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    process.terminate();
    let mut of_topics = replicas(&broker).unwrap();
    of_topics.retain(|(topic, ..)| topic.contains(&pipeline.name));
    let state = pipeline.state();
    assert!(of_topics.iter().any(|(topic, ..)| *topic == state), "{of_topics:?}");
    assert!(of_topics.iter().all(|(_, _, replicas, _)| *replicas == BROKERS), "{of_topics:?}");
}

#[test]
fn a_start_while_a_broker_is_down_and_a_dead_address_comes_first_works() {
    let broker = cluster();
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let dead = free.local_addr().unwrap();
    drop(free);
    await_in_sync(&broker);
    broker.stop(0);
    let pipeline = Pipeline::new("down", &broker.brokers(), |text| text);
    let addresses = format!("{dead},{}", broker.brokers());
    let mut processes = [pipeline.start_with("a", &addresses, &[], &[])];
    pipeline.await_input(&mut processes[0], LIVENESS);
    let mut feed = Feed::new(&pipeline, events(2));
    feed.send(5_000);
    feed.finish();
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    broker.restart(0);
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}
