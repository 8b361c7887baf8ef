//! A partition's state as records of its partition of the compacted topic `<name>-<window>-state`.
//!
//! | key | value |
//! |---|---|
//! | `<definition>\|<start>/<end>\|<group>`, times in milliseconds, the group as JSON | `{"count":12}`, absolute; none once the window has closed |
//! | `marker` | [`Marker`], one with each commit |
//!
//! Text, so that any Kafka tool shows it. The marker says the version of all of this.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::output::append;
use super::{PartitionWindows, Records, Row, Span, WindowSpec};

/// The version of keys and values that this program writes and reads.
const FORMAT: u32 = 1;

/// The key of a partition's marker.
pub const MARKER_KEY: &[u8] = b"marker";

/// What a commit says about a whole partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The version of the state's records.
    format: u32,
    /// Which definition the window had.
    pub definition: String,
    /// The offset that was committed with this state: that of the next record to process.
    pub next_offset: i64,
    /// The watermark, in milliseconds since the epoch; none before the first event.
    pub watermark: Option<i64>,
}

#[derive(Deserialize)]
struct MarkerFormat {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    count: u64,
}

/// Why windows cannot go on. Each stops the pipeline: guessing would lose or repeat counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by another version of this program.
    #[error(
        "the state of window {window:?}, partition {partition}, has format {found}, and this version \
         reads format {FORMAT}; run the version that wrote it, or start anew"
    )]
    Format {
        /// The window's name.
        window: String,
        /// The partition.
        partition: i32,
        /// The version found.
        found: u32,
    },
    /// Not what this program writes.
    #[error(
        "the state of window {window:?}, partition {partition}, cannot be read: {what}; if something \
         else writes to its topic, stop that, then start anew"
    )]
    Corrupt {
        /// The window's name.
        window: String,
        /// The partition.
        partition: i32,
        /// What is wrong.
        what: String,
    },
    /// The group's offset is not the one that was committed with the state.
    #[error(
        "the committed offset of partition {partition} is {}, but the state of window {window:?} was \
         committed with {marker}: offsets were changed from outside, and going on would count wrongly; \
         set offsets and windows together",
        .committed.map_or("missing".to_owned(), |offset| offset.to_string())
    )]
    Offset {
        /// The window's name.
        window: String,
        /// The partition.
        partition: i32,
        /// The offset that the group has committed, if any.
        committed: Option<i64>,
        /// The offset in the marker.
        marker: i64,
    },
    /// A limit of the window's state is reached.
    #[error(
        "window {window:?} holds more than {limit} {unit} open in partition {partition}; raise its \
         `limits.{unit}`, make `size` or `grace` shorter, or group by a field with fewer values"
    )]
    Limit {
        /// The window's name.
        window: String,
        /// The partition.
        partition: i32,
        /// `keys` or `bytes`.
        unit: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A bug in the caller: events of a partition that was not adopted.
    #[error(
        "window {window:?} was given an event of partition {partition}, which it does not hold"
    )]
    NotHeld {
        /// The window's name.
        window: String,
        /// The partition.
        partition: i32,
    },
}

impl StateError {
    /// Whether setting offsets and windows anew mends it, which whoever knows the command says.
    pub fn is_mended_by_reset(&self) -> bool {
        matches!(self, Self::Format { .. } | Self::Corrupt { .. } | Self::Offset { .. })
    }
}

impl Marker {
    /// Checks that the group's committed offset is the one that was committed with the state.
    pub fn check(
        &self,
        window: &str,
        partition: i32,
        committed: Option<i64>,
    ) -> Result<(), StateError> {
        if committed == Some(self.next_offset) {
            return Ok(());
        }
        let (window, marker) = (window.to_owned(), self.next_offset);
        Err(StateError::Offset { window, partition, committed, marker })
    }

    pub(super) fn write(
        definition: &str,
        next_offset: i64,
        watermark: Option<i64>,
        to: &mut Records,
    ) {
        let marker =
            Self { format: FORMAT, definition: definition.to_owned(), next_offset, watermark };
        let text = serde_json::to_string(&marker).expect("numbers and a text are always JSON");
        to.push(
            |bytes| bytes.extend_from_slice(MARKER_KEY),
            |bytes| bytes.extend_from_slice(text.as_bytes()),
        );
    }

