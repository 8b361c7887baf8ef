//! The windows of one input partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counts::{Counts, key_bytes};
use super::state::{self, Marker};
use super::{ClosedWindow, Records, Row, Span, StateError, WindowSpec};

/// The watermark and the open windows of one input partition under one spec, what closed since it
/// was last asked, and what changed since the last commit.
#[derive(Debug)]
pub struct PartitionWindows {
    spec: Arc<WindowSpec>,
    name: Arc<str>,
    definition: Arc<str>,
    partition: i32,
    watermark: Option<i64>,
    open: BTreeMap<Span, Counts>,
    keys: usize,
    bytes: usize,
    closed: Vec<ClosedWindow>,
    tombstones: Records,
    /// Whether the watermark or a count is not what the last [`PartitionWindows::take_changes`] said.
    is_changed: bool,
    counted_to: i64,
}

impl PartitionWindows {
    /// A partition without any state.
    pub fn new(spec: Arc<WindowSpec>, partition: i32) -> Self {
        Self {
            name: spec.name.as_str().into(),
            definition: spec.definition_hash().into(),
            spec,
            partition,
            watermark: None,
            open: BTreeMap::new(),
            keys: 0,
            bytes: 0,
            closed: Vec::new(),
            tombstones: Records::default(),
            is_changed: false,
            counted_to: 0,
        }
    }

    /// The input partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The greatest event time observed, or decided by [`PartitionWindows::close_idle`]; in
    /// milliseconds since the epoch, none before the first event.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The state as it was restored holds all records below this offset: that of its marker. Without
    /// transactions it may be ahead of where the partition is read again.
    pub fn counted_to(&self) -> i64 {
        self.counted_to
    }

    /// Every window that ends at this time or before is closed.
    pub fn closed_before(&self) -> Option<i64> {
        self.watermark.map(|watermark| watermark.saturating_sub(self.spec.grace_ms()))
    }

    /// How many keys are open, over all windows.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Memory that the open keys take, estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is something that a commit must write although no record was processed.
    pub fn has_changes(&self) -> bool {
        self.is_changed || !self.closed.is_empty() || !self.tombstones.is_empty()
    }

    /// Lets the wall clock close windows of a partition that has been caught up, and silent, since
    /// `silent_since`; `now` is the wall clock, both in milliseconds since the epoch. Says whether
    /// the watermark moved, which must then be committed like the effects of a record.
    ///
    /// It moves once the silence is [`WindowSpec::idle`] long, and no further than to the latest
    /// close of a window that the watermark has reached and that closed at least `idle` ago by the
    /// wall clock: events that come late by less are still counted, and windows of a time far in
    /// the future close nothing.
    pub fn close_idle(&mut self, silent_since: i64, now: i64) -> bool {
        let Some(at) = self.idle_close(silent_since, now) else { return false };
        self.advance(at);
        true
    }

    /// Whether [`PartitionWindows::close_idle`] would move the watermark.
    pub fn is_idle_due(&self, silent_since: i64, now: i64) -> bool {
        self.idle_close(silent_since, now).is_some()
    }

    fn idle_close(&self, silent_since: i64, now: i64) -> Option<i64> {
        let idle = self.spec.idle_ms();
        let watermark = self.watermark?;
        if now.saturating_sub(silent_since) < idle {
            return None;
        }
        let last = now.saturating_sub(idle);
        let reached = self.open.keys().take_while(|span| span.start <= watermark);
        let closes = reached.map(|&span| self.spec.closes_at(span)).filter(|&at| at <= last).max();
        closes.filter(|&at| at > watermark)
    }

    /// Moves the windows out that have closed since, in order of time.
    pub fn take_closed(&mut self) -> Vec<ClosedWindow> {
        std::mem::take(&mut self.closed)
    }

