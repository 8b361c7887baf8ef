//! Rules that change in a running pipeline: nothing lost, repeated or out of order, each record by
//! one generation, and what is broken gone back from.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::Spec;
use plugin_support::{ANSWER, component, rule_core, trapping};
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::pipeline::{Feed, PARTITIONS, Pipeline, event, key_for};
use support::process::Process;
use support::{Read, SOON, mix, read_topic};

const LIVENESS: Duration = Duration::from_secs(60);
/// After so long the group takes a silent member's partitions away.
const SESSION: Duration = Duration::from_secs(3);
/// A rule that never answers.
const LOOP: &str = "(loop (br 0)) unreachable";

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(&Options::default()))
}

/// All events pass, each with a category that says under which settings; outputs are stamped.
fn pipeline(name: &str, change: impl FnOnce(String) -> String) -> Pipeline {
    Pipeline::with_input(name, &broker().brokers(), |text| {
        let conditions = r#"[{ field = "/device_type", equals = "android", ignore-case = true }]"#;
        let text = replace(&text, conditions, r#"[{ field = "/n", present = true }]"#);
        let text = replace(&text, "stamp = false", "stamp = true");
        let settings = "plugin = \"categorize\"\n[stage.settings]\nfallback = \"one\"\nmap = {}\n";
        change(replace(&text, "plugin = \"categorize\"\n", settings))
    })
}

#[track_caller]
fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    text.replacen(from, to, 1)
}

/// Numbered events into each partition.
struct Numbered {
    feed: Feed,
    next: u64,
    keys: Vec<String>,
    /// Whether their timestamps are no times.
    malformed: bool,
}

impl Numbered {
    fn new(pipeline: &Pipeline) -> Self {
        let keys = (0..PARTITIONS).map(key_for).collect();
        Self { feed: Feed::new(pipeline, Spec::default()), next: 0, keys, malformed: false }
    }

    /// The next number, to every partition.
    fn send(&mut self, device_type: &str) {
        let now = Utc::now().timestamp_millis();
        let mut text = format!(r#"{{"n":{},{}"#, self.next, &event(device_type, now)[1..]);
        if self.malformed {
            text = text.replace("\"timestamp\":", "\"timestamp\":\"soon\",\"time\":");
        }
        for (partition, key) in (0..).zip(&self.keys) {
            self.feed.send_one(partition, Some(key.as_bytes()), text.as_bytes(), now);
        }
        self.next += 1;
    }

    fn send_many(&mut self, device_type: &str, count: u64) {
        (0..count).for_each(|_| self.send(device_type));
        self.feed.flush();
    }

    /// At a steady pace until it is told to end.
    fn pace(&mut self, every: Duration, end: &AtomicBool) {
        while !end.load(Ordering::Relaxed) {
            self.send("android");
            std::thread::sleep(every);
        }
        self.feed.flush();
    }
}

/// An output: its number, its category, and who made it.
struct Out {
    number: u64,
    category: String,
    generation: u64,
    hash: String,
}

fn outputs(pipeline: &Pipeline) -> BTreeMap<i32, Vec<Out>> {
    let records = read_topic(&pipeline.settings(), &pipeline.processed(), PARTITIONS);
    let out = |record: Read| {
        let event: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
        let stamp = record.headers.iter().find(|(name, _)| name == "pipeline-generation");
        let stamp = String::from_utf8(stamp.expect("a stamp").1.clone().unwrap()).unwrap();
        let (generation, hash) = stamp.split_once(' ').unwrap();
        Out {
            number: event["n"].as_u64().unwrap(),
            category: event["device_category"].as_str().unwrap().to_owned(),
            generation: generation.parse().unwrap(),
            hash: hash.to_owned(),
        }
    };
    let partition = |(partition, records): (i32, Vec<Read>)| {
        (partition, records.into_iter().map(out).collect())
    };
    records.into_iter().map(partition).collect()
}

/// Every number once and in order in every partition, generations rising, and what each did as its
/// hash says. The generations that made something.
#[track_caller]
fn assert_exact(pipeline: &Pipeline, sent: u64) -> BTreeSet<u64> {
    let mut generations = BTreeSet::new();
    let mut categories: BTreeMap<String, String> = BTreeMap::new();
    for (partition, outs) in outputs(pipeline) {
        let numbers: Vec<u64> = outs.iter().map(|out| out.number).collect();
        assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "partition {partition}");
        let rising = outs.windows(2).all(|pair| pair[0].generation <= pair[1].generation);
        assert!(rising, "partition {partition} went back to an older generation");
        for out in outs {
            generations.insert(out.generation);
            let category = categories.entry(out.hash).or_insert_with(|| out.category.clone());
            assert_eq!(*category, out.category, "one hash, two behaviours");
        }
    }
    generations
}

