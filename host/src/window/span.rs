//! Stretches of event time.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

/// Event times are held within the years 0000 to 9999, so that sums with durations cannot
/// overflow and every time can be written down.
const TIME_MIN: i64 = -62_167_219_200_000;
const TIME_MAX: i64 = 253_402_300_799_999;

/// A half-open stretch of event time, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first millisecond.
    pub start: i64,
    /// The first millisecond after it.
    pub end: i64,
}

impl Span {
    /// The tumbling window of this size, at least 1 ms, that `time` lies in. Windows are aligned
    /// to the epoch.
    pub(super) fn tumbling(time: i64, size: i64) -> Self {
        let start = time.div_euclid(size) * size;
        Self { start, end: start.saturating_add(size) }
    }

    pub(super) fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", rfc3339(self.start), rfc3339(self.end))
    }
}

/// A time in UTC as RFC 3339, with milliseconds only where there are any.
pub fn rfc3339(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).map_or_else(
        || format!("{millis} ms"),
        |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

/// The nearest event time that windows can hold. Fields beyond it are no times for the chain, so
/// only a record whose own timestamp is absurd is moved by this.
pub(super) fn hold(time: i64) -> i64 {
    time.clamp(TIME_MIN, TIME_MAX)
}
