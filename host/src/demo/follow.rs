//! Follows a topic without a consumer group: nothing is committed, nobody is disturbed.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::ConnectError;
use super::reader::{self, Reader};
use super::stop::Stop;
use super::view::Seen;
use crate::kafka::ClientSettings;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record of each partition.
    Beginning,
    /// Behind the newest.
    End,
}

/// Reads all partitions of one topic, committed records only.
pub struct Follower {
    consumer: Reader,
    topic: String,
    brokers: String,
}

/// Between two looks at the stop flag while nothing comes.
const POLL_MAX: Duration = Duration::from_millis(50);

impl Follower {
    /// Connects and begins to fetch. The partitions are those of now: more of them are not noticed.
    pub fn open(
        settings: &ClientSettings,
        topic: &str,
        start: Start,
        stop: &Stop,
    ) -> Result<Self, ConnectError> {
        // The embedded broker keeps an empty answer for the whole of it.
        let more = [("fetch.wait.max.ms", "100")];
        let (consumer, count) = reader::open(settings, topic, &more, stop)?;
        let offset = match start {
            Start::Beginning => Offset::Beginning,
            Start::End => Offset::End,
        };
        let mut partitions = TopicPartitionList::new();
        for partition in 0..count {
            partitions
                .add_partition_offset(topic, partition, offset)
                .map_err(|error| ConnectError::making(&error))?;
        }
        consumer.assign(&partitions).map_err(|error| ConnectError::making(&error))?;
        Ok(Self { consumer, topic: topic.to_owned(), brokers: settings.brokers().to_owned() })
    }

    /// The next record: none when the flag is raised or nothing came within `timeout`.
    ///
    /// A connection that is lost is found again by librdkafka itself; only what it cannot mend is an
    /// error: access that is refused.
    pub fn next(
        &self,
        timeout: Duration,
        stop: &Stop,
    ) -> Result<Option<BorrowedMessage<'_>>, ConnectError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left.min(POLL_MAX)) {
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(error)) => self.judge(&error)?,
                None => {}
            }
            if stop.stopped() || Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    fn judge(&self, error: &KafkaError) -> Result<(), ConnectError> {
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed | Code::SaslAuthenticationFailed) => {
                let brokers = self.brokers.clone();
                Err(ConnectError::Refused { brokers, why: error.to_string() })
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                let brokers = self.brokers.clone();
                Err(ConnectError::MissingTopic { topic: self.topic.clone(), brokers })
            }
            // Reading needs no group, so a group that may not be described is no obstacle.
            _ => Ok(()),
        }
    }
}

/// What the view needs of a message.
pub fn seen<'a>(message: &'a BorrowedMessage<'_>) -> Seen<'a> {
    let headers = message.headers().map(|headers| {
        headers.iter().filter_map(|header| Some((header.key, header.value?))).collect()
    });
    Seen {
        key: message.key(),
        value: message.payload(),
        headers: headers.unwrap_or_default(),
        timestamp: message.timestamp().to_millis(),
    }
}
