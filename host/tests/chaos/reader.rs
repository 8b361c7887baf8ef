//! A consumer of a topic that reads what is committed while everything goes wrong.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::comparison::{Differences, Kind};
use crate::support::pipeline::Pipeline;
use crate::support::{Read, unique};

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// After so long without a record it goes on with a new client: one that has found a topic's partitions
/// unknown, which a broker says that is coming up, may look for them minutes later only.
const SILENT: Duration = Duration::from_secs(5);

/// A record as it came.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub offset: i64,
    content: u64,
    /// When the host worked on it, and when it was read: milliseconds since the epoch.
    pub processed_ms: i64,
    pub arrived_ms: i64,
}

#[cfg(test)]
impl Seen {
    pub fn at(processed_ms: i64, arrived_ms: i64) -> Seen {
        Seen { offset: 0, content: 0, processed_ms, arrived_ms }
    }
}

/// By partition, in the order in which they came.
pub type All = BTreeMap<i32, Vec<Seen>>;

/// The consumer, in a thread of its own.
pub struct Reader {
    topic: String,
    seen: Arc<Mutex<All>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads a topic of a pipeline from its start; it must be there.
    pub fn start(pipeline: &Pipeline, topic: String) -> Reader {
        let (seen, stop) = (Arc::<Mutex<All>>::default(), Arc::<AtomicBool>::default());
        let (into, until) = (seen.clone(), stop.clone());
        let (brokers, partitions) = (pipeline.brokers.clone(), pipeline.partitions);
        let read = topic.clone();
        let thread = thread::spawn(move || {
            let anew = || {
                let consumer = consumer(&brokers);
                assign(&consumer, &read, partitions, &into.lock().unwrap());
                consumer
            };
            let (mut consumer, mut last) = (anew(), Instant::now());
            while !until.load(Ordering::Relaxed) {
                if last.elapsed() > SILENT {
                    (consumer, last) = (anew(), Instant::now());
                }
                match consumer.poll(LOOK) {
                    Some(Ok(message)) => {
                        let one = look_at(&message);
                        into.lock().unwrap().entry(message.partition()).or_default().push(one);
                        last = Instant::now();
                    }
                    // librdkafka may take the crash of a broker for a loss of records, and reads the
                    // partition no more; left to itself it would go on at the end.
                    Some(Err(KafkaError::MessageConsumption(Code::AutoOffsetReset))) => {
                        assign(&consumer, &read, partitions, &into.lock().unwrap());
                    }
                    // A broker that is away comes back.
                    Some(Err(_)) | None => {}
                }
            }
        });
        Reader { topic, seen, stop, thread: Some(thread) }
    }

    /// Waits until it has seen as many records as are there in the end, and holds them against these.
    pub fn compare(
        mut self,
        there: &BTreeMap<i32, Vec<Read>>,
        timeout: Duration,
        differences: &mut Differences,
    ) -> All {
        let end = Instant::now() + timeout;
        let count = |seen: &All| seen.values().map(Vec::len).sum::<usize>();
        let expected: usize = there.values().map(Vec::len).sum();
        while count(&self.seen.lock().unwrap()) < expected && Instant::now() < end {
            thread::sleep(LOOK);
        }
        self.end();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        for (partition, records) in there {
            let none = Vec::new();
            let seen = seen.get(partition).unwrap_or(&none);
            compare_partition(&format!("{} {partition}", self.topic), records, seen, differences);
        }
        seen
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the reader does not panic");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn consumer(brokers: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", unique("onlooker"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("auto.offset.reset", "error")
        .set("log_level", "0")
        .create()
        .unwrap()
}

/// Reads every partition from behind what was seen of it.
fn assign(consumer: &BaseConsumer, topic: &str, partitions: i32, seen: &All) {
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        let last = seen.get(&partition).and_then(|seen| seen.last());
        let next = last.map_or(Offset::Beginning, |last| Offset::Offset(last.offset + 1));
        all.add_partition_offset(topic, partition, next).unwrap();
    }
    consumer.assign(&all).unwrap();
}

fn look_at(message: &BorrowedMessage<'_>) -> Seen {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers = headers.map(|one| (one.key, one.value)).collect::<Vec<_>>();
    let timestamp = message.timestamp().to_millis();
    Seen {
        offset: message.offset(),
        content: content(message.key(), message.payload(), timestamp, &headers),
        processed_ms: processed_ms(message.payload().unwrap_or_default()).unwrap_or(0),
        arrived_ms: Utc::now().timestamp_millis(),
    }
}

/// One number for all that a record holds.
fn content(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    timestamp: Option<i64>,
    headers: &[(&str, Option<&[u8]>)],
) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value, timestamp, headers).hash(&mut hasher);
    hasher.finish()
}

/// The time that the host wrote into the event; looked for as text, since this runs while the host does.
fn processed_ms(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let (_, rest) = text.split_once("\"processed_timestamp\":\"")?;
    let (time, _) = rest.split_once('"')?;
    Some(DateTime::parse_from_rfc3339(time).ok()?.timestamp_millis())
}

fn compare_partition(partition: &str, there: &[Read], seen: &[Seen], to: &mut Differences) {
    let content_of = |record: &Read| {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        content(record.key.as_deref(), record.value.as_deref(), record.timestamp, &headers)
    };
    let there = there.iter().map(|record| (record.offset, content_of(record)));
    let mut seen = seen.iter().map(|one| (one.offset, one.content));
    for expected in there {
        let got = seen.next();
        if got != Some(expected) {
            to.add(Kind::Reader, || {
                let at = |one: Option<(i64, u64)>| one.map(|(offset, _)| offset);
                let (got, expected) = (at(got), expected.0);
                format!("partition {partition}: read offset {got:?} first, {expected} later")
            });
            return;
        }
    }
    if let Some((offset, _)) = seen.next() {
        to.add(Kind::Reader, || {
            format!("partition {partition}: offset {offset} was read, and is not there later")
        });
    }
}
