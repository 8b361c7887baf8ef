//! The last records of a topic, batch by batch, up to where it ends now. Without a consumer group:
//! nothing is committed, nobody is disturbed.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{self, ANSWER_MAX, ConnectError, Trouble};
use super::stop::Stop;
use crate::chain::{Copied, Header, Record};
use crate::kafka::ClientSettings;

/// Between two looks at the stop flag while nothing comes.
const POLL_MAX: Duration = Duration::from_millis(50);
/// After so long without a record or an end the broker is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads all partitions of one topic, committed records only.
pub struct Tail {
    consumer: BaseConsumer<Context>,
    /// Partitions that are not at their end yet.
    open: usize,
    brokers: String,
}

struct Context(Trouble);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note(&error, reason);
    }
}

impl ConsumerContext for Context {}

impl Tail {
    /// Connects, and goes to the last `count` records: as many of each partition, or fewer where one
    /// has fewer. Offsets without a record (of markers, or compacted away) count as one.
    pub fn open(
        settings: &ClientSettings,
        topic: &str,
        count: u64,
        stop: &Stop,
    ) -> Result<Self, ConnectError> {
        let trouble = Trouble::default();
        let consumer: BaseConsumer<Context> = settings
            .plain(&[
                // librdkafka hands nothing out without a name for the group, though none is joined.
                ("group.id", "host-diff"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "true"),
                ("isolation.level", "read_committed"),
                ("auto.offset.reset", "earliest"),
                ("allow.auto.create.topics", "false"),
            ])
            .create_with_context(Context(trouble.clone()))
            .map_err(|error| ConnectError::making(&error))?;
        let brokers = settings.brokers().to_owned();
        let partitions = client::partitions(consumer.client(), &trouble, &brokers, topic, stop)?;
        let mut ends = Vec::new();
        for partition in 0..partitions {
            let found = consumer.fetch_watermarks(topic, partition, ANSWER_MAX);
            ends.push(found.map_err(|error| {
                let (brokers, why) = (brokers.clone(), error.to_string());
                ConnectError::Unreachable { brokers, why }
            })?);
        }
        let mut list = TopicPartitionList::new();
        for (partition, first) in (0..).zip(first_offsets(&ends, count)) {
            list.add_partition_offset(topic, partition, Offset::Offset(first))
                .map_err(|error| ConnectError::making(&error))?;
        }
        consumer.assign(&list).map_err(|error| ConnectError::making(&error))?;
        Ok(Self { consumer, open: ends.len(), brokers })
    }

    /// Up to `most` records; none at the end of the topic, or when the flag is raised.
    pub fn next(
        &mut self,
        most: usize,
        now: i64,
        stop: &Stop,
    ) -> Result<Option<Copied>, ConnectError> {
        let mut batch = Copied::at(now);
        let mut heard = Instant::now();
        while self.open > 0 && batch.len() < most && !stop.stopped() {
            match self.consumer.poll(POLL_MAX) {
                Some(Ok(message)) => add(&mut batch, &message),
                Some(Err(KafkaError::PartitionEOF(_))) => self.open -= 1,
                Some(Err(error)) if heard.elapsed() >= SILENCE_MAX => {
                    return Err(self.silent(error.to_string()));
                }
                None if heard.elapsed() >= SILENCE_MAX => {
                    return Err(self.silent(format!("nothing came for {SILENCE_MAX:?}")));
                }
                Some(Err(_)) | None => continue,
            }
            heard = Instant::now();
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn silent(&self, why: String) -> ConnectError {
        ConnectError::Unreachable { brokers: self.brokers.clone(), why }
    }
}

fn add(batch: &mut Copied, message: &rdkafka::message::BorrowedMessage<'_>) {
    let headers: Vec<Header<'_>> = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| Header { name: header.key, value: header.value }).collect()
    });
    batch.push(&Record {
        key: message.key(),
        value: message.payload(),
        headers: &headers,
        timestamp: message.timestamp().to_millis(),
        partition: message.partition(),
        offset: message.offset(),
    });
}

/// Where to begin in each partition: what a small one does not have the others give.
fn first_offsets(ends: &[(i64, i64)], count: u64) -> Vec<i64> {
    let size = |&(first, end): &(i64, i64)| u64::try_from(end - first).unwrap_or(0);
    let mut by_size: Vec<usize> = (0..ends.len()).collect();
    by_size.sort_by_key(|&partition| size(&ends[partition]));
    let mut offsets = vec![0; ends.len()];
    let mut left = count;
    for (place, partition) in by_size.into_iter().enumerate() {
        let share = left.div_ceil((ends.len() - place) as u64).min(size(&ends[partition]));
        left -= share;
        offsets[partition] = ends[partition].1 - share as i64;
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_partitions_leave_their_share_to_the_others() {
        assert_eq!(first_offsets(&[(0, 10), (0, 1000), (50, 1050)], 100), [0, 955, 1005]);
        assert_eq!(first_offsets(&[(0, 10), (5, 5)], 100), [0, 5]);
        assert_eq!(first_offsets(&[(0, 10), (0, 10)], 3), [8, 9]);
        assert_eq!(first_offsets(&[(0, 10)], 0), [10]);
    }
}
