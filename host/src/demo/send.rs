//! Sends generated events at their pace: to Kafka, or as lines to a stream.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::client::{self, ConnectError, Trouble};
use super::generate::{Generated, Generator, Kind};
use super::pace::{Pace, STEP};
use super::stop::Stop;
use crate::kafka::ClientSettings;

/// What has been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All events.
    pub events: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Of them not one JSON object.
    pub invalid: u64,
    /// Of them without one of the fields.
    pub missing: u64,
    /// Of them with a malformed field.
    pub malformed: u64,
    /// Of them late, whatever else is wrong with them.
    pub late: u64,
    /// Of them repetitions.
    pub duplicates: u64,
}

impl Totals {
    fn add(&mut self, event: &Generated<'_>) {
        self.events += 1;
        self.bytes += event.value.len() as u64;
        self.late += u64::from(event.is_late);
        match event.kind {
            Kind::Good => {}
            Kind::Invalid => self.invalid += 1,
            Kind::Missing => self.missing += 1,
            Kind::Malformed => self.malformed += 1,
            Kind::Duplicate => self.duplicates += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} event{}", self.events, if self.events == 1 { "" } else { "s" })?;
        let parts = [
            (self.invalid, "invalid"),
            (self.missing, "with a missing field"),
            (self.malformed, "with a malformed field"),
            (self.late, "late"),
            (self.duplicates, "duplicates"),
        ];
        let mut open = " (";
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{open}{count} {what}")?;
            open = ", ";
        }
        if open == ", " { f.write_str(")") } else { Ok(()) }
    }
}

/// Whether a target takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It does.
    Go,
    /// Not now; the schedule starts again when it does.
    Hold,
    /// Never again: a closed pipe.
    Closed,
}

/// Where events go.
pub trait Target {
    /// Takes one event; `false` if it will take no more.
    fn send(&mut self, event: &Generated<'_>, stop: &Stop) -> Result<bool>;
    /// Called before each burst.
    fn ready(&mut self) -> Result<Ready>;
}

/// Sends until `count` events are sent or the flag is raised; `progress` hears of every burst.
pub fn send(
    generator: &mut Generator,
    count: Option<u64>,
    rate: Option<u32>,
    stop: &Stop,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(&Totals),
) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut pace = Pace::new(rate, Instant::now());
    while !stop.stopped() {
        match target.ready()? {
            Ready::Go => {}
            Ready::Hold => {
                pace = Pace::new(rate, Instant::now());
                stop.wait(STEP);
                continue;
            }
            Ready::Closed => break,
        }
        let took = pace.take(Instant::now());
        for _ in 0..took {
            if count.is_some_and(|count| totals.events >= count) {
                break;
            }
            let event = generator.advance();
            if !target.send(&event, stop)? {
                return Ok(totals);
            }
            totals.add(&event);
        }
        progress(&totals);
        if count.is_some_and(|count| totals.events >= count) {
            break;
        }
        stop.wait(pace.rest(took));
    }
    Ok(totals)
}

/// Writes each event as a line; keys are left out.
pub struct Lines<W>(pub W);

impl<W: Write> Target for Lines<W> {
    fn send(&mut self, event: &Generated<'_>, _stop: &Stop) -> Result<bool> {
        still_open(self.0.write_all(event.value).and_then(|()| self.0.write_all(b"\n")))
    }

    fn ready(&mut self) -> Result<Ready> {
        Ok(if still_open(self.0.flush())? { Ready::Go } else { Ready::Closed })
    }
}

fn still_open(written: io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("writing events"),
    }
}

/// How long a full queue is left to empty itself before the next try.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(2);

/// Produces into a topic, idempotently.
pub struct Kafka {
    producer: ThreadedProducer<Reports>,
    delivered: Arc<Delivered>,
    topic: String,
    /// Bytes that may lie unread in a partition, and how far the reader is.
    hold_back: Option<HoldBack>,
}

/// Stops sending while a reader is far behind.
pub struct HoldBack {
    /// Bytes of keys and values in one partition that are not processed yet.
    pub lag_max: u64,
    /// The next offset that the reader will process in a partition; 0 while it has none.
    pub next_offset: Box<dyn FnMut(i32) -> i64 + Send>,
}

/// What was delivered so far.
#[derive(Debug, Default)]
pub struct Delivered {
    records: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    /// The end of each partition as far as our own records go.
    ends: OnceLock<Vec<AtomicI64>>,
}

impl Delivered {
    /// Records that the broker has confirmed.
    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// Records that could not be delivered, and why the first of them.
    pub fn failures(&self) -> Option<(u64, String)> {
        let first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        first.map(|why| (self.failed.load(Relaxed), why))
    }

    fn ends(&self) -> &[AtomicI64] {
        self.ends.get().map_or(&[], Vec::as_slice)
    }

    /// Bytes of a partition's records from `next` on, by the mean size of a record.
    fn bytes_from(&self, partition: usize, next: i64) -> u64 {
        let records = self.ends()[partition].load(Relaxed).saturating_sub(next).max(0) as u64;
        let mean = self.bytes.load(Relaxed).checked_div(self.records()).unwrap_or(0);
        records.saturating_mul(mean)
    }
}

