//! What runs, for people and scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::Pipeline;
use crate::reload;
use crate::window::{OpenWindow, rfc3339};
use crate::worker::status::{MergeWindow, PartitionStatus, Snapshot, WorkerStatus};

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
    /// As far as this process has to do with them; `host windows` shows all of them.
    windows: Vec<Window>,
}

/// A window over the partitions of the repartition topic that this process has.
#[derive(Debug, Serialize)]
struct Window {
    name: String,
    /// What ends then or before is final; none as long as an input partition has said nothing, or
    /// where this process has no partition of the repartition topic.
    final_before: Option<String>,
    /// The input partitions that are the least far.
    behind: Vec<i32>,
    /// The watermarks of the input partitions that this process has.
    watermarks: BTreeMap<i32, String>,
    open: Vec<Open>,
}

/// An open window.
#[derive(Debug, Serialize)]
struct Open {
    start: String,
    end: String,
    groups: usize,
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
    let watched = snapshots.iter().flat_map(|snapshot| snapshot.partitions.values());
    let watched = watched.flat_map(|partition| partition.watermarks.keys().map(String::as_str));
    // A process may have partitions of one hop only.
    let names: BTreeSet<&str> =
        merges(&snapshots).map(|window| window.name.as_str()).chain(watched).collect();
    Status {
        windows: names.into_iter().map(|name| window(name, &snapshots)).collect(),
        name: pipeline.name.clone(),
        instance: pipeline.instance.clone(),
        delivery: pipeline.delivery,
        rules: pipeline.reload.status(),
        lag: partitions.map(PartitionStatus::lag).sum(),
        paused: pipeline.pause.is_on(),
        workers: snapshots.iter().zip(&pipeline.workers).map(worker).collect(),
    }
}

fn merges(snapshots: &[Snapshot]) -> impl Iterator<Item = &MergeWindow> {
    snapshots.iter().flat_map(|snapshot| snapshot.merges.values()).flat_map(|merge| &merge.windows)
}

fn window(name: &str, snapshots: &[Snapshot]) -> Window {
    let of_name = || merges(snapshots).filter(|window| window.name == name);
    // None is less than any.
    let final_before = of_name().map(|window| window.final_before).min().flatten();
    let furthest_behind = of_name().filter(|window| window.final_before == final_before);
    let behind: BTreeSet<i32> =
        furthest_behind.flat_map(|window| &window.behind).copied().collect();
    let partitions = snapshots.iter().flat_map(|snapshot| &snapshot.partitions);
    let watermarks = partitions.filter_map(|(&at, partition)| {
        partition.watermarks.get(name).map(|watermark| (at, rfc3339(*watermark)))
    });
    let open = OpenWindow::merge(
        snapshots.iter().map(|snapshot| snapshot.open_windows.clone()).collect(),
        0,
    );
    let open = open.into_iter().filter(|open| open.window == name).map(|open| Open {
        start: rfc3339(open.span.start),
        end: rfc3339(open.span.end),
        groups: open.groups,
    });
    Window {
        name: name.to_owned(),
        final_before: final_before.map(rfc3339),
        behind: behind.into_iter().collect(),
        watermarks: watermarks.collect(),
        open: open.collect(),
    }
}
