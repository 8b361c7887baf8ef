//! Final results are given out a portion at a time: several million groups would not fit into the time
//! that brokers leave a transaction open.

use serde::{Deserialize, Serialize};

/// What a result takes besides its group and its accumulator's parts, about: times, names, numbers.
const ROW_OVERHEAD: usize = 256;
/// What a tombstone takes besides its group.
const TOMBSTONE_OVERHEAD: usize = 64;

/// How much of what is final may be written with one commit, over all windows. It is an estimate, and
/// may be exceeded: by one group, or by the sessions of a window that end in the same millisecond.
#[derive(Debug)]
pub struct Portion {
    left: usize,
}

impl Portion {
    /// So many bytes of results and tombstones, about.
    pub const fn of_bytes(bytes: usize) -> Self {
        Self { left: bytes }
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Whether so much fits in as well.
    pub(super) fn holds(&self, bytes: usize) -> bool {
        bytes <= self.left
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    pub(super) fn take_row(&mut self, bytes: usize) {
        self.take(Self::rows(1, bytes));
    }

    pub(super) fn take_tombstone(&mut self, key: &str) {
        self.take(TOMBSTONE_OVERHEAD + key.len());
    }

    /// What so many results take whose groups and accumulators take so much memory.
    pub(super) fn rows(count: usize, bytes: usize) -> usize {
        count * ROW_OVERHEAD + bytes
    }
}

/// Up to where the results of a window are given out: by the ends of its windows, and by the groups of
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenOut {
    /// All that ends then or before.
    pub(super) until: Option<i64>,
    /// Of the next that ends, the groups up to one of them. Not of sessions.
    pub(super) part: Option<Part>,
}

/// What a marker says of a window of which something is final and not given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    /// What ends then or before is final: to be given out before anything more is merged.
    finals: i64,
    /// What is given out of the next window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
}

/// Some of a window's groups, in the order of their JSON texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The end of the window.
    pub(super) end: i64,
    /// The last group that is given out.
    pub(super) group: Box<str>,
}

/// What is final in a definition that has ended: all of it, as it is.
pub(super) const ENDED: i64 = i64::MAX;

impl GivenOut {
    /// For a marker; `finals` as in [`Closing`].
    pub(super) fn closing(&self, finals: i64) -> Closing {
        Closing { finals, part: self.part.clone() }
    }

    /// What a marker says: this, and up to when windows are final.
    pub(super) fn of_marker(until: Option<i64>, closing: Option<&Closing>) -> (Self, Option<i64>) {
        let part = closing.and_then(|closing| closing.part.clone());
        (Self { until, part }, until.max(closing.map(|closing| closing.finals)))
    }

    /// Everything that ends then or before is given out.
    pub(super) fn reach(&mut self, end: i64) {
        *self = Self { until: self.until.max(Some(end)), part: None };
    }

    /// The last group of the window that ends then which is given out.
    pub(super) fn group_of(&self, end: i64) -> Option<&str> {
        self.part.as_ref().filter(|part| part.end == end).map(|part| &*part.group)
    }
}
