//! The names of the topics that a client reads, and lists of their partitions as librdkafka takes them.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::error::KafkaError;
use super::partition::TopicPartition;

/// The topics of a consumer, in their order. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Topics(Arc<[Name]>);

#[derive(Debug)]
struct Name {
    text: String,
    c: CString,
}

impl Topics {
    /// `doing` is for the error, of a name that no topic can have.
    pub(super) fn new(names: &[&str], doing: &str) -> Result<Self, KafkaError> {
        let name = |name: &&str| {
            let c = CString::new(*name)
                .map_err(|_| KafkaError::Config(format!("{doing}: zero byte in the name")))?;
            Ok(Name { text: (*name).to_owned(), c })
        };
        Ok(Self(names.iter().map(name).collect::<Result<_, KafkaError>>()?))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| name.text.as_str())
    }

    /// The name of the topic at this place.
    pub(super) fn name(&self, topic: usize) -> &str {
        self.0.get(topic).map_or("?", |name| &name.text)
    }

    pub(super) fn c_name(&self, topic: usize) -> &CStr {
        self.0.get(topic).map_or(c"?", |name| &name.c)
    }

    /// The place of the topic of this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.0.iter().position(|known| known.text.as_bytes() == name)
    }

    /// Which partition an element of librdkafka's is; none of a topic that is not ours.
    pub(super) fn place(&self, element: &TopicPartitionListElem<'_>) -> Option<TopicPartition> {
        let topic = self.find(element.topic().as_bytes())?;
        Some(TopicPartition::new(topic, element.partition()))
    }

    /// Partitions without offsets.
    pub(super) fn list(&self, partitions: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(self.name(at.topic), at.partition);
        }
        list
    }

    /// Partitions with offsets.
    pub(super) fn offsets(
        &self,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for &(at, offset) in offsets {
            let topic = self.name(at.topic);
            list.add_partition_offset(topic, at.partition, Offset::Offset(offset)).map_err(
                |error| {
                    let doing =
                        format!("offset {offset} of partition {} of topic {topic}", at.partition);
                    KafkaError::from_rdkafka(doing, &error)
                },
            )?;
        }
        Ok(list)
    }
}
