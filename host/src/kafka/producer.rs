//! Writing: transactional, or idempotent for at-least-once. A transactional producer is never used
//! again after a failed transaction; a new one with the same id aborts and fences what is left.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError as Theirs;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::ProducerHandle;
use super::consumer::{GroupMetadata, offset_list};
use super::context::{Context, DeliveryFailure};
use super::error::KafkaError;
use super::raw::{self, HeadersArg, Record};
use super::settings::ClientSettings;

pub use super::raw::TopicHandle;

/// A commit, and the sending of its offsets, that each came back within this time hold no retried
/// request: librdkafka waits at least 80 % of `retry.backoff.ms` (200 ms) before it sends one again.
pub const RETRY_FREE: Duration = Duration::from_millis(150);

/// How long the log may take to say which topic made a transaction fail.
const REFUSAL_LOG: Duration = Duration::from_millis(200);

/// How long the brokers may take nothing while [`Producer::send_usual`] waits.
const QUEUE_FULL_MAX: Duration = Duration::from_secs(30);
/// Its pause between two tries.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);

/// Whether a request of a call that took so long may have been sent twice. A late first copy could
/// end or rewind a *later* transaction of the same producer: replace it before the next one.
pub fn may_have_retried(elapsed: Duration) -> bool {
    elapsed >= RETRY_FREE
}

/// Remembers whether any call of a producer was slow enough to hold a retry.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryWatch {
    suspected: bool,
}

impl RetryWatch {
    /// Takes in what [`Producer::send_offsets`] and [`Producer::commit`] returned.
    pub fn note(&mut self, elapsed: Duration) {
        self.suspected |= may_have_retried(elapsed);
    }

    /// Whether the producer must be replaced before its next transaction.
    pub fn must_replace(&self) -> bool {
        self.suspected
    }
}

/// What a producer promises.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Exactly-once. `id` must be the same after a restart, so that it fences its predecessor;
    /// `timeout` is when the broker aborts what a dead worker left open.
    Transactional {
        /// The transactional id.
        id: String,
        /// `transaction.timeout.ms`.
        timeout: Duration,
    },
    /// At-least-once: no duplicates by the producer's own retries, none of the rest.
    Idempotent,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full: serve the consumer for some milliseconds and send it again.
    #[error("the producer's queue is full")]
    QueueFull,
    /// The record is larger than `message.max.bytes`; it belongs to this record alone.
    #[error(transparent)]
    TooLarge(KafkaError),
    /// The topic has no such partition.
    #[error(transparent)]
    NoPartition(KafkaError),
    /// The producer is of no use any more, or the topic is not writable.
    #[error(transparent)]
    Failed(KafkaError),
}

impl SendError {
    pub(super) fn decide(code: Code, error: KafkaError) -> Self {
        match code {
            Code::QueueFull => SendError::QueueFull,
            Code::MessageSizeTooLarge => SendError::TooLarge(error),
            Code::UnknownPartition => SendError::NoPartition(error),
            _ => SendError::Failed(error),
        }
    }
}

/// A producer and the thread that serves its events. Dropping it does not wait.
pub struct Producer {
    handle: Arc<ProducerHandle>,
    /// The transactional id; empty without.
    id: String,
}

impl Producer {
    /// Starts the client; the broker is not waited for.
    pub fn new(settings: &ClientSettings, mode: &Mode) -> Result<Self, KafkaError> {
        let mut config = settings.producer();
        if let Mode::Transactional { id, timeout } = mode {
            config.set("transactional.id", id);
            let timeout = timeout.as_millis();
            config.set("transaction.timeout.ms", timeout.to_string());
            // librdkafka wants to know of a dead connection before the transaction's end.
            let socket = config.get("socket.timeout.ms").and_then(|given| given.parse().ok());
            config.set("socket.timeout.ms", timeout.min(socket.unwrap_or(timeout)).to_string());
        }
        let client = ThreadedProducer::from_config_and_context(&config, Context::default())
            .map_err(|error| KafkaError::from_rdkafka("starting a producer", &error))?;
        let id = match mode {
            Mode::Transactional { id, .. } => id.clone(),
            Mode::Idempotent => String::new(),
        };
        Ok(Producer { handle: Arc::new(ProducerHandle::new(client)), id })
    }

