//! The second hop: all windows of one merge partition.

use std::sync::Arc;

use super::accumulate::Accumulator;
use super::deltas::{Deltas, WindowDeltas};
use super::held::{Held, LateRow};
use super::output::Results;
use super::people::{self, OpenWindow};
use super::portion::{ENDED, Portion};
use super::state::MergeMarker;
use super::{Records, Span, StateError, WindowSpec};

/// The windows of one merge partition: the deltas of all input partitions, merged until every one
/// of them has promised to add nothing more.
///
/// If the input gains partitions, the new ones have promised nothing, and windows wait until they
/// do. What they add to windows that were final before is not merged: see [`Merge::take_late`].
///
/// Windows of a definition that is in no spec, because it was changed or removed, are given out as
/// they are, marked `"final":false`. So all instances must have the same definitions: what one of
/// another definition sends comes out in pieces.
#[derive(Debug)]
pub struct Merge {
    partition: i32,
    inputs: i32,
    merges: usize,
    counted_to: i64,
    /// In the order of the specs.
    held: Vec<Held>,
    /// Windows of definitions that are no more, until they are given out.
    foreign: Vec<Held>,
    /// Those that were given out since the last changes were taken.
    ended: Vec<Held>,
    tombstones: Records,
    late: Vec<LateRow>,
    is_changed: bool,
    is_closing: bool,
    /// The offset of the first record that was merged.
    first: Option<i64>,
    /// Whether the state topic has a marker.
    is_marked: bool,
}

/// What became of the windows since it was last asked.
#[derive(Debug)]
pub struct Taken {
    /// By window, in the order of the specs.
    pub windows: Vec<Results>,
    /// Results of windows whose name is in no spec: there is no topic for them.
    pub orphans: Vec<Orphan>,
}

/// Results of a window that is no more.
#[derive(Debug)]
pub struct Orphan {
    /// Its name.
    pub window: String,
    /// What was known when it went.
    pub results: Results,
}

impl Merge {
    /// A merge partition without any state, one of `merges`, for so many input partitions.
    pub fn new(specs: Arc<[Arc<WindowSpec>]>, partition: i32, inputs: i32, merges: usize) -> Self {
        Self {
            partition,
            inputs,
            merges,
            counted_to: 0,
            held: specs.iter().map(|spec| Held::new(spec.clone(), partition)).collect(),
            foreign: Vec::new(),
            ended: Vec::new(),
            tombstones: Records::default(),
            late: Vec::new(),
            is_changed: false,
            is_closing: false,
            first: None,
            is_marked: false,
        }
    }

    /// The merge partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// How many input partitions are known: the most that any sender knew.
    pub fn inputs(&self) -> i32 {
        self.inputs
    }

    /// The state as it was restored holds all records of the repartition topic below this offset.
    /// Without transactions it may be ahead of where they are read again; those are passed over.
    pub fn counted_to(&self) -> i64 {
        self.counted_to
    }

    /// Merges the next record of the repartition topic, and notes what is final by it. An error leaves
    /// the windows without use; the caller stops.
    pub fn apply(&mut self, offset: i64, value: &[u8]) -> Result<(), StateError> {
        if offset < self.counted_to {
            return Ok(());
        }
        // What stays after a commit; what is final is let go of with the next one.
        let mut open = self.held.iter().filter(|held| !held.is_closing());
        open.try_for_each(Held::check_limits)?;
        self.first.get_or_insert(offset);
        let partition = self.partition;
        let what = || format!("the deltas at offset {offset} of merge partition {partition}");
        let deltas = Deltas::parse(value, what)?;
        self.is_changed = true;
        self.inputs = self.inputs.max(deltas.of);
        for window in &deltas.windows {
            self.merge(deltas.partition, window)
                .map_err(|problem| StateError::Corrupt { what: what(), problem })?;
        }
        for held in &mut self.held {
            held.pass(self.inputs);
            if !held.is_closing() {
                held.check_limits()?;
            }
        }
        Ok(())
    }

