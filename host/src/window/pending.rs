//! What the events of one partition since the last commit come to.

use hashbrown::{HashMap, HashTable};

use super::accumulate::{Accumulator, PartKind};
use super::sessions::Sessions;
use super::shape::Shape;
use super::{Span, keys};

/// Deltas that wait for the next commit.
#[derive(Debug)]
pub(super) enum Pending {
    Slices(Slices),
    Sessions(Sessions),
}

impl Pending {
    pub(super) fn new(shape: Shape) -> Self {
        if shape.is_session() {
            Self::Sessions(Sessions::default())
        } else {
            Self::Slices(Slices::default())
        }
    }

    pub(super) fn keys(&self) -> usize {
        match self {
            Self::Slices(slices) => slices.entries.len(),
            Self::Sessions(sessions) => sessions.len(),
        }
    }

    /// Memory, estimated.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Slices(slices) => {
                slices.texts.len() + slices.bytes + slices.entries.len() * size_of::<Entry>()
            }
            Self::Sessions(sessions) => sessions.bytes(),
        }
    }

    pub(super) fn each(&self, mut each: impl FnMut(Span, &str, &Accumulator)) {
        match self {
            Self::Slices(slices) => {
                for entry in &slices.entries {
                    let span = slices.spans[entry.slice as usize];
                    each(span, slices.text(entry), &entry.accumulator);
                }
            }
            Self::Sessions(sessions) => {
                for (key, span, session) in sessions.iter() {
                    each(span, key, &session.accumulator);
                }
            }
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Slices(slices) => slices.clear(),
            Self::Sessions(sessions) => *sessions = Sessions::default(),
        }
    }
}

/// Deltas by slice and group. Used again for every commit, it allocates nothing new.
#[derive(Debug, Default)]
pub(super) struct Slices {
    spans: Vec<Span>,
    slice_of: HashMap<i64, u32, foldhash::fast::FixedState>,
    texts: String,
    table: HashTable<u32>,
    entries: Vec<Entry>,
    /// Of the accumulators' parts.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    text: usize,
    text_len: u32,
    slice: u32,
    accumulator: Accumulator,
}

impl Slices {
    pub(super) fn slice(&mut self, span: Span) -> u32 {
        let spans = &mut self.spans;
        *self.slice_of.entry(span.start).or_insert_with(|| {
            spans.push(span);
            spans.len() as u32 - 1
        })
    }

    /// Where the delta of a group is, which is made if there is none yet.
    pub(super) fn place(&mut self, slice: u32, hash: u64, key: &str) -> u32 {
        let hash = hash ^ u64::from(slice).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (entries, texts) = (&self.entries, &self.texts);
        let is_it = |&place: &u32| {
            let entry = &entries[place as usize];
            entry.hash == hash && entry.slice == slice && texts[entry.range()] == *key
        };
        if let Some(&place) = self.table.find(hash, is_it) {
            return place;
        }
        let place = self.entries.len() as u32;
        self.entries.push(Entry {
            hash,
            text: self.texts.len(),
            text_len: key.len() as u32,
            slice,
            accumulator: Accumulator::default(),
        });
        self.texts.push_str(key);
        let entries = &self.entries;
        self.table.insert_unique(hash, place, |&place| entries[place as usize].hash);
        place
    }

    /// Adds to the count of a group.
    pub(super) fn count(&mut self, slice: u32, hash: u64, key: &str, count: u64) {
        let place = self.place(slice, hash, key);
        self.entries[place as usize].accumulator.count += count;
    }

    /// Changes the accumulator of a group; what its parts take more is kept count of.
    pub(super) fn change(&mut self, place: u32, change: impl FnOnce(&mut Accumulator)) {
        let accumulator = &mut self.entries[place as usize].accumulator;
        let before = accumulator.bytes();
        change(accumulator);
        self.bytes = (self.bytes + accumulator.bytes()).saturating_sub(before);
    }

    fn text(&self, entry: &Entry) -> &str {
        &self.texts[entry.range()]
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.slice_of.clear();
        self.texts.clear();
        self.table.clear();
        self.entries.clear();
        self.bytes = 0;
    }
}

impl Entry {
    fn range(&self) -> std::ops::Range<usize> {
        self.text..self.text + self.text_len as usize
    }
}

/// Adds one event to the session of its group.
pub(super) fn fold_session(
    sessions: &mut Sessions,
    kinds: &[PartKind],
    (hash, key): (u64, &str),
    span: Span,
    fold: impl FnOnce(&mut Accumulator),
) {
    debug_assert_eq!(hash, keys::hash(key));
    sessions.cover(kinds, (hash, key), span, |accumulator, _| fold(accumulator));
}
