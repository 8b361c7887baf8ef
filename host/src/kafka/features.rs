//! What the brokers are able to do, and whether they are there at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use super::client::drop_in_background;
use super::error::{Failure, KafkaError};
use super::settings::ClientSettings;
use super::topics::Cluster;

/// One look at the client's events.
const SLICE: Duration = Duration::from_millis(50);

/// What exactly-once needs, as (API, least version): offsets committed with the group's member and
/// generation, and committed offsets that wait for a pending transaction. Both came with Kafka 2.5.
const NEEDED: [(&str, i16); 2] = [("TxnOffsetCommit", 3), ("OffsetFetch", 7)];

/// Waits until a broker answers. `Auth` when it answers with a refusal, `Unreachable` when none does.
pub fn reachable(settings: &ClientSettings, timeout: Duration) -> Result<(), KafkaError> {
    let cluster = Cluster::new(settings)?;
    let client = cluster.client();
    let context = client.client().context();
    let end = Instant::now() + timeout;
    loop {
        if client.client().fetch_cluster_id(SLICE).is_some() {
            return Ok(());
        }
        while client.poll(Duration::ZERO).is_some() {}
        let cause = context.likely_cause();
        if let Some(KafkaError::Auth(failure)) = cause {
            return Err(KafkaError::Auth(failure));
        }
        if Instant::now() >= end {
            let why = match cause {
                Some(cause) => format!("none answered within {timeout:?}: {cause}"),
                None => format!("none answered within {timeout:?}"),
            };
            let doing = format!("looking for brokers at {}", settings.brokers());
            return Err(KafkaError::Unreachable(Failure { doing, why, code: None }));
        }
    }
}

/// The highest versions that each broker offered, read from the log.
#[derive(Default)]
struct Offers(Mutex<BTreeMap<String, BTreeMap<String, i16>>>);

impl ClientContext for Offers {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "APIVERSION"
            && let Some((broker, api, version)) = offer(line)
        {
            let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            offers.entry(broker.to_owned()).or_default().insert(api.to_owned(), version);
        }
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "error event");
    }
}

impl ConsumerContext for Offers {}

/// Reads `[thrd:b:9092/1]: b:9092/1:   ApiKey TxnOffsetCommit (28) Versions 0..3`.
fn offer(line: &str) -> Option<(&str, &str, i16)> {
    let (before, rest) = line.split_once("ApiKey ")?;
    let (api, rest) = rest.split_once(' ')?;
    let (_, versions) = rest.split_once("Versions ")?;
    let (_, highest) = versions.trim().split_once("..")?;
    let broker = before.rsplit("]: ").next()?.trim().trim_end_matches(':');
    Some((broker, api, highest.parse().ok()?))
}

/// Refuses brokers older than 2.5 with `OldBroker`: librdkafka would silently commit offsets without
/// member and generation there. Reads what they offer from the log of a short-lived client, which
/// works under TLS and SASL too. Call it after [`reachable`].
pub fn exactly_once_supported(
    settings: &ClientSettings,
    timeout: Duration,
) -> Result<(), KafkaError> {
    let mut config = settings.consumer(None, "read_committed");
    config.set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug);
    let client = BaseConsumer::from_config_and_context(&config, Offers::default())
        .map_err(|error| KafkaError::from_rdkafka("starting a client", &error))?;
    let end = Instant::now() + timeout;
    let answer = loop {
        // A known cluster means that a broker has told what it offers, in lines that came before.
        let known = client.client().fetch_cluster_id(SLICE).is_some();
        drain(&client);
        let offers = client.client().context().0.lock().unwrap_or_else(PoisonError::into_inner);
        if known || Instant::now() >= end {
            break verdict(&offers, known, settings, timeout);
        }
    };
    drop_in_background(client);
    answer
}

/// A poll serves one log line; the first that comes back empty-handed and late was the last.
fn drain(client: &BaseConsumer<Offers>) {
    let quiet = Duration::from_millis(20);
    loop {
        let start = Instant::now();
        client.poll(quiet);
        if start.elapsed() >= quiet {
            return;
        }
    }
}

fn verdict(
    offers: &BTreeMap<String, BTreeMap<String, i16>>,
    known: bool,
    settings: &ClientSettings,
    timeout: Duration,
) -> Result<(), KafkaError> {
    if !known {
        let doing = format!("asking {} for its features", settings.brokers());
        let why = format!("no answer within {timeout:?}");
        return Err(KafkaError::Unreachable(Failure { doing, why, code: None }));
    }
    let old = |broker: &str| {
        KafkaError::OldBroker(format!(
            "broker {broker} is older than Kafka 2.5 and cannot do exactly-once: upgrade it, or run \
             with --delivery at-least-once"
        ))
    };
    // A broker that cannot even say what it offers is older still.
    if offers.is_empty() {
        return Err(old(settings.brokers()));
    }
    for (broker, apis) in offers {
        for (api, least) in NEEDED {
            if apis.get(api).is_none_or(|version| *version < least) {
                return Err(old(broker));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_of_offers_are_understood() {
        let line = "[thrd:localhost:9092/bootstrap]: localhost:9092/1:   ApiKey TxnOffsetCommit (28) Versions 0..3";
        assert_eq!(offer(line), Some(("localhost:9092/1", "TxnOffsetCommit", 3)));
        assert_eq!(
            offer("[thrd:b]: b:   Feature MsgVer1: Produce (2..32767) supported by broker"),
            None
        );
    }
}