    /// Adds the state records of everything that changed since the last call, and the marker with
    /// this offset, which must be the one that the same transaction commits; one that is behind
    /// [`PartitionWindows::counted_to`] moves no marker back. Take the closed windows for the same
    /// transaction: their state is deleted by these records.
    pub fn take_changes(&mut self, next_offset: i64, to: &mut Records) {
        to.append(&mut self.tombstones);
        for (&span, counts) in self.open.iter_mut().filter(|(_, counts)| counts.has_changes()) {
            counts.take_changed(|key, count| {
                state::write_count(to, &self.definition, span, key, count);
            });
        }
        let next_offset = next_offset.max(self.counted_to);
        Marker::write(&self.definition, next_offset, self.watermark, to);
        self.is_changed = false;
    }

    pub(super) fn open(&self) -> &BTreeMap<Span, Counts> {
        &self.open
    }

    pub(super) fn definition(&self) -> &str {
        &self.definition
    }

    /// Adds to the count of a group in a window that is open.
    pub(super) fn add(&mut self, span: Span, hash: u64, key: &str, count: u64) {
        if self.open.entry(span).or_default().add(hash, key, count) {
            self.keys += 1;
            self.bytes += key_bytes(key);
        }
        self.is_changed = true;
    }

    /// Moves the watermark on, never back, and closes what it has passed.
    pub(super) fn advance(&mut self, watermark: i64) {
        if self.watermark.is_some_and(|before| before >= watermark) {
            return;
        }
        self.watermark = Some(watermark);
        self.is_changed = true;
        while let Some(first) = self.open.first_entry() {
            if self.spec.closes_at(*first.key()) > watermark {
                break;
            }
            let (span, counts) = first.remove_entry();
            self.close(span, counts);
        }
    }

    /// Whether the limits hold.
    pub(super) fn check_limits(&self) -> Result<(), StateError> {
        let limits = self.spec.limits;
        let past = [("keys", self.keys, limits.keys), ("bytes", self.bytes, limits.bytes)];
        match past.into_iter().find(|(_, held, limit)| held > limit) {
            None => Ok(()),
            Some((unit, _, limit)) => Err(StateError::Limit {
                window: self.spec.name.clone(),
                partition: self.partition,
                unit,
                limit,
            }),
        }
    }

    pub(super) fn restore_count(&mut self, span: Span, key: Box<str>, count: u64) {
        self.keys += 1;
        self.bytes += key_bytes(&key);
        self.open.entry(span).or_default().restore(key, count);
    }

    /// Closes a window of another definition as the state has it.
    pub(super) fn restore_foreign(&mut self, definition: &str, span: Span, rows: Vec<Row>) {
        for row in &rows {
            let key = &row.key;
            self.tombstones.push_tombstone(|bytes| state::write_key(bytes, definition, span, key));
        }
        self.push_closed(span, rows);
    }

    /// Ends restoring.
    pub(super) fn restored(&mut self, marker: &Marker) -> Result<(), StateError> {
        // Under another definition as well: the windows that are closed as they are hold them.
        self.counted_to = marker.next_offset;
        if let Some(watermark) = marker.watermark
            && marker.definition == *self.definition
        {
            self.advance(watermark);
            self.is_changed = false;
        }
        self.check_limits()
    }

    fn close(&mut self, span: Span, counts: Counts) {
        self.keys -= counts.len();
        let mut rows = Vec::with_capacity(counts.len());
        for entry in counts.into_entries() {
            self.bytes -= key_bytes(&entry.key);
            if entry.is_stored {
                self.tombstones.push_tombstone(|bytes| {
                    state::write_key(bytes, &self.definition, span, &entry.key);
                });
            }
            rows.push(Row { key: entry.key, count: entry.count });
        }
        self.push_closed(span, rows);
    }

    fn push_closed(&mut self, span: Span, mut rows: Vec<Row>) {
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let (window, partition) = (self.name.clone(), self.partition);
        self.closed.push(ClosedWindow { window, partition, span, rows });
    }
}
