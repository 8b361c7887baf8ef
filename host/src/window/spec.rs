//! What a window is.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Span;

/// A tumbling count per group of event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// The name; part of the state topic's and of every result.
    pub name: String,
    /// How long each window is, a whole number of milliseconds, at least 1. Windows are aligned to
    /// the epoch.
    pub size: Duration,
    /// How far the watermark must be past a window's end before it closes.
    pub grace: Duration,
    /// What events are counted by: JSON Pointers into the output event. Empty: all together.
    pub group: Vec<String>,
    /// Where event time comes from, as text. It is compared, never interpreted.
    pub time: String,
    /// An event further than this past its record's own timestamp does not move the watermark.
    pub future_max: Duration,
    /// How long a partition that is caught up must be silent before the wall clock closes its
    /// windows. Also how far the wall clock must be past a window's end and grace for that, so a
    /// quiet minute closes nothing that could still be filled in time.
    pub idle: Duration,
    /// The bounds of its state.
    pub limits: Limits,
}

/// Bounds of one window's state in one input partition. Past one of them the pipeline stops with
/// [`StateError::Limit`](super::StateError::Limit): nothing is left out silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open keys: groups of all open windows.
    pub keys: usize,
    /// Bytes of memory that these take, estimated.
    pub bytes: usize,
}

/// What a definition is as text. Another aggregate or kind of window adds its own fields; the text
/// of these must never change, or every window would be a new one after an upgrade.
#[derive(Serialize)]
struct Definition<'a> {
    aggregate: &'a str,
    window: &'a str,
    size_ms: i64,
    grace_ms: i64,
    group: &'a [String],
    time: &'a str,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 1_000_000, bytes: 256 << 20 }
    }
}

impl WindowSpec {
    /// For [`WindowSpec::grace`].
    pub const GRACE_DEFAULT: Duration = Duration::from_secs(5);
    /// For [`WindowSpec::future_max`].
    pub const FUTURE_MAX_DEFAULT: Duration = Duration::from_secs(3600);
    /// For [`WindowSpec::idle`]: enough for a producer's retries, short enough to wait for.
    pub const IDLE_DEFAULT: Duration = Duration::from_secs(5);
    /// No size, grace, idle time or future may be longer.
    pub const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

    /// What is wrong with it: the field, and a sentence.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let in_topic = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(in_topic) {
            let text =
                "must be 1 to 64 letters, digits, '.', '_' or '-', being part of a topic's name";
            problems.push(("name", text.to_owned()));
        }
        let durations = [
            ("size", self.size, 1),
            ("grace", self.grace, 0),
            ("future_max", self.future_max, 0),
            ("idle", self.idle, 1),
        ];
        for (field, duration, millis_min) in durations {
            if duration.as_millis() < millis_min || duration > Self::DURATION_MAX {
                problems.push((field, format!("must be from {millis_min} ms to 366 days")));
            } else if !duration.subsec_nanos().is_multiple_of(1_000_000) {
                problems.push((field, "must be a whole number of milliseconds".to_owned()));
            }
        }
        for (field, limit) in
            [("limits.keys", self.limits.keys), ("limits.bytes", self.limits.bytes)]
        {
            if limit == 0 {
                problems.push((field, "must be at least 1".to_owned()));
            }
        }
        problems
    }

    /// What names the definition: a window with another hash is another window, whose state is
    /// never mixed with this one's. Tuning (`future_max`, `idle`, `limits`) is not part of it.
    pub fn definition_hash(&self) -> String {
        let definition = Definition {
            aggregate: "count",
            window: "tumbling",
            size_ms: self.size_ms(),
            grace_ms: self.grace_ms(),
            group: &self.group,
            time: &self.time,
        };
        let text = serde_json::to_vec(&definition).expect("numbers and texts are always JSON");
        let digest = Sha256::digest(text);
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The window that an event of this time belongs to.
    pub(super) fn span_of(&self, time: i64) -> Span {
        Span::tumbling(time, self.size_ms())
    }

    /// The watermark at which this window closes.
    pub(super) fn closes_at(&self, span: Span) -> i64 {
        span.end.saturating_add(self.grace_ms())
    }

    pub(super) fn size_ms(&self) -> i64 {
        millis(self.size).max(1)
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