/// Where its last life is asked.
fn admin(process: &Process) -> String {
    let log = process.log();
    log.rsplit("admin=").next().unwrap().split_whitespace().next().unwrap().to_owned()
}

/// `host plugin rollback` with the process to ask; exit code, and what it said.
fn rollback(pipeline: &Pipeline, process: &Process, more: &[&str]) -> (i32, String) {
    let address = admin(process);
    let arguments = ["plugin", "rollback", "--admin", &address];
    let output = pipeline.command(&[&arguments, more].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Asks the process; status and JSON.
fn ask(process: &Process, method: &str, path: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(admin(process)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn reload(process: &Process) -> (u16, serde_json::Value) {
    ask(process, "POST", "/api/v1/reload")
}

fn dead_letters(pipeline: &Pipeline) -> usize {
    let letters = read_topic(&pipeline.settings(), &pipeline.dead_letters(), PARTITIONS);
    letters.values().map(Vec::len).sum()
}

/// Runs something while events come in at a pace; how many there were.
fn under_load(pipeline: &Pipeline, every: Duration, run: impl FnOnce()) -> u64 {
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            let mut numbered = Numbered::new(pipeline);
            numbered.pace(every, &end);
            numbered.next
        });
        run();
        end.store(true, Ordering::Relaxed);
        feeding.join().unwrap()
    })
}

#[test]
fn a_saved_setting_takes_effect_in_the_running_process() {
    let pipeline = pipeline("setting", |text| {
        replace(&text, "probation-records = 10000", "probation-records = 200")
    });
    let mut process = pipeline.start("a", &["--workers", "2"]);
    process.await_log("partitions taken over", SOON);
    let sent = under_load(&pipeline, Duration::from_millis(2), || {
        // The first rules have something to show for themselves.
        pipeline.await_committed(&mut process, 500, SOON);
        let saved = Instant::now();
        pipeline.edit(|text| replace(&text, "fallback = \"one\"", "fallback = \"two\""));
        process.await_log("first record processed by generation 2", SOON);
        eprintln!("from the save to the first record: {:?}", saved.elapsed());
        process.await_log("the new rules have passed their probation", SOON);
    });
    let (status, body) = ask(&process, "GET", "/api/v1/status");
    assert_eq!((status, &body["generation"]), (200, &2.into()), "{body}");
    assert_eq!(body["last_reload"]["message"], "categorize: settings", "{body}");
    assert_eq!(body["on_probation"], false, "{body}");
    assert_eq!(body["last_reload"]["taken"], true, "{body}");
    let workers: Vec<_> = body["workers"].as_array().unwrap().iter().collect();
    assert!(workers.iter().all(|worker| worker["generation"] == 2), "{body}");
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(assert_exact(&pipeline, sent), BTreeSet::from([1, 2]));
    assert_eq!(dead_letters(&pipeline), 0);
}

/// Generations of the same behaviour: what comes out is what a run without swaps would give, late
/// records and windows included.
#[test]
fn windows_count_on_through_every_swap() {
    let pipeline = Pipeline::with_input("windows", &broker().brokers(), |text| text);
    let start_ms = Utc::now().timestamp_millis() - 200_000;
    let spec = Spec { seed: 7, start_ms, rate: 100, mix: mix(), ..Spec::default() };
    let mut feed = Feed::new(&pipeline, spec);
    // One of them gets no partition, takes every generation all the same, and says nothing of it.
    let workers = (PARTITIONS + 1).to_string();
    let mut process = pipeline.start("a", &["--workers", &workers]);
    process.await_log("partitions taken over", SOON);
    for swap in 0..10_u64 {
        feed.pace(swap * 2_000..(swap + 1) * 2_000, 10_000, |_| true);
        let limits = ["call = \"100ms\"", "call = \"200ms\""];
        let (from, to) = (limits[swap as usize % 2], limits[1 - swap as usize % 2]);
        pipeline.edit(|text| replace(&text, from, to));
        let (code, body) = reload(&process);
        assert_eq!((code, &body["generation"]), (200, &(swap + 2).into()), "{body}");
    }
    feed.finish();
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert!(!processes[0].log().contains("offsets=[]"), "{}", processes[0].log_tail());
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}

