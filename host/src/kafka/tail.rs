//! Reading a topic from its start on, for as long as one likes, without a group.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::ConsumerHandle;
use super::context::Context;
use super::error::KafkaError;
use super::raw::{Messages, Queue};
use super::settings::ClientSettings;

/// Reads what is committed in all partitions of a topic, from the oldest record on.
pub struct Tail {
    queue: Queue,
    handle: Arc<ConsumerHandle>,
}

impl Tail {
    /// Starts the client; no broker is waited for. `group` is the pipeline's, which is not joined:
    /// librdkafka reads partitions in the name of one only.
    pub fn new(
        settings: &ClientSettings,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Self, KafkaError> {
        let doing = format!("reading topic {topic}");
        let config = settings.consumer(Some(group), "read_committed");
        let client = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        let topic_c = CString::new(topic)
            .map_err(|_| KafkaError::Config(format!("{doing}: zero byte in the name")))?;
        let (handle, _) = ConsumerHandle::new(client, topic);
        let handle = Arc::new(handle);
        let queue = Queue::new(handle.clone());
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            queue.take_partition(&topic_c, partition)?;
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        }
        let assigned = handle.client().assign(&list);
        assigned.map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
        Ok(Self { queue, handle })
    }

    /// Waits until `max` records are there or the time is up, and returns what there is.
    pub fn fetch(&self, max: usize, timeout: Duration) -> Messages {
        // Serves log lines and errors.
        while self.handle.client().poll(Duration::ZERO).is_some() {}
        self.queue.consume(max, timeout)
    }
}
