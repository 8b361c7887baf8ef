//! A member of a consumer group that is read in batches: rebalances are events to be answered, and
//! offsets are only what the caller says.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Closing, ConsumerHandle, list};
use super::context::Context;
use super::error::KafkaError;
use super::raw::{self, Messages, Queue};
use super::settings::ClientSettings;

/// Events served in one call of `poll_rebalance`; the rest waits for the next.
const EVENTS_MAX: usize = 256;
/// The pause between two tries of something that is not possible yet.
const PAUSE: Duration = Duration::from_millis(20);

/// What the group wants from this member. Every event must be answered, with
/// [`Consumer::assign`] or [`Consumer::unassign`], before the next one comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// Take these partitions in addition: answer with `assign`.
    Assigned(Vec<i32>),
    /// Give these up: commit, then answer with `unassign`.
    Revoked(Vec<i32>),
    /// These are gone, others may have them already: commit nothing, answer with `unassign`.
    Lost(Vec<i32>),
    /// Something is wrong with the client; there is nothing to answer.
    Error(KafkaError),
}

/// How a member takes part in its group; none stands for librdkafka's default.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// A member that is silent for so long loses its partitions (`session.timeout.ms`).
    pub session_timeout: Option<Duration>,
    /// A member that does not poll for so long leaves (`max.poll.interval.ms`).
    pub poll_interval_max: Option<Duration>,
}

/// What a transaction needs to know of the group to commit offsets in its name.
#[derive(Clone)]
pub struct GroupMetadata {
    pub(super) group: String,
    pub(super) metadata: Arc<ConsumerGroupMetadata>,
}

impl GroupMetadata {
    pub(super) fn new(group: &str, metadata: ConsumerGroupMetadata) -> Self {
        GroupMetadata { group: group.to_owned(), metadata: Arc::new(metadata) }
    }
}

/// A consumer of one topic in a group.
pub struct Consumer {
    /// Partitions are forwarded to it; dropped before the client.
    queue: Queue,
    /// What the group and the client report.
    events: Queue,
    handle: Arc<ConsumerHandle>,
    closing: Closing,
    group: String,
    topic: String,
    topic_c: CString,
    /// The first event was shown and waits for its answer.
    shown: bool,
    /// Where each partition that gave something goes on; see `keep_positions`.
    next: BTreeMap<i32, i64>,
}

