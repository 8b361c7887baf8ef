//! The first hop: one window over all partitions of a worker. A batch's events become deltas of
//! their partitions, at a cost per distinct key where only counts are asked for.

use std::sync::Arc;

use hashbrown::HashMap;

use super::accumulate::Inputs;
use super::keys::Keys;
use super::pending::{Pending, fold_session};
use super::{Span, StateError, Watch, WindowSpec, span};
use crate::event::{Column, Value};

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The input partition.
    pub partition: i32,
    /// The input record's offset there.
    pub offset: i64,
    /// See [`WindowSpec::not_after`](super::WindowSpec::not_after).
    pub not_after: i64,
}

/// Events that passed the stages, those of a partition in its order. Lists of one length.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// Where each came from.
    pub origins: &'a [Origin],
    /// The event time of each, in milliseconds since the epoch.
    pub times: &'a [i64],
    /// What they are grouped by, one column per field of [`WindowSpec::group`].
    pub keys: &'a [Column],
    /// What is aggregated, one column per aggregate that has a field, in order.
    pub values: &'a [Column],
    /// The field of [`WindowSpec::filter`]; without one every event counts.
    pub filter: Option<&'a Column>,
}

/// An event that came when its slice had closed, or of sessions, when it was too far behind the
/// watermark. It is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its place in the [`Events`].
    pub event: u32,
    /// The window, slice or session that it would have been in.
    pub span: Span,
    /// The partition's watermark at its turn.
    pub watermark: i64,
}

/// What a batch did apart from counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    /// The late events, rising.
    pub late: &'a [Late],
    /// How many events would have moved the watermark, but are too far past their record's
    /// timestamp.
    pub future: u32,
}

/// A window of one spec, over all input partitions that a worker holds.
#[derive(Debug)]
pub struct Windows {
    spec: Arc<WindowSpec>,
    held: Vec<Watch>,
    /// Partition -> place in `held`, or `NONE`.
    slots: Vec<u32>,
    keys: Keys,
    scratch: Scratch,
}

/// What a batch needs; kept for its memory.
#[derive(Debug, Default)]
struct Scratch {
    cursors: Vec<Cursor>,
    /// The slices of the batch: the slot of the partition, and which slice it is.
    groups: Vec<(u32, Span)>,
    group_of: HashMap<(u32, i64), u32, foldhash::fast::FixedState>,
    /// Group and key of each event that counts.
    pairs: Vec<u64>,
    /// Which events those are; not needed for counts alone.
    counted: Vec<u32>,
    dense: Vec<u32>,
    places: HashMap<u64, u32, foldhash::fast::FixedState>,
    late: Vec<Late>,
}

/// Where a partition is within a batch.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    watermark: i64,
    /// See [`Watch::counted_to`].
    counted_to: i64,
    /// The slice of the partition's last event.
    span: Span,
    closes_at: i64,
    /// Its place in `groups`, or `NONE` as long as nothing was counted.
    group: u32,
}

const NONE: u32 = u32::MAX;

/// Deltas of more keys or bytes are reason to commit early.
const STRAINED_KEYS: usize = 200_000;
const STRAINED_BYTES: usize = 64 << 20;

impl Windows {
    /// Holds no partition yet.
    pub fn new(spec: Arc<WindowSpec>) -> Self {
        Self {
            spec,
            held: Vec::new(),
            slots: Vec::new(),
            keys: Keys::default(),
            scratch: Scratch::default(),
        }
    }

    /// The definition.
    pub fn spec(&self) -> &Arc<WindowSpec> {
        &self.spec
    }

    /// Takes a partition over, in the place of what is held of it.
    pub fn adopt(&mut self, watch: Watch) {
        self.held.retain(|held| held.partition() != watch.partition());
        self.held.push(watch);
        self.held.sort_unstable_by_key(Watch::partition);
        self.place_held();
    }

