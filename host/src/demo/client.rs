//! What the generator and the view need of a Kafka client: a clear sentence when there is no answer.
//! Neither takes part in delivery, so neither goes through the workers' clients.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::stop::Stop;
use crate::kafka::ClientLog;

/// How long to wait for the first answer of a broker, and for a topic that is being created.
pub const ANSWER_MAX: Duration = Duration::from_secs(15);
/// One question of these.
const QUESTION_MAX: Duration = Duration::from_secs(1);
/// Between two questions.
const QUESTION_PAUSE: Duration = Duration::from_millis(200);

/// Why a client cannot begin. Each variant is mended in another way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No broker answered.
    #[error("no answer from {brokers}: {why}; is Kafka running there?")]
    Unreachable {
        /// Who was asked.
        brokers: String,
        /// What librdkafka knows.
        why: String,
    },
    /// The broker refuses this user.
    #[error(
        "{brokers} refuses access: {why}; check the sasl.* and ssl.* properties (-X) and the ACLs"
    )]
    Refused {
        /// Who was asked.
        brokers: String,
        /// The broker's reason.
        why: String,
    },
    /// There is no such topic.
    #[error(
        "there is no topic {topic:?} on {brokers}; `host run` creates the topics of its pipeline"
    )]
    MissingTopic {
        /// The topic.
        topic: String,
        /// Who was asked.
        brokers: String,
    },
    /// A client cannot be made like this: a property is wrong, or the system has no more to give.
    #[error("making a Kafka client: {0}")]
    Client(String),
    /// Asked to stop while waiting.
    #[error("stopped while waiting for an answer")]
    Stopped,
}

impl ConnectError {
    /// From an error at the making of a client.
    pub(super) fn making(error: &KafkaError) -> Self {
        match error {
            // The value is left out: it may be a secret.
            KafkaError::ClientConfig(_, _, key, _) => {
                Self::Client(format!("property {key} is wrong"))
            }
            other => Self::Client(other.to_string()),
        }
    }
}

/// The last error that librdkafka reported on its own, since its calls say only "timed out"; and its
/// log.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    last: Arc<Mutex<Option<(Code, String)>>>,
    pub(super) log: Arc<ClientLog>,
}

impl Trouble {
    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers down" follows the error that says why, and is itself no reason.
        if code != Code::AllBrokersDown && !last.as_ref().is_some_and(|(code, _)| refused(*code)) {
            *last = Some((code, reason.to_owned()));
        }
    }

    fn last(&self) -> Option<(Code, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn refused(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SSL
    )
}

/// How many partitions a topic has, as soon as a broker says so.
pub(super) fn partitions<C: ClientContext>(
    client: &Client<C>,
    trouble: &Trouble,
    brokers: &str,
    topic: &str,
    stop: &Stop,
) -> Result<i32, ConnectError> {
    let deadline = Instant::now() + ANSWER_MAX;
    let brokers = brokers.to_owned();
    loop {
        let why = match client.fetch_metadata(Some(topic), QUESTION_MAX) {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                let count = found.map_or(0, |found| found.partitions().len());
                if count > 0 {
                    return Ok(count as i32);
                }
                let error = found.and_then(|found| found.error()).map(Code::from);
                if error.is_some_and(refused) {
                    let why = format!(
                        "topic {topic:?}: {}",
                        error.map_or_else(String::new, |e| e.to_string())
                    );
                    return Err(ConnectError::Refused { brokers, why });
                }
                None
            }
            Err(error) => Some(error),
        };
        if let Some((code, why)) = trouble.last()
            && refused(code)
        {
            return Err(ConnectError::Refused { brokers, why });
        }
        if Instant::now() >= deadline {
            return Err(match why {
                None => ConnectError::MissingTopic { topic: topic.to_owned(), brokers },
                Some(error) => ConnectError::Unreachable {
                    brokers,
                    why: trouble.last().map_or_else(|| error.to_string(), |(_, why)| why),
                },
            });
        }
        if stop.wait(QUESTION_PAUSE) {
            return Err(ConnectError::Stopped);
        }
    }
}
