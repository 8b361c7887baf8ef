//! A pipeline with numbered events and stamped outputs, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use chrono::Utc;
use host::demo::generate::Spec;

use crate::support::broker::{Broker, Options};
use crate::support::feed::Feed;
use crate::support::pipeline::{PARTITIONS, Pipeline, event, key_for};
use crate::support::process::Process;
use crate::support::{Read, read_topic};

pub const LIVENESS: Duration = Duration::from_secs(60);
/// A rule that never answers.
pub const LOOP: &str = "(loop (br 0)) unreachable";

pub fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(&Options::default()))
}

/// All events pass, each with a category that says under which settings; outputs are stamped.
pub fn pipeline(name: &str, change: impl FnOnce(String) -> String) -> Pipeline {
    Pipeline::with_input(name, &broker().brokers(), |text| {
        let conditions = r#"[{ field = "/device_type", equals = "android", ignore-case = true }]"#;
        let text = replace(&text, conditions, r#"[{ field = "/n", present = true }]"#);
        let text = replace(&text, "stamp = false", "stamp = true");
        let settings = "plugin = \"categorize\"\n[stage.settings]\nfallback = \"one\"\nmap = {}\n";
        change(replace(&text, "plugin = \"categorize\"\n", settings))
    })
}

#[track_caller]
pub fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    text.replacen(from, to, 1)
}

/// Numbered events into each partition.
pub struct Numbered {
    feed: Feed,
    pub next: u64,
    keys: Vec<String>,
    /// Whether their timestamps are no times.
    pub malformed: bool,
}

impl Numbered {
    pub fn new(pipeline: &Pipeline) -> Self {
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

    pub fn send_many(&mut self, device_type: &str, count: u64) {
        (0..count).for_each(|_| self.send(device_type));
        self.feed.flush();
    }

    /// At a steady pace until it is told to end.
    fn pace(&mut self, every: Duration, load: &Load) {
        while !load.end.load(Ordering::Relaxed) {
            let events = load.events.load(Ordering::Relaxed);
            self.malformed = events == Events::Malformed as u8;
            self.send(if events == Events::ThreeLetters as u8 { "iOS" } else { "android" });
            std::thread::sleep(every);
        }
        self.feed.flush();
    }
}

/// What comes in. The rules that run at the start cope with all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    Good,
    /// Of a device type of three letters, which marks them.
    ThreeLetters,
    /// With a timestamp that is no time.
    Malformed,
}

/// What comes in at a pace, and until when.
pub struct Load {
    end: AtomicBool,
    events: AtomicU8,
}

impl Load {
    /// From now on these come in.
    pub fn give(&self, events: Events) {
        self.events.store(events as u8, Ordering::Relaxed);
    }
}

/// An output: its number, its category, and who made it.
pub struct Out {
    pub number: u64,
    category: String,
    generation: u64,
    hash: String,
}

pub fn outputs(pipeline: &Pipeline) -> BTreeMap<i32, Vec<Out>> {
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
pub fn assert_exact(pipeline: &Pipeline, sent: u64) -> BTreeSet<u64> {
    compare(pipeline, sent).unwrap()
}

/// The same, or what is wrong.
pub fn compare(pipeline: &Pipeline, sent: u64) -> Result<BTreeSet<u64>, String> {
    let mut generations = BTreeSet::new();
    let mut categories: BTreeMap<String, String> = BTreeMap::new();
    for (partition, outs) in outputs(pipeline) {
        let numbers = outs.iter().map(|out| Some(out.number)).chain([None]);
        let expected = (0..sent).map(Some).chain([None]);
        if let Some((number, expected)) = numbers.zip(expected).find(|(out, of)| out != of) {
            return Err(format!("partition {partition}: {number:?} in the place of {expected:?}"));
        }
        let rising = outs.windows(2).all(|pair| pair[0].generation <= pair[1].generation);
        if !rising {
            return Err(format!("partition {partition} went back to an older generation"));
        }
        for out in outs {
            generations.insert(out.generation);
            let category = categories.entry(out.hash).or_insert_with(|| out.category.clone());
            if *category != out.category {
                return Err("one hash, two behaviours".to_owned());
            }
        }
    }
    Ok(generations)
}

/// `host plugin rollback` with the process to ask; exit code, and what it said.
pub fn rollback(pipeline: &Pipeline, process: &Process, more: &[&str]) -> (i32, String) {
    let address = process.admin();
    let arguments = ["plugin", "rollback", "--admin", &address];
    let output = pipeline.command(&[&arguments, more].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

pub fn reload(process: &Process) -> (u16, serde_json::Value) {
    process.ask("POST", "/api/v1/reload")
}

pub fn dead_letters(pipeline: &Pipeline) -> usize {
    let letters = read_topic(&pipeline.settings(), &pipeline.dead_letters(), PARTITIONS);
    letters.values().map(Vec::len).sum()
}

/// Runs something while events come in at a pace; how many there were.
pub fn under_load(pipeline: &Pipeline, every: Duration, run: impl FnOnce(&Load)) -> u64 {
    /// However it ends: else the test would wait for the load for ever.
    struct End<'a>(&'a Load);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.end.store(true, Ordering::Relaxed);
        }
    }
    let load = Load { end: AtomicBool::new(false), events: AtomicU8::new(Events::Good as u8) };
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            let mut numbered = Numbered::new(pipeline);
            numbered.pace(every, &load);
            numbered.next
        });
        let end = End(&load);
        run(&load);
        drop(end);
        feeding.join().unwrap()
    })
}
