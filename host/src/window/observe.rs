//! One window over all partitions of a worker: a batch's events into the windows of their
//! partitions, at a cost per distinct key.

use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::sync::Arc;

use hashbrown::HashMap;

use super::keys::Keys;
use super::output::key_text;
use super::{ClosedWindow, PartitionWindows, Records, Span, StateError, WindowSpec, span};
use crate::event::Column;

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The input partition.
    pub partition: i32,
    /// The input record's offset there.
    pub offset: i64,
    /// The input record's own timestamp, in milliseconds since the epoch. Without one there is
    /// nothing to tell a time in the future by, and the event moves the watermark.
    pub timestamp: Option<i64>,
}

/// Events that passed the stages, those of a partition in its order. Three lists of one length.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// Where each came from.
    pub origins: &'a [Origin],
    /// The event time of each, in milliseconds since the epoch.
    pub times: &'a [i64],
    /// What they are grouped by, one column per field of [`WindowSpec::group`].
    pub keys: &'a [Column],
}

/// An event that came when its window had closed. It is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its place in the [`Events`].
    pub event: u32,
    /// The window that it belongs to.
    pub span: Span,
    /// The partition's watermark at its turn.
    pub watermark: i64,
}

/// What a batch did apart from counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    /// The late events, rising.
    pub late: &'a [Late],
    /// How many events were counted and would have moved the watermark, but are too far past their
    /// record's timestamp.
    pub future: u32,
}

/// An open window over all partitions of a worker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWindow {
    /// The window's name.
    pub window: String,
    /// Which stretch of event time.
    pub span: Span,
    /// How many groups it has so far.
    pub groups: usize,
    /// The largest groups with their counts, largest first.
    pub top: Vec<(String, u64)>,
}

/// A window of one spec, over all partitions that a worker holds.
#[derive(Debug)]
pub struct Windows {
    spec: Arc<WindowSpec>,
    held: Vec<PartitionWindows>,
    /// Partition -> place in `held`, or `NONE`.
    slots: Vec<u32>,
    keys: Keys,
    cursors: Vec<Cursor>,
    groups: Vec<(u32, Span)>,
    group_of: HashMap<(u32, i64), u32, foldhash::fast::FixedState>,
    pairs: Vec<u64>,
    dense: Vec<u32>,
    late: Vec<Late>,
}

/// Where a partition is within a batch.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    watermark: i64,
    /// See [`PartitionWindows::counted_to`].
    counted_to: i64,
    /// The window of the partition's last event.
    span: Span,
    closes_at: i64,
    /// Its place in `groups`, or `NONE` as long as nothing was counted.
    group: u32,
}

const NONE: u32 = u32::MAX;

impl Windows {
    /// Holds no partition yet.
    pub fn new(spec: Arc<WindowSpec>) -> Self {
        Self {
            spec,
            held: Vec::new(),
            slots: Vec::new(),
            keys: Keys::default(),
            cursors: Vec::new(),
            groups: Vec::new(),
            group_of: HashMap::default(),
            pairs: Vec::new(),
            dense: Vec::new(),
            late: Vec::new(),
        }
    }

    /// The definition.
    pub fn spec(&self) -> &Arc<WindowSpec> {
        &self.spec
    }

    /// Takes a partition over, in the place of what is held of it.
    pub fn adopt(&mut self, windows: PartitionWindows) {
        self.held.retain(|held| held.partition() != windows.partition());
        self.held.push(windows);
        self.held.sort_unstable_by_key(PartitionWindows::partition);
        self.place_held();
    }

    /// Gives a partition up, if it is held.
    pub fn release(&mut self, partition: i32) -> Option<PartitionWindows> {
        let slot = self.held.iter().position(|held| held.partition() == partition)?;
        let released = self.held.remove(slot);
        self.place_held();
        Some(released)
    }

    /// Forgets every partition: what a failed transaction asks for.
    pub fn clear(&mut self) {
        self.held.clear();
        self.place_held();
    }

    /// The partitions that are held, in their order.
    pub fn partitions(&self) -> &[PartitionWindows] {
        &self.held
    }

