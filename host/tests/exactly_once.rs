//! Two processes of one group on a real broker, with everything going wrong on the way: what comes
//! out must be what an exact simulation of the input says. And the same with one rule of delivery
//! switched off, which must show.
//!
//! A longer run: `EXACTLY_ONCE_SEEDS=20 EXACTLY_ONCE_EVENTS=1000000 cargo test --test
//! exactly_once -- --nocapture`; `EXACTLY_ONCE_FIRST` is its first seed.

#![allow(clippy::print_stdout, reason = "each seed says in a line what was done and found")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::{Mix, Spec};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::pipeline::{Feed, PARTITIONS, Pipeline, event, key_for};
use support::process::Process;
use support::proxy::{Fault as Cut, Proxy, api};
use support::{SOON, mix};

/// What becomes of a run after the last fault: takeovers, restores, a broker that is still warming up.
const LIVENESS: Duration = Duration::from_secs(120);
/// Events a second of the wall clock; slow enough for the faults to come while they flow.
const PACE: u64 = 5_000;
/// Events for one round of faults.
const ROUND: u64 = 200_000;
/// Events a second of event time: some windows a run.
const EVENT_RATE: u32 = 500;

/// The tests of this file need the whole machine, one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that the next could stumble over.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broker_behind_proxy() -> (Broker, Proxy) {
    let proxy = Proxy::bind();
    let broker = Broker::start(&Options { proxies: vec![proxy.port()], ..Options::default() });
    proxy.forward_to(broker.proxied(0));
    (broker, proxy)
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().expect("a number in the environment") }
}

/// Events with everything that a pipeline has to put up with.
fn events(seed: u64, count: u64) -> Spec {
    let mix = Mix { missing: 0.01, malformed: 0.01, duplicates: 0.005, ..mix() };
    let lasts_ms = (count * 1_000 / u64::from(EVENT_RATE)) as i64;
    let start_ms = Utc::now().timestamp_millis() - lasts_ms;
    Spec { seed, start_ms, rate: EVENT_RATE, mix, ..Spec::default() }
}

/// What happens to a run. A process is that of this number.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// kill -9, then started again.
    Kill(usize),
    /// SIGTERM, which must end it in time with exit code 0, then started again.
    Terminate(usize),
    /// SIGSTOP for longer than its session lasts: it wakes up as a zombie.
    Pause(usize),
    /// Another producer takes its transactional id over.
    Fence(usize),
    /// kill -9 of the only broker, then started again.
    Broker,
    /// Both processes get rules of another hash and the same behaviour.
    Swap,
    /// A plugin's file is half-written for a while.
    HalfWritten,
    /// The next such request of the second process loses its reply, or is executed seconds after
    /// its connection was cut.
    Cut(Cut),
}

const STOPPED: Duration = Duration::from_secs(8);
const INSTANCES: [&str; 2] = ["a", "b"];

/// What is cut off: requests that are sent again when nobody knows whether they were executed.
const CUT: [i16; 4] =
    [api::PRODUCE, api::TXN_OFFSET_COMMIT, api::END_TXN, api::ADD_PARTITIONS_TO_TXN];

/// The faults of a run, in their order: each kind at least once a round.
fn plan(random: &mut ChaCha8Rng, rounds: u64) -> Vec<Fault> {
    let mut plan = Vec::new();
    for number in 0..rounds as usize {
        let one = random.next_u32() as usize % 2;
        let mut round = vec![
            Fault::Kill(0),
            Fault::Kill(1),
            Fault::Terminate(one),
            Fault::Pause(1 - one),
            Fault::Fence(number % 2),
            Fault::Broker,
            Fault::Swap,
            Fault::Swap,
            Fault::Swap,
            Fault::HalfWritten,
        ];
        for _ in 0..3 {
            let api = CUT[random.next_u32() as usize % CUT.len()];
            let after = Duration::from_millis(u64::from(500 + random.next_u32() % 4_000));
            round.push(Fault::Cut(Cut::LoseReply { api }));
            round.push(Fault::Cut(Cut::Late { api, after }));
        }
        for place in (1..round.len()).rev() {
            round.swap(place, random.next_u32() as usize % (place + 1));
        }
        plan.append(&mut round);
    }
    plan
}

/// How many of each kind.
fn kinds(plan: &[Fault]) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for fault in plan {
        let kind = match fault {
            Fault::Kill(_) => "kill -9",
            Fault::Terminate(_) => "SIGTERM",
            Fault::Pause(_) => "SIGSTOP of 8 s",
            Fault::Fence(_) => "fenced",
            Fault::Broker => "broker killed",
            Fault::Swap => "swap",
            Fault::HalfWritten => "file half-written",
            Fault::Cut(Cut::LoseReply { .. }) => "reply lost",
            Fault::Cut(Cut::Late { .. }) => "request late",
            Fault::Cut(Cut::Slow { .. }) => "request slow",
        };
        *counts.entry(kind).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    counts.join(", ")
}

/// Two processes on their pipeline.
struct Run<'a> {
    broker: &'a Broker,
    proxy: &'a Proxy,
    pipeline: &'a Pipeline,
    processes: Vec<Process>,
}

