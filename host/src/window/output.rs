//! The results of a closed window, and how they are written to `<input>-counts-partial`.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use super::{Records, Span, rfc3339};

/// One window of one input partition that has closed. Its counts are final for that partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedWindow {
    /// The window's name.
    pub window: Arc<str>,
    /// The input partition.
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

impl ClosedWindow {
    /// Adds one record per row: key `<window start>|<group>`, value
    /// `{"window":…,"start":…,"end":…,"key":…,"partition":…,"count":…}` with times in RFC 3339 and
    /// the group as JSON. In the record's key a text stands without quotes, so the groups `"1"`
    /// and `1` share it, never the value.
    pub fn write_records(&self, records: &mut Records) {
        let (start, end) = (rfc3339(self.span.start), rfc3339(self.span.end));
        let window = serde_json::Value::from(&*self.window);
        let partition = self.partition;
        for row in &self.rows {
            let (key, count) = (&row.key, row.count);
            records.push(
                |bytes| append(bytes, format_args!("{start}|{}", row.text())),
                |bytes| {
                    append(bytes, format_args!(
                        r#"{{"window":{window},"start":"{start}","end":"{end}","key":{key},"partition":{partition},"count":{count}}}"#
                    ));
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
