//! What every client is started with: safe settings that delivery depends on, what the user passes
//! through, and what is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::types::RDKafkaConfRes;

use super::error::{KafkaError, redact};

/// The wait before a request is sent again. Fixed, because the time that a commit took tells whether
/// one of its requests may have been retried (`RETRY_FREE`).
const RETRY_BACKOFF: Duration = Duration::from_millis(200);

/// librdkafka's own `batch.size`; larger batches gain nothing.
const BATCH_BYTES: usize = 1_000_000;
/// The largest `message.max.bytes` that librdkafka takes.
const RECORD_BYTES_MAX: usize = 1_000_000_000;

/// Properties that are not the user's to choose, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use --brokers"),
    ("metadata.broker.list", "use --brokers"),
    ("group.id", "use [pipeline] name or --group"),
    (
        "transactional.id",
        "it is made of pipeline, instance and worker, so that a restart fences its predecessor",
    ),
    ("transaction.timeout.ms", "it is fixed so that a dead worker does not hold readers up"),
    (
        "group.instance.id",
        "static members can share their partitions with the next owner after a long stop",
    ),
    ("group.protocol", "only the classic protocol's rebalances have been proven exact"),
    ("group.remote.assignor", "only the classic protocol's rebalances have been proven exact"),
    (
        "partition.assignment.strategy",
        "workers hand partitions over one by one: cooperative-sticky",
    ),
    (
        "auto.offset.reset",
        "use --from; a lost offset stops the pipeline instead of skipping records",
    ),
    ("enable.auto.commit", "offsets are committed with their results only"),
    ("auto.commit.enable", "offsets are committed with their results only"),
    ("auto.commit.interval.ms", "offsets are committed with their results only"),
    ("enable.auto.offset.store", "offsets are committed with their results only"),
    ("offset.store.method", "offsets are kept by the broker only"),
    ("offset.store.path", "offsets are kept by the broker only"),
    ("offset.store.sync.interval.ms", "offsets are kept by the broker only"),
    ("isolation.level", "records of aborted transactions must not be seen: read_committed"),
    ("enable.partition.eof", "the end of a partition decides when it counts as idle"),
    ("partitioner", "outputs lie where Java clients put them: murmur2_random"),
    ("acks", "a record counts as written when all replicas have it: acks=all"),
    ("request.required.acks", "a record counts as written when all replicas have it: acks=all"),
    ("enable.idempotence", "without it a retry would write a record twice"),
    ("enable.gapless.guarantee", "it would make errors of single records fatal"),
    ("queuing.strategy", "lifo would turn the order around"),
    ("retries", "lost requests are sent again until the transaction's time is up"),
    ("message.send.max.retries", "lost requests are sent again until the transaction's time is up"),
    ("retry.backoff.ms", "it tells a commit that may have been retried from one that was not"),
    ("retry.backoff.max.ms", "it tells a commit that may have been retried from one that was not"),
    ("delivery.report.only.error", "a report for every record would slow the data path down"),
    (
        "allow.auto.create.topics",
        "missing topics are created by the host, with the partitions it needs",
    ),
    ("log.queue", "librdkafka's log goes into the host's"),
    ("log.thread.name", "librdkafka's log goes into the host's"),
    ("test.mock.num.brokers", "run without --brokers for the embedded demo broker"),
    ("api.version.request", "what the broker offers must be known before exactly-once is promised"),
    (
        "broker.version.fallback",
        "what the broker offers must be known before exactly-once is promised",
    ),
];

/// Why a property cannot be passed through; `None` where it can.
pub fn refused_property(key: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == key).map(|(_, why)| *why)
}

/// What is wrong with a property, and how to mend it; `None` where it can be set. Neither text has a
/// secret in it.
pub fn property_problem(key: &str, value: &str) -> Option<(String, &'static str)> {
    use rdkafka::error::KafkaError::ClientConfig as Refused;
    if let Some(why) = refused_property(key) {
        return Some((format!("cannot be set: {why}"), "take it out"));
    }
    let error = ClientConfig::new().set(key, value).create_native_config().err()?;
    Some(match error {
        Refused(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => (
            "librdkafka has no property of this name".to_owned(),
            "mend the name, as its CONFIGURATION.md lists it, or take it out",
        ),
        Refused(_, why, ..) => (
            redact(key, &of_value(&why)),
            "write a value that it takes, as librdkafka's CONFIGURATION.md says, or take it out",
        ),
        _ => ("it holds a zero byte".to_owned(), "take the zero byte out"),
    })
}

/// What librdkafka says about a value, without the property's name: it may be another one's, of which
/// this is an alias.
fn of_value(why: &str) -> String {
    let what = why.split(" for configuration property ").next().unwrap_or(why).trim();
    let (first, rest) = what.split_at(what.len().min(1));
    first.to_lowercase() + rest
}

/// Whether the value of a property must never be shown.
pub fn is_secret(key: &str) -> bool {
    key.contains("password")
        || key.contains("secret")
        || key.starts_with("ssl.key")
        || key.starts_with("sasl.")
        || key == "ssl_key"
        || key.starts_with("ssl.keystore")
}

/// Where the brokers are and what the user passes through to librdkafka.
#[derive(Clone)]
pub struct ClientSettings {
    brokers: String,
    properties: BTreeMap<String, String>,
    /// `batch.size` and `message.max.bytes` of producers, where topics ask for others.
    sizes: Option<(usize, usize)>,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(key, value)| (key.as_str(), if is_secret(key) { "(secret)" } else { value }))
            .collect();
        f.debug_struct("ClientSettings")
            .field("brokers", &self.brokers)
            .field("properties", &shown)
            .finish()
    }
}