#[test]
fn what_is_broken_changes_nothing() {
    let pipeline = pipeline("broken", |text| text);
    let mut process = pipeline.start("a", &[]);
    process.await_log("partitions taken over", SOON);
    let filter = pipeline.plugins().join("filter.wasm");
    let good = fs::read(&filter).unwrap();
    let sent = under_load(&pipeline, Duration::from_millis(2), || {
        fs::write(&filter, &good[..good.len() / 2]).unwrap();
        process.await_log("half-written", SOON);
        assert_eq!(reload(&process).0, 422);
        fs::write(&filter, &good).unwrap();
        pipeline
            .edit(|text| replace(&text, "commit-interval = \"200ms\"", "commit-interval = \"1s\""));
        process.await_log("a change of [delivery] commit-interval needs a restart", SOON);
        assert_eq!(reload(&process).0, 409);
        pipeline
            .edit(|text| replace(&text, "commit-interval = \"1s\"", "commit-interval = \"200ms\""));
        let (code, body) = reload(&process);
        assert_eq!((code, &body["outcome"]), (200, &"unchanged".into()), "{body}");
        assert_eq!(body.get("taken"), None, "{body}");
        // Every record that was seen lately makes it fail.
        let stage = "[[stage]]\nplugin = \"own\"\n\n[[stage]]";
        pipeline.edit(|text| text.replacen("[[stage]]", stage, 1));
        for (evaluate, why) in [("unreachable", "trap"), (LOOP, "no answer within")] {
            let core = rule_core(ANSWER, evaluate, "", "");
            pipeline.add_plugin("own", &component("rule", &core));
            let (code, body) = reload(&process);
            let message = body["message"].as_str().unwrap();
            assert_eq!(code, 422, "{body}");
            assert!(message.starts_with("tried on the last "), "{message}");
            assert!(message.contains("own") && message.contains(why), "{message}");
        }
    });
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(assert_exact(&pipeline, sent), BTreeSet::from([1]));
    assert_eq!(dead_letters(&pipeline), 0);
}

#[test]
fn a_rollback_by_hand_is_a_new_generation_of_the_running_pipeline_and_of_the_next_start() {
    let pipeline = pipeline("hand", |text| text);
    let mut process = pipeline.start("a", &["--workers", "2"]);
    process.await_log("partitions taken over", SOON);
    let before = fs::read_to_string(pipeline.plugins().join("pipeline.toml")).unwrap();
    let sent = under_load(&pipeline, Duration::from_millis(2), || {
        pipeline.edit(|text| replace(&text, "fallback = \"one\"", "fallback = \"two\""));
        assert_eq!(reload(&process).1["generation"], 2);
        let (code, text) = rollback(&pipeline, &process, &[]);
        let taken = "every worker runs it as generation 3 (";
        assert!(
            code == 0 && text.contains("put back 1, ") && text.contains(taken),
            "{code} {text}"
        );
        assert_eq!(fs::read_to_string(pipeline.plugins().join("pipeline.toml")).unwrap(), before);
        // What a running pipeline cannot take is refused, with the reason.
        let interval = "commit-interval = \"200ms\"";
        pipeline.edit(|text| replace(&text, interval, "commit-interval = \"1s\""));
        let (code, text) = rollback(&pipeline, &process, &["2"]);
        assert!(code == 0 && text.contains("saved what the folder held as 4"), "{code} {text}");
        let (code, text) = rollback(&pipeline, &process, &["4"]);
        assert!(code == 1 && text.contains("commit-interval needs a restart"), "{code} {text}");
        let (code, text) = rollback(&pipeline, &process, &["3"]);
        assert!(code == 0 && text.contains("as generation 5 ("), "{code} {text}");
    });
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    let hash = ask(&processes[0], "GET", "/api/v1/status").1["hash"].clone();
    processes[0].terminate();
    assert_eq!(assert_exact(&pipeline, sent).last(), Some(&5));
    let mut processes = [pipeline.start("a", &[])];
    processes[0].await_in_log("a second life", |log| log.matches("admin=").count() == 2, SOON);
    assert_eq!(ask(&processes[0], "GET", "/api/v1/status").1["hash"], hash);
    processes[0].terminate();
}

/// A plugin that does well with what was seen so far, and traps on what comes next.
fn goes_back(name: &str, more: &[&str]) -> (Pipeline, u64) {
    let pipeline = pipeline(name, |text| {
        text.replacen("[[stage]]", "[[stage]]\nplugin = \"own\"\n\n[[stage]]", 1)
    });
    let keeps_all = component("rule", &rule_core(ANSWER, ANSWER, "", ""));
    pipeline.add_plugin("own", &keeps_all);
    let mut numbered = Numbered::new(&pipeline);
    let arguments: Vec<&str> = ["--workers", "2"].iter().chain(more).copied().collect();
    let mut processes = [pipeline.start("a", &arguments)];
    numbered.send_many("android", 500);
    pipeline.await_end(&mut processes, LIVENESS);
    pipeline.add_plugin("own", &trapping());
    processes[0].await_log("every worker runs these rules", SOON);
    numbered.send_many("android", 500);
    pipeline.await_end(&mut processes, LIVENESS);
    numbered.send_many("iOS", 500);
    processes[0].await_log("rolled back", SOON);
    pipeline.await_end(&mut processes, LIVENESS);
    let (code, body) = reload(&processes[0]);
    assert_eq!(code, 409, "{body}");
    assert!(body["message"].as_str().unwrap().contains("these files were given up"), "{body}");
    // By hand it is refused as well, and the folder comes back to what runs.
    let (code, text) = rollback(&pipeline, &processes[0], &["2"]);
    assert!(code == 1 && text.contains("generation 2 was given up: "), "{code} {text}");
    let (code, text) = rollback(&pipeline, &processes[0], &[]);
    assert!(
        code == 0 && text.contains("put back 3, ") && text.contains("already"),
        "{code} {text}"
    );
    assert_eq!(fs::read(pipeline.plugins().join("own.wasm")).unwrap(), keeps_all);
    // Another file ends that.
    let other = component("rule", &rule_core(ANSWER, ANSWER, "", "(data (i32.const 0) \"x\")"));
    pipeline.add_plugin("own", &other);
    let (code, body) = reload(&processes[0]);
    assert_eq!(
        (code, &body["generation"], &body["taken"]),
        (200, &4.into(), &true.into()),
        "{body}"
    );
    numbered.send_many("iOS", 100);
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    (pipeline, numbered.next)
}

