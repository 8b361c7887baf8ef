//! The open slices of a merge partition, and the windows that are sums of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Span;
use super::accumulate::{Accumulator, PartKind};
use super::groups::{Group, Groups};
use super::output::Results;
use super::portion::{GivenOut, Part, Portion};
use super::shape::Shape;

/// Groups with what they come to.
type Rows = Vec<(Box<str>, Accumulator)>;

/// Open slices by time. A tumbling window is its only slice.
#[derive(Debug)]
pub(super) struct OpenSlices {
    shape: Shape,
    pub(super) slices: BTreeMap<Span, Groups>,
    keys: usize,
    bytes: usize,
    /// Of a window that one portion does not hold: what is left, the next group last.
    rest: Option<(Span, Rows)>,
    /// A slice that no window holds any more: the groups whose state is to be deleted.
    leaving: Option<(Span, Vec<Group>)>,
}

impl OpenSlices {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, slices: BTreeMap::new(), keys: 0, bytes: 0, rest: None, leaving: None }
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

    /// Writes what ends until `until` and is not given out, and lets go of the slices that no later
    /// window holds, as far as the portion goes. `drop` is told of each group of those that the state
    /// topic has.
    pub(super) fn give_out(
        &mut self,
        kinds: &[PartKind],
        given: &mut GivenOut,
        until: i64,
        (results, portion): (&mut Results, &mut Portion),
        mut drop: impl FnMut(Span, &str),
    ) {
        loop {
            self.forget(given.until, portion, &mut drop);
            let next = self.next_end(given.until).filter(|end| *end <= until);
            let Some(end) = next.filter(|_| !portion.is_used_up()) else { return };
            let window = self.shape.ending(end);
            if self.rest.as_ref().is_none_or(|(begun, _)| *begun != window) {
                if given.part.is_none() && self.write_only(window, results, portion, &mut drop) {
                    given.reach(end);
                    continue;
                }
                self.rest = Some((window, self.rows(kinds, window, given.group_of(end))));
            }
            self.write_rest(given, results, portion);
        }
    }

    /// Whether something is final and not given out, or given out and still held.
    pub(super) fn is_closing(&self, given: &GivenOut, until: i64) -> bool {
        self.leaving.is_some()
            || self.next_end(given.until).is_some_and(|end| end <= until)
            || self.first_left(given.until).is_some()
    }

    /// Writes what changed of windows that are still open: they end after `finals`.
    pub(super) fn send(&mut self, kinds: &[PartKind], finals: Option<i64>, results: &mut Results) {
        let mut changed: BTreeMap<i64, BTreeSet<Box<str>>> = BTreeMap::new();
        let shape = self.shape;
        let is_open = |end: i64| finals.is_none_or(|finals| end > finals);
        for (&slice, groups) in &mut self.slices {
            if !is_open(shape.ends(slice).1) {
                continue;
            }
            if let Shape::Tumbling { .. } = shape {
                groups.take_unsent(|key, accumulator| results.update(slice, key, accumulator));
                continue;
            }
            let (first, last, every) = shape.ends(slice);
            let mut keys = Vec::new();
            groups.take_unsent(|key, _| keys.push(Box::<str>::from(key)));
            let mut end = first;
            while end <= last && !keys.is_empty() {
                if is_open(end) {
                    changed.entry(end).or_default().extend(keys.iter().cloned());
                }
                end += every;
            }
        }
        for (end, keys) in changed {
            let window = shape.ending(end);
            for key in keys {
                results.update(window, &key, &self.sum(kinds, window, &key));
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
        self.slices_within(window).map(|(_, groups)| groups)
    }

    fn slices_within(&self, window: Span) -> impl Iterator<Item = (&Span, &Groups)> {
        let from = Span { start: window.start, end: i64::MIN };
        let to = Span { start: window.end, end: i64::MIN };
        self.slices.range(from..to)
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

    /// Writes a window that is its only slice, in no other window, and that the portion holds: nothing
    /// need be copied. False, and nothing done, for any other.
    fn write_only(
        &mut self,
        window: Span,
        results: &mut Results,
        portion: &mut Portion,
        drop: &mut impl FnMut(Span, &str),
    ) -> bool {
        let slice = {
            let mut within = self.slices_within(window);
            let (Some((&slice, groups)), None) = (within.next(), within.next()) else {
                return false;
            };
            let all = Portion::rows(groups.len(), groups.bytes());
            if self.shape.ends(slice).1 > window.end || !portion.holds(all) {
                return false;
            }
            portion.take(all);
            slice
        };
        let groups = self.remove(slice);
        for group in groups.iter().filter(|group| group.marks.is_stored) {
            drop(slice, &group.key);
        }
        results.close(
            window,
            groups.into_iter().map(|group| (group.key, group.accumulator)).collect(),
        );
        true
    }

    /// What a window is, behind one of its groups; the groups falling.
    fn rows(&self, kinds: &[PartKind], window: Span, last: Option<&str>) -> Rows {
        let mut sums: BTreeMap<&str, Accumulator> = BTreeMap::new();
        let is_left = |group: &&Group| last.is_none_or(|last| *group.key > *last);
        for group in self.within(window).flat_map(Groups::iter).filter(is_left) {
            sums.entry(&group.key).or_default().merge(kinds, &group.accumulator);
        }
        sums.into_iter().rev().map(|(group, sum)| (group.into(), sum)).collect()
    }

    /// Writes what is left of a window, as much as the portion holds.
    fn write_rest(&mut self, given: &mut GivenOut, results: &mut Results, portion: &mut Portion) {
        let Some((window, mut rest)) = self.rest.take() else { return };
        let mut rows = Vec::new();
        while !portion.is_used_up()
            && let Some((group, sum)) = rest.pop()
        {
            portion.take_row(group.len() + sum.bytes());
            rows.push((group, sum));
        }
        let last = rows.last().map(|(group, _)| group.clone());
        if !rows.is_empty() {
            results.close(window, rows);
        }
        if rest.is_empty() {
            given.reach(window.end);
        } else {
            given.part = last.map(|group| Part { end: window.end, group });
            self.rest = Some((window, rest));
        }
    }

    fn sum(&self, kinds: &[PartKind], window: Span, group: &str) -> Accumulator {
        let mut sum = Accumulator::default();
        for accumulator in self.within(window).filter_map(|groups| groups.get(group)) {
            sum.merge(kinds, accumulator);
        }
        sum
    }

    /// The first slice, if all windows that hold it are given out.
    fn first_left(&self, given: Option<i64>) -> Option<Span> {
        let (&first, _) = self.slices.first_key_value()?;
        given.is_some_and(|given| self.shape.ends(first).1 <= given).then_some(first)
    }

    fn remove(&mut self, slice: Span) -> Vec<Group> {
        let groups = self.slices.remove(&slice).expect("it was just found");
        self.keys -= groups.len();
        self.bytes -= groups.bytes();
        groups.into_groups()
    }

    fn forget(
        &mut self,
        given: Option<i64>,
        portion: &mut Portion,
        drop: &mut impl FnMut(Span, &str),
    ) {
        while !portion.is_used_up() {
            let (slice, mut groups) = match self.leaving.take() {
                Some(leaving) => leaving,
                None => {
                    let Some(slice) = self.first_left(given) else { return };
                    (slice, self.remove(slice))
                }
            };
            while !portion.is_used_up()
                && let Some(group) = groups.pop()
            {
                if group.marks.is_stored {
                    portion.take_tombstone(&group.key);
                    drop(slice, &group.key);
                }
            }
            if !groups.is_empty() {
                self.leaving = Some((slice, groups));
            }
        }
    }
}
