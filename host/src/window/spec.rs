//! What a window is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::accumulate::{self, PartKind};
use super::{Span, shape::Shape};

/// Aggregates per group of event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// The name; part of the results topic's and of every result.
    pub name: String,
    /// Which stretches of event time its windows are.
    pub shape: Shape,
    /// How far the watermark must be past a window's end before it closes.
    pub grace: Duration,
    /// What events are grouped by: JSON Pointers into the output event. Empty: all together.
    pub group: Vec<String>,
    /// Where event time comes from, as text: [`WindowSpec::PROCESSING_TIME`], or another that is
    /// compared and not interpreted.
    pub time: String,
    /// What is computed per window and group, in the order of the result's members.
    pub aggregates: Vec<Aggregate>,
    /// A JSON Pointer into the output event: only events that hold `true` there count. The others
    /// move the watermark all the same, and are never late.
    pub filter: Option<String>,
    /// When results are written.
    pub emit: Emit,
    /// An event further than this past [`WindowSpec::not_after`] does not move the watermark.
    pub future_max: Duration,
    /// How long a partition that is caught up must be silent before the wall clock closes its
    /// windows. Also how far the wall clock must be past a window's end and grace for that, so a
    /// quiet minute closes nothing that could still be filled in time.
    pub idle: Duration,
    /// The bounds of its state.
    pub limits: Limits,
}

/// When results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// Once, when the window is final.
    #[default]
    Final,
    /// At each commit what changed, marked `"final":false`, and at the end as with `Final`.
    Updates,
}

/// One member of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The member's name.
    pub name: String,
    /// How it is computed.
    pub kind: Kind,
}

/// How a member of a result is computed, from a field by JSON Pointer. Sum, min, max and avg take
/// numbers and pass over anything else; distinct and top take any value but absent and `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// How many events.
    Count,
    /// The sum; `null` without numbers. Integers are summed exactly. The last digits of a sum of
    /// fractions depend on the order in which they came together.
    Sum(String),
    /// The least number; `null` without any.
    Min(String),
    /// The greatest number; `null` without any.
    Max(String),
    /// The mean of the numbers; `null` without any. As for `Sum` with fractions.
    Avg(String),
    /// How many different values.
    Distinct {
        /// The field.
        field: String,
        /// Exact up to so many values in a window and group; beyond that HyperLogLog, whose
        /// standard error is 1.6 %, and the result says `"exact":false`.
        exact_max: usize,
    },
    /// The most frequent values.
    Top {
        /// The field.
        field: String,
        /// How many of them the result shows.
        k: usize,
        /// Exact up to so many different values in a window and group (and 640 KiB of text over
        /// all aggregates); beyond that the frequent ones are kept (Misra-Gries), and the result
        /// says `"exact":false` with the most by which a count may be too low.
        counted_max: usize,
    },
}

/// Bounds of one window's state in one merge partition. Past one of them the pipeline stops with
/// [`StateError::Limit`](super::StateError::Limit): nothing is left out silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open keys: groups of all open windows; of a hopping window, of all its slices.
    pub keys: usize,
    /// Bytes of memory that these take, estimated.
    pub bytes: usize,
}

/// All that changes results, as text: stored with the state and sent with the deltas, so that
/// windows of a definition that is no more can still be read. Text that was once written must
/// never change for the same definition, or every window would be a new one after an upgrade.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    shape: Shape,
    grace_ms: u64,
    group: Vec<String>,
    time: String,
    aggregates: Vec<Aggregate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 1_000_000, bytes: 256 << 20 }
    }
}

impl Aggregate {
    /// What a window computes unless it is told otherwise: one count named `count`.
    pub fn count() -> Self {
        Self { name: "count".to_owned(), kind: Kind::Count }
    }
}

impl Kind {
    /// The field that it reads, if any.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(field) | Self::Min(field) | Self::Max(field) | Self::Avg(field) => {
                Some(field)
            }
            Self::Distinct { field, .. } | Self::Top { field, .. } => Some(field),
        }
    }
}

impl WindowSpec {
    /// For [`WindowSpec::future_max`].
    pub const FUTURE_MAX_DEFAULT: Duration = Duration::from_secs(3600);
    /// For [`WindowSpec::idle`]: enough for a producer's retries, short enough to wait for.
    pub const IDLE_DEFAULT: Duration = Duration::from_secs(5);
    /// For [`WindowSpec::time`].
    pub const PROCESSING_TIME: &str = "processing";

    /// When an event must have happened at the latest, in milliseconds since the epoch: when its
    /// record says that it was written, or now where that is earlier, since a record's timestamp can
    /// be as wrong as a field. By processing time it happens now, however old its record is.
    pub fn not_after(&self, timestamp: Option<i64>, now: i64) -> i64 {
        let written = timestamp.filter(|_| self.time != Self::PROCESSING_TIME);
        written.map_or(now, |written| written.min(now))
    }

    /// What names the definition: a window with another hash is another window, whose state is
    /// never mixed with this one's. What does not change the final results (`emit`, `future_max`,
    /// `idle`, `limits`) is not part of it.
    pub fn definition_hash(&self) -> String {
        let digest = Sha256::digest(self.definition());
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The definition as JSON.
    pub(super) fn definition(&self) -> String {
        let definition = Definition {
            shape: self.shape,
            grace_ms: self.grace.as_millis() as u64,
            group: self.group.clone(),
            time: self.time.clone(),
            aggregates: self.aggregates.clone(),
            filter: self.filter.clone(),
        };
        serde_json::to_string(&definition).expect("numbers and texts are always JSON")
    }

    /// The window of a definition's JSON, without limits of its own: those were checked when it
    /// was written.
    pub(super) fn of_definition(name: &str, definition: &str) -> Result<Self, impl fmt::Display> {
        let read = serde_json::from_str::<Definition>(definition);
        read.map(|definition| Self {
            name: name.to_owned(),
            shape: definition.shape,
            grace: Duration::from_millis(definition.grace_ms),
            group: definition.group,
            time: definition.time,
            aggregates: definition.aggregates,
            filter: definition.filter,
            emit: Emit::Final,
            future_max: Self::FUTURE_MAX_DEFAULT,
            idle: Self::IDLE_DEFAULT,
            limits: Limits { keys: usize::MAX, bytes: usize::MAX },
        })
    }

    /// What is folded from fields: one for each aggregate that has one, in order.
    pub(super) fn parts(&self) -> Vec<PartKind> {
        accumulate::parts(&self.aggregates)
    }

    /// Up to when windows are closed at this watermark.
    pub(super) fn closed_at(&self, watermark: i64) -> i64 {
        self.shape.floor(watermark.saturating_sub(self.grace_ms()))
    }

    /// The watermark at which a slice takes no more events.
    pub(super) fn closes_at(&self, span: Span) -> i64 {
        span.end.saturating_add(self.grace_ms())
    }

    pub(super) fn grace_ms(&self) -> i64 {
        millis(self.grace)
    }

    pub(super) fn future_max_ms(&self) -> i64 {
        millis(self.future_max)
    }

    pub(super) fn idle_ms(&self) -> i64 {
        millis(self.idle)
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
