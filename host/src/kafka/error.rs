//! Errors of Kafka calls: each variant is a decision that the caller takes.

use rdkafka::types::RDKafkaErrorCode as Code;

/// What was being done and why it failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Failure {
    /// The call, with what it was about (`committing the transaction`).
    pub doing: String,
    /// librdkafka's or the broker's reason.
    pub why: String,
    /// Their error code, where there is one.
    pub code: Option<Code>,
}

/// What to do after a failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// Nothing is lost or done: make the same call again.
    #[error(transparent)]
    Retry(Failure),
    /// Throw the client away and start again from the committed offsets. Also after a call that ran
    /// out of time and after fatal errors: only the broker knows what was committed.
    #[error(transparent)]
    Recover(Failure),
    /// Another producer took over the transactional id, or the coordinator gave up on an open
    /// transaction. Recover once; when it comes again at once, another live process holds the id.
    #[error(transparent)]
    Fenced(Failure),
    /// The broker refuses this user or password, or an ACL is missing: a human must act.
    #[error(transparent)]
    Auth(Failure),
    /// No broker answers.
    #[error(transparent)]
    Unreachable(Failure),
    /// The command line, the configuration or an existing topic must be changed; the text says how.
    #[error("{0}")]
    Config(String),
    /// The broker is too old for what was asked of it.
    #[error("{0}")]
    OldBroker(String),
    /// The topic does not exist (yet).
    #[error(transparent)]
    MissingTopic(Failure),
    /// A record is larger than the client's `message.max.bytes` or the topic's `max.message.bytes`.
    #[error(transparent)]
    TooLarge(Failure),
    /// The wanted offset is not in the partition (any more), mostly because retention passed it by.
    #[error(transparent)]
    OffsetGone(Failure),
    /// The stop flag was raised while waiting.
    #[error("{0}: stopped")]
    Stopped(String),
}

impl KafkaError {
    /// Decides by error code alone.
    pub(super) fn from_code(doing: impl Into<String>, code: Code, why: impl Into<String>) -> Self {
        let failure = Failure { doing: doing.into(), why: why.into(), code: Some(code) };
        match code {
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SecurityDisabled
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::DelegationTokenAuthorizationFailed
            | Code::DelegationTokenExpired
            | Code::UnacceptableCredential => KafkaError::Auth(failure),
            Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::FencedInstanceId
            | Code::TransactionCoordinatorFenced => KafkaError::Fenced(failure),
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::SSL => {
                KafkaError::Unreachable(failure)
            }
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                KafkaError::TooLarge(failure)
            }
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::UnknownPartition => KafkaError::MissingTopic(failure),
            Code::AutoOffsetReset | Code::OffsetOutOfRange => KafkaError::OffsetGone(failure),
            Code::Retry
            | Code::InProgress
            | Code::WaitingForCoordinator
            | Code::UnstableOffsetCommit
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::ConcurrentTransactions
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NotController
            | Code::RebalanceInProgress
            | Code::RequestTimedOut
            | Code::ThrottlingQuotaExceeded => KafkaError::Retry(failure),
            Code::InvalidRequest
            | Code::InvalidConfig
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::PolicyViolation
            | Code::InvalidTransactionTimeout
            | Code::InvalidSessionTimeout
            | Code::InvalidGroupId => KafkaError::Config(failure.to_string()),
            _ => KafkaError::Recover(failure),
        }
    }

    /// From one of rdkafka's own errors.
    pub(super) fn from_rdkafka(
        doing: impl Into<String>,
        error: &rdkafka::error::KafkaError,
    ) -> Self {
        use rdkafka::error::KafkaError as Theirs;
        let doing = doing.into();
        match error {
            Theirs::Transaction(error) => Self::from_transaction(
                doing,
                error.code(),
                error.string(),
                error.is_retriable(),
                error.is_fatal(),
            ),
            Theirs::MessageConsumptionFatal(code) => {
                Self::recover(doing, code.to_string(), Some(*code))
            }
            // Their text repeats the value, which may be a password.
            Theirs::ClientConfig(_, why, key, _) => {
                KafkaError::Config(format!("{doing}: property {key}: {}", redact(key, why)))
            }
            Theirs::ClientCreation(why) => KafkaError::Config(format!("{doing}: {why}")),
            Theirs::AdminOp(code) => Self::from_code(doing, *code, code.to_string()),
            other => match other.rdkafka_error_code() {
                Some(code) => Self::from_code(doing, code, code.to_string()),
                None => Self::recover(doing, other.to_string(), None),
            },
        }
    }

    /// From a transactional call: what librdkafka calls retriable is, except when the time ran out.
    pub(super) fn from_transaction(
        doing: impl Into<String>,
        code: Code,
        why: impl Into<String>,
        retriable: bool,
        fatal: bool,
    ) -> Self {
        let (doing, why) = (doing.into(), why.into());
        match Self::from_code(doing.clone(), code, why.clone()) {
            decided @ (KafkaError::Auth(_) | KafkaError::Fenced(_) | KafkaError::TooLarge(_)) => {
                decided
            }
            _ if fatal || code == Code::OperationTimedOut => Self::recover(doing, why, Some(code)),
            _ if retriable => KafkaError::Retry(Failure { doing, why, code: Some(code) }),
            decided @ KafkaError::Config(_) => decided,
            _ => Self::recover(doing, why, Some(code)),
        }
    }

    pub(super) fn recover(
        doing: impl Into<String>,
        why: impl Into<String>,
        code: Option<Code>,
    ) -> Self {
        KafkaError::Recover(Failure { doing: doing.into(), why: why.into(), code })
    }

    pub(super) fn timed_out(doing: impl Into<String>, timeout: std::time::Duration) -> Self {
        let why = format!("no answer within {timeout:?}");
        Self::recover(doing, why, Some(Code::OperationTimedOut))
    }

    /// A refusal that a client reported on its own, with what it was about to do, which it does not
    /// say. All other errors as they are.
    pub(super) fn refused_while(self, doing: &str) -> Self {
        match self {
            KafkaError::Auth(failure) => {
                KafkaError::Auth(Failure { doing: doing.to_owned(), ..failure })
            }
            other => other,
        }
    }

    /// Whether it is a connection that broke while reading, which librdkafka makes again by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, KafkaError::Retry(_) | KafkaError::Unreachable(_))
    }

    /// Whether there was no answer in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, KafkaError::Recover(Failure { code: Some(Code::OperationTimedOut), .. }))
    }

    /// Whether a commit of offsets was refused because the group is coming together again, or its
    /// coordinator is: what this member is still to commit may be offered again once it has answered
    /// the group, if it still holds the partitions then.
    pub fn is_of_rebalance(&self) -> bool {
        let code = match self {
            KafkaError::Retry(_) => return true,
            KafkaError::Recover(failure) => failure.code,
            _ => None,
        };
        code == Some(Code::IllegalGeneration)
    }

    /// Whether the same call may be made again.
    pub fn is_retry(&self) -> bool {
        matches!(self, KafkaError::Retry(_))
    }
}

/// librdkafka quotes values in its texts; those of secrets are left out.
pub(super) fn redact(key: &str, why: &str) -> String {
    if super::settings::is_secret(key) {
        "the value is not valid".to_owned()
    } else {
        why.to_owned()
    }
}
