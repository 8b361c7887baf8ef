//! What runs, for people and scripts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::Pipeline;
use crate::reload;
use crate::worker::status::{PartitionStatus, Snapshot, WorkerStatus};

/// The body of `/api/v1/status`.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    name: String,
    instance: String,
    delivery: &'static str,
    #[serde(flatten)]
    rules: reload::Status,
    /// Whether a pause is asked for.
    paused: bool,
    workers: Vec<Worker>,
    /// Records that are not processed yet, in all partitions of this process.
    lag: u64,
}

#[derive(Debug, Serialize)]
struct Worker {
    ready: bool,
    /// Whether it pauses, and has committed what it had in hand.
    at_rest: bool,
    /// The generation that it runs.
    generation: u64,
    /// Records that are not processed yet, by partition.
    lag: BTreeMap<i32, u64>,
}

pub(super) fn of(pipeline: &Pipeline) -> Status {
    let snapshots: Vec<_> = pipeline.workers.iter().map(|worker| worker.snapshot()).collect();
    let worker = |(snapshot, status): (&Snapshot, &Arc<WorkerStatus>)| Worker {
        ready: status.ready.load(Relaxed),
        at_rest: status.at_rest.load(Relaxed),
        generation: snapshot.generation,
        lag: snapshot.partitions.iter().map(|(&at, partition)| (at, partition.lag())).collect(),
    };
    let partitions = snapshots.iter().flat_map(|snapshot| snapshot.partitions.values());
    Status {
        name: pipeline.name.clone(),
        instance: pipeline.instance.clone(),
        delivery: pipeline.delivery,
        rules: pipeline.reload.status(),
        lag: partitions.map(PartitionStatus::lag).sum(),
        paused: pipeline.pause.is_on(),
        workers: snapshots.iter().zip(&pipeline.workers).map(worker).collect(),
    }
}
