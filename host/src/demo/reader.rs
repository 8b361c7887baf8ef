//! A consumer outside of any group: nothing is committed, nobody is disturbed.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use super::client::{self, ConnectError, Trouble};
use super::stop::Stop;
use crate::kafka::ClientSettings;

/// Committed records only; partitions are yet to be assigned.
pub(super) type Reader = BaseConsumer<Context>;

/// Hears what librdkafka says on its own.
pub(super) struct Context(Trouble);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log.write(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note(&error, reason);
    }
}

impl ConsumerContext for Context {}

/// Connects; the reader, and how many partitions the topic has. `more` are further properties.
pub(super) fn open(
    settings: &ClientSettings,
    topic: &str,
    more: &[(&str, &str)],
    stop: &Stop,
) -> Result<(Reader, i32), ConnectError> {
    let trouble = Trouble::default();
    let own = [
        // librdkafka hands nothing out without a name for the group, though none is joined.
        ("group.id", "host-reader"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "earliest"),
        ("allow.auto.create.topics", "false"),
    ];
    let reader: Reader = settings
        .plain(&[&own[..], more].concat())
        .create_with_context(Context(trouble.clone()))
        .map_err(|error| ConnectError::making(&error))?;
    let partitions =
        client::partitions(reader.client(), &trouble, settings.brokers(), topic, stop)?;
    Ok((reader, partitions))
}
