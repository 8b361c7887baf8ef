//! What can go wrong in a worker, by what is to be done about it. There are two answers and no
//! third: go through the one failure path, or stop the process.

use super::poison::Tag;
use crate::kafka::KafkaError;
use crate::window::StateError;

/// Why the process stops; decides its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// A runtime failure: exit code 1.
    Runtime,
    /// Something that the user has to change in the configuration or the topics: exit code 2.
    Input,
    /// Something around the process: exit code 3.
    Environment,
}

/// A failure and the decision that it carries.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Throw the producer and the state away, read again what is committed, and rewind. Safe at
    /// any moment, since nothing that is not committed counts.
    #[error("{0}")]
    Recover(String),
    /// As `Recover`, with new consumers as well: the membership in the group is not what it was, or a
    /// client does not read a partition any more.
    #[error("{0}")]
    Rejoin(String),
    /// As `Recover`; the producer was fenced, which must not happen again and again.
    #[error("{0}")]
    Fenced(String),
    /// As `Recover`; a topic or a partition is not there, which must not last.
    #[error("{0}")]
    MissingTopic(String),
    /// As `Recover`; what becomes of these records, or their dead letters, does not fit its topic,
    /// or was in one request with a record that does not.
    #[error("too large to be written: {}", places(.0))]
    TooLarge(Vec<Tag>),
    /// As `Recover`; the rules turned out to be broken, and those before them take their place.
    #[error("{0}")]
    RolledBack(String),
    /// Nothing that this process can mend.
    #[error("{message}")]
    Stop {
        /// Decides the exit code.
        kind: StopKind,
        /// What, where, and how to mend it.
        message: String,
    },
    /// A stop was asked for while waiting for the brokers.
    #[error("stopped")]
    Stopped,
}

impl Failure {
    /// A runtime failure that stops the process.
    pub fn stop(message: impl Into<String>) -> Self {
        Self::Stop { kind: StopKind::Runtime, message: message.into() }
    }

    /// Something that the user has to change.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Stop { kind: StopKind::Input, message: message.into() }
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        let message = error.to_string();
        match error {
            KafkaError::Fenced(_) => Self::Fenced(message),
            KafkaError::Auth(_) => Self::Stop { kind: StopKind::Environment, message },
            KafkaError::OldBroker(_) => Self::Stop { kind: StopKind::Environment, message },
            KafkaError::Config(_) => Self::input(message),
            KafkaError::Stopped(_) => Self::Stopped,
            KafkaError::MissingTopic(_) => Self::MissingTopic(message),
            KafkaError::Retry(_)
            | KafkaError::Recover(_)
            | KafkaError::Unreachable(_)
            | KafkaError::TooLarge(_)
            | KafkaError::OffsetGone(_) => Self::Recover(message),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::stop(error.to_string())
    }
}

fn places(tags: &[Tag]) -> String {
    let place = |tag: &Tag| format!("partition {} offset {}", tag.partition, tag.offset);
    let mut places: Vec<_> = tags.iter().take(3).map(place).collect();
    if tags.len() > places.len() {
        places.push(format!("and {} more", tags.len() - places.len()));
    }
    places.join(", ")
}
