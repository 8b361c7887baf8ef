//! The open slices of a merge partition, and the windows that are sums of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Span;
use super::accumulate::{Accumulator, PartKind};
use super::groups::Groups;
use super::output::Results;
use super::shape::Shape;

/// Open slices by time. A tumbling window is its only slice.
#[derive(Debug)]
pub(super) struct OpenSlices {
    shape: Shape,
    pub(super) slices: BTreeMap<Span, Groups>,
    keys: usize,
    bytes: usize,
}

impl OpenSlices {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, slices: BTreeMap::new(), keys: 0, bytes: 0 }
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the groups of a slice, keeping count of them.
    pub(super) fn change(&mut self, slice: Span, change: impl FnOnce(&mut Groups)) {
        let groups = self.slices.entry(slice).or_default();
        let (keys, bytes) = (groups.len(), groups.bytes());
        change(groups);
        self.keys += groups.len() - keys;
        self.bytes = self.bytes + groups.bytes() - bytes;
    }

    /// Whether all windows that hold this slice are final, or the first of them: an event counts
    /// in all of its windows or in none.
    pub(super) fn is_passed(&self, slice: Span, passed: i64) -> bool {
        self.shape.ends(slice).0 <= passed
    }

    /// Writes the windows that end after `passed` and until `until`, and lets go of the slices
    /// that no later window holds. `drop` is told of each group of those, and whether the state
    /// topic has it.
    pub(super) fn close(
        &mut self,
        kinds: &[PartKind],
        passed: Option<i64>,
        until: i64,
        results: &mut Results,
        mut drop: impl FnMut(Span, &str),
    ) {
        let mut after = passed;
        while let Some(end) = self.next_end(after).filter(|end| *end <= until) {
            let window = self.shape.ending(end);
            self.write(kinds, window, results, &mut drop);
            after = Some(end);
        }
        while let Some(first) = self.slices.first_entry() {
            if self.shape.ends(*first.key()).1 > until {
                break;
            }
            let (slice, groups) = first.remove_entry();
            self.forget(slice, groups, &mut drop);
        }
    }

    /// Writes what changed of windows that are still open.
    pub(super) fn send(&mut self, kinds: &[PartKind], passed: Option<i64>, results: &mut Results) {
        let mut changed: BTreeMap<i64, BTreeSet<Box<str>>> = BTreeMap::new();
        let shape = self.shape;
        for (&slice, groups) in &mut self.slices {
            if let Shape::Tumbling { .. } = shape {
                groups.take_unsent(|key, accumulator| results.update(slice, key, accumulator));
                continue;
            }
            let (first, last, every) = shape.ends(slice);
            let mut keys = Vec::new();
            groups.take_unsent(|key, _| keys.push(Box::<str>::from(key)));
            let mut end = first;
            while end <= last && !keys.is_empty() {
                if passed.is_none_or(|passed| end > passed) {
                    changed.entry(end).or_default().extend(keys.iter().cloned());
                }
                end += every;
            }
        }
        for (end, keys) in changed {
            let window = shape.ending(end);
            for key in keys {
                let mut sum = Accumulator::default();
                for accumulator in self.within(window).filter_map(|groups| groups.get(&key)) {
                    sum.merge(kinds, accumulator);
                }
                results.update(window, &key, &sum);
            }
        }
    }

    /// The windows that end after `passed` and hold any of the slices, by time, so many at most.
    pub(super) fn windows(&self, passed: Option<i64>, most: usize) -> Vec<Span> {
        let mut windows = Vec::new();
        let mut after = passed;
        while let Some(end) = self.next_end(after).filter(|_| windows.len() < most) {
            windows.push(self.shape.ending(end));
            after = Some(end);
        }
        windows
    }

    /// The slices of a window.
    pub(super) fn within(&self, window: Span) -> impl Iterator<Item = &Groups> {
        let from = Span { start: window.start, end: i64::MIN };
        let to = Span { start: window.end, end: i64::MIN };
        self.slices.range(from..to).map(|(_, groups)| groups)
    }

    /// The end of the first window after that which holds any of the slices.
    fn next_end(&self, after: Option<i64>) -> Option<i64> {
        self.slices.keys().find_map(|&slice| {
            let (first, last, every) = self.shape.ends(slice);
            let Some(after) = after.filter(|after| *after >= first) else { return Some(first) };
            let next = first + ((after - first) / every + 1) * every;
            (next <= last).then_some(next)
        })
    }

    fn write(
        &mut self,
        kinds: &[PartKind],
        window: Span,
        results: &mut Results,
        drop: &mut impl FnMut(Span, &str),
    ) {
        let mut within = self.within(window);
        if let (Some(_), None) = (within.next(), within.next()) {
            std::mem::drop(within);
            let from = Span { start: window.start, end: i64::MIN };
            let (&slice, groups) = self.slices.range(from..).next().expect("it was just found");
            if self.shape.ends(slice).1 > window.end {
                let each =
                    |group: &super::groups::Group| (group.key.clone(), group.accumulator.clone());
                results.close(window, groups.iter().map(each).collect());
                return;
            }
            // Its last window: nothing need be copied.
            let groups = self.slices.remove(&slice).expect("it was just found");
            self.keys -= groups.len();
            self.bytes -= groups.bytes();
            let groups = groups.into_groups();
            for group in groups.iter().filter(|group| group.marks.is_stored) {
                drop(slice, &group.key);
            }
            let rows = groups.into_iter().map(|group| (group.key, group.accumulator));
            results.close(window, rows.collect());
            return;
        }
        std::mem::drop(within);
        let mut sums: BTreeMap<&str, Accumulator> = BTreeMap::new();
        for group in self.within(window).flat_map(Groups::iter) {
            sums.entry(&group.key).or_default().merge(kinds, &group.accumulator);
        }
        results.close(window, sums.into_iter().map(|(key, sum)| (key.into(), sum)).collect());
    }

    fn forget(&mut self, slice: Span, groups: Groups, drop: &mut impl FnMut(Span, &str)) {
        self.keys -= groups.len();
        self.bytes -= groups.bytes();
        for group in groups.iter().filter(|group| group.marks.is_stored) {
            drop(slice, &group.key);
        }
    }
}