    fn parse(value: &[u8]) -> Result<Self, MarkerProblem> {
        let format = serde_json::from_slice::<MarkerFormat>(value)
            .map_err(|error| MarkerProblem::Corrupt(format!("its marker: {error}")))?
            .format;
        if format != FORMAT {
            return Err(MarkerProblem::Format(format));
        }
        serde_json::from_slice(value)
            .map_err(|error| MarkerProblem::Corrupt(format!("its marker: {error}")))
    }
}

enum MarkerProblem {
    Format(u32),
    Corrupt(String),
}

/// Writes the state key of a group.
pub(super) fn write_key(bytes: &mut Vec<u8>, definition: &str, span: Span, key: &str) {
    append(bytes, format_args!("{definition}|{}/{}|{key}", span.start, span.end));
}

/// Adds the record of a group's count.
pub(super) fn write_count(to: &mut Records, definition: &str, span: Span, key: &str, count: u64) {
    to.push(
        |bytes| write_key(bytes, definition, span, key),
        |bytes| append(bytes, format_args!(r#"{{"count":{count}}}"#)),
    );
}

fn parse_key(key: &[u8]) -> Option<(&str, Span, &str)> {
    let (definition, rest) = std::str::from_utf8(key).ok()?.split_once('|')?;
    let (span, group) = rest.split_once('|')?;
    let (start, end) = span.split_once('/')?;
    Some((definition, Span { start: start.parse().ok()?, end: end.parse().ok()? }, group))
}

/// The records of a compacted partition that are not deleted, whatever they hold.
#[derive(Debug, Default)]
pub struct LiveKeys {
    live: HashMap<Box<[u8]>, Box<[u8]>>,
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

/// Puts a partition's windows together again from its state records. Memory: those records that
/// are not deleted.
#[derive(Debug)]
pub struct Restore {
    spec: Arc<WindowSpec>,
    partition: i32,
    live: LiveKeys,
}

impl Restore {
    /// For one window and one partition, which may have no state yet.
    pub fn new(spec: Arc<WindowSpec>, partition: i32) -> Self {
        Self { spec, partition, live: LiveKeys::default() }
    }

    /// Takes the next record in the order of the topic.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.live.apply(key, value);
    }

    /// The windows as the last commit left them, and its marker; none if nothing was ever
    /// committed. Windows of another definition than the spec's take no more events: they are
    /// closed as they are, come out of [`PartitionWindows::take_closed`] and are deleted with the
    /// next changes, and the watermark starts anew.
    pub fn finish(self) -> Result<(PartitionWindows, Option<Marker>), StateError> {
        let Self { spec, partition, mut live } = self;
        let corrupt = |what: String| {
            let window = spec.name.clone();
            StateError::Corrupt { window, partition, what }
        };
        let marker = match live.live.remove(MARKER_KEY) {
            None => None,
            Some(value) => Some(Marker::parse(&value).map_err(|problem| match problem {
                MarkerProblem::Corrupt(what) => corrupt(what),
                MarkerProblem::Format(found) => {
                    let window = spec.name.clone();
                    StateError::Format { window, partition, found }
                }
            })?),
        };
        let mut windows = PartitionWindows::new(spec.clone(), partition);
        let Some(marker) = marker else {
            return match live.live.len() {
                0 => Ok((windows, None)),
                keys => Err(corrupt(format!("it has {keys} keys and no marker"))),
            };
        };
        let mut foreign: HashMap<(String, Span), Vec<Row>> = HashMap::new();
        for (key, value) in live.live {
            let count = serde_json::from_slice::<Count>(&value).ok();
            let (Some((definition, span, group)), Some(Count { count })) = (parse_key(&key), count)
            else {
                return Err(corrupt(format!("its key {:?}", String::from_utf8_lossy(&key))));
            };
            if definition == windows.definition() {
                windows.restore_count(span, group.into(), count);
            } else {
                let window = foreign.entry((definition.to_owned(), span)).or_default();
                window.push(Row { key: group.into(), count });
            }
        }
        let mut foreign: Vec<_> = foreign.into_iter().collect();
        foreign.sort_unstable_by(|a, b| (a.0.1, &a.0.0).cmp(&(b.0.1, &b.0.0)));
        for ((definition, span), rows) in foreign {
            windows.restore_foreign(&definition, span, rows);
        }
        windows.restored(&marker)?;
        Ok((windows, Some(marker)))
    }
}