    /// One partition, if it is held.
    pub fn partition(&self, partition: i32) -> Option<&PartitionWindows> {
        self.slot(partition).map(|slot| &self.held[slot as usize])
    }

    /// See [`PartitionWindows::close_idle`]. False if the partition is not held.
    pub fn close_idle(&mut self, partition: i32, silent_since: i64, now: i64) -> bool {
        self.slot(partition)
            .is_some_and(|slot| self.held[slot as usize].close_idle(silent_since, now))
    }

    /// See [`PartitionWindows::is_idle_due`]. False if the partition is not held.
    pub fn is_idle_due(&self, partition: i32, silent_since: i64, now: i64) -> bool {
        self.partition(partition).is_some_and(|held| held.is_idle_due(silent_since, now))
    }

    /// Moves the windows out that have closed since, by partition, then by time.
    pub fn take_closed(&mut self) -> Vec<ClosedWindow> {
        self.held.iter_mut().flat_map(PartitionWindows::take_closed).collect()
    }

    /// See [`PartitionWindows::take_changes`]. Adds nothing if the partition is not held.
    pub fn take_changes(&mut self, partition: i32, next_offset: i64, to: &mut Records) {
        if let Some(slot) = self.slot(partition) {
            self.held[slot as usize].take_changes(next_offset, to);
        }
    }

