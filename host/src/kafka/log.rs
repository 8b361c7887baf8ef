//! librdkafka's log lines, in the host's log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;

/// What librdkafka tries again is told of once it goes on for so long, and each time it has done so
/// again: the coordinators of a new group or transactional id need some seconds, and mostly less.
const RETRIES_TOLD_AFTER: Duration = Duration::from_secs(10);
/// Retries with such a pause between them have nothing to do with each other.
const RETRIES_APART: Duration = Duration::from_secs(5);

/// The log of one client.
#[derive(Debug, Default)]
pub struct ClientLog(Mutex<Retries>);

impl ClientLog {
    /// Logs a line under the target `librdkafka`.
    pub fn write(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Settings of the other kind of client are passed to both, which it warns about.
        if facility == "CONFWARN" && line.contains("will be ignored by this") {
            return;
        }
        let mut retries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = is_retried(facility, line) && !retries.are_to_be_told(Instant::now());
        drop(retries);
        match level {
            _ if is_quiet => tracing::debug!(target: "librdkafka", facility, "{line}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::info!(target: "librdkafka", facility, "{line}");
            }
            // A broken connection is also an error event; none of these lose data by themselves.
            _ => tracing::warn!(target: "librdkafka", facility, "{line}"),
        }
    }
}

/// Whether nothing is lost yet by what a line tells: it says so, or it is about a partition whose leader
/// the broker did not know at that moment, which the client asks for again.
fn is_retried(facility: &str, line: &str) -> bool {
    facility == "METADATAUPDATE" || line.trim_end().ends_with(": retrying")
}

/// What is being tried again without success.
#[derive(Debug, Default)]
struct Retries {
    /// Since when, or since it was told last; and the last time.
    run: Option<(Instant, Instant)>,
}

impl Retries {
    /// Counts one more; whether it has gone on for so long that it is to be told.
    fn are_to_be_told(&mut self, now: Instant) -> bool {
        let run = self.run.filter(|(_, last)| now.duration_since(*last) < RETRIES_APART);
        let since = run.map_or(now, |(since, _)| since);
        let told = now.duration_since(since) >= RETRIES_TOLD_AFTER;
        self.run = Some((if told { now } else { since }, now));
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_is_told_only_when_it_goes_on() {
        let start = Instant::now();
        let mut retries = Retries::default();
        // Half a second apart, as librdkafka asks for a producer's id.
        let told: Vec<u64> = (0..50)
            .filter(|half| retries.are_to_be_told(start + Duration::from_millis(500 * half)))
            .collect();
        assert_eq!(told, [20, 40]);
        // Another time, which begins anew.
        let later = start + Duration::from_secs(60);
        assert!(!retries.are_to_be_told(later));
        assert!(!retries.are_to_be_told(later + Duration::from_secs(1)));
    }

    #[test]
    fn only_what_is_retried_counts_as_harmless() {
        assert!(is_retried(
            "GETPID",
            "[thrd:main]: Failed to acquire transactional PID from broker \
             TxnCoordinator/1: Broker: Coordinator load in progress: retrying"
        ));
        assert!(is_retried(
            "METADATAUPDATE",
            "[thrd:main]: Partition t(id)[2]: new leader-1 not found"
        ));
        assert!(!is_retried("FAIL", "[thrd:b:9092/1]: b:9092/1: Connect to ipv4#… failed"));
    }
}