    /// Gives a partition up, if it is held, with the deltas that were not written.
    pub fn release(&mut self, partition: i32) -> Option<Watch> {
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
    pub fn partitions(&self) -> &[Watch] {
        &self.held
    }

    /// One partition, if it is held.
    pub fn partition(&self, partition: i32) -> Option<&Watch> {
        slot_in(&self.slots, partition).map(|slot| &self.held[slot as usize])
    }

    /// See [`Watch::close_idle`]. False if the partition is not held.
    pub fn close_idle(
        &mut self,
        partition: i32,
        silent_since: i64,
        now: i64,
        others: Option<i64>,
    ) -> bool {
        self.partition_mut(partition)
            .is_some_and(|watch| watch.close_idle(silent_since, now, others))
    }

    /// See [`Watch::is_idle_due`]. False if the partition is not held.
    pub fn is_idle_due(
        &self,
        partition: i32,
        silent_since: i64,
        now: i64,
        others: Option<i64>,
    ) -> bool {
        self.partition(partition).is_some_and(|watch| watch.is_idle_due(silent_since, now, others))
    }

    /// Whether the deltas have grown so large (200,000 keys or 64 MiB) that the worker should
    /// commit without waiting for its interval.
    pub fn strained(&self) -> bool {
        let (keys, bytes) = self.held.iter().fold((0, 0), |(keys, bytes), watch| {
            (keys + watch.pending.keys(), bytes + watch.pending.bytes())
        });
        keys > STRAINED_KEYS || bytes > STRAINED_BYTES
    }

    /// Adds events to the deltas of their partitions and moves watermarks, event by event in the
    /// order of each partition. Events that the progress held when it was restored, those below
    /// [`Watch::counted_to`], are passed over. An error leaves the windows without use; the caller
    /// stops.
    pub fn observe(&mut self, events: Events<'_>) -> Result<Observed<'_>, StateError> {
        debug_assert_eq!(events.values.len(), self.spec.parts().len(), "a column for each");
        let index = self.keys.load(events.keys, events.times.len());
        let passing = events.filter.map(passing);
        let scratch = &mut self.scratch;
        scratch.start(&self.held);
        let mut batch = Batch {
            spec: &self.spec,
            slots: &self.slots,
            events,
            index: &index,
            passing: passing.as_deref(),
            wants_events: !events.values.is_empty() || self.spec.shape.is_session(),
        };
        let future = batch.assign(scratch)?;
        if self.spec.shape.is_session() {
            unite(&mut self.held, &self.keys, scratch, &mut batch);
        } else if events.values.is_empty() {
            count(&mut self.held, &self.keys, scratch);
        } else {
            fold(&mut self.held, &self.keys, scratch, &mut batch);
        }
        for (watch, cursor) in self.held.iter_mut().zip(&scratch.cursors) {
            if cursor.watermark > i64::MIN {
                watch.advance(cursor.watermark);
            }
        }
        Ok(Observed { late: &self.scratch.late, future })
    }

    pub(super) fn partition_mut(&mut self, partition: i32) -> Option<&mut Watch> {
        slot_in(&self.slots, partition).map(|slot| &mut self.held[slot as usize])
    }

    fn place_held(&mut self) {
        self.slots.clear();
        for (slot, watch) in self.held.iter().enumerate() {
            let place = usize::try_from(watch.partition()).unwrap_or_default();
            self.slots.resize(self.slots.len().max(place + 1), NONE);
            self.slots[place] = slot as u32;
        }
    }
}

/// A batch as it is observed.
struct Batch<'a> {
    spec: &'a WindowSpec,
    slots: &'a [u32],
    events: Events<'a>,
    /// The key of each event.
    index: &'a [u32],
    /// Whether each event passes the filter.
    passing: Option<&'a [bool]>,
    /// Whether it matters which event counts where, not only how many.
    wants_events: bool,
}

impl Batch<'_> {
    /// The pass over the events: which slice each belongs to, and where the watermarks end up.
    /// The only place where the order of events matters.
    fn assign(&mut self, to: &mut Scratch) -> Result<u32, StateError> {
        let spec = self.spec;
        let future_max = spec.future_max_ms();
        let is_session = spec.shape.is_session();
        let mut future = 0;
        let mut slot = NONE;
        let mut partition = None;
        let events = self.events.origins.iter().zip(self.events.times).zip(self.index);
        for (event, ((&origin, &time), &key)) in events.enumerate() {
            if partition != Some(origin.partition) {
                slot = slot_in(self.slots, origin.partition).ok_or_else(|| {
                    StateError::NotHeld { window: spec.name.clone(), partition: origin.partition }
                })?;
                partition = Some(origin.partition);
            }
            let cursor = &mut to.cursors[slot as usize];
            if origin.offset < cursor.counted_to {
                continue;
            }
            let time = span::hold(time);
            if self.passing.is_none_or(|passing| passing[event]) {
                if is_session {
                    let watermark = cursor.watermark;
                    if time.saturating_add(spec.grace_ms()) < watermark {
                        let span = spec.shape.span_of(time);
                        to.late.push(Late { event: event as u32, span, watermark });
                        continue;
                    }
                    to.pairs.push(u64::from(slot) << 32 | u64::from(key));
                } else {
                    if !cursor.span.contains(time) {
                        cursor.span = spec.shape.span_of(time);
                        cursor.closes_at = spec.closes_at(cursor.span);
                        cursor.group = NONE;
                    }
                    if cursor.closes_at <= cursor.watermark {
                        let (event, watermark) = (event as u32, cursor.watermark);
                        to.late.push(Late { event, span: cursor.span, watermark });
                        continue;
                    }
                    if cursor.group == NONE {
                        let groups = &mut to.groups;
                        cursor.group =
                            *to.group_of.entry((slot, cursor.span.start)).or_insert_with(|| {
                                groups.push((slot, cursor.span));
                                groups.len() as u32 - 1
                            });
                    }
                    to.pairs.push(u64::from(cursor.group) << 32 | u64::from(key));
                }
                if self.wants_events {
                    to.counted.push(event as u32);
                }
            }
            if time > cursor.watermark {
                if time > origin.not_after.saturating_add(future_max) {
                    future += 1;
                } else {
                    cursor.watermark = time;
                }
            }
        }
        Ok(future)
    }

