//! How far the input partitions are, as records of the compacted topic `<pipeline>-progress`: all
//! that the first hop stores.
//!
//! One record per input partition, its number the key. Text, so that any Kafka tool shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::output::append;
use super::{Records, StateError, Windows};

/// The version of values that this program writes and reads.
const FORMAT: u32 = 1;

/// What a commit says about an input partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The input partition.
    pub partition: i32,
    /// The offset that was committed with it: that of the next record to process.
    pub next_offset: i64,
    /// How many input partitions there were when this one was first taken over.
    pub began: i32,
    /// By the window's name.
    pub windows: BTreeMap<String, WindowProgress>,
}

/// How far a window is in an input partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowProgress {
    /// Which definition the window had.
    pub definition: String,
    /// The watermark, in milliseconds since the epoch; none before the first event.
    pub watermark: Option<i64>,
    /// The greatest event time by which an event moved the watermark.
    pub seen: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    format: u32,
    next_offset: i64,
    began: i32,
    windows: BTreeMap<String, WindowProgress>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Progress {
    /// Reads a record of the progress topic.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Self, StateError> {
        let partition = parse_key(key)?;
        let what = || format!("the progress of partition {partition}");
        let corrupt = |error: serde_json::Error| StateError::Corrupt {
            what: what(),
            problem: error.to_string(),
        };
        let found = serde_json::from_slice::<Format>(value).map_err(corrupt)?.format;
        if found != FORMAT {
            return Err(StateError::Format { what: what(), found, reads: FORMAT });
        }
        let Value { next_offset, began, windows, .. } =
            serde_json::from_slice(value).map_err(corrupt)?;
        Ok(Self { partition, next_offset, began, windows })
    }

    /// Checks that the group's committed offset is the one that was committed with the progress.
    pub fn check(&self, committed: Option<i64>) -> Result<(), StateError> {
        StateError::check_offset(
            || format!("the progress of partition {}", self.partition),
            self.next_offset,
            committed,
        )
    }

    pub(super) fn window(&self, name: &str, definition: &str) -> Option<&WindowProgress> {
        self.windows.get(name).filter(|window| window.definition == definition)
    }
}

fn parse_key(key: &[u8]) -> Result<i32, StateError> {
    let text = std::str::from_utf8(key).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| StateError::Corrupt {
        what: "the progress of the partitions".to_owned(),
        problem: format!("its key {:?}", String::from_utf8_lossy(key)),
    })
}

/// Adds the progress record of an input partition over all windows, with the offset that the same
/// transaction commits; one that is behind [`Watch::counted_to`](super::Watch::counted_to) moves
/// no record back. Windows that do not hold the partition are left out.
pub fn write_progress(windows: &mut [Windows], partition: i32, next_offset: i64, to: &mut Records) {
    let mut value = Value { format: FORMAT, next_offset, began: 0, windows: BTreeMap::new() };
    for watch in windows.iter_mut().filter_map(|windows| windows.partition_mut(partition)) {
        value.next_offset = value.next_offset.max(watch.counted_to());
        value.began = watch.began();
        let progress = WindowProgress {
            definition: watch.definition().to_owned(),
            watermark: watch.watermark(),
            seen: watch.seen(),
        };
        value.windows.insert(watch.spec().name.clone(), progress);
        watch.stored();
    }
    let text = serde_json::to_string(&value).expect("numbers and texts are always JSON");
    to.push(
        |bytes| append(bytes, format_args!("{partition}")),
        |bytes| bytes.extend_from_slice(text.as_bytes()),
    );
}

/// How far all input partitions are, whoever reads them: what the progress topic says.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    partitions: BTreeMap<i32, Progress>,
}

impl Frontier {
    /// Takes the next record in the order of the topic; no value is a tombstone.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        match value {
            Some(value) => {
                let progress = Progress::parse(key, value)?;
                self.partitions.insert(progress.partition, progress);
            }
            None => {
                self.partitions.remove(&parse_key(key)?);
            }
        }
        Ok(())
    }

    /// What is known of an input partition.
    pub fn progress(&self, partition: i32) -> Option<&Progress> {
        self.partitions.get(&partition)
    }

    /// How far an input partition may go that is idle itself, for
    /// [`Watch::close_idle`](super::Watch::close_idle): as far as the last of the others that are
    /// not, since these hold every window up anyway; if all are idle, as far as the furthest.
    pub fn others(&self, window: &str, definition: &str, partition: i32) -> Option<i64> {
        let others = self.partitions.values().filter(|other| other.partition != partition);
        let others = others.filter_map(|other| other.window(window, definition));
        let (mut last, mut furthest) = (None::<i64>, None);
        for other in others {
            let Some(watermark) = other.watermark else { continue };
            // The clock has not moved it.
            if other.seen == Some(watermark) {
                last = Some(last.map_or(watermark, |last| last.min(watermark)));
            }
            furthest = furthest.max(Some(watermark));
        }
        last.or(furthest)
    }

    /// Where a partition of which nothing is stored must begin, if it is one that the input got after
    /// the pipeline had begun: with the least watermark of the others, so that nothing of it counts in
    /// windows that are final. None for one that was there from the start.
    pub fn beginning_of_new(&self, partition: i32, inputs: i32) -> Option<Progress> {
        let is_new = self.partitions.values().any(|other| other.began <= partition);
        let mut windows: BTreeMap<String, WindowProgress> = BTreeMap::new();
        for (name, other) in self.partitions.values().flat_map(|other| &other.windows) {
            let last = windows.entry(name.clone()).or_insert_with(|| other.clone());
            // None is less than any.
            last.watermark = last.watermark.min(other.watermark);
            last.seen = None;
        }
        is_new.then_some(Progress { partition, next_offset: 0, began: inputs, windows })
    }

    /// The watermark of each input partition that has said something of this window, for people.
    pub fn watermarks(&self, window: &str) -> impl Iterator<Item = (i32, Option<i64>)> {
        self.partitions.values().filter_map(move |progress| {
            progress.windows.get(window).map(|window| (progress.partition, window.watermark))
        })
    }
}
