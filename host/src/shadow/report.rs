//! What a comparison has come to so far.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::difference::{Became, FieldChange, Kind};
use crate::chain::{Record, StageCounts, Stop};

/// Fields that are counted by name; further ones are not.
const FIELDS_MAX: usize = 100;
/// Bytes of an input, or of what became of it, that a sample shows.
const SHOWN_MAX: usize = 2048;

/// Which examples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first so many.
    First(usize),
    /// The last so many.
    Last(usize),
}

/// Counts and examples of what differs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Records that were compared. Those of a batch that is processed twice count twice.
    pub records: u64,
    /// Of those, how many come out differently, by kind.
    pub differ: BTreeMap<Kind, u64>,
    /// How often each field does.
    pub fields: BTreeMap<String, u64>,
    /// Records that could not be compared, since the running rules failed on their batch.
    pub not_compared: u64,
    /// Why, the last time; or why the candidate gave a whole batch up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What the running stages did.
    pub live: Side,
    /// What the candidate did.
    pub candidate: Side,
    /// Examples.
    pub samples: VecDeque<Sample>,
    #[serde(skip)]
    keep: Keep,
}

/// What the stages of one side did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Side {
    /// Records that a stage dropped on purpose.
    pub dropped: u64,
    /// Records that a stage rejected.
    pub rejected: u64,
    /// Records that made a stage fail.
    pub faults: u64,
    /// Time spent in the stages, nanoseconds.
    pub nanos: u64,
}

/// One record that comes out differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Where it is in the input topic.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
    /// In which way.
    pub kind: Kind,
    /// The record as it came to the two sides; its beginning, if it is long.
    pub input: String,
    /// What the running rules make of it.
    pub live: String,
    /// What the candidate makes of it.
    pub candidate: String,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

impl Report {
    /// Nothing compared yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            records: 0,
            differ: BTreeMap::new(),
            fields: BTreeMap::new(),
            not_compared: 0,
            stopped: None,
            live: Side::default(),
            candidate: Side::default(),
            samples: VecDeque::new(),
            keep,
        }
    }

    /// How many records come out differently.
    pub fn differing(&self) -> u64 {
        self.differ.values().sum()
    }

    pub(super) fn ran(&mut self, live: &[StageCounts], candidate: &[StageCounts]) {
        live.iter().for_each(|counts| self.live.add(counts));
        candidate.iter().for_each(|counts| self.candidate.add(counts));
    }

    /// One record went through both sides.
    pub(super) fn compared(
        &mut self,
        record: &Record<'_>,
        difference: Option<(Kind, Vec<FieldChange>)>,
        live: &Became<'_>,
        candidate: &Became<'_>,
    ) {
        self.records += 1;
        let Some((kind, fields)) = difference else { return };
        *self.differ.entry(kind).or_default() += 1;
        for change in &fields {
            if let Some(count) = self.fields.get_mut(&change.field) {
                *count += 1;
            } else if self.fields.len() < FIELDS_MAX {
                self.fields.insert(change.field.clone(), 1);
            }
        }
        let (Keep::First(most) | Keep::Last(most)) = self.keep;
        if most == 0 || self.samples.len() >= most && matches!(self.keep, Keep::First(_)) {
            return;
        }
        if self.samples.len() >= most {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            partition: record.partition,
            offset: record.offset,
            kind,
            input: record.value.map_or_else(|| "tombstone".to_owned(), shown),
            live: cut(live.describe()),
            candidate: cut(candidate.describe()),
            fields,
        });
    }

    /// The candidate gave a whole batch up, as it would stop the pipeline.
    pub(super) fn candidate_stopped(&mut self, records: usize, stop: &Stop) {
        self.records += records as u64;
        self.candidate.faults += records as u64;
        *self.differ.entry(Kind::Errors).or_default() += records as u64;
        self.stopped = Some(format!("the candidate: {stop}"));
    }

    pub(super) fn not_compared(&mut self, records: usize, stop: &Stop) {
        self.not_compared += records as u64;
        self.stopped = Some(format!("the running rules: {stop}"));
    }
}

impl Side {
    fn add(&mut self, counts: &StageCounts) {
        self.dropped += counts.dropped;
        self.rejected += counts.rejected;
        self.faults += counts.faults.total();
        self.nanos += counts.nanos;
    }
}

fn shown(bytes: &[u8]) -> String {
    cut(String::from_utf8_lossy(&bytes[..bytes.len().min(2 * SHOWN_MAX)]).into_owned())
}

fn cut(mut text: String) -> String {
    if text.len() > SHOWN_MAX {
        text.truncate(text.floor_char_boundary(SHOWN_MAX));
        text.push('…');
    }
    text
}
