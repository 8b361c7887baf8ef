//! The second hop's state as records of its partition of a compacted topic with the merge
//! partitions.
//!
//! | key | value |
//! |---|---|
//! | `<window>\|<definition>\|<start>/<end>\|<group>`, times in milliseconds, the group as JSON | of a slice (a tumbling window is one): `{"value":12}`, the accumulator; none once no open window holds it |
//! | `<window>\|<definition>\|<start>/\|<group>` | of a session: `{"end":…,"value":…}` |
//! | `<window>\|<definition>\|closed\|<input partition>` | `{"closed":…}`: up to when it is closed |
//! | `<window>\|<definition>\|spec\|` | the definition that was hashed |
//! | `marker` | [`MergeMarker`], one with each commit |
//!
//! Text, so that any Kafka tool shows it. The marker says the version of all of this.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::accumulate::Accumulator;
use super::output::append;
use super::portion::{Closing, GivenOut};
use super::{Records, Span, StateError, WindowSpec};

/// The version of keys and values that this program writes and reads.
const FORMAT: u32 = 1;

/// The key of a partition's marker.
pub const MARKER_KEY: &[u8] = b"marker";

/// What a commit says about a whole merge partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeMarker {
    /// The version of the state's records.
    format: u32,
    /// The offset in the repartition topic that was committed with this state: that of the next
    /// record to merge.
    pub next_offset: i64,
    /// How many merge partitions there were.
    pub merges: usize,
    /// How many input partitions were known.
    pub inputs: i32,
    /// Window -> definition -> windows that end then or before are final, and given out.
    pub(super) passed: ByDefinition<i64>,
    /// Of those of which more is final.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) closing: ByDefinition<Closing>,
}

/// Something of each window and definition.
type ByDefinition<T> = BTreeMap<String, BTreeMap<String, T>>;

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl MergeMarker {
    pub(super) fn new(next_offset: i64, merges: usize, inputs: i32) -> Self {
        Self {
            format: FORMAT,
            next_offset,
            merges,
            inputs,
            passed: BTreeMap::new(),
            closing: BTreeMap::new(),
        }
    }

    /// Checks that the group's committed offset is the one that was committed with the state.
    pub fn check(&self, partition: i32, committed: Option<i64>) -> Result<(), StateError> {
        StateError::check_offset(|| what(partition), self.next_offset, committed)
    }

    /// Up to where a window is given out; what else of it is final, if anything is.
    pub(super) fn note(
        &mut self,
        (window, definition): (&str, &str),
        until: Option<i64>,
        closing: Option<Closing>,
    ) {
        let (window, definition) = (window.to_owned(), definition.to_owned());
        if let Some(until) = until {
            let passed = self.passed.entry(window.clone()).or_default();
            passed.insert(definition.clone(), until);
        }
        if let Some(closing) = closing {
            self.closing.entry(window).or_default().insert(definition, closing);
        }
    }

    /// What is given out, and up to when windows are final.
    pub(super) fn given_out(&self, window: &str, definition: &str) -> (GivenOut, Option<i64>) {
        let passed = self.passed.get(window).and_then(|of| of.get(definition)).copied();
        let closing = self.closing.get(window).and_then(|of| of.get(definition));
        GivenOut::of_marker(passed, closing)
    }

    pub(super) fn write(&self, to: &mut Records) {
        let text = serde_json::to_string(self).expect("numbers and texts are always JSON");
        to.push(
            |bytes| bytes.extend_from_slice(MARKER_KEY),
            |bytes| bytes.extend_from_slice(text.as_bytes()),
        );
    }

    pub(super) fn parse(partition: i32, value: &[u8]) -> Result<Self, StateError> {
        let corrupt = |error: serde_json::Error| StateError::Corrupt {
            what: what(partition),
            problem: format!("its marker: {error}"),
        };
        let found = serde_json::from_slice::<Format>(value).map_err(corrupt)?.format;
        if found != FORMAT {
            return Err(StateError::Format { what: what(partition), found, reads: FORMAT });
        }
        serde_json::from_slice(value).map_err(corrupt)
    }
}

/// What is read, for an error.
pub(super) fn what(partition: i32) -> String {
    format!("the windows' state in merge partition {partition}")
}

