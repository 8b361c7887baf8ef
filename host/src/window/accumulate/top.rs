//! The most frequent values: all counted as long as they are few, then the frequent ones.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde_json::value::RawValue;

use super::super::keys::{self, write_value};
use super::super::output::append;
use super::{is_value, parse_json};
use crate::event::Value;

/// A longer value is cut, like a group key.
const VALUE_BYTES_MAX: usize = 256;
/// What a value takes besides its text where it is written.
const VALUE_TEXT_BYTES: usize = 24;
/// What it takes besides its text in memory.
const VALUE_OVERHEAD: usize = 48;

/// The value as JSON, as group keys have it.
pub(super) fn text(value: Value<'_>) -> Option<Box<str>> {
    is_value(value).then(|| {
        let mut text = String::new();
        write_value(&mut text, value);
        keys::hold(&mut text, 0, VALUE_BYTES_MAX);
        text.into_boxed_str()
    })
}

/// Misra and Gries: a count is never too great, and too small by `error` at most. With the merge
/// of Agarwal and others ("Mergeable Summaries", 2012) `error` is at most the number of events
/// divided by the number of values that are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Top {
    counts: HashMap<Box<str>, u64, FixedState>,
    /// What all texts take where they are written.
    bytes: usize,
    /// None as long as every value is counted. So whether it is exact depends on which values
    /// there are, never on their order or division.
    error: u64,
}

impl Top {
    pub(super) fn add(&mut self, text: &str, count: u64) {
        match self.counts.get_mut(text) {
            Some(counted) => *counted += count,
            None => {
                self.counts.insert(text.into(), count);
                self.bytes += text.len() + VALUE_TEXT_BYTES;
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (text, &count) in &other.counts {
            self.add(text, count);
        }
        self.error += other.error;
    }

    /// Lets go of the rarest values, and of as much of all counts, when there are too many.
    pub(super) fn hold(&mut self, counted_max: usize, bytes_max: usize) {
        if self.counts.len() <= counted_max && self.bytes <= bytes_max {
            return;
        }
        let sorted = self.sorted();
        let mut bytes = 0;
        let fits = |&&(text, _): &&(&str, u64)| {
            bytes += text.len() + VALUE_TEXT_BYTES;
            bytes <= bytes_max
        };
        let kept = sorted.iter().take(counted_max).take_while(fits).count();
        let Some(&(_, lost)) = sorted.get(kept) else { return };
        self.error += lost;
        let mut bytes = 0;
        self.counts.retain(|text, count| {
            *count = count.saturating_sub(lost);
            bytes += if *count > 0 { text.len() + VALUE_TEXT_BYTES } else { 0 };
            *count > 0
        });
        self.bytes = bytes;
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes + self.counts.len() * VALUE_OVERHEAD
    }

    /// `[error,[[value,count],…]]`.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        append(to, format_args!("[{},[", self.error));
        for (place, (text, count)) in self.sorted().into_iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            append(to, format_args!("{comma}[{text},{count}]"));
        }
        to.extend_from_slice(b"]]");
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (error, counts): (u64, Vec<(&RawValue, u64)>) = parse_json(text)?;
        let mut top = Self { error, ..Self::default() };
        for (text, count) in counts {
            top.add(text.get(), count);
        }
        Some(top)
    }

    pub(super) fn write_result(&self, k: usize, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"values":["#);
        for (place, (text, count)) in self.sorted().into_iter().take(k).enumerate() {
            let comma = if place > 0 { "," } else { "" };
            append(to, format_args!(r#"{comma}{{"value":{text},"count":{count}}}"#));
        }
        match self.error {
            0 => to.extend_from_slice(br#"],"exact":true}"#),
            error => append(to, format_args!(r#"],"exact":false,"error":{error}}}"#)),
        }
    }

    /// The most frequent first, equals by their texts.
    fn sorted(&self) -> Vec<(&str, u64)> {
        let mut sorted: Vec<_> =
            self.counts.iter().map(|(text, count)| (text.as_ref(), *count)).collect();
        sorted.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        sorted
    }
}
