//! Brokers, each with a proxy before it that all processes go through.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::broker::{Broker, Options};
use crate::support::proxy::Proxy;

/// How long a broker may take to say what it knows; it is asked again.
const ASK: Duration = Duration::from_millis(700);

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

    fn client(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.straight())
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