    fn client(&self) -> &ThreadedProducer<Context> {
        self.handle.client()
    }

    /// Gets the transactional id for this producer: aborts what its predecessor left open, and
    /// waits until that is done. Returns the time it took.
    pub fn init_transactions(&self, timeout: Duration) -> Result<Duration, KafkaError> {
        self.timed("taking over the transactional id", || {
            self.client().init_transactions(timeout).map_err(|error| {
                let doing = format!("taking over the transactional id {}", self.id);
                let error = KafkaError::from_rdkafka(doing, &error);
                // Without an answer, a refused password explains more than "timed out".
                match (&error, self.handle.context().likely_cause()) {
                    (
                        KafkaError::Recover(_) | KafkaError::Retry(_),
                        Some(cause @ KafkaError::Auth(_)),
                    ) => cause,
                    _ => error,
                }
            })
        })
    }

    /// Opens a transaction; asks no broker.
    pub fn begin(&self) -> Result<(), KafkaError> {
        self.client()
            .begin_transaction()
            .map_err(|error| KafkaError::from_rdkafka("beginning a transaction", &error))
    }

    /// A topic to write to, kept for this producer's life.
    pub fn topic(&self, name: &str) -> Result<TopicHandle, KafkaError> {
        TopicHandle::new(self.handle.clone(), name)
    }

    /// Queues a record, copied. `partition` none: by Java's murmur2 of the key, any without a key.
    /// `timestamp`: milliseconds since the epoch; none and 0 stand for now. `tag` comes back in
    /// [`Producer::failures`].
    #[expect(clippy::too_many_arguments, reason = "a record's parts, once per record")]
    pub fn send(
        &self,
        topic: &TopicHandle,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: HeadersArg<'_>,
        timestamp: Option<i64>,
        tag: u64,
    ) -> Result<(), SendError> {
        if !topic.belongs_to(&self.handle) {
            let doing = format!("writing to {}", topic.name());
            let why = "the topic handle is another producer's";
            return Err(SendError::Failed(KafkaError::recover(doing, why, None)));
        }
        // Tags are as wide as pointers.
        topic.produce(&Record { partition, key, value, headers, timestamp, tag: tag as usize })
    }

    /// Queues a record in the usual way, by the topic's name, waiting where the queue is full.
    pub(super) fn send_usual(
        &self,
        mut record: BaseRecord<'_, [u8], [u8], usize>,
    ) -> Result<(), KafkaError> {
        let mut waiting: Option<Instant> = None;
        loop {
            match self.client().send(record) {
                Ok(()) => return Ok(()),
                Err((Theirs::MessageProduction(Code::QueueFull), back))
                    if waiting.get_or_insert_with(Instant::now).elapsed() < QUEUE_FULL_MAX =>
                {
                    record = back;
                    thread::sleep(QUEUE_FULL_WAIT);
                }
                Err((error, record)) => {
                    let doing = format!("writing to {}", record.topic);
                    return Err(KafkaError::from_rdkafka(doing, &error));
                }
            }
        }
    }

    /// What could not be delivered since the last call: the records that are too large (ten
    /// thousand at most), then the first of all others, which stands for them. Complete after
    /// [`Producer::commit`] and [`Producer::flush`] came back, but for what those left in flight.
    pub fn failures(&self) -> Vec<DeliveryFailure> {
        self.handle.context().take_failures()
    }

    /// The next error that the client reported on its own, such as a refused password.
    pub fn trouble(&self) -> Option<KafkaError> {
        self.handle.context().take_trouble()
    }

    /// The missing right, if that is why the open transaction failed. What is told of each record
    /// after that is only that nothing can be written any more.
    pub fn refusal(&self) -> Option<KafkaError> {
        // In a transaction that goes on this is refused for that; else it says why it does not.
        let refused = match self.begin() {
            Err(error @ KafkaError::Auth(_)) => error,
            _ => return None,
        };
        let end = Instant::now() + REFUSAL_LOG;
        loop {
            match self.handle.context().likely_cause() {
                Some(named @ KafkaError::Auth(_)) => return Some(named),
                _ if Instant::now() >= end => {
                    let doing = format!("writing with transactional id {}", self.id);
                    return Some(refused.refused_while(&doing));
                }
                _ => thread::sleep(QUEUE_FULL_WAIT),
            }
        }
    }