    /// Counts events into their windows, moves watermarks and closes windows, event by event in
    /// the order of each partition. Events that the state held when it was restored, those below
    /// [`PartitionWindows::counted_to`], are passed over. An error leaves the windows without use; the caller stops.
    pub fn observe(&mut self, events: Events<'_>) -> Result<Observed<'_>, StateError> {
        let index = self.keys.load(events.keys, events.times.len());
        self.cursors.clear();
        self.cursors.extend(self.held.iter().map(Cursor::new));
        self.groups.clear();
        self.group_of.clear();
        self.pairs.clear();
        self.late.clear();
        let future = self.assign(events, &index)?;
        drop(index);
        self.count();
        for (windows, cursor) in self.held.iter_mut().zip(&self.cursors) {
            if cursor.watermark > i64::MIN {
                windows.advance(cursor.watermark);
            }
            windows.check_limits()?;
        }
        Ok(Observed { late: &self.late, future })
    }

    /// The open windows with their largest groups, by time. Passes over every open key: for once
    /// in a second or so.
    pub fn open_windows(&self, top: usize) -> Vec<OpenWindow> {
        let mut open: BTreeMap<Span, StdHashMap<&str, u64>> = BTreeMap::new();
        for (&span, counts) in self.held.iter().flat_map(PartitionWindows::open) {
            let merged = open.entry(span).or_default();
            for entry in counts.entries() {
                *merged.entry(&entry.key).or_default() += entry.count;
            }
        }
        let window = |(span, merged): (Span, StdHashMap<&str, u64>)| {
            let groups = merged.len();
            let mut rows: Vec<_> = merged.into_iter().collect();
            rows.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            rows.truncate(top);
            let top = rows.into_iter().map(|(key, count)| (key_text(key).into_owned(), count));
            OpenWindow { window: self.spec.name.clone(), span, groups, top: top.collect() }
        };
        open.into_iter().map(window).collect()
    }

    /// The pass over the events: which window each belongs to, and where the watermarks end up.
    /// The only place where the order of events matters.
    fn assign(&mut self, events: Events<'_>, index: &[u32]) -> Result<u32, StateError> {
        let spec = &*self.spec;
        let future_max = spec.future_max_ms();
        let mut future = 0;
        let mut slot = NONE;
        let mut partition = None;
        for (event, ((&origin, &time), &key)) in
            events.origins.iter().zip(events.times).zip(index).enumerate()
        {
            if partition != Some(origin.partition) {
                slot = slot_in(&self.slots, origin.partition).ok_or_else(|| {
                    StateError::NotHeld { window: spec.name.clone(), partition: origin.partition }
                })?;
                partition = Some(origin.partition);
            }
            let cursor = &mut self.cursors[slot as usize];
            if origin.offset < cursor.counted_to {
                continue;
            }
            let time = span::hold(time);
            if !cursor.span.contains(time) {
                cursor.span = spec.span_of(time);
                cursor.closes_at = spec.closes_at(cursor.span);
                cursor.group = NONE;
            }
            if cursor.closes_at <= cursor.watermark {
                let (event, watermark) = (event as u32, cursor.watermark);
                self.late.push(Late { event, span: cursor.span, watermark });
                continue;
            }
            if cursor.group == NONE {
                let groups = &mut self.groups;
                cursor.group =
                    *self.group_of.entry((slot, cursor.span.start)).or_insert_with(|| {
                        groups.push((slot, cursor.span));
                        groups.len() as u32 - 1
                    });
            }
            self.pairs.push(u64::from(cursor.group) << 32 | u64::from(key));
            if time > cursor.watermark {
                match origin.timestamp {
                    Some(timestamp) if time > timestamp.saturating_add(future_max) => future += 1,
                    _ => cursor.watermark = time,
                }
            }
        }
        Ok(future)
    }

    /// Adds the batch up: densely where keys repeat, by sorting where most are distinct.
    fn count(&mut self) {
        let (held, groups, keys) = (&mut self.held, &self.groups, &self.keys);
        let mut add = |group: usize, key: usize, count: u64| {
            let (slot, span) = groups[group];
            let (hash, text) = keys.get(key);
            held[slot as usize].add(span, hash, text, count);
        };
        let distinct = keys.len();
        if groups.len() * distinct <= 4 * self.pairs.len() {
            self.dense.clear();
            self.dense.resize(groups.len() * distinct, 0);
            for &pair in &self.pairs {
                self.dense[(pair >> 32) as usize * distinct + (pair as u32) as usize] += 1;
            }
            for (place, &count) in self.dense.iter().enumerate().filter(|(_, count)| **count > 0) {
                add(place / distinct, place % distinct, u64::from(count));
            }
        } else {
            self.pairs.sort_unstable();
            for run in self.pairs.chunk_by(|a, b| a == b) {
                add((run[0] >> 32) as usize, (run[0] as u32) as usize, run.len() as u64);
            }
        }
    }

    fn slot(&self, partition: i32) -> Option<u32> {
        slot_in(&self.slots, partition)
    }

    fn place_held(&mut self) {
        self.slots.clear();
        for (slot, windows) in self.held.iter().enumerate() {
            let place = usize::try_from(windows.partition()).unwrap_or_default();
            self.slots.resize(self.slots.len().max(place + 1), NONE);
            self.slots[place] = slot as u32;
        }
    }
}

fn slot_in(slots: &[u32], partition: i32) -> Option<u32> {
    let slot = *slots.get(usize::try_from(partition).ok()?)?;
    (slot != NONE).then_some(slot)
}

impl Cursor {
    fn new(windows: &PartitionWindows) -> Self {
        Self {
            watermark: windows.watermark().unwrap_or(i64::MIN),
            counted_to: windows.counted_to(),
            span: Span { start: 0, end: 0 },
            closes_at: 0,
            group: NONE,
        }
    }
}

impl OpenWindow {
    /// The windows of several workers as one list by name and time. Counts of groups that are
    /// below the top of one worker are missing from the sum, so ask each for more than is shown.
    pub fn merge(lists: Vec<Vec<OpenWindow>>, top: usize) -> Vec<OpenWindow> {
        let mut merged: BTreeMap<(String, Span), (usize, StdHashMap<String, u64>)> =
            BTreeMap::new();
        for open in lists.into_iter().flatten() {
            let (groups, rows) = merged.entry((open.window, open.span)).or_default();
            *groups = (*groups).max(open.groups);
            for (key, count) in open.top {
                *rows.entry(key).or_default() += count;
            }
        }
        let window =
            |((window, span), (groups, rows)): ((String, Span), (usize, StdHashMap<_, _>))| {
                let groups = groups.max(rows.len());
                let mut top_rows: Vec<(String, u64)> = rows.into_iter().collect();
                top_rows.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                top_rows.truncate(top);
                OpenWindow { window, span, groups, top: top_rows }
            };
        merged.into_iter().map(window).collect()
    }
}