    /// The columns as the aggregates take them.
    fn inputs(&self) -> Vec<Inputs> {
        let parts = self.spec.parts();
        let columns = self.events.values.iter();
        columns.zip(parts).map(|(column, kind)| Inputs::new(kind, column)).collect()
    }

    /// Which entries of its columns an event has.
    fn entries(&self, event: u32) -> impl Iterator<Item = u32> {
        self.events.values.iter().map(move |column| column.index()[event as usize])
    }
}

/// Adds counts up: densely where keys repeat, by sorting where most are distinct.
fn count(held: &mut [Watch], keys: &Keys, scratch: &mut Scratch) {
    let Scratch { groups, pairs, dense, .. } = scratch;
    let mut add = |group: usize, key: usize, count: u64| {
        let (slot, span) = groups[group];
        if let Pending::Slices(slices) = &mut held[slot as usize].pending {
            let slice = slices.slice(span);
            let (hash, text) = keys.get(key);
            slices.count(slice, hash, text, count);
        }
    };
    let distinct = keys.len();
    if groups.len() * distinct <= 4 * pairs.len() {
        dense.clear();
        dense.resize(groups.len() * distinct, 0);
        for &pair in &*pairs {
            dense[(pair >> 32) as usize * distinct + (pair as u32) as usize] += 1;
        }
        for (place, &count) in dense.iter().enumerate().filter(|(_, count)| **count > 0) {
            add(place / distinct, place % distinct, u64::from(count));
        }
    } else {
        pairs.sort_unstable();
        for run in pairs.chunk_by(|a, b| a == b) {
            add((run[0] >> 32) as usize, (run[0] as u32) as usize, run.len() as u64);
        }
    }
}

/// Folds event by event into the deltas of their slices.
fn fold(held: &mut [Watch], keys: &Keys, scratch: &mut Scratch, batch: &mut Batch<'_>) {
    let Scratch { groups, pairs, counted, places, .. } = scratch;
    let inputs = batch.inputs();
    places.clear();
    for (&pair, &event) in pairs.iter().zip(&*counted) {
        let (slot, span) = groups[(pair >> 32) as usize];
        let watch = &mut held[slot as usize];
        let kinds = watch.kinds().clone();
        let Pending::Slices(slices) = &mut watch.pending else { continue };
        let place = *places.entry(pair).or_insert_with(|| {
            let slice = slices.slice(span);
            let (hash, text) = keys.get((pair as u32) as usize);
            slices.place(slice, hash, text)
        });
        slices.change(place, |accumulator| accumulator.fold(&kinds, &inputs, batch.entries(event)));
    }
}

/// Folds event by event into sessions.
fn unite(held: &mut [Watch], keys: &Keys, scratch: &mut Scratch, batch: &mut Batch<'_>) {
    let inputs = batch.inputs();
    for (&pair, &event) in scratch.pairs.iter().zip(&scratch.counted) {
        let watch = &mut held[(pair >> 32) as usize];
        let kinds = watch.kinds().clone();
        let Pending::Sessions(sessions) = &mut watch.pending else { continue };
        let time = span::hold(batch.events.times[event as usize]);
        let key = keys.get((pair as u32) as usize);
        fold_session(sessions, &kinds, key, batch.spec.shape.span_of(time), |accumulator| {
            accumulator.fold(&kinds, &inputs, batch.entries(event));
        });
    }
}

fn passing(column: &Column) -> Vec<bool> {
    let entries: Vec<_> =
        (0..column.len()).map(|entry| column.value(entry) == Value::Boolean(true)).collect();
    column.index().iter().map(|&entry| entries[entry as usize]).collect()
}

fn slot_in(slots: &[u32], partition: i32) -> Option<u32> {
    let slot = *slots.get(usize::try_from(partition).ok()?)?;
    (slot != NONE).then_some(slot)
}

impl Scratch {
    fn start(&mut self, held: &[Watch]) {
        self.cursors.clear();
        self.cursors.extend(held.iter().map(Cursor::new));
        self.groups.clear();
        self.group_of.clear();
        self.pairs.clear();
        self.counted.clear();
        self.late.clear();
    }
}

impl Cursor {
    fn new(watch: &Watch) -> Self {
        Self {
            watermark: watch.watermark().unwrap_or(i64::MIN),
            counted_to: watch.counted_to(),
            span: Span { start: 0, end: 0 },
            closes_at: 0,
            group: NONE,
        }
    }
}