    /// Puts offsets (the next to read) of the input into the transaction. Returns the time it took,
    /// for [`RetryWatch`]. `Retry`: the same call again.
    pub fn send_offsets(
        &self,
        offsets: &[(i32, i64)],
        topic: &str,
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<Duration, KafkaError> {
        let doing = format!(
            "putting offsets of topic {topic} for group {} into the transaction",
            group.group
        );
        let list = offset_list(topic, offsets)?;
        let (handle, metadata) = (self.handle.clone(), group.metadata.clone());
        let (sender, receiver) = mpsc::channel();
        self.timed("send offsets", || {
            // librdkafka does not keep the time: when the group's coordinator shuts down it may
            // wait until that broker is back. The producer lives on in the thread until then.
            thread::Builder::new()
                .name("kafka-offsets".to_owned())
                .spawn(move || {
                    let client = handle.client();
                    let sent = client.send_offsets_to_transaction(&list, &metadata, timeout);
                    // Nobody listens any more when the time is up.
                    let _ = sender.send(sent);
                })
                .map_err(|error| KafkaError::recover(&doing, error.to_string(), None))?;
            match receiver.recv_timeout(timeout) {
                Ok(sent) => sent.map_err(|error| KafkaError::from_rdkafka(&doing, &error)),
                Err(_) => Err(KafkaError::timed_out(&doing, timeout)),
            }
        })
    }

    /// Waits until every record is delivered and commits. Returns the time it took, for
    /// [`RetryWatch`]. After an error only the broker knows whether it is committed.
    pub fn commit(&self, timeout: Duration) -> Result<Duration, KafkaError> {
        self.timed("commit", || raw::commit_transaction(&self.handle, timeout))
    }

    /// Waits until every record is delivered or has failed. Returns the time it took.
    pub fn flush(&self, timeout: Duration) -> Result<Duration, KafkaError> {
        self.timed("flush", || {
            let done = raw::flush(&self.handle, timeout);
            if done {
                Ok(())
            } else {
                Err(KafkaError::timed_out("writing what is queued", timeout))
            }
        })
    }

    /// Aborts, for an orderly end. The producer must not be used afterwards: `abort` purges records
    /// whose answer was lost and gives their sequence numbers out again, and the next transaction
    /// could be taken for a duplicate and be lost.
    pub fn abort(self, timeout: Duration) -> Result<Duration, KafkaError> {
        self.abort_and_keep(timeout)
    }

    /// For the test that shows why [`Producer::abort`] takes the producer away.
    #[doc(hidden)]
    pub fn abort_and_keep(&self, timeout: Duration) -> Result<Duration, KafkaError> {
        let doing = "aborting the transaction";
        self.timed(doing, || {
            let aborted = self.client().abort_transaction(timeout);
            aborted.map_err(|error| KafkaError::from_rdkafka(doing, &error))
        })
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self, topic: &str, timeout: Duration) -> Result<i32, KafkaError> {
        super::topics::partition_count(self.client().client(), topic, timeout)
    }

    /// Records that are not acknowledged yet.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.client().in_flight_count()).unwrap_or(0)
    }

    fn timed(
        &self,
        call: &'static str,
        run: impl FnOnce() -> Result<(), KafkaError>,
    ) -> Result<Duration, KafkaError> {
        let start = Instant::now();
        let done = run();
        let elapsed = start.elapsed();
        tracing::trace!(call, ?elapsed, ok = done.is_ok(), "producer call");
        done.map(|()| elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_call_is_remembered() {
        let mut watch = RetryWatch::default();
        watch.note(RETRY_FREE - Duration::from_millis(1));
        assert!(!watch.must_replace());
        watch.note(RETRY_FREE);
        watch.note(Duration::ZERO);
        assert!(watch.must_replace());
    }
}