    /// What is final and not given out yet, as much as the portion holds; with
    /// [`Emit::Updates`](super::Emit::Updates) also what has changed. Windows of a definition that is
    /// no more come out as they are, as updates. Their state is deleted with the next changes, so both
    /// must be of one transaction. See [`Merge::is_closing`] for what was left.
    pub fn take_results(&mut self, portion: &mut Portion) -> Taken {
        let mut orphans = Vec::new();
        // Before what is final under the same keys now.
        let mut updates: Vec<(usize, Results)> = Vec::new();
        for foreign in &mut self.foreign {
            foreign.end();
            foreign.give_out(portion);
            let (name, results) = (&foreign.spec.name, foreign.results.take());
            match self.held.iter().position(|held| held.spec.name == *name) {
                Some(place) => updates.push((place, results)),
                None if results.is_empty() => {}
                None => orphans.push(Orphan { window: name.clone(), results }),
            }
        }
        for mut ended in self.foreign.extract_if(.., |foreign| !foreign.is_closing()) {
            ended.delete(&mut self.tombstones);
            self.ended.push(ended);
        }
        let mut windows = Vec::with_capacity(self.held.len());
        for (place, held) in self.held.iter_mut().enumerate() {
            // Not before what was left under the same keys is out.
            if self.foreign.is_empty() {
                held.give_out(portion);
                held.send();
            }
            let mut all = held.results.take();
            for (_, before) in updates.extract_if(.., |(of, _)| *of == place) {
                all.prepend(before);
            }
            windows.push(all);
        }
        self.is_closing = self.are_closing();
        Taken { windows, orphans }
    }

