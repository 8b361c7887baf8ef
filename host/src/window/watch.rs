//! How far one input partition is, and what it has for the next commit.

use std::sync::Arc;

use super::WindowSpec;
use super::accumulate::PartKind;
use super::pending::Pending;
use super::progress::Progress;

/// One window of one input partition: its watermark, and the deltas since the last commit.
#[derive(Debug)]
pub struct Watch {
    spec: Arc<WindowSpec>,
    definition: Arc<str>,
    kinds: Arc<[PartKind]>,
    partition: i32,
    watermark: Option<i64>,
    /// The greatest event time by which an event moved the watermark.
    seen: Option<i64>,
    counted_to: i64,
    /// See [`Progress::began`].
    began: i32,
    /// The last promise that was told. Not stored: after a restart it is told again.
    announced: Option<i64>,
    is_changed: bool,
    pub(super) pending: Pending,
}

impl Watch {
    /// A partition of which nothing is known, one of so many of the input.
    pub fn new(spec: Arc<WindowSpec>, partition: i32, inputs: i32) -> Self {
        Self {
            definition: spec.definition_hash().into(),
            kinds: spec.parts().into(),
            pending: Pending::new(spec.shape),
            spec,
            partition,
            watermark: None,
            seen: None,
            counted_to: 0,
            began: inputs,
            announced: None,
            is_changed: false,
        }
    }

    /// A partition as its progress record says. Under another definition it starts anew, without
    /// a watermark.
    pub fn restore(
        spec: Arc<WindowSpec>,
        partition: i32,
        inputs: i32,
        progress: Option<&Progress>,
    ) -> Self {
        let mut watch = Self::new(spec, partition, inputs);
        let Some(progress) = progress else { return watch };
        (watch.counted_to, watch.began) = (progress.next_offset, progress.began);
        if let Some(window) = progress.window(&watch.spec.name, &watch.definition) {
            watch.watermark = window.watermark;
            watch.seen = window.seen;
        }
        watch
    }

    /// The input partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The greatest event time observed, or decided by [`Watch::close_idle`]; in milliseconds
    /// since the epoch, none before the first event.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The progress as it was restored holds all records below this offset. Without transactions
    /// it may be ahead of where the partition is read again; those records are passed over.
    pub fn counted_to(&self) -> i64 {
        self.counted_to
    }

    /// No later event of this partition counts in a window that ends at this time or before: what
    /// it promises to the second hop. On a grid of the window's shape.
    pub fn closed(&self) -> Option<i64> {
        self.watermark.map(|watermark| self.spec.closed_at(watermark))
    }

    /// Whether there is something that a commit must write although no record was processed.
    pub fn has_changes(&self) -> bool {
        self.is_changed || self.rise().is_some() || self.pending.keys() > 0
    }

    /// Lets the wall clock close windows of a partition that has been caught up, and silent, since
    /// `silent_since`; `now` is the wall clock, both in milliseconds since the epoch. Says whether
    /// the watermark moved, which must then be committed like the effects of a record.
    ///
    /// It moves once the silence is [`WindowSpec::idle`] long, to the furthest of two:
    /// - where the last window closes that holds the latest event, if that is `idle` ago by the
    ///   wall clock: events that come late by less are still counted, and windows of a time far in
    ///   the future close nothing;
    /// - `others`, see [`Frontier::others`](super::Frontier::others), but no further than to now, if it
    ///   closes anything: so a partition without events holds nothing up.
    ///
    /// After that it stays until there are new events.
    pub fn close_idle(&mut self, silent_since: i64, now: i64, others: Option<i64>) -> bool {
        let Some(at) = self.idle_close(silent_since, now, others) else { return false };
        self.watermark = Some(at);
        self.is_changed = true;
        true
    }

    /// Whether [`Watch::close_idle`] would move the watermark.
    pub fn is_idle_due(&self, silent_since: i64, now: i64, others: Option<i64>) -> bool {
        self.idle_close(silent_since, now, others).is_some()
    }

    fn idle_close(&self, silent_since: i64, now: i64, others: Option<i64>) -> Option<i64> {
        let idle = self.spec.idle_ms();
        if now.saturating_sub(silent_since) < idle {
            return None;
        }
        let last = now.saturating_sub(idle);
        let grace = self.spec.grace_ms();
        let own = self.seen.and_then(|seen| {
            let ends = self.spec.shape.ends_of(seen);
            ends.map(|end| end.saturating_add(grace)).find(|at| *at <= last)
        });
        let closed = self.closed();
        // A time to come may be a mistake of one partition.
        let others = others.map(|at| at.min(now));
        let others = others.filter(|at| Some(self.spec.closed_at(*at)) > closed);
        own.max(others).filter(|at| Some(*at) > self.watermark)
    }

    pub(super) fn began(&self) -> i32 {
        self.began
    }

    /// The greatest event time by which an event moved the watermark.
    pub(super) fn seen(&self) -> Option<i64> {
        self.seen
    }

    pub(super) fn spec(&self) -> &Arc<WindowSpec> {
        &self.spec
    }

    pub(super) fn definition(&self) -> &str {
        &self.definition
    }

    pub(super) fn kinds(&self) -> &Arc<[PartKind]> {
        &self.kinds
    }

    /// An event moved the watermark on.
    pub(super) fn advance(&mut self, watermark: i64) {
        if Some(watermark) > self.watermark {
            self.watermark = Some(watermark);
            self.seen = Some(watermark);
            self.is_changed = true;
        }
    }

    /// The promise, if it is not what was told last.
    pub(super) fn rise(&self) -> Option<i64> {
        self.closed().filter(|closed| Some(*closed) > self.announced)
    }

    /// Everything is told and written.
    pub(super) fn told(&mut self) {
        self.announced = self.closed();
        self.pending.clear();
    }

    pub(super) fn stored(&mut self) {
        self.is_changed = false;
    }
}
