//! The windows of a pipeline from outside, as its topics have them, whichever instances run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::job::spec;
use crate::config::Config;
use crate::kafka::{ClientSettings, Cluster, KafkaError, Message, StateReader};
use crate::window::{Frontier, Merge, OpenWindow, RestoreMerge, StateError, WindowSpec};

/// How long one question, or reading one partition, may take.
const ANSWER: Duration = Duration::from_secs(15);

/// Why the windows are not known.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Kafka refused or did not answer.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// What is in the topics cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// One window.
#[derive(Clone, Debug)]
pub struct WindowLook {
    /// Its name.
    pub name: String,
    /// What ends then or before is final, in milliseconds since the epoch; none as long as an input
    /// partition has said nothing.
    pub final_before: Option<i64>,
    /// The input partitions that are the least far.
    pub behind: Vec<i32>,
    /// The input partitions in their order.
    pub partitions: Vec<PartitionLook>,
    /// The open windows by time.
    pub open: Vec<OpenWindow>,
}

/// How far an input partition is in a window; times in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLook {
    /// Its number.
    pub partition: i32,
    /// Its watermark; none before its first event.
    pub watermark: Option<i64>,
    /// Up to when it is closed, as all of the second hop know it.
    pub closed: Option<i64>,
}

/// Reads progress and open windows, each as it is committed; both within a moment of each other. At
/// most `top` groups of an open window are named. Empty where the pipeline has no windows;
/// `MissingTopic` where it never ran.
pub fn windows(
    client: &ClientSettings,
    config: &Config,
    top: usize,
    stop: &AtomicBool,
) -> Result<Vec<WindowLook>, LookError> {
    if config.windows.is_empty() {
        return Ok(Vec::new());
    }
    let specs: Arc<[Arc<WindowSpec>]> =
        config.windows.iter().map(|window| Arc::new(spec(window))).collect();
    let inputs = Cluster::new(client)?.partition_count(&config.source.topic.name, ANSWER)?;
    let mut frontier = Frontier::default();
    let mut applied = Ok(());
    each_partition(client, config, &config.state.progress_topic, stop, |_, record| {
        let one = frontier.apply(record.key.unwrap_or_default(), record.value);
        applied = std::mem::replace(&mut applied, Ok(())).and(one);
    })?;
    applied?;
    let merges = open_windows(client, config, &specs, inputs, stop)?;
    let look =
        |(place, spec): (usize, &Arc<WindowSpec>)| look(place, spec, &merges, &frontier, top);
    Ok(specs.iter().enumerate().map(look).collect())
}

fn open_windows(
    client: &ClientSettings,
    config: &Config,
    specs: &Arc<[Arc<WindowSpec>]>,
    inputs: i32,
    stop: &AtomicBool,
) -> Result<Vec<Merge>, LookError> {
    let topic = &config.state.windows_topic;
    let count = Cluster::new(client)?.partition_count(topic, ANSWER)?;
    let restore = |partition| RestoreMerge::new(specs.clone(), partition, inputs, count as usize);
    let mut restores: Vec<_> = (0..count).map(restore).collect();
    each_partition(client, config, topic, stop, |partition, record| {
        restores[partition as usize].apply(record.key, record.value);
    })?;
    let finish = |restore: RestoreMerge| restore.finish().map(|(merge, _)| merge);
    Ok(restores.into_iter().map(finish).collect::<Result<_, _>>()?)
}

fn each_partition(
    client: &ClientSettings,
    config: &Config,
    topic: &str,
    stop: &AtomicBool,
    mut apply: impl FnMut(i32, &Message<'_>),
) -> Result<(), KafkaError> {
    let partitions = Cluster::new(client)?.partition_count(topic, ANSWER)?;
    let mut reader = StateReader::new(client, &config.name, topic)?;
    let all: Vec<i32> = (0..partitions).collect();
    reader.read_all(&all, ANSWER, stop, |record| apply(record.partition, &record))?;
    Ok(())
}

fn look(
    place: usize,
    spec: &WindowSpec,
    merges: &[Merge],
    frontier: &Frontier,
    top: usize,
) -> WindowLook {
    // None is less than any.
    let final_before = merges.iter().map(|merge| merge.frontier(place)).min().flatten();
    let inputs = merges.iter().map(Merge::inputs).max().unwrap_or_default();
    let closed = |partition: i32| {
        let of = |merge: &Merge| {
            merge.closed(place).find(|(at, _)| *at == partition).and_then(|(_, closed)| closed)
        };
        merges.iter().map(of).min().flatten()
    };
    let watermark = |partition: i32| {
        let mut watermarks = frontier.watermarks(&spec.name);
        watermarks.find(|(at, _)| *at == partition).and_then(|(_, watermark)| watermark)
    };
    let partitions: Vec<_> = (0..inputs)
        .map(|partition| PartitionLook {
            partition,
            watermark: watermark(partition),
            closed: closed(partition),
        })
        .collect();
    let behind = partitions.iter().filter(|partition| partition.closed == final_before);
    let open = merges.iter().map(|merge| {
        let open = merge.open_windows(top).into_iter();
        open.filter(|open| open.window == spec.name).collect()
    });
    WindowLook {
        name: spec.name.clone(),
        final_before,
        behind: behind.map(|partition| partition.partition).collect(),
        open: OpenWindow::merge(open.collect(), top),
        partitions,
    }
}