impl ClientSettings {
    /// Checks every property: `brokers` is a comma-separated list of `host:port`. All problems are
    /// in the error, one a line, none of them with a secret in it.
    pub fn new<K: Into<String>, V: Into<String>>(
        brokers: &str,
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, KafkaError> {
        let properties = properties.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let settings = ClientSettings { brokers: brokers.to_owned(), properties, sizes: None };
        let problems = settings.problems();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(KafkaError::Config(problems.join("\n")))
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            problems.push("no brokers: give --brokers host:port".to_owned());
        }
        for (key, value) in &self.properties {
            if let Some((message, help)) = property_problem(key, value) {
                problems.push(format!("property {key}: {message}; {help}"));
            }
        }
        problems
    }

    /// Makes producers fit the topics that they write to, by their `max.message.bytes`: the
    /// smallest bounds a batch, so that a broker never refuses a batch whose records each fit; the
    /// largest bounds a record. Properties that the user passes through win.
    pub fn with_topic_sizes(mut self, smallest: usize, largest: usize) -> Self {
        self.sizes = Some((smallest, largest));
        self
    }

    /// The broker list, as given.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The user's properties over our defaults, and what delivery depends on over both.
    fn base(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "host");
        // Half a minute of silence from a broker is a lost connection; the default is a minute.
        config.set("socket.timeout.ms", "30000");
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.max.ms", "2000");
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        let backoff = RETRY_BACKOFF.as_millis().to_string();
        config.set("retry.backoff.ms", &backoff);
        for (key, value) in fixed {
            config.set(*key, *value);
        }
        config.set_log_level(log_level());
        config
    }

    /// A consumer; `group` none makes one that can only ask about the cluster.
    pub(super) fn consumer(&self, group: Option<&str>, isolation: &str) -> ClientConfig {
        let defaults = [
            // A record waits this long for company on a quiet topic.
            ("fetch.wait.max.ms", "20"),
            // What one partition may hold prefetched; 64 MiB each would be gigabytes at 64 of them.
            ("queued.max.messages.kbytes", "16384"),
            // How long a partition that holds so much is not asked for more. With the default, a
            // second, a quick reader is through long before, and waits: a third of the throughput.
            ("fetch.queue.backoff.ms", "10"),
        ];
        let fixed = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", isolation),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
        ];
        let mut config = self.base(&defaults, &fixed);
        if let Some(group) = group {
            config.set("group.id", group);
        }
        config
    }

    /// A producer without idempotence or transactions set up yet.
    pub(super) fn producer(&self) -> ClientConfig {
        let (batch, record) = self.sizes.unwrap_or((BATCH_BYTES, BATCH_BYTES));
        // Smaller than librdkafka allows is one record a batch, which is what is meant.
        let batch = batch.clamp(1, BATCH_BYTES).to_string();
        let record = record.clamp(BATCH_BYTES, RECORD_BYTES_MAX).to_string();
        let defaults = [
            // What may wait to be sent; over it `send` answers `QueueFull`.
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "262144"),
            ("batch.size", &batch),
            ("message.max.bytes", &record),
        ];
        let fixed = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("partitioner", "murmur2_random"),
            ("delivery.report.only.error", "true"),
        ];
        self.base(&defaults, &fixed)
    }

    /// A client that takes no part in delivery, such as one that only shows a topic: `defaults`, and
    /// over them the user's properties.
    pub fn plain(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        self.base(defaults, &[])
    }

    /// A client for administration.
    pub(super) fn admin(&self) -> ClientConfig {
        self.base(&[], &[])
    }
}

/// librdkafka writes only what the host's log would show.
fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else if tracing::enabled!(target: "librdkafka", tracing::Level::INFO) {
        RDKafkaLogLevel::Info
    } else {
        RDKafkaLogLevel::Warning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_at_once_and_without_secrets() {
        let given = [
            ("acks", "1"),
            ("fetch.wait.max.ms", "soon"),
            ("no.such.property", "1"),
            ("sasl.password", "hunter2\0"),
            ("linger.ms", "5"),
        ];
        let told = ClientSettings::new("b:1", given).unwrap_err().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        assert!(told.contains("acks: cannot be set: "), "{told}");
        assert!(told.contains("no.such.property"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(ClientSettings::new(" , ", [("linger.ms", "5")]).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let given =
            [("sasl.password", "hunter2"), ("ssl.key.password", "hunter3"), ("linger.ms", "5")];
        let shown = format!("{:?}", ClientSettings::new("b:1", given).unwrap());
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(shown.contains("linger.ms"), "{shown}");
    }

    #[test]
    fn what_delivery_depends_on_cannot_be_changed() {
        let settings =
            ClientSettings::new("b:1", [("linger.ms", "7"), ("batch.size", "5000")]).unwrap();
        let consumer = settings.consumer(Some("g"), "read_committed");
        for (key, value) in [
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("retry.backoff.ms", "200"),
        ] {
            assert_eq!(consumer.get(key), Some(value), "{key}");
            assert!(refused_property(key).is_some(), "{key}");
        }
        let producer = settings.clone().with_topic_sizes(2000, 3_000_000).producer();
        for (key, value) in [
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            ("delivery.report.only.error", "true"),
            ("retry.backoff.ms", "200"),
        ] {
            assert_eq!(producer.get(key), Some(value), "{key}");
            assert!(refused_property(key).is_some(), "{key}");
        }
        assert_eq!(producer.get("linger.ms"), Some("7"));
        assert_eq!(producer.get("batch.size"), Some("5000"));
        assert_eq!(producer.get("message.max.bytes"), Some("3000000"));
        // They are all real names, or refusing them would mean nothing.
        for (name, _) in REFUSED {
            let set = ClientConfig::new().set(*name, "?").create_native_config();
            let why = set.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!why.contains("No such"), "{name}: {why}");
        }
    }
}
