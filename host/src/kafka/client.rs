//! Clients whose end cannot hang: they are dropped in a thread of their own.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use super::consumer::Rebalance;
use super::context::Context;

/// A client that is being closed in the background.
pub struct Closing(Receiver<()>);

impl Closing {
    /// Waits for its end; `false` when the time ran out first. It goes on closing then, and ends
    /// with the process at the latest.
    pub fn wait(&self, timeout: Duration) -> bool {
        // The sender is dropped after the client, so "disconnected" is the news waited for.
        self.0.recv_timeout(timeout) != Err(mpsc::RecvTimeoutError::Timeout)
    }
}

/// Drops a value in a thread of its own: librdkafka may wait for a broker that is gone.
pub fn drop_in_background<T: Send + 'static>(value: T) -> Closing {
    let (sender, receiver) = mpsc::channel::<()>();
    let spawned = thread::Builder::new().name("kafka-close".to_owned()).spawn(move || {
        drop(value);
        drop(sender);
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to close a Kafka client in");
    }
    Closing(receiver)
}

/// A consumer's client. Whoever drops the last handle does not wait for it to close.
pub(super) struct ConsumerHandle {
    client: Option<BaseConsumer<Context>>,
    /// The topic of a member of a group, for answering its last rebalance.
    topic: String,
    /// Dropped when the client is gone.
    closed: Option<mpsc::Sender<()>>,
}

impl ConsumerHandle {
    pub(super) fn new(client: BaseConsumer<Context>, topic: &str) -> (Self, Closing) {
        let (sender, receiver) = mpsc::channel();
        let handle =
            ConsumerHandle { client: Some(client), topic: topic.to_owned(), closed: Some(sender) };
        (handle, Closing(receiver))
    }

    pub(super) fn client(&self) -> &BaseConsumer<Context> {
        self.client.as_ref().expect("taken by drop only")
    }

    pub(super) fn native(&self) -> *mut rdkafka::types::RDKafka {
        self.client().client().native_ptr()
    }
}

impl Drop for ConsumerHandle {
    fn drop(&mut self) {
        let (Some(client), Some(closed)) = (self.client.take(), self.closed.take()) else { return };
        let topic = std::mem::take(&mut self.topic);
        drop_in_background(ClosingConsumer { client, topic, _closed: closed });
    }
}

/// Answers what nobody answered before the client is dropped, which would wait for that for ever.
struct ClosingConsumer {
    client: BaseConsumer<Context>,
    topic: String,
    /// After the client, so that it is dropped after it.
    _closed: mpsc::Sender<()>,
}

impl Drop for ClosingConsumer {
    fn drop(&mut self) {
        for event in self.client.client().context().start_closing() {
            let answered = match event {
                Rebalance::Assigned(partitions) => {
                    self.client.incremental_assign(&list(&self.topic, &partitions))
                }
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
                    self.client.incremental_unassign(&list(&self.topic, &partitions))
                }
                Rebalance::Error(_) => Ok(()),
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "answering a rebalance while closing");
            }
        }
    }
}

/// Partitions without offsets.
pub(super) fn list(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// A producer's client. Whoever drops the last handle does not wait for it to close.
pub(super) struct ProducerHandle {
    client: Option<ThreadedProducer<Context>>,
}

impl ProducerHandle {
    pub(super) fn new(client: ThreadedProducer<Context>) -> Self {
        ProducerHandle { client: Some(client) }
    }

    pub(super) fn client(&self) -> &ThreadedProducer<Context> {
        self.client.as_ref().expect("taken by drop only")
    }

    pub(super) fn native(&self) -> *mut rdkafka::types::RDKafka {
        self.client().client().native_ptr()
    }

    pub(super) fn context(&self) -> &Context {
        self.client().client().context()
    }
}

impl Drop for ProducerHandle {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop_in_background(client);
        }
    }
}
