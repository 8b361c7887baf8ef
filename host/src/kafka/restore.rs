//! Reading back one partition of a compacted topic, with nothing committed left out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::client::ConsumerHandle;
use super::context::Context;
use super::error::KafkaError;
use super::raw::{Message, Queue};
use super::settings::ClientSettings;
use super::topics::Cluster;

/// The longest wait between two looks at the stop flag.
const SLICE: Duration = Duration::from_millis(100);
/// One question to a broker.
const QUESTION: Duration = Duration::from_secs(2);
/// Records taken in at once.
const BATCH: usize = 2000;

/// What a restore read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Records, tombstones included.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The offset that comes next; of several partitions the greatest.
    pub end: i64,
}

/// Reads the partitions of a state topic. Kept by a worker, so that each takeover does not connect
/// anew.
pub struct StateReader {
    /// Sees the end of everything, open transactions included.
    uncommitted: Cluster,
    queue: Queue,
    handle: Arc<ConsumerHandle>,
    topic: String,
    topic_c: CString,
}

impl StateReader {
    /// Starts the clients; no broker is waited for. `group` is the pipeline's, which is not joined:
    /// librdkafka reads partitions in the name of one only.
    pub fn new(settings: &ClientSettings, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let doing = format!("opening state topic {topic}");
        let topic_c = CString::new(topic)
            .map_err(|_| KafkaError::Config(format!("{doing}: zero byte in the name")))?;
        let uncommitted = Cluster::uncommitted(settings)?;
        let config = settings.consumer(Some(group), "read_committed");
        let client = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        let (handle, _) = ConsumerHandle::new(client, topic);
        let handle = Arc::new(handle);
        let queue = Queue::new(handle.clone());
        Ok(StateReader { uncommitted, queue, handle, topic: topic.to_owned(), topic_c })
    }

