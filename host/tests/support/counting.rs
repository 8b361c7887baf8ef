//! What the windows of a pipeline count of the events that passed its stages, computed a second time:
//! from what README and `pipeline.toml` say of them, one event after the other. It shares no code with
//! the host, so that a mistake there is not made here as well.
//!
//! Assumed: every window takes the same time, and counts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The window of the shipped `pipeline.toml`.
pub const SHIPPED: Window = Window {
    name: "counts",
    shape: Shape::Tumbling { size_ms: WINDOW_MS },
    grace_ms: GRACE_MS,
    by: &["app_version"],
};
/// Its length.
pub const WINDOW_MS: i64 = 60_000;
/// Its grace.
pub const GRACE_MS: i64 = 5_000;
/// The shipped `future-max`.
pub const FUTURE_MAX_MS: i64 = 3_600_000;
/// An input partition need not say sooner that sessions are over that ended so long ago.
const SESSIONS_WAIT_MS: i64 = 1_000;

/// How windows lie in event time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Tumbling { size_ms: i64 },
    Hopping { size_ms: i64, every_ms: i64 },
    Session { gap_ms: i64 },
}

/// A `[[window]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub name: &'static str,
    pub shape: Shape,
    pub grace_ms: i64,
    /// Members of the event.
    pub by: &'static [&'static str],
}

/// Start, end, and group (as JSON text).
pub type Place = (i64, i64, String);

/// What one input partition counts, in the smallest stretches that an event can be in.
pub type Pieces = BTreeMap<Place, u64>;

/// What comes out of a window: its count, and whether records alone make it final.
pub type Results = BTreeMap<Place, (u64, bool)>;

impl Window {
    /// The group of an event.
    pub fn group_of(&self, event: &Map<String, Value>) -> String {
        let member = |name: &&str| event.get(*name).cloned().unwrap_or(Value::Null);
        let mut members: Vec<Value> = self.by.iter().map(member).collect();
        if members.len() == 1 { members.remove(0) } else { Value::Array(members) }.to_string()
    }

    /// The smallest stretch with an event of this time.
    pub fn piece_of(&self, time: i64) -> (i64, i64) {
        let aligned = |width: i64| {
            let start = time.div_euclid(width) * width;
            (start, start + width)
        };
        match self.shape {
            Shape::Tumbling { size_ms } => aligned(size_ms),
            Shape::Hopping { size_ms, every_ms } => aligned(greatest_divisor(size_ms, every_ms)),
            Shape::Session { gap_ms } => (time, time + gap_ms),
        }
    }

    /// Whether an event of this time is late at this watermark.
    pub fn is_late(&self, time: i64, watermark: i64) -> bool {
        match self.shape {
            Shape::Session { .. } => time + self.grace_ms < watermark,
            _ => self.piece_of(time).1 + self.grace_ms <= watermark,
        }
    }

    /// Whether an input partition says, by its records alone, that nothing comes any more for what
    /// ends then.
    pub fn is_over(&self, end: i64, watermark: i64) -> bool {
        let wait = if let Shape::Session { .. } = self.shape { SESSIONS_WAIT_MS } else { 0 };
        end + wait + self.grace_ms <= watermark
    }

    /// What comes out over all input partitions, of which these are the pieces and the watermark.
    pub fn results<'a>(
        &self,
        partitions: impl Iterator<Item = (&'a Pieces, Option<i64>)>,
    ) -> Results {
        let (mut pieces, mut watermarks) = (Pieces::new(), Vec::new());
        for (of_partition, watermark) in partitions {
            watermarks.push(watermark);
            for (place, count) in of_partition {
                *pieces.entry(place.clone()).or_default() += count;
            }
        }
        let is_final = |end: i64| {
            watermarks.iter().all(|at| at.is_some_and(|watermark| self.is_over(end, watermark)))
        };
        let windows = match self.shape {
            Shape::Tumbling { .. } => pieces,
            Shape::Hopping { size_ms, every_ms } => overlapping(&pieces, size_ms, every_ms),
            Shape::Session { .. } => united(&pieces),
        };
        windows
            .into_iter()
            .map(|((start, end, group), count)| ((start, end, group), (count, is_final(end))))
            .collect()
    }
}

fn greatest_divisor(a: i64, b: i64) -> i64 {
    (1..=b).rev().find(|width| a % width == 0 && b % width == 0).expect("1 divides everything")
}

/// One window begins at every multiple of `every`.
fn overlapping(slices: &Pieces, size: i64, every: i64) -> Pieces {
    let mut windows = Pieces::new();
    for ((slice_start, slice_end, group), count) in slices {
        let last = slice_start.div_euclid(every) * every;
        let starts = (0..).map(|back| last - back * every);
        for start in starts.take_while(|start| start + size >= *slice_end) {
            *windows.entry((start, start + size, group.clone())).or_default() += count;
        }
    }
    windows
}

/// Sessions of a group that overlap are one.
fn united(events: &Pieces) -> Pieces {
    let mut by_group: BTreeMap<&str, Vec<(i64, i64, u64)>> = BTreeMap::new();
    for ((start, end, group), count) in events {
        let sessions = by_group.entry(group).or_default();
        match sessions.last_mut() {
            Some((_, last_end, total)) if start < last_end => {
                *last_end = (*last_end).max(*end);
                *total += count;
            }
            _ => sessions.push((*start, *end, *count)),
        }
    }
    let all = by_group.into_iter().flat_map(|(group, sessions)| {
        sessions.into_iter().map(move |(start, end, count)| ((start, end, group.to_owned()), count))
    });
    all.collect()
}
