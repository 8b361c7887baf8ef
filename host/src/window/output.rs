//! The results of windows, as they are written to `<input>-<window>`.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use super::accumulate::{Accumulator, PartKind};
use super::{Records, Span, WindowSpec, rfc3339};

/// One window of one merge partition that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedWindow {
    /// The window's name.
    pub window: Arc<str>,
    /// The merge partition.
    pub partition: i32,
    /// Which stretch of event time.
    pub span: Span,
    /// One row per group, in the order of their keys' JSON texts; never empty.
    pub rows: Vec<Row>,
}

/// The count of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The group as JSON: a text as a string, an absent field as `null`, several fields as an
    /// array; a group over 4 KiB is its first part and a hash.
    pub key: Box<str>,
    /// How many events.
    pub count: u64,
}

impl Row {
    /// The group for people and for record keys: a text without its quotes, anything else as JSON.
    pub fn text(&self) -> Cow<'_, str> {
        key_text(&self.key)
    }
}

/// Results of one window since they were last taken.
///
/// A record's key is `<window start>|<group>`, its value
/// `{"window":…,"start":…,"end":…,"key":…,<aggregates>,"final":true}` with times in RFC 3339 and
/// the group as JSON. In the record's key a text stands without quotes, so the groups `"1"` and `1`
/// share it, never the value. An update has `"final":false`; a session that became part of an
/// earlier one is deleted by a tombstone.
#[derive(Debug)]
pub struct Results {
    /// For the topic.
    pub records: Records,
    /// What became final, for the log. Sessions are not in it: they are too many to be tables.
    pub closed: Vec<ClosedWindow>,
    name: Arc<str>,
    partition: i32,
    spec: Arc<WindowSpec>,
    kinds: Arc<[PartKind]>,
    /// What is written while windows of a definition that is no more are given out.
    is_final: bool,
}

impl Results {
    pub(super) fn new(spec: Arc<WindowSpec>, kinds: Arc<[PartKind]>, partition: i32) -> Self {
        Self {
            records: Records::default(),
            closed: Vec::new(),
            name: spec.name.as_str().into(),
            partition,
            spec,
            kinds,
            is_final: true,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.closed.is_empty()
    }

    /// Says that nothing is final that is written from now on.
    pub(super) fn as_they_are(&mut self) {
        self.is_final = false;
    }

    /// Writes a window that is final.
    pub(super) fn close(&mut self, span: Span, mut rows: Vec<(Box<str>, Accumulator)>) {
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.write(
            span,
            rows.iter().map(|(key, accumulator)| (&**key, accumulator)),
            self.is_final,
        );
        if self.spec.shape.is_session() {
            return;
        }
        let (window, partition) = (self.name.clone(), self.partition);
        let row =
            |(key, accumulator): (Box<str>, Accumulator)| Row { key, count: accumulator.count };
        let rows = rows.into_iter().map(row).collect();
        self.closed.push(ClosedWindow { window, partition, span, rows });
    }

    /// Writes what is known of a group that is open.
    pub(super) fn update(&mut self, span: Span, key: &str, accumulator: &Accumulator) {
        self.write(span, std::iter::once((key, accumulator)), false);
    }

    /// Deletes the update of a session that has another start now.
    pub(super) fn delete(&mut self, start: i64, key: &str) {
        let start = rfc3339(start);
        self.records
            .push_tombstone(|bytes| append(bytes, format_args!("{start}|{}", key_text(key))));
    }

    /// Moves everything out, to go on with nothing.
    pub(super) fn take(&mut self) -> Self {
        let new = Self::new(self.spec.clone(), self.kinds.clone(), self.partition);
        std::mem::replace(self, Self { is_final: self.is_final, ..new })
    }

    /// Moves all of another's before these.
    pub(super) fn prepend(&mut self, mut other: Self) {
        other.records.append(&mut self.records);
        other.closed.append(&mut self.closed);
        (self.records, self.closed) = (other.records, other.closed);
    }

    fn write<'a>(
        &mut self,
        span: Span,
        rows: impl Iterator<Item = (&'a str, &'a Accumulator)>,
        is_final: bool,
    ) {
        let (start, end) = (rfc3339(span.start), rfc3339(span.end));
        let window = serde_json::Value::from(&*self.name);
        for (key, accumulator) in rows {
            self.records.push(
                |bytes| append(bytes, format_args!("{start}|{}", key_text(key))),
                |bytes| {
                    append(
                        bytes,
                        format_args!(
                            r#"{{"window":{window},"start":"{start}","end":"{end}","key":{key}"#
                        ),
                    );
                    accumulator.write_result(&self.spec.aggregates, &self.kinds, bytes);
                    append(bytes, format_args!(r#","final":{is_final}}}"#));
                },
            );
        }
    }
}

pub(super) fn key_text(key: &str) -> Cow<'_, str> {
    if !key.starts_with('"') {
        return Cow::Borrowed(key);
    }
    match serde_json::from_str::<Cow<'_, str>>(key) {
        Ok(text) => Cow::Owned(text.into_owned()),
        // A text that is no Unicode (a lone surrogate escape) stays as it was written.
        Err(_) => Cow::Borrowed(key),
    }
}

pub(super) fn append(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    bytes.write_fmt(text).expect("writing to memory cannot fail");
}
