//! Deltas on their way: what a commit of an input partition sends to the merge partitions.
//!
//! A record is one JSON text with the deltas of all windows of one input partition for one merge
//! partition. Its key is the input partition's number. Members:
//!
//! | member | what |
//! |---|---|
//! | `format` | the version of all of this |
//! | `partition`, `of` | the input partition, and how many the sender knows |
//! | `to` | the offset that is committed with it |
//! | `windows` | of each: `window`, `definition` (hash), `spec` (what was hashed), `rows`, `closed` |
//!
//! A row is `[start,end,group,accumulator]`. `closed` is the promise that no later record of this
//! partition adds to windows that end then or before; it stands behind the last row.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::output::append;
use super::{Records, StateError, Watch, Windows};

/// The version of records that this program writes and reads.
const FORMAT: u32 = 1;

/// Adds the deltas of an input partition to the records of the merge partitions, and counts them
/// as sent. `inputs` is how many input partitions there are, `merges` how many merge partitions;
/// `route` says which of them has a group, from 0 on. Only where there are rows a record is written, and to
/// all if a promise has risen. No record is larger than `bytes_max`, unless a row is by itself; a
/// row takes 700 KiB at most.
#[expect(clippy::too_many_arguments, reason = "all of it is the header of a record or its way")]
pub fn write_deltas(
    windows: &mut [Windows],
    partition: i32,
    next_offset: i64,
    inputs: i32,
    merges: usize,
    bytes_max: usize,
    route: impl Fn(&str) -> usize,
    to: &mut Vec<Records>,
) {
    if to.len() < merges {
        to.resize_with(merges, Records::default);
    }
    let head = format!(
        r#"{{"format":{FORMAT},"partition":{partition},"of":{inputs},"to":{next_offset},"windows":["#
    );
    let mut ways: Vec<_> = to[..merges]
        .iter_mut()
        .map(|to| Way { to, head: &head, partition, bytes_max, value: Vec::new(), rows: None })
        .collect();
    let mut row = Vec::new();
    for watch in windows.iter_mut().filter_map(|windows| windows.partition_mut(partition)) {
        let rise = watch.rise();
        if watch.pending.keys() == 0 && rise.is_none() {
            continue;
        }
        let head = window_head(watch);
        watch.pending.each(|span, key, accumulator| {
            row.clear();
            append(&mut row, format_args!("[{},{},{key},", span.start, span.end));
            accumulator.write(&mut row);
            row.push(b']');
            let way =
                ways.get_mut(route(key)).expect("a group goes to one of the merge partitions");
            way.push(&head, &row);
        });
        for way in &mut ways {
            way.end_window(&head, rise);
        }
        watch.told();
    }
    for way in ways {
        way.finish();
    }
}

fn window_head(watch: &Watch) -> String {
    let spec = watch.spec();
    let (name, definition) = (serde_json::Value::from(spec.name.as_str()), watch.definition());
    let text = spec.definition();
    format!(r#"{{"window":{name},"definition":"{definition}","spec":{text},"rows":["#)
}

/// The record to one merge partition as it is written.
struct Way<'a> {
    to: &'a mut Records,
    head: &'a str,
    partition: i32,
    bytes_max: usize,
    value: Vec<u8>,
    /// The rows of the window that is open, if one is.
    rows: Option<usize>,
}

/// What [`Way::end_window`] and [`Way::finish`] add at most.
const TAIL_BYTES: usize = 64;

impl Way<'_> {
    fn push(&mut self, window: &str, row: &[u8]) {
        let heads = if self.rows.is_none() { window.len() } else { 0 };
        let bytes = self.value.len() + heads + row.len() + TAIL_BYTES;
        if !self.value.is_empty() && bytes > self.bytes_max {
            self.break_off();
        }
        let rows = self.open(window);
        if rows > 0 {
            self.value.push(b',');
        }
        self.value.extend_from_slice(row);
        self.rows = Some(rows + 1);
    }

    fn end_window(&mut self, window: &str, rise: Option<i64>) {
        if let Some(closed) = rise {
            let bytes = self.value.len() + window.len() + TAIL_BYTES;
            if self.rows.is_none() && !self.value.is_empty() && bytes > self.bytes_max {
                self.break_off();
            }
            self.open(window);
            append(&mut self.value, format_args!(r#"],"closed":{closed}}}"#));
        } else if self.rows.is_some() {
            self.value.extend_from_slice(b"]}");
        }
        self.rows = None;
    }

    fn finish(mut self) {
        if !self.value.is_empty() {
            self.break_off();
        }
    }

    /// Begins what is not begun yet, and says how many rows the window has.
    fn open(&mut self, window: &str) -> usize {
        if let Some(rows) = self.rows {
            return rows;
        }
        let start = if self.value.is_empty() { self.head } else { "," };
        self.value.extend_from_slice(start.as_bytes());
        self.value.extend_from_slice(window.as_bytes());
        self.rows = Some(0);
        0
    }

    fn break_off(&mut self) {
        if self.rows.take().is_some() {
            self.value.extend_from_slice(b"]}");
        }
        self.value.extend_from_slice(b"]}");
        let (partition, value) = (self.partition, &self.value);
        self.to.push(
            |bytes| append(bytes, format_args!("{partition}")),
            |bytes| bytes.extend_from_slice(value),
        );
        self.value.clear();
    }
}

/// A record of deltas as it is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deltas<'a> {
    format: u32,
    pub(super) partition: i32,
    pub(super) of: i32,
    #[serde(rename = "to")]
    _to: i64,
    #[serde(borrow)]
    pub(super) windows: Vec<WindowDeltas<'a>>,
}

/// The deltas of one window.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowDeltas<'a> {
    #[serde(borrow)]
    pub(super) window: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) definition: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) spec: &'a RawValue,
    #[serde(borrow)]
    pub(super) rows: Vec<Row<'a>>,
    pub(super) closed: Option<i64>,
}

/// Start, end, group and accumulator.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a>(
    pub(super) i64,
    pub(super) i64,
    #[serde(borrow)] pub(super) &'a RawValue,
    #[serde(borrow)] pub(super) &'a RawValue,
);

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl<'a> Deltas<'a> {
    /// `what` names the record for an error.
    pub(super) fn parse(value: &'a [u8], what: impl Fn() -> String) -> Result<Self, StateError> {
        let corrupt = |problem: String| StateError::Corrupt { what: what(), problem };
        let text = std::str::from_utf8(value).map_err(|error| corrupt(error.to_string()))?;
        match serde_json::from_str::<Self>(text) {
            Ok(deltas) if deltas.format == FORMAT => Ok(deltas),
            Ok(Deltas { format: found, .. }) => {
                Err(StateError::Format { what: what(), found, reads: FORMAT })
            }
            // Another version may have other members.
            Err(error) => match serde_json::from_str::<Format>(text) {
                Ok(Format { format: found }) if found != FORMAT => {
                    Err(StateError::Format { what: what(), found, reads: FORMAT })
                }
                _ => Err(corrupt(error.to_string())),
            },
        }
    }
}