impl Consumer {
    /// Joins `group` for `topic`; the broker is not waited for.
    pub fn new(
        settings: &ClientSettings,
        group: &str,
        topic: &str,
        options: &GroupOptions,
    ) -> Result<Self, KafkaError> {
        let doing = format!("joining group {group} for topic {topic}");
        let mut config = settings.consumer(Some(group), "read_committed");
        if let Some(timeout) = options.session_timeout {
            config.set("session.timeout.ms", timeout.as_millis().to_string());
            // A third, so that two may get lost; three seconds is the default and enough.
            let beat = (timeout.as_millis() / 3).clamp(1, 3000);
            config.set("heartbeat.interval.ms", beat.to_string());
        }
        if let Some(interval) = options.poll_interval_max {
            config.set("max.poll.interval.ms", interval.as_millis().to_string());
        }
        let topic_c = CString::new(topic)
            .map_err(|_| KafkaError::Config(format!("{doing}: zero byte in the name")))?;
        let client = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        client.subscribe(&[topic]).map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        let (handle, closing) = ConsumerHandle::new(client, topic);
        let handle = Arc::new(handle);
        let events = Queue::of_consumer(handle.clone())
            .ok_or_else(|| KafkaError::recover(&doing, "no queue for group events", None))?;
        let queue = Queue::new(handle.clone());
        let (group, topic) = (group.to_owned(), topic.to_owned());
        Ok(Consumer {
            queue,
            events,
            handle,
            closing,
            group,
            topic,
            topic_c,
            shown: false,
            next: BTreeMap::new(),
        })
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn client(&self) -> &BaseConsumer<Context> {
        self.handle.client()
    }

    fn context(&self) -> &Context {
        self.client().client().context()
    }

    /// Serves the client's events without waiting and returns the next one that concerns the
    /// caller: the same rebalance again until it is answered. Also counts as a poll for
    /// `max.poll.interval.ms`. Call it between batches.
    pub fn poll_rebalance(&mut self) -> Option<Rebalance> {
        if let Err(error) = self.serve() {
            return Some(Rebalance::Error(error));
        }
        if let Some(error) = self.context().take_trouble() {
            let doing = format!("reading topic {} as a member of group {}", self.topic, self.group);
            return Some(Rebalance::Error(error.refused_while(&doing)));
        }
        let event = self.context().next_rebalance();
        self.shown = event.is_some();
        event
    }

    /// One poll serves one event, a log line included.
    fn serve(&self) -> Result<(), KafkaError> {
        for _ in 0..EVENTS_MAX {
            if let Some(Ok(message)) = self.client().poll(Duration::ZERO) {
                use rdkafka::Message as _;
                // Cannot happen while partitions are forwarded before they are assigned. If it
                // does, the record must not be passed over.
                let doing = format!("reading partition {}", message.partition());
                return Err(KafkaError::recover(doing, "a record came in beside the batch", None));
            }
            if self.events.len() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Takes partitions over from these offsets (the next to read), and answers an `Assigned`
    /// event: also with an empty list, when there is nothing to add.
    pub fn assign(&mut self, partitions: &[(i32, i64)]) -> Result<(), KafkaError> {
        // Before the assignment, so that no message can come in beside the queue.
        for (partition, _) in partitions {
            self.queue.take_partition(&self.topic_c, *partition)?;
        }
        let offsets = self.offsets(partitions)?;
        self.client()
            .incremental_assign(&offsets)
            .map_err(|error| self.failed("taking partitions over", &error))?;
        self.keep_positions()?;
        self.answered();
        Ok(())
    }

    /// Gives partitions up, and answers a `Revoked` or `Lost` event. Messages of them that are
    /// still queued are discarded.
    pub fn unassign(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.client()
            .incremental_unassign(&list(&self.topic, partitions))
            .map_err(|error| self.failed("giving partitions up", &error))?;
        self.next.retain(|partition, _| !partitions.contains(partition));
        self.keep_positions()?;
        self.answered();
        Ok(())
    }

    /// librdkafka pauses every partition while a rebalance waits for its answer, and goes on behind
    /// the last message that it gave out. For the batch call an end event is such a message, so it
    /// would go on one too far and skip the next record. We know better where to go on.
    fn keep_positions(&self) -> Result<(), KafkaError> {
        if self.next.is_empty() {
            return Ok(());
        }
        let next: Vec<(i32, i64)> = self.next.iter().map(|(p, offset)| (*p, *offset)).collect();
        // No time to wait: what was fetched before is outdated from here on, without an answer.
        self.client()
            .seek_partitions(self.offsets(&next)?, Duration::ZERO)
            .map_err(|error| self.failed("going on after a rebalance", &error))?;
        Ok(())
    }

    fn answered(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.context().rebalance_answered();
        }
    }

    /// Whether the assignment is lost: nothing may be committed any more.
    pub fn assignment_lost(&self) -> bool {
        self.client().assignment_lost()
    }

    /// Waits until `max` records are there or the time is up, and returns what there is.
    pub fn fetch(&mut self, max: usize, timeout: Duration) -> Messages {
        let batch = self.queue.consume(max, timeout);
        self.next.extend(batch.next().iter().copied());
        batch
    }

    /// Goes on reading assigned partitions at these offsets; what is queued of them is discarded.
    /// Messages fetched before belong to the past: drop them. Waits until it is done.
    pub fn seek(&mut self, offsets: &[(i32, i64)], timeout: Duration) -> Result<(), KafkaError> {
        let end = Instant::now() + timeout;
        let mut left: Vec<(i32, i64)> = offsets.to_vec();
        self.next.extend(offsets.iter().copied());
        while !left.is_empty() {
            let rest = end.saturating_duration_since(Instant::now());
            let done = self
                .client()
                .seek_partitions(self.offsets(&left)?, rest)
                .map_err(|error| self.failed("seeking", &error))?;
            // A partition that was assigned a moment ago is not ready to seek.
            left.retain(|(partition, _)| {
                done.find_partition(&self.topic, *partition)
                    .is_none_or(|element| element.error().is_err())
            });
            if !left.is_empty() {
                if Instant::now() >= end {
                    return Err(KafkaError::timed_out(self.doing("seeking"), timeout));
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Stops fetching; what is queued already still comes.
    pub fn pause(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let paused = self.client().pause(&list(&self.topic, partitions));
        paused.map_err(|error| self.failed("pausing", &error))
    }

    /// Fetches again, where it stopped.
    pub fn resume(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let resumed = self.client().resume(&list(&self.topic, partitions));
        resumed.map_err(|error| self.failed("resuming", &error))?;
        self.keep_positions()
    }

    /// The id that the broker gave this member; none before it joined. Partitions that were
    /// assigned under another id may have a second owner.
    pub fn member_id(&self) -> Option<String> {
        raw::member_id(&self.handle)
    }

    /// For [`super::Producer::send_offsets`]; ask again after every rebalance.
    pub fn group_metadata(&self) -> Result<GroupMetadata, KafkaError> {
        match self.client().group_metadata() {
            Some(metadata) => Ok(GroupMetadata::new(&self.group, metadata)),
            None => Err(KafkaError::recover(self.doing("asking for group metadata"), "none", None)),
        }
    }

    /// The committed offset (the next to read) of each partition, none where nothing is committed.
    /// Stable: waits for a predecessor's transaction that is still being completed.
    pub fn committed(
        &self,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
        committed(self.client(), &self.topic, partitions, timeout)
    }

    /// Commits offsets (the next to read) for at-least-once delivery, and waits for the broker.
    /// `Recover` when the member lost its place in the group or the time ran out.
    pub fn commit_sync(&self, offsets: &[(i32, i64)], timeout: Duration) -> Result<(), KafkaError> {
        let list = self.offsets(offsets)?;
        raw::commit_offsets(self.client(), &list, &self.doing("committing offsets"), timeout)
    }

    /// The oldest offset that is kept and the end of what is committed (the last stable offset).
    pub fn watermarks(&self, partition: i32, timeout: Duration) -> Result<(i64, i64), KafkaError> {
        self.client()
            .fetch_watermarks(&self.topic, partition, timeout)
            .map_err(|error| self.failed("asking for watermarks", &error))
    }

    /// The end of a partition with what is not committed yet (its high watermark), as the last fetch
    /// told it: no broker is asked. None before one told.
    pub fn known_end(&self, partition: i32) -> Option<i64> {
        raw::known_end(&self.handle, &self.topic_c, partition)
    }

    /// The first offset of each partition whose record is as late as `timestamp` (milliseconds since
    /// the epoch) or later; none where there is no such record.
    pub fn offsets_for_time(
        &self,
        partitions: &[i32],
        timestamp: i64,
        timeout: Duration,
    ) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
        let doing = self.doing("looking offsets up by time");
        offsets_for_time(self.client(), &self.topic, partitions, timestamp, &doing, timeout)
    }

    /// Leaves the group and closes; wait on the result to give the broker the time to notice.
    /// Dropping does the same without the wait.
    pub fn close(self) -> Closing {
        let Consumer { queue, events, handle, closing, .. } = self;
        drop((queue, events, handle));
        closing
    }

    fn offsets(&self, offsets: &[(i32, i64)]) -> Result<TopicPartitionList, KafkaError> {
        offset_list(&self.topic, offsets)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} of topic {}", self.topic)
    }

    fn failed(&self, what: &str, error: &rdkafka::error::KafkaError) -> KafkaError {
        KafkaError::from_rdkafka(self.doing(what), error)
    }
}

/// Offsets as librdkafka takes them.
pub(super) fn offset_list(
    topic: &str,
    offsets: &[(i32, i64)],
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(|error| {
            let doing = format!("offset {offset} of partition {partition} of topic {topic}");
            KafkaError::from_rdkafka(doing, &error)
        })?;
    }
    Ok(list)
}

/// See [`Consumer::committed`].
pub(super) fn committed(
    client: &BaseConsumer<Context>,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
    let doing = || format!("asking for committed offsets of topic {topic}");
    let end = Instant::now() + timeout;
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let answer = client
            .committed_offsets(list(topic, partitions), rest)
            .map_err(|error| KafkaError::from_rdkafka(doing(), &error))
            .and_then(|answer| read_offsets(&answer, &doing()));
        match answer {
            // A transaction on these offsets is still open, or the coordinator moves.
            Err(error) if error.is_retry() && Instant::now() < end => thread::sleep(PAUSE),
            Err(error) if error.is_retry() => return Err(KafkaError::timed_out(doing(), timeout)),
            done => return done,
        }
    }
}

fn read_offsets(
    answer: &TopicPartitionList,
    doing: &str,
) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
    let mut offsets = Vec::with_capacity(answer.count());
    for element in answer.elements() {
        element.error().map_err(|error| KafkaError::from_rdkafka(doing, &error))?;
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        offsets.push((element.partition(), offset));
    }
    Ok(offsets)
}

/// See [`Consumer::offsets_for_time`].
pub(super) fn offsets_for_time(
    client: &BaseConsumer<Context>,
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
    doing: &str,
    timeout: Duration,
) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
    let times: Vec<(i32, i64)> =
        partitions.iter().map(|partition| (*partition, timestamp)).collect();
    let answer = client.offsets_for_times(offset_list(topic, &times)?, timeout).map_err(
        |error| match error.rdkafka_error_code() {
            Some(Code::OperationTimedOut) => KafkaError::timed_out(doing, timeout),
            _ => KafkaError::from_rdkafka(doing, &error),
        },
    )?;
    read_offsets(&answer, doing)
}