#[test]
fn a_plugin_that_traps_after_its_trial_is_gone_back_from_and_nothing_of_it_is_visible() {
    let (pipeline, sent) = goes_back("back", &[]);
    assert_eq!(assert_exact(&pipeline, sent), BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(dead_letters(&pipeline), 0);
}

#[test]
fn at_least_once_nothing_of_a_broken_plugin_is_written_either() {
    let (pipeline, sent) = goes_back("back-least", &["--delivery", "at-least-once"]);
    for (partition, outs) in outputs(&pipeline) {
        let numbers: BTreeSet<u64> = outs.iter().map(|out| out.number).collect();
        assert_eq!(numbers, (0..sent).collect(), "partition {partition}");
    }
    assert_eq!(dead_letters(&pipeline), 0);
}

/// Settings under which good events pass as before, and then some that they reject. The dead letters.
fn rejecting(name: &str, environment: &[(&str, &str)]) -> usize {
    let pipeline = pipeline(name, |text| text);
    let mut numbered = Numbered::new(&pipeline);
    let brokers = broker().brokers();
    let mut processes = [pipeline.start_with("a", &brokers, environment, &["--workers", "2"])];
    numbered.send_many("android", 500);
    pipeline.await_end(&mut processes, LIVENESS);
    pipeline.edit(|text| {
        let stage = "plugin = \"timestamps\"\n";
        replace(&text, stage, &format!("{stage}[stage.settings]\nmalformed = \"reject\"\n"))
    });
    processes[0].await_log("every worker runs these rules", SOON);
    numbered.malformed = true;
    numbered.send_many("android", 50);
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let letters = dead_letters(&pipeline);
    if letters == 0 {
        assert_eq!(assert_exact(&pipeline, numbered.next), BTreeSet::from([1, 3]));
        let log = processes[0].log();
        assert!(log.contains("stage \"timestamps\" failed on or rejected "), "{log}");
    }
    letters
}

#[test]
fn a_transaction_of_which_too_much_is_rejected_is_not_committed() {
    assert_eq!(rejecting("reject", &[]), 0);
}

#[test]
fn without_the_look_before_a_commit_it_would_be_visible() {
    let letters = rejecting("reject-all", &[("HOST_TEST_CONTROL", "no-probation")]);
    assert_eq!(letters, 50 * PARTITIONS as usize);
}

#[test]
fn many_swaps_under_load_lose_repeat_and_reorder_nothing() {
    const SWAPS: u64 = 50;
    let pipeline = pipeline("many", |text| text);
    let mut process = pipeline.start("a", &["--workers", "2"]);
    process.await_log("partitions taken over", SOON);
    let sent = under_load(&pipeline, Duration::from_millis(1), || {
        for swap in 0..SWAPS {
            if swap == SWAPS / 2 {
                // The group goes on without it: its workers share the partitions anew.
                process.pause();
                std::thread::sleep(SESSION + Duration::from_secs(1));
                process.resume();
            }
            let settings = ["fallback = \"one\"", "fallback = \"two\""];
            let (from, to) = (settings[swap as usize % 2], settings[1 - swap as usize % 2]);
            pipeline.edit(|text| replace(&text, from, to));
            let (code, body) = reload(&process);
            assert_eq!((code, &body["generation"]), (200, &(swap + 2).into()), "{body}");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let generations = assert_exact(&pipeline, sent);
    eprintln!("{sent} records a partition by {} generations", generations.len());
    let taken_over = pipeline.logged(&["a"], "partitions taken over");
    assert!(taken_over > 2, "no rebalance: {}", processes[0].log_tail());
    assert!(generations.len() as u64 > SWAPS / 2, "{generations:?}");
    assert_eq!(dead_letters(&pipeline), 0);
}