struct Reports {
    delivered: Arc<Delivered>,
    trouble: Trouble,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.trouble.log.write(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.note(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                self.delivered.records.fetch_add(1, Relaxed);
                let bytes = message.key_len() + message.payload_len();
                self.delivered.bytes.fetch_add(bytes as u64, Relaxed);
                if let Some(end) = self.delivered.ends().get(message.partition() as usize) {
                    end.fetch_max(message.offset() + 1, Relaxed);
                }
            }
            Err((error, _)) => {
                self.delivered.failed.fetch_add(1, Relaxed);
                let mut first =
                    self.delivered.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

impl Kafka {
    /// Connects, and waits until the topic is there. Fails with a [`client::ConnectError`].
    pub fn connect(
        settings: &ClientSettings,
        topic: &str,
        hold_back: Option<HoldBack>,
        stop: &Stop,
    ) -> Result<Self, ConnectError> {
        let trouble = Trouble::default();
        let delivered = Arc::new(Delivered::default());
        let context = Reports { delivered: Arc::clone(&delivered), trouble: trouble.clone() };
        let producer: ThreadedProducer<Reports> = settings
            .plain(&[
                ("enable.idempotence", "true"),
                ("linger.ms", "5"),
                ("partitioner", "murmur2_random"),
            ])
            .create_with_context(context)
            .map_err(|error| ConnectError::making(&error))?;
        let client = producer.client();
        let count = client::partitions(client, &trouble, settings.brokers(), topic, stop)?;
        let ends = (0..count).map(|_| AtomicI64::new(0)).collect();
        delivered.ends.set(ends).expect("nothing else sets it");
        Ok(Self { producer, delivered, topic: topic.to_owned(), hold_back })
    }

    /// What the broker has confirmed so far.
    pub fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    /// Waits for what is still on its way; an error if something was not delivered.
    pub fn finish(self, timeout: Duration) -> Result<()> {
        let flushed = self.producer.flush(timeout);
        if let Some((count, why)) = self.delivered.failures() {
            bail!("{count} events were not delivered to {:?}: {why}", self.topic);
        }
        flushed.with_context(|| {
            let count = self.producer.in_flight_count();
            format!("waiting for {count} events that {:?} has not confirmed", self.topic)
        })
    }
}

impl Target for Kafka {
    fn send(&mut self, event: &Generated<'_>, stop: &Stop) -> Result<bool> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(event.value);
        record.key = event.key;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(true),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    if stop.wait(QUEUE_FULL_WAIT) {
                        return Ok(false);
                    }
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("sending to {:?}", self.topic));
                }
            }
        }
    }

    fn ready(&mut self) -> Result<Ready> {
        let Some(HoldBack { lag_max, next_offset }) = &mut self.hold_back else {
            return Ok(Ready::Go);
        };
        let delivered = &self.delivered;
        let near = (0..delivered.ends().len())
            .all(|at| delivered.bytes_from(at, next_offset(at as i32)) < *lag_max);
        Ok(if near { Ready::Go } else { Ready::Hold })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::generate::{Mix, Spec};

    /// Notes what it gets; closes or raises the flag after so many events.
    struct Notes {
        events: Vec<Vec<u8>>,
        stop_at: usize,
        close_at: usize,
    }

    impl Target for Notes {
        fn send(&mut self, event: &Generated<'_>, stop: &Stop) -> Result<bool> {
            if self.events.len() == self.close_at {
                return Ok(false);
            }
            self.events.push(event.value.to_vec());
            if self.events.len() == self.stop_at {
                stop.stop();
            }
            Ok(true)
        }

        fn ready(&mut self) -> Result<Ready> {
            Ok(Ready::Go)
        }
    }

    fn check(count: Option<u64>, stop_at: usize, close_at: usize) -> Totals {
        let mut generator = Generator::new(Spec::default());
        let mut notes = Notes { events: Vec::new(), stop_at, close_at };
        let mut last = Totals::default();
        let totals =
            send(&mut generator, count, None, &Stop::new(), &mut notes, &mut |now| last = *now)
                .expect("no target fails");
        assert_eq!(totals.events, notes.events.len() as u64);
        assert_eq!(totals.bytes, notes.events.iter().map(Vec::len).sum::<usize>() as u64);
        totals
    }

    #[test]
    fn a_count_is_sent_exactly() {
        assert_eq!(check(Some(5_001), usize::MAX, usize::MAX).events, 5_001);
    }

    #[test]
    fn sending_ends_when_asked_to_or_when_nobody_reads() {
        // The flag is looked at between bursts.
        assert!((2_500..=5_000).contains(&check(None, 2_500, usize::MAX).events));
        assert_eq!(check(None, usize::MAX, 2_500).events, 2_500);
    }

    #[test]
    fn lines_end_quietly_with_their_pipe() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut lines = Lines(io::BufWriter::new(writer));
        let mut generator = Generator::new(Spec::default());
        let stop = Stop::new();
        drop(reader);
        let totals = send(&mut generator, None, None, &stop, &mut lines, &mut |_| {});
        assert!(totals.expect("no error").events < 1_000_000);
    }

    #[test]
    fn totals_say_what_was_wrong() {
        let mix = Mix { invalid: 1.0, ..Mix::default() };
        let mut generator = Generator::new(Spec { mix, ..Spec::default() });
        let mut lines = Lines(Vec::new());
        let totals = send(&mut generator, Some(3), None, &Stop::new(), &mut lines, &mut |_| {});
        assert_eq!(totals.expect("sent").to_string(), "3 events (3 invalid)");
        let one = Totals { events: 1, ..Totals::default() };
        assert_eq!(one.to_string(), "1 event");
        assert_eq!(lines.0.iter().filter(|byte| **byte == b'\n').count(), 3);
        let mix = Mix { late: 1.0, duplicates: 1.0, ..Mix::default() };
        let mut generator = Generator::new(Spec { mix, ..Spec::default() });
        let totals = send(&mut generator, Some(3), None, &Stop::new(), &mut lines, &mut |_| {});
        assert_eq!(totals.expect("sent").to_string(), "3 events (1 late, 2 duplicates)");
        let totals = Totals { events: 7, ..Totals::default() };
        assert_eq!(totals.to_string(), "7 events");
    }
}
