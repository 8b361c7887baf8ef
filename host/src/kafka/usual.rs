//! The usual way: a record is polled and sent by itself, with rdkafka's own calls. The data path
//! does not use it; `host bench` compares itself with it.

use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext};
use rdkafka::producer::BaseRecord;

use super::client::drop_in_background;
use super::consumer::GroupMetadata;
use super::error::KafkaError;
use super::producer::Producer;
use super::settings::ClientSettings;

/// A consumer that is polled, and whose group rdkafka looks after.
pub struct UsualConsumer(Option<BaseConsumer<DefaultConsumerContext>>);

/// A record that was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Whether it was kept, and sent.
    pub kept: bool,
}

impl UsualConsumer {
    /// Joins `group` for `topic`, from its start.
    pub fn new(settings: &ClientSettings, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let doing = format!("joining group {group} for topic {topic}");
        let mut config = settings.consumer(Some(group), "read_committed");
        config.set("auto.offset.reset", "earliest").set("enable.partition.eof", "false");
        let client = BaseConsumer::from_config_and_context(&config, DefaultConsumerContext)
            .map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        client.subscribe(&[topic]).map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        Ok(Self(Some(client)))
    }

    fn client(&self) -> &BaseConsumer<DefaultConsumerContext> {
        self.0.as_ref().expect("taken by drop only")
    }

    /// For [`Producer::send_offsets`].
    pub fn group_metadata(&self) -> Result<GroupMetadata, KafkaError> {
        let metadata = self.client().group_metadata();
        let none = || KafkaError::recover("asking for group metadata", "none", None);
        // The name is for error texts only, and the bench has one group.
        metadata.map(|metadata| GroupMetadata::new("of the bench", metadata)).ok_or_else(none)
    }

    /// Waits for a record, at most so long, and sends it to topic `to` with its key and timestamp
    /// if `keep` says so of its value.
    pub fn forward(
        &self,
        producer: &Producer,
        to: &str,
        timeout: Duration,
        keep: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Forwarded>, KafkaError> {
        let message = match self.client().poll(timeout) {
            None => return Ok(None),
            Some(Err(error)) => return Err(KafkaError::from_rdkafka("polling", &error)),
            Some(Ok(message)) => message,
        };
        let value = message.payload().unwrap_or_default();
        let kept = keep(value);
        if kept {
            let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(to, 0).payload(value);
            record.key = message.key();
            record.timestamp = message.timestamp().to_millis();
            producer.send_usual(record)?;
        }
        Ok(Some(Forwarded { partition: message.partition(), offset: message.offset(), kept }))
    }
}

impl Drop for UsualConsumer {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop_in_background(client);
        }
    }
}
