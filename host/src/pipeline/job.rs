//! A configuration and its topics as the work of the workers.

use std::sync::Arc;

use super::topics::{self, Topics};
use crate::config::{self, Config, EventTime, Mode, WindowShape};
use crate::kafka::{ClientSettings, KafkaError};
use crate::window::{Aggregate, Emit, Kind, Limits, Shape, WindowSpec};
use crate::worker::{Batching, Delivery, Job, OnExpired, Start, WindowJob};

/// What a run needs besides its configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The brokers.
    pub client: ClientSettings,
    /// The name of this process among those of the pipeline.
    pub instance: String,
    /// Where a new group begins.
    pub start: Start,
    /// As [`Job::reset_command`].
    pub reset_command: String,
    /// Whether the broker is the demo's, which has the topics and cannot be asked about them.
    pub is_demo: bool,
}

/// Creates what topics are missing, and says what is to be done.
pub fn job(config: &Config, setup: Setup) -> Result<Job, KafkaError> {
    let topics = match setup.is_demo {
        true => topics::assume(config),
        false => topics::prepare(&setup.client, config)?,
    };
    let (smallest, largest) = topics.message_bytes();
    let Topics { input_partitions, sink, further, dead_letters, late, windows, hops } = topics;
    let windows = config.windows.iter().zip(windows);
    Ok(Job {
        client: setup.client.with_topic_sizes(smallest, largest),
        group: config.name.clone(),
        identity: format!("{}/{}", config.name, setup.instance),
        reset_command: setup.reset_command,
        input: config.source.topic.name.as_str().into(),
        input_partitions,
        start: setup.start,
        on_expired: match config.source.on_expired {
            config::OnExpired::Stop => OnExpired::Stop,
            config::OnExpired::Skip => OnExpired::Skip,
        },
        delivery: match config.delivery.mode {
            Mode::ExactlyOnce => Delivery::ExactlyOnce,
            Mode::AtLeastOnce => Delivery::AtLeastOnce,
        },
        commit_interval: config.delivery.commit_interval,
        transaction_timeout: config.delivery.transaction_timeout,
        batching: Batching {
            records: config.limits.batch.records as usize,
            bytes: usize::try_from(config.limits.batch.bytes).unwrap_or(usize::MAX),
            wait: config.limits.batch.wait,
        },
        sink,
        stamp: config.sink.stamp,
        further,
        dead_letters,
        late,
        windows: windows
            .map(|(window, results)| WindowJob { spec: Arc::new(spec(window)), results })
            .collect(),
        hops,
    })
}

/// The definition of a window.
pub fn spec(window: &config::Window) -> WindowSpec {
    WindowSpec {
        name: window.name.clone(),
        shape: match window.shape {
            WindowShape::Tumbling { size } => Shape::Tumbling { size },
            WindowShape::Hopping { size, every } => Shape::Hopping { size, every },
            WindowShape::Session { gap } => Shape::Session { gap },
        },
        aggregates: window.aggregates.iter().map(aggregate).collect(),
        filter: window.filter.clone(),
        emit: match window.emit {
            config::Emit::Final => Emit::Final,
            config::Emit::Updates => Emit::Updates,
        },
        grace: window.grace,
        group: window.by.clone(),
        time: match &window.time {
            EventTime::Record => "record".to_owned(),
            EventTime::Processing => WindowSpec::PROCESSING_TIME.to_owned(),
            EventTime::Field { pointer, unit } => format!("{pointer} {unit:?}"),
        },
        future_max: window.future_max,
        idle: window.idle,
        limits: Limits {
            keys: usize::try_from(window.keys_max).unwrap_or(usize::MAX),
            bytes: usize::try_from(window.bytes_max).unwrap_or(usize::MAX),
        },
    }
}

fn aggregate(aggregate: &config::Aggregate) -> Aggregate {
    use config::AggregateKind as From;
    let kind = match &aggregate.kind {
        From::Count => Kind::Count,
        From::Sum(field) => Kind::Sum(field.clone()),
        From::Min(field) => Kind::Min(field.clone()),
        From::Max(field) => Kind::Max(field.clone()),
        From::Avg(field) => Kind::Avg(field.clone()),
        From::Distinct { field, exact_max } => {
            Kind::Distinct { field: field.clone(), exact_max: *exact_max }
        }
        From::Top { field, k, counted_max } => {
            Kind::Top { field: field.clone(), k: *k, counted_max: *counted_max }
        }
    };
    Aggregate { name: aggregate.name.clone(), kind }
}