    /// As [`StateReader::read_all`], of one partition.
    pub fn read(
        &mut self,
        partition: i32,
        timeout: Duration,
        stop: &AtomicBool,
        record: impl FnMut(Message<'_>),
    ) -> Result<Restored, KafkaError> {
        self.read_all(&[partition], timeout, stop, record)
    }

    /// Gives every committed record of the partitions to `record`, from the first to the last of each;
    /// all are read at the same time. Must be called *after* the committed offsets were asked for, so
    /// that what was committed with them is there. Waits for transactions that are open at the start,
    /// and for each next record, as long as `timeout`; looks at `stop` ten times a second, but for a
    /// question to a broker that takes its 2 s.
    pub fn read_all(
        &mut self,
        partitions: &[i32],
        timeout: Duration,
        stop: &AtomicBool,
        mut record: impl FnMut(Message<'_>),
    ) -> Result<Restored, KafkaError> {
        let end = Cell::new(Instant::now() + timeout);
        let doing = match partitions {
            [partition] => format!("restoring partition {partition} of topic {}", self.topic),
            all => format!("restoring {} partitions of topic {}", all.len(), self.topic),
        };
        let wait = Wait { doing, end, timeout, stop };
        let mut restored = Restored::default();
        let mut left: BTreeMap<i32, i64> = BTreeMap::new();
        for &partition in partitions {
            let (low, high) = self.end_of_everything(partition, &wait)?;
            restored.end = restored.end.max(high);
            if low < high {
                left.insert(partition, high);
            }
        }
        if left.is_empty() {
            return Ok(restored);
        }
        let mut list = TopicPartitionList::new();
        for (&partition, &high) in &left {
            self.await_stable(partition, high, &wait)?;
            self.queue.take_partition(&self.topic_c, partition)?;
            list.add_partition_offset(&self.topic, partition, Offset::Beginning)
                .map_err(|error| KafkaError::from_rdkafka(&wait.doing, &error))?;
        }
        let client = self.handle.client();
        client.assign(&list).map_err(|error| KafkaError::from_rdkafka(&wait.doing, &error))?;
        let read = self.read_to(left, &wait, restored, &mut record);
        let closed = client.unassign();
        let read = read?;
        closed.map_err(|error| KafkaError::from_rdkafka(&wait.doing, &error))?;
        Ok(read)
    }

    fn end_of_everything(&self, partition: i32, wait: &Wait<'_>) -> Result<(i64, i64), KafkaError> {
        wait.repeat(|| self.uncommitted.watermarks(&self.topic, partition, QUESTION).map(Ok))
    }

    /// A restore that is bounded by the last stable offset would miss what is committed behind it.
    fn await_stable(&self, partition: i32, high: i64, wait: &Wait<'_>) -> Result<(), KafkaError> {
        wait.repeat(|| {
            let (_, stable) = self
                .handle
                .client()
                .fetch_watermarks(&self.topic, partition, QUESTION)
                .map_err(|error| KafkaError::from_rdkafka(&wait.doing, &error))?;
            let open = || {
                format!(
                    "a transaction is open at offset {stable} of {high} (`kafka-transactions.sh \
                     find-hanging` and `abort` end one that nobody ends)"
                )
            };
            Ok(if stable >= high { Ok(()) } else { Err(open()) })
        })
    }

    /// Until the end event of each: the last offset may be a control record, which nobody sees.
    fn read_to(
        &self,
        mut left: BTreeMap<i32, i64>,
        wait: &Wait<'_>,
        mut restored: Restored,
        record: &mut impl FnMut(Message<'_>),
    ) -> Result<Restored, KafkaError> {
        loop {
            // Serves log lines and errors.
            while self.handle.client().poll(Duration::ZERO).is_some() {}
            let read = || {
                let high: Vec<_> =
                    left.iter().map(|(at, high)| format!("{at} to {high}")).collect();
                format!(
                    "read {} records; left are partitions {}",
                    restored.records,
                    high.join(", ")
                )
            };
            let batch = self.queue.consume(BATCH, SLICE.min(wait.left(read)?));
            if !batch.is_empty() {
                wait.moved();
            }
            for message in batch.iter() {
                restored.records += 1;
                let size = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len) as u64;
                restored.bytes += size(message.key) + size(message.value);
                record(message);
            }
            for &(partition, end) in batch.ends() {
                if left.get(&partition).is_some_and(|high| end >= *high) {
                    left.remove(&partition);
                    restored.end = restored.end.max(end);
                }
            }
            if left.is_empty() {
                return Ok(restored);
            }
            if let Some((_, error)) = batch.errors().iter().find(|(_, error)| !error.is_passing()) {
                return Err(error.clone());
            }
        }
    }
}

/// How long, and until whose flag.
struct Wait<'a> {
    doing: String,
    end: Cell<Instant>,
    timeout: Duration,
    stop: &'a AtomicBool,
}

impl Wait<'_> {
    /// It goes on: a large state may take as long as it takes.
    fn moved(&self) {
        self.end.set(Instant::now() + self.timeout);
    }

    /// What is left of the time; `state` says in the error how far it came.
    fn left(&self, state: impl FnOnce() -> String) -> Result<Duration, KafkaError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(KafkaError::Stopped(self.doing.clone()));
        }
        let left = self.end.get().saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = format!("not done within {:?}: {}", self.timeout, state());
            return Err(KafkaError::recover(&*self.doing, why, Some(Code::OperationTimedOut)));
        }
        Ok(left)
    }

    /// Asks until there is an answer; brokers that move or are gone for a moment are asked again.
    /// An answer of `Err` says why it is not the wanted one yet.
    fn repeat<T>(
        &self,
        ask: impl Fn() -> Result<Result<T, String>, KafkaError>,
    ) -> Result<T, KafkaError> {
        let mut state = "not asked yet".to_owned();
        loop {
            let left = self.left(|| state.clone())?;
            let pause = match ask() {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(not_yet)) => {
                    state = not_yet;
                    Duration::from_millis(10)
                }
                Err(
                    error @ (KafkaError::Retry(_)
                    | KafkaError::Unreachable(_)
                    | KafkaError::Recover(_)),
                ) => {
                    state = error.to_string();
                    SLICE
                }
                Err(error) => return Err(error),
            };
            thread::sleep(pause.min(left));
        }
    }
}
