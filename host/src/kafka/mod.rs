//! Client settings, batch consume, produce, transactions, topics. Owns every call to librdkafka and
//! is the only room with `unsafe` (in `raw/`); knows nothing of what a record means.
//!
//! Everything here is synchronous and bounded: a call that talks to a broker takes a timeout, and a
//! client is dropped in a thread of its own, since librdkafka may wait for a broker that is gone.

mod client;
mod consumer;
mod context;
mod error;
mod features;
mod group;
mod log;
mod partition;
mod producer;
mod raw;
mod remove;
mod restore;
mod settings;
mod tail;
mod topics;
mod usual;

pub use client::{Closing, drop_in_background};
pub use consumer::{Consumer, GroupMetadata, GroupOptions, Rebalance};
pub use context::DeliveryFailure;
pub use error::{Failure, KafkaError};
pub use features::{exactly_once_supported, reachable};
pub use group::{Member, commit_offsets, committed_offsets, members, outside_metadata};
pub use log::ClientLog;
pub use partition::{murmur2, partition_for_key};
pub use producer::{
    Mode, Producer, RETRY_FREE, RetryWatch, SendError, TopicHandle, may_have_retried,
};
pub use raw::{Headers, HeadersArg, Message, Messages, Pair};
pub use remove::{remove, remove_records};
pub use restore::{Restored, StateReader};
pub use settings::{ClientSettings, is_secret, property_problem, refused_property};
pub use tail::Tail;
pub use topics::{Cluster, TopicSpec, TopicState, check_state_topic, ensure};
pub use usual::{Forwarded, UsualConsumer};
