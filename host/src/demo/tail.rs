//! The last records of a topic, batch by batch, up to where it ends now. Without a consumer group:
//! nothing is committed, nobody is disturbed.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{ANSWER_MAX, ConnectError};
use super::reader::{self, Reader};
use super::stop::Stop;
use crate::chain::{Copied, Header, Record};
use crate::kafka::ClientSettings;

/// Between two looks at the stop flag while nothing comes.
const POLL_MAX: Duration = Duration::from_millis(50);
/// After so long without a record or an end the broker is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads all partitions of one topic, committed records only.
pub struct Tail {
    consumer: Reader,
    /// Partitions that are not at their end yet.
    open: usize,
    brokers: String,
}

impl Tail {
    /// Connects, and goes to the last `count` records: as many of each partition, or fewer where one
    /// has fewer. Offsets without a record (of markers, or compacted away) count as one.
    pub fn open(
        settings: &ClientSettings,
        topic: &str,
        count: u64,
        stop: &Stop,
    ) -> Result<Self, ConnectError> {
        let more = [("enable.partition.eof", "true")];
        let (consumer, partitions) = reader::open(settings, topic, &more, stop)?;
        let brokers = settings.brokers().to_owned();
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