    /// Whether the last portion did not hold all that was final. Until a commit does, nothing more
    /// should be merged.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    fn are_closing(&self) -> bool {
        self.held.iter().chain(&self.foreign).any(Held::is_closing)
    }

    /// Deltas for windows that are final. Only partitions that the input has gained can make any:
    /// nobody waited for them. For the late topic, in the transaction of the results.
    pub fn take_late(&mut self) -> Vec<LateRow> {
        std::mem::take(&mut self.late)
    }

    /// Adds the state records of everything that changed since the last call, and the marker with
    /// this offset of the repartition topic, which must be the one that the same transaction
    /// commits; one that is behind [`Merge::counted_to`] moves no marker back. Take the results
    /// for the same transaction before: state of what is final is deleted by these records.
    pub fn take_changes(&mut self, next_offset: i64, to: &mut Records) {
        let next_offset = next_offset.max(self.counted_to);
        let mut marker = MergeMarker::new(next_offset, self.merges, self.inputs);
        if !std::mem::replace(&mut self.is_marked, true) {
            // Without transactions a crash may come behind any of them: all must be readable.
            let before = self.first.unwrap_or(next_offset).min(next_offset);
            MergeMarker::new(before, self.merges, self.inputs).write(to);
        }
        for held in self.held.iter_mut().chain(&mut self.foreign) {
            held.take_changes(to, &mut marker);
        }
        for ended in self.ended.drain(..) {
            // The same: what a crash leaves of it is not given out again.
            marker.note((&ended.spec.name, &ended.definition), Some(ENDED), None);
        }
        marker.write(to);
        to.append(&mut self.tombstones);
        self.held.iter_mut().chain(&mut self.foreign).for_each(|held| held.take_closed(to));
        self.is_changed = false;
    }

    /// Whether there is something that a commit must write although no record was merged.
    pub fn has_changes(&self) -> bool {
        self.is_changed
            || !self.foreign.is_empty()
            || !self.tombstones.is_empty()
            || !self.late.is_empty()
            || self.held.iter().any(Held::has_changes)
    }

    /// How many keys are open, over all windows.
    pub fn keys(&self) -> usize {
        self.held.iter().chain(&self.foreign).map(Held::keys).sum()
    }

    /// Memory that the open keys take, estimated.
    pub fn bytes(&self) -> usize {
        self.held.iter().chain(&self.foreign).map(Held::bytes).sum()
    }

    /// Up to when each input partition is closed for a window, by the place of its spec; none for
    /// those that have said nothing yet.
    pub fn closed(&self, window: usize) -> impl Iterator<Item = (i32, Option<i64>)> {
        let held = &self.held[window];
        (0..self.inputs).map(|partition| (partition, held.closed(partition)))
    }

    /// Up to when all input partitions are closed for a window: what ends then or before is final.
    /// None as long as one has said nothing.
    pub fn frontier(&self, window: usize) -> Option<i64> {
        self.held[window].frontier(self.inputs)
    }

    /// Up to when a window's results are given out: all that is final, unless one commit did not hold
    /// it.
    pub fn given_out(&self, window: usize) -> Option<i64> {
        let held = &self.held[window];
        if held.is_closing() { held.given_out() } else { self.frontier(window) }
    }

    /// The input partitions that hold a window's frontier back: those that are closed the least
    /// far.
    pub fn behind(&self, window: usize) -> Vec<i32> {
        let frontier = self.frontier(window);
        let behind = self.closed(window).filter(|(_, closed)| *closed == frontier);
        behind.map(|(partition, _)| partition).collect()
    }

    /// The open windows with their largest groups. Passes over every open key: for once in a
    /// second or so.
    pub fn open_windows(&self, top: usize) -> Vec<OpenWindow> {
        self.held.iter().flat_map(|held| people::open_windows(held, top)).collect()
    }

    fn merge(&mut self, partition: i32, deltas: &WindowDeltas<'_>) -> Result<(), String> {
        let is_it =
            |held: &Held| held.spec.name == deltas.window && *held.definition == *deltas.definition;
        let held = match self.held.iter().position(is_it) {
            Some(place) => &mut self.held[place],
            None if deltas.rows.is_empty() => return Ok(()),
            None => match self.foreign.iter().position(is_it) {
                Some(place) => &mut self.foreign[place],
                None => {
                    let held = foreign(self.partition, &deltas.window, deltas.spec.get())?;
                    self.foreign.push(held);
                    self.foreign.last_mut().expect("it was just added")
                }
            },
        };
        for row in &deltas.rows {
            let (span, key) = (Span { start: row.0, end: row.1 }, row.2.get());
            let accumulator = Accumulator::parse(held.kinds(), row.3.get())
                .filter(|_| held.spec.shape.can_have(span))
                .ok_or_else(|| format!("the row of {span} and {key}"))?;
            if !held.add(span, key, accumulator) {
                let (window, key) = (deltas.window.to_string(), key.into());
                let accumulator = row.3.get().to_owned();
                self.late.push(LateRow { window, partition, span, key, accumulator });
            }
        }
        if let Some(closed) = deltas.closed {
            held.promise(partition, closed);
        }
        Ok(())
    }

    pub(super) fn held_mut(&mut self, window: &str, definition: &str) -> Option<&mut Held> {
        // Of one that has ended before, and is there again, the end comes first.
        let mut all = self.foreign.iter_mut().chain(&mut self.held);
        all.find(|held| held.spec.name == window && *held.definition == *definition)
    }

    pub(super) fn add_foreign(&mut self, window: &str, definition: &str) -> Result<(), String> {
        let held = foreign(self.partition, window, definition)?;
        self.foreign.push(held);
        Ok(())
    }

    pub(super) fn restored(&mut self, marker: &MergeMarker) -> Result<(), StateError> {
        self.counted_to = marker.next_offset;
        self.inputs = self.inputs.max(marker.inputs);
        self.is_marked = true;
        for held in &mut self.foreign {
            held.restore_given_out(marker.given_out(&held.spec.name, &held.definition));
        }
        for held in &mut self.held {
            let (given, finals) = marker.given_out(&held.spec.name, &held.definition);
            if finals != Some(ENDED) {
                held.restore_given_out((given, finals));
            }
            held.pass(self.inputs);
        }
        self.foreign.retain(|held| !held.is_empty());
        self.is_closing = self.are_closing() || self.foreign.iter().any(Held::has_ended);
        Ok(())
    }

    /// What had ended of definitions that are there again: whatever is left of it is given out as it is,
    /// and the window begins anew.
    pub(super) fn add_ended(&mut self, marker: &MergeMarker) {
        let has_ended = |held: &&Held| {
            let (_, finals) = marker.given_out(&held.spec.name, &held.definition);
            finals == Some(ENDED)
        };
        let ended = self.held.iter().filter(has_ended);
        let ended = ended.map(|held| Held::new(held.spec.clone(), self.partition));
        self.foreign.extend(ended);
    }
}

/// A window of a definition that is in no spec.
fn foreign(partition: i32, window: &str, definition: &str) -> Result<Held, String> {
    let spec = WindowSpec::of_definition(window, definition)
        .map_err(|error| format!("the definition of window {window:?}: {error}"))?;
    Ok(Held::new(Arc::new(spec), partition))
}
