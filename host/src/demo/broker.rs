//! The embedded broker: librdkafka's mock cluster, in this process, on a port of loopback.
//!
//! It is real Kafka protocol, and no Kafka: everything is in memory, a partition keeps
//! [`PARTITION_KEEPS`] bytes, topics cannot be created by clients with partitions of their choice,
//! and transactions are acknowledged without being carried out. So: at-least-once, and nothing
//! outlives the process.

use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// What a partition keeps, in bytes; older records are dropped, read or not.
pub const PARTITION_KEEPS: u64 = 5 << 20;

/// A running embedded broker; dropping it ends it, with all that it holds.
#[derive(Debug)]
pub struct Broker {
    address: String,
    /// Dropping it tells the thread to end.
    running: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker on a free port, with these topics and their partitions.
    pub fn start(topics: &[(String, i32)]) -> Result<Self> {
        let topics = topics.to_vec();
        let (ready, started) = mpsc::channel();
        let (running, ended) = mpsc::channel::<()>();
        // The cluster cannot move between threads, so one of its own keeps it.
        let thread = std::thread::Builder::new()
            .name("demo-broker".into())
            .spawn(move || match start(&topics) {
                Ok(cluster) => {
                    if ready.send(Ok(cluster.bootstrap_servers())).is_ok() {
                        // An error is what is waited for: the sender is gone.
                        let _ = ended.recv();
                    }
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .context("starting the embedded broker's thread")?;
        let address = started
            .recv()
            .map_err(|_| anyhow!("the embedded broker's thread ended"))?
            .context("starting the embedded broker")?;
        Ok(Self { address, running: Some(running), thread: Some(thread) })
    }

    /// Its address, host:port.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn start(topics: &[(String, i32)]) -> Result<MockCluster<'static, DefaultProducerContext>> {
    let cluster = MockCluster::new(1).context("opening a port on loopback")?;
    for (topic, partitions) in topics {
        cluster
            .create_topic(topic, *partitions, 1)
            .with_context(|| format!("creating topic {topic:?} with {partitions} partitions"))?;
    }
    Ok(cluster)
}