impl Run<'_> {
    fn start(&self, number: usize) -> Process {
        let proxied = self.proxy.brokers();
        let brokers = if number == 0 { &self.broker.brokers() } else { &proxied };
        self.pipeline.start_with(INSTANCES[number], brokers, &[], &[])
    }

    fn apply(&mut self, fault: Fault, random: &mut ChaCha8Rng) {
        self.processes.iter_mut().for_each(Process::assert_runs);
        match fault {
            Fault::Kill(number) => {
                self.processes[number].kill();
                wait(random, 0..1_500);
                self.processes[number] = self.start(number);
            }
            Fault::Terminate(number) => {
                self.processes[number].terminate();
                self.processes[number] = self.start(number);
            }
            Fault::Pause(number) => {
                self.processes[number].pause();
                thread::sleep(STOPPED);
                self.processes[number].resume();
            }
            Fault::Fence(number) => self.pipeline.fence(INSTANCES[number]),
            Fault::Broker => {
                self.broker.kill(0);
                wait(random, 0..1_500);
                self.broker.restart(0);
            }
            Fault::Swap => self.pipeline.edit(|text| {
                let (short, long) = ("call = \"100ms\"", "call = \"200ms\"");
                let (from, to) = if text.contains(short) { (short, long) } else { (long, short) };
                assert!(text.contains(from));
                text.replace(from, to)
            }),
            Fault::HalfWritten => {
                let path = self.pipeline.plugins().join("filter.wasm");
                let whole = fs::read(&path).unwrap();
                fs::write(&path, &whole[..whole.len() / 2]).unwrap();
                wait(random, 0..2_000);
                fs::write(&path, whole).unwrap();
            }
            // It strikes when such a request comes, which may be in the middle of the next fault.
            Fault::Cut(cut) => drop(self.proxy.arm(cut)),
        }
    }
}

/// The moment of a fault is up to the seed.
fn wait(random: &mut ChaCha8Rng, millis: std::ops::Range<u64>) {
    let span = millis.end - millis.start;
    thread::sleep(Duration::from_millis(millis.start + u64::from(random.next_u32()) % span));
}

fn run_seed(broker: &Broker, proxy: &Proxy, seed: u64, count: u64) {
    let started = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let pipeline = Pipeline::with_input("faults", &broker.brokers(), |text| text);
    let mut run = Run { broker, proxy, pipeline: &pipeline, processes: Vec::new() };
    run.processes = vec![run.start(0), run.start(1)];
    let mut feed = Feed::new(&pipeline, events(seed, count));
    let plan = plan(&mut random, count.div_ceil(ROUND));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // The last events wait for the last fault, so that none comes to a run that is done.
            let held_back = count / 20;
            let first = count - held_back;
            feed.pace(0..first, PACE, |_| true);
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            feed.pace(first..count, PACE, |_| true);
            feed.finish();
        });
        let faults = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run.processes.iter_mut().for_each(|one| one.await_log("partitions taken over", SOON));
            for fault in &plan {
                wait(&mut random, 500..3_000);
                run.apply(*fault, &mut random);
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(failure) = faults {
            std::panic::resume_unwind(failure);
        }
    });
    pipeline.await_end(&mut run.processes, LIVENESS);
    run.processes.iter_mut().for_each(Process::terminate);
    let differences = pipeline.differences(Promise::ExactlyOnce);
    println!(
        "seed {seed}: {} records, {} s, {}: {} recoveries, {} takeovers, {} rewinds, \
         {} generations taken, {} differences (lost, repeated, out of order, windows)",
        feed.sent(),
        started.elapsed().as_secs(),
        kinds(&plan),
        pipeline.logged(&INSTANCES, "going back to what is committed"),
        pipeline.logged(&INSTANCES, "partitions taken over"),
        pipeline.logged(&INSTANCES, "rewound to what is committed"),
        pipeline.logged(&INSTANCES, "every worker runs these rules"),
        differences.count(),
    );
    if differences.count() > 0 {
        println!("its faults: {plan:?}");
    }
    differences.assert_none();
}

#[test]
fn nothing_is_lost_or_repeated_whatever_goes_wrong() {
    let _alone = alone();
    let (broker, proxy) = broker_behind_proxy();
    let first = number("EXACTLY_ONCE_FIRST", 1);
    for seed in first..first + number("EXACTLY_ONCE_SEEDS", 3) {
        run_seed(&broker, &proxy, seed, number("EXACTLY_ONCE_EVENTS", ROUND));
    }
}

/// A rule that is switched off in a process, if any.
type Rule = Option<&'static str>;

fn environment(rule: &Rule) -> Vec<(&'static str, &'static str)> {
    rule.iter().map(|rule| ("HOST_TEST_CONTROL", *rule)).collect()
}

/// Holds a scenario against the simulation: with the rule off it must show, and else not.
fn check_control(rule: &'static str, scenario: impl Fn(&Broker, &Proxy, Rule) -> u64) {
    let _alone = alone();
    let (broker, proxy) = broker_behind_proxy();
    let (right, wrong) = (scenario(&broker, &proxy, None), scenario(&broker, &proxy, Some(rule)));
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
