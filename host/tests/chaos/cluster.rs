//! Brokers, each with a proxy before it that all processes go through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::broker::{Broker, Options};
use crate::support::proxy::Proxy;

/// How long a broker may take to say what it knows; it is asked again.
const ASK: Duration = Duration::from_millis(700);

/// The coordinators' own topic, and how many partitions the harness gives it.
const TRANSACTIONS: (&str, i32) = ("__transaction_state", 4);
/// Where a record of it has the state of its transaction: behind the version, the producer's id and
/// epoch, and its timeout, in each version so far.
const STATE_AT: usize = 2 + 8 + 2 + 4;
/// `PrepareCommit`, `PrepareAbort`: it is decided, and not yet in every partition.
const HALF_ENDED: [u8; 2] = [2, 3];
/// From the last request to every transaction in every partition.
const ENDED: Duration = Duration::from_secs(20);

/// One broker or three.
pub struct Cluster {
    pub broker: Broker,
    /// By number of its broker.
    pub proxies: Vec<Proxy>,
}

impl Cluster {
    pub fn start(brokers: usize) -> Cluster {
        let proxies: Vec<Proxy> = (0..brokers).map(|_| Proxy::bind()).collect();
        let ports = proxies.iter().map(Proxy::port).collect();
        let broker = Broker::start(&Options { brokers, proxies: ports, ..Options::default() });
        for (node, proxy) in proxies.iter().enumerate() {
            proxy.forward_to(broker.proxied(node));
        }
        Cluster { broker, proxies }
    }

    /// Where clients connect, through the proxies.
    pub fn through_proxies(&self) -> String {
        self.proxies.iter().map(Proxy::brokers).collect::<Vec<_>>().join(",")
    }

    /// Where clients connect, straight.
    pub fn straight(&self) -> String {
        self.broker.brokers()
    }

    /// SIGKILL. A single one dies between transactions' ends, not within one: when it comes back it takes
    /// partitions for deleted that have no leader yet, and calls a transaction complete whose marker
    /// they never get (Kafka 4.4.0: `KRaftMetadataCache.getPartitionLeaderEndpoint` has nothing to say
    /// of them, and `TransactionMarkerChannelManager` logs that they "are likely deleted already").
    /// What is committed elsewhere stays open there, and is aborted with the next transaction: found by
    /// this harness as offsets ahead of the window state. With replicas a partition has a leader.
    pub fn kill(&self, node: usize, is_frozen: bool) {
        if self.broker.count() > 1 {
            return self.broker.kill(node);
        }
        self.proxies[node].set_frozen(true);
        self.await_ended_transactions();
        self.broker.kill(node);
        self.proxies[node].set_frozen(is_frozen);
    }

    fn await_ended_transactions(&self) {
        let end = Instant::now() + ENDED;
        let is_ended = |states: BTreeMap<Vec<u8>, u8>| {
            !states.values().any(|state| HALF_ENDED.contains(state))
        };
        while !self.transaction_states().is_some_and(is_ended) {
            assert!(Instant::now() < end, "a transaction does not come to its end");
        }
    }

    /// Of each transactional id; none where the broker does not say so at once.
    fn transaction_states(&self) -> Option<BTreeMap<Vec<u8>, u8>> {
        let consumer = self.client();
        let metadata = consumer.fetch_metadata(None, ASK).ok()?;
        // Nobody has begun a transaction yet. A reader would be told so half a minute later.
        if metadata.topics().iter().all(|topic| topic.name() != TRANSACTIONS.0) {
            return Some(BTreeMap::new());
        }
        let (topic, partitions) = TRANSACTIONS;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&all).expect("a valid assignment");
        let (mut states, mut at_end) = (BTreeMap::new(), BTreeSet::new());
        let end = Instant::now() + ENDED / 5;
        while at_end.len() < partitions as usize {
            match consumer.poll(end.saturating_duration_since(Instant::now()))? {
                Ok(message) => {
                    let (key, value) = (message.key().unwrap_or_default(), message.payload());
                    match value {
                        Some(value) => _ = states.insert(key.to_vec(), value[STATE_AT]),
                        None => _ = states.remove(key),
                    }
                }
                Err(KafkaError::PartitionEOF(partition)) => _ = at_end.insert(partition),
                Err(_) => return None,
            }
        }
        Some(states)
    }

    fn client(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.straight())
            .set("group.id", "nobody")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("reconnect.backoff.max.ms", "200")
            .set("log_level", "0")
            .create()
            .expect("a client talks to no broker yet")
    }

    /// Whether every broker is there, and every replica in sync: what an operator waits for before
    /// he stops the next broker.
    pub fn is_whole(&self) -> bool {
        let Ok(metadata) = self.client().fetch_metadata(None, ASK) else { return false };
        let partitions = || metadata.topics().iter().flat_map(|topic| topic.partitions());
        metadata.brokers().len() == self.broker.count()
            && partitions().all(|one| one.leader() >= 0 && one.isr().len() == one.replicas().len())
    }

    /// The partitions of these topics whose leader is this broker.
    pub fn led_by(&self, node: usize, topics: &[&str]) -> Vec<i32> {
        let client = self.client();
        let mut led: Vec<i32> = Vec::new();
        for topic in topics {
            let Ok(metadata) = client.fetch_metadata(Some(topic), ASK) else { continue };
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let here = partitions.filter(|one| one.leader() == node as i32 + 1);
            led.extend(here.map(|one| one.id()));
        }
        led.sort_unstable();
        led.dedup();
        led
    }
}
