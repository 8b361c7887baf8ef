//! What broker tests share: a real Apache Kafka, and a proxy that breaks connections.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

pub mod broker;
pub mod comparison;
pub mod counting;
pub mod feed;
pub mod open;
pub mod pipeline;
pub mod process;
pub mod proxy;
pub mod rights;
pub mod simulation;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host::demo::generate::Mix;
use host::kafka::{ClientSettings, StateReader, TopicSpec, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

/// For calls that answer at once on a healthy broker.
pub const SOON: Duration = Duration::from_secs(30);

/// A name that no other test and no earlier run has used.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{:x}-{:x}-{count}", std::process::id(), now.as_millis() & 0xff_ffff)
}

/// Events that are good but for some that are invalid or late.
pub fn mix() -> Mix {
    Mix {
        invalid: 0.005,
        late: 0.01,
        late_by: Duration::from_secs(300),
        jitter: Duration::from_secs(3),
        ..Mix::default()
    }
}

/// Settings without anything passed through.
pub fn settings(brokers: &str) -> ClientSettings {
    settings_with(brokers, &[])
}

/// Settings with properties passed through.
pub fn settings_with(brokers: &str, properties: &[(&str, &str)]) -> ClientSettings {
    ClientSettings::new(brokers, properties.iter().copied()).unwrap()
}

/// Makes a topic under a unique name.
pub fn topic(
    settings: &ClientSettings,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> String {
    let name = unique(name);
    let configs =
        configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = TopicSpec { name: name.clone(), partitions, replication: -1, configs };
    let states = ensure(settings, &[spec], SOON).unwrap();
    assert!(states[0].created);
    name
}

/// A record as a test compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Read {
    pub fn of(message: &host::kafka::Message<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Read {
            partition: message.partition,
            offset: message.offset,
            timestamp: message.timestamp,
            key: owned(message.key),
            value: owned(message.value),
            headers: message
                .headers()
                .iter()
                .map(|(name, value)| (name.to_owned(), owned(value)))
                .collect(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Every committed record of a topic, by partition.
pub fn read_topic(
    settings: &ClientSettings,
    topic: &str,
    partitions: i32,
) -> BTreeMap<i32, Vec<Read>> {
    // Each takes some round trips, which of many partitions may well be waited for at the same time.
    const BY_ONE: i32 = 8;
    thread::scope(|scope| {
        let read = |first: i32| {
            let some = first..partitions.min(first + BY_ONE);
            scope.spawn(move || read_partitions(settings, topic, some))
        };
        let readers: Vec<_> = (0..partitions).step_by(BY_ONE as usize).map(read).collect();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    })
}

fn read_partitions(
    settings: &ClientSettings,
    topic: &str,
    partitions: Range<i32>,
) -> BTreeMap<i32, Vec<Read>> {
    let mut reader = StateReader::new(settings, &unique("reader"), topic).unwrap();
    let stop = AtomicBool::new(false);
    let mut all = BTreeMap::new();
    for partition in partitions {
        let mut records = Vec::new();
        reader.read(partition, SOON, &stop, |message| records.push(Read::of(&message))).unwrap();
        all.insert(partition, records);
    }
    all
}

/// The values of every committed record of a topic, partition after partition.
pub fn read_values(settings: &ClientSettings, topic: &str, partitions: i32) -> Vec<String> {
    read_topic(settings, topic, partitions)
        .into_values()
        .flatten()
        .map(|record| record.text())
        .collect()
}

/// How many records of a topic there are, those of aborted transactions included.
pub fn count_uncommitted(settings: &ClientSettings, topic: &str) -> u64 {
    const READ: Duration = Duration::from_secs(60);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", settings.brokers())
        .set("group.id", unique("counter"))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_uncommitted")
        .set("log_level", "0")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), SOON).unwrap();
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let (mut count, mut ends, end) = (0, 0, Instant::now() + READ);
    while ends < all.count() {
        assert!(Instant::now() < end, "{topic} is not read to its end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(_)) => count += 1,
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(_)) | None => {}
        }
    }
    count
}

/// The shipped file without its window.
pub fn without_windows(text: String) -> String {
    let (before, rest) = text.split_once("[[window]]").unwrap();
    let (_, after) = rest.split_once("\n[sink]").unwrap();
    format!("{before}\n[sink]{after}")
}