pub(super) fn write_slice_key(
    bytes: &mut Vec<u8>,
    name: &str,
    definition: &str,
    span: Span,
    key: &str,
) {
    append(bytes, format_args!("{name}|{definition}|{}/{}|{key}", span.start, span.end));
}

/// A session keeps its key while its end moves.
pub(super) fn write_session_key(
    bytes: &mut Vec<u8>,
    name: &str,
    definition: &str,
    start: i64,
    key: &str,
) {
    append(bytes, format_args!("{name}|{definition}|{start}/|{key}"));
}

pub(super) fn write_promise_key(bytes: &mut Vec<u8>, name: &str, definition: &str, partition: i32) {
    append(bytes, format_args!("{name}|{definition}|closed|{partition}"));
}

pub(super) fn write_definition_key(bytes: &mut Vec<u8>, name: &str, definition: &str) {
    append(bytes, format_args!("{name}|{definition}|spec|"));
}

pub(super) fn write_slice(
    to: &mut Records,
    (name, definition): (&str, &str),
    span: Span,
    key: &str,
    accumulator: &Accumulator,
) {
    to.push(
        |bytes| write_slice_key(bytes, name, definition, span, key),
        |bytes| {
            bytes.extend_from_slice(br#"{"value":"#);
            accumulator.write(bytes);
            bytes.push(b'}');
        },
    );
}

pub(super) fn write_session(
    to: &mut Records,
    (name, definition): (&str, &str),
    span: Span,
    key: &str,
    accumulator: &Accumulator,
) {
    to.push(
        |bytes| write_session_key(bytes, name, definition, span.start, key),
        |bytes| {
            append(bytes, format_args!(r#"{{"end":{},"value":"#, span.end));
            accumulator.write(bytes);
            bytes.push(b'}');
        },
    );
}

pub(super) fn write_promise(
    to: &mut Records,
    name: &str,
    definition: &str,
    partition: i32,
    closed: i64,
) {
    to.push(
        |bytes| write_promise_key(bytes, name, definition, partition),
        |bytes| append(bytes, format_args!(r#"{{"closed":{closed}}}"#)),
    );
}

pub(super) fn write_definition(to: &mut Records, spec: &WindowSpec, definition: &str) {
    let text = spec.definition();
    to.push(
        |bytes| write_definition_key(bytes, &spec.name, definition),
        |bytes| bytes.extend_from_slice(text.as_bytes()),
    );
}

/// What a record of the state is about.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// An accumulator; without an end its value has it.
    Group {
        start: i64,
        end: Option<i64>,
        key: &'a str,
    },
    Closed {
        partition: i32,
    },
    Definition,
}

/// Window, definition and entry of a key.
pub(super) fn parse_key(key: &[u8]) -> Option<(&str, &str, Entry<'_>)> {
    let (name, rest) = std::str::from_utf8(key).ok()?.split_once('|')?;
    let (definition, rest) = rest.split_once('|')?;
    let (place, rest) = rest.split_once('|')?;
    let entry = match place {
        "closed" => Entry::Closed { partition: rest.parse().ok().filter(|at| *at >= 0)? },
        "spec" => Entry::Definition,
        _ => {
            let (start, end) = place.split_once('/')?;
            let end = if end.is_empty() { None } else { Some(end.parse().ok()?) };
            Entry::Group { start: start.parse().ok()?, end, key: rest }
        }
    };
    Some((name, definition, entry))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupValue<'a> {
    pub(super) end: Option<i64>,
    #[serde(borrow)]
    pub(super) value: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClosedValue {
    pub(super) closed: i64,
}

/// The records of a compacted partition that are not deleted, whatever they hold.
#[derive(Debug, Default)]
pub struct LiveKeys {
    pub(super) live: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl LiveKeys {
    /// Takes the next record in the order of the topic. A key of `None` is empty.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let key = key.unwrap_or_default();
        match value {
            Some(value) => {
                self.live.insert(key.into(), value.into());
            }
            None => {
                self.live.remove(key);
            }
        }
    }

    /// The keys, sorted: what must be deleted to leave the partition empty.
    pub fn into_keys(self) -> Vec<Box<[u8]>> {
        let mut keys: Vec<_> = self.live.into_keys().collect();
        keys.sort_unstable();
        keys
    }
}
