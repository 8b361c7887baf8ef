//! Events on their way into a pipeline.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use host::demo::generate::{Generator, Spec};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::counting::{GRACE_MS, WINDOW_MS};
use super::pipeline::{Pipeline, event, key_in};

/// Generated events, on their way into a pipeline's input.
pub struct Feed {
    topic: String,
    partitions: i32,
    producer: ThreadedProducer<DefaultProducerContext>,
    generator: Generator,
    sent: u64,
    last_due_ms: i64,
}

/// For the brokers to take everything, one of them coming back included.
const FLUSH: Duration = Duration::from_secs(120);

impl Feed {
    /// Nothing is sent yet. Records carry the time at which they are due.
    pub fn new(pipeline: &Pipeline, spec: Spec) -> Feed {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &pipeline.brokers)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "300000")
            .set("reconnect.backoff.max.ms", "500")
            .set("linger.ms", "5")
            .set("log_level", "0")
            .create()
            .unwrap();
        let last_due_ms = spec.start_ms;
        let generator = Generator::new(spec);
        let (topic, partitions) = (pipeline.name.clone(), pipeline.partitions);
        Feed { topic, partitions, producer, generator, sent: 0, last_due_ms }
    }

    /// How many were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends so many events.
    pub fn send(&mut self, count: u64) {
        for _ in 0..count {
            let event = self.generator.advance();
            self.last_due_ms = event.due_ms;
            let mut record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&self.topic).payload(event.value).timestamp(event.due_ms);
            record.key = event.key;
            send(&self.producer, record);
        }
        self.sent += count;
    }

    /// Sends a record of one's own.
    pub fn send_one(&mut self, partition: i32, key: Option<&[u8]>, value: &[u8], timestamp: i64) {
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).payload(value).timestamp(timestamp).partition(partition);
        record.key = key;
        send(&self.producer, record);
        self.sent += 1;
    }

    /// Sends each partition an event that comes so much later that all windows before it close, and
    /// waits until the brokers have everything.
    pub fn finish(&mut self) {
        let time = self.last_due_ms + 2 * (WINDOW_MS + GRACE_MS);
        for partition in 0..self.partitions {
            let key = key_in(partition, self.partitions);
            self.send_one(partition, Some(key.as_bytes()), event("android", time).as_bytes(), time);
        }
        self.flush();
    }

    /// Waits until the brokers have everything.
    pub fn flush(&self) {
        self.producer.flush(FLUSH).unwrap();
    }

    /// Sends the events of a range as time passes, at most `rate` a second, while `go_on`.
    pub fn pace(&mut self, range: Range<u64>, rate: u64, mut go_on: impl FnMut(u64) -> bool) {
        let started = Instant::now();
        let mut sent = range.start;
        while sent < range.end && go_on(sent) {
            let due = range.start + (started.elapsed().as_millis() as u64 * rate) / 1_000;
            let count = due.min(range.end) - sent;
            self.send(count);
            sent += count;
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) {
    while let Err((error, refused)) = producer.send(record) {
        let code = error.rdkafka_error_code();
        assert_eq!(code, Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
        // Until something is delivered, which makes room.
        producer.poll(Duration::from_millis(10));
        record = refused;
    }
}
