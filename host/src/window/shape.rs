//! Which stretches of event time the windows are, and the grid that they lie on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Span;
use super::spec::millis;

/// How the windows lie in event time. All lengths are whole milliseconds, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// One after the other, aligned to the epoch.
    Tumbling {
        /// How long each is.
        #[serde(with = "in_millis")]
        size: Duration,
    },
    /// Overlapping: one begins at every multiple of `every`, aligned to the epoch. An event is
    /// counted once, in its slice of the greatest width that divides both lengths; a window is
    /// the sum of its slices. So an event counts in all of its windows or in none: it is late when
    /// its slice has closed.
    Hopping {
        /// How long each is; at most 1000 slices.
        #[serde(with = "in_millis")]
        size: Duration,
        /// How far apart they begin; at most `size`.
        #[serde(with = "in_millis")]
        every: Duration,
    },
    /// As long as events of the group are less than `gap` apart: an event alone is `[t, t + gap)`,
    /// and sessions that overlap are one. An event is late once the watermark is more than `grace`
    /// past its time: `grace` says how far behind the watermark an event may be.
    Session {
        /// The least silence between two sessions of a group.
        #[serde(with = "in_millis")]
        gap: Duration,
    },
}

/// The promise "closed up to" of sessions rises in steps of a tenth of the gap, and of this at most.
const SESSION_STEP_MAX: i64 = 1000;

impl Shape {
    /// The width of a slice; of a session, the gap.
    pub(super) fn slice_ms(self) -> i64 {
        let width = match self {
            Self::Tumbling { size } => millis(size),
            Self::Hopping { size, every } => gcd(millis(size), millis(every)),
            Self::Session { gap } => millis(gap),
        };
        width.max(1)
    }

    pub(super) fn is_session(self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// What an event of this time alone is: its slice, or a session.
    pub(super) fn span_of(self, time: i64) -> Span {
        match self {
            Self::Session { gap } => {
                Span { start: time, end: time.saturating_add(millis(gap).max(1)) }
            }
            _ => Span::tumbling(time, self.slice_ms()),
        }
    }

    /// Whether there can be a slice or session of this stretch.
    pub(super) fn can_have(self, span: Span) -> bool {
        let alone = self.span_of(span.start);
        alone.start == span.start
            && (span.end == alone.end || self.is_session() && span.end > alone.end)
    }

    /// The last moment not after `closed_before` that a promise may name.
    pub(super) fn floor(self, closed_before: i64) -> i64 {
        let step = self.step();
        // `i64::MIN` is no time, only what no watermark at all comes to.
        closed_before.div_euclid(step).saturating_mul(step)
    }

    /// Where the windows end that hold this slice: the first, the last, and how far apart they are.
    pub(super) fn ends(self, slice: Span) -> (i64, i64, i64) {
        match self {
            Self::Hopping { size, every } => {
                let (size, every) = (millis(size), millis(every).max(1));
                // Rounded up: the first window that ends with the slice or after it.
                let first = -(size.saturating_sub(slice.end)).div_euclid(every) * every + size;
                let last = slice.start.div_euclid(every) * every + size;
                (first, last, every)
            }
            _ => (slice.end, slice.end, slice.end.saturating_sub(slice.start).max(1)),
        }
    }

    /// The window that ends then.
    pub(super) fn ending(self, end: i64) -> Span {
        let size = match self {
            Self::Tumbling { size } | Self::Hopping { size, .. } => millis(size),
            Self::Session { gap } => millis(gap),
        };
        Span { start: end.saturating_sub(size), end }
    }

    /// Ends of the windows that hold an event of this time alone, on the grid of promises,
    /// falling.
    pub(super) fn ends_of(self, time: i64) -> impl Iterator<Item = i64> {
        let span = self.span_of(time);
        let (first, last, every) = match self {
            Self::Session { .. } => {
                let step = self.step();
                let end = self.floor(span.end.saturating_add(step - 1));
                (end, end, step)
            }
            _ => self.ends(span),
        };
        let count = last.saturating_sub(first) / every;
        (0..=count).map(move |back| last - back * every)
    }

    fn step(self) -> i64 {
        match self {
            Self::Session { gap } => (millis(gap) / 10).clamp(1, SESSION_STEP_MAX),
            _ => self.slice_ms(),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Durations as whole milliseconds.
mod in_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.as_millis() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hopping(size: u64, every: u64) -> Shape {
        Shape::Hopping { size: Duration::from_millis(size), every: Duration::from_millis(every) }
    }

    #[test]
    fn every_slice_knows_the_windows_that_hold_it() {
        for (size, every) in [(60, 20), (60, 60), (50, 20), (7, 3), (10, 4)] {
            let shape = hopping(size, every);
            let (size, every) = (size as i64, every as i64);
            for time in -130..130 {
                let slice = shape.span_of(time);
                let holds = |start: &i64| *start <= slice.start && slice.end <= start + size;
                let starts = (-500..500).filter(|start| start % every == 0).filter(holds);
                let mut ends: Vec<_> = starts.map(|start| start + size).collect();
                let (first, last, apart) = shape.ends(slice);
                assert_eq!((first, apart), (ends[0], every), "{size} {every} {time}");
                assert_eq!(Some(&last), ends.last());
                ends.reverse();
                assert_eq!(shape.ends_of(time).collect::<Vec<_>>(), ends);
            }
        }
    }

    #[test]
    fn a_session_ends_on_the_grid_of_its_promises() {
        let shape = Shape::Session { gap: Duration::from_millis(50) };
        assert_eq!(shape.floor(-1), -5);
        for time in -20..20 {
            let end = shape.ends_of(time).next().expect("one");
            assert!((time + 50..time + 55).contains(&end) && shape.floor(end) == end);
        }
    }
}
