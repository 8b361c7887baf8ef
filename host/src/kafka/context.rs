//! What librdkafka reports on its own: log lines, errors, rebalances and failed deliveries.
//! Callbacks only queue them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError as Theirs;
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use rdkafka::{ClientContext, TopicPartitionList};

use super::consumer::Rebalance;
use super::error::KafkaError;
use super::log::ClientLog;

/// Errors kept until somebody looks; more of the same are dropped.
const TROUBLES_MAX: usize = 64;
/// Records kept that are too large: those of one refused request. One that is left out is refused
/// again when its transaction is tried again, and there are fewer then.
const TOO_LARGE_MAX: usize = 10_000;

/// A record that was accepted by `send` and could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// What `send` was given.
    pub tag: u64,
    /// Why; `TooLarge` belongs to this record, most others to the connection or the transaction.
    pub error: KafkaError,
}

/// What could not be delivered since somebody last looked. Bounded: a broker that goes away fails
/// every record that is queued, hundreds of thousands, all for one reason.
#[derive(Default)]
struct Failures {
    /// The records that are the reason themselves, at most [`TOO_LARGE_MAX`].
    too_large: Vec<DeliveryFailure>,
    /// The first of all others, which stands for them.
    other: Option<DeliveryFailure>,
}

impl Failures {
    fn add(&mut self, failure: DeliveryFailure) {
        if !matches!(failure.error, KafkaError::TooLarge(_)) {
            self.other.get_or_insert(failure);
        } else if self.too_large.len() < TOO_LARGE_MAX {
            self.too_large.push(failure);
        }
    }

    fn take(&mut self) -> Vec<DeliveryFailure> {
        let Failures { mut too_large, other } = std::mem::take(self);
        too_large.extend(other);
        too_large
    }
}

/// The callbacks' side of a client.
#[derive(Default)]
pub(super) struct Context {
    /// Rebalance events, each until it is answered.
    rebalances: Mutex<VecDeque<Rebalance>>,
    failures: Mutex<Failures>,
    troubles: Mutex<Vec<KafkaError>>,
    log: ClientLog,
    /// The client is being dropped: nobody else will answer.
    closing: AtomicBool,
}

/// A callback that panicked cannot have left a queue half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// The first event that is not answered yet.
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.rebalances).front().cloned()
    }

    /// The first event was answered.
    pub(super) fn rebalance_answered(&self) {
        lock(&self.rebalances).pop_front();
    }

    pub(super) fn start_closing(&self) -> Vec<Rebalance> {
        self.closing.store(true, Ordering::SeqCst);
        lock(&self.rebalances).drain(..).collect()
    }

    pub(super) fn take_failures(&self) -> Vec<DeliveryFailure> {
        lock(&self.failures).take()
    }

    pub(super) fn take_trouble(&self) -> Option<KafkaError> {
        let mut troubles = lock(&self.troubles);
        if troubles.is_empty() { None } else { Some(troubles.remove(0)) }
    }

    /// The reason that explains a call without an answer best: refused credentials before anything.
    pub(super) fn likely_cause(&self) -> Option<KafkaError> {
        let troubles = lock(&self.troubles);
        let refused = troubles.iter().find(|error| matches!(error, KafkaError::Auth(_)));
        refused.or(troubles.last()).cloned()
    }

    fn trouble(&self, error: KafkaError) {
        let mut troubles = lock(&self.troubles);
        let has_room = troubles.len() < TROUBLES_MAX || matches!(error, KafkaError::Auth(_));
        if has_room && !troubles.contains(&error) {
            troubles.push(error);
        }
    }
}

/// The topic that may not be written to. librdkafka tells the application only that a transaction
/// failed, and its log which topic it was.
fn refused_topic<'a>(facility: &str, line: &'a str) -> Option<&'a str> {
    let (before, why) = line.split_once("] to transaction: ")?;
    let is_refused = facility == "ADDPARTS" && why == "Broker: Topic authorization failed";
    is_refused.then(|| before.split('"').nth(1)).flatten()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(topic) = refused_topic(facility, line) {
            let doing = format!("writing to {topic}");
            let code = Code::TopicAuthorizationFailed;
            self.trouble(KafkaError::from_code(doing, code, code.to_string()));
        }
        self.log.write(level, facility, line);
    }

    fn error(&self, error: Theirs, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        if code == Code::PartitionEOF {
            return;
        }
        let error = KafkaError::from_code("talking to the brokers", code, reason);
        tracing::debug!(target: "librdkafka", %error, "error event");
        self.trouble(error);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            let answered = if assigned {
                consumer.incremental_assign(list)
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "answering a rebalance while closing");
            }
            return;
        }
        let partitions = list.elements().iter().map(|element| element.partition()).collect();
        let event = if assigned {
            Rebalance::Assigned(partitions)
        } else if consumer.assignment_lost() {
            Rebalance::Lost(partitions)
        } else {
            Rebalance::Revoked(partitions)
        };
        lock(&self.rebalances).push_back(event);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        if let Err((error, message)) = result {
            let doing = format!("writing to {}", message.topic());
            let error = KafkaError::from_rdkafka(doing, error);
            lock(&self.failures).add(DeliveryFailure { tag: tag as u64, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(tag: u64, code: Code) -> DeliveryFailure {
        DeliveryFailure { tag, error: KafkaError::from_code("writing", code, "why") }
    }

    #[test]
    fn a_purged_queue_is_one_failure_and_records_that_are_too_large_are_kept() {
        let mut failures = Failures::default();
        for tag in 0..500_000 {
            failures.add(failure(tag, Code::PurgeQueue));
        }
        failures.add(failure(7, Code::MessageSizeTooLarge));
        failures.add(failure(8, Code::MessageSizeTooLarge));
        let taken = failures.take();
        assert_eq!(taken.iter().map(|failure| failure.tag).collect::<Vec<_>>(), [7, 8, 0]);
        assert_eq!(failures.take(), []);
    }

    #[test]
    fn records_that_are_too_large_are_kept_within_a_bound() {
        let mut failures = Failures::default();
        for tag in 0..=TOO_LARGE_MAX as u64 {
            failures.add(failure(tag, Code::MessageSizeTooLarge));
        }
        assert_eq!(failures.take().len(), TOO_LARGE_MAX);
    }

    #[test]
    fn the_log_names_the_topic_that_made_a_transaction_fail() {
        let line = |why: &str| {
            format!(
                "[thrd:main]: TxnCoordinator/1: Failed to add partition \"out\" [0] to transaction: {why}"
            )
        };
        let refused = line("Broker: Topic authorization failed");
        assert_eq!(refused_topic("ADDPARTS", &refused), Some("out"));
        // Because of another one.
        assert_eq!(refused_topic("ADDPARTS", &line("Broker: Operation not attempted")), None);
    }
}
