//! What comes out of a chain for one batch of records: flat lists, indices into the records.

use std::ops::Range;

use super::guest::{Emitted, OwnedHeader};
use super::{Header, Record};
use crate::event::Column;

/// The results of one batch. Every input record is in it at least once, unless a stage dropped
/// it: as an output (a tombstone, too), as several, as a dead letter, or as both where a transform
/// split it and only some of its parts were rejected.
#[derive(Debug, Default)]
pub struct Processed {
    /// What goes to the sink, in the order of the inputs; several outputs of one input in the
    /// order in which they were emitted.
    pub outputs: Vec<Output>,
    /// The values that rules edited, one behind the other; see [`Payload::Edited`].
    pub bytes: Vec<u8>,
    /// What transforms made; see [`Payload::Emitted`]. May hold records that a later stage dropped.
    pub emitted: Vec<Emitted>,
    /// What goes to the dead letters, in the order of the inputs; at most one per input.
    pub dead_letters: Vec<DeadLetter>,
    /// What decoding did, as a pseudo stage: its rejects are the records that are no JSON objects.
    pub decode: StageCounts,
    /// What each stage did, in their order.
    pub stages: Vec<StageCounts>,
    /// What the end of the chain did, as a pseudo stage: its rejects are outputs that are too large.
    pub encode: StageCounts,
    /// What each observer saw, in their order.
    pub observations: Vec<Observation>,
}

/// One record for the sink. What it does not say is as its input has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Which of the batch's records it came from; its timestamp and partition are the output's.
    pub input: u32,
    /// What it consists of.
    pub payload: Payload,
}

/// Where key, value, headers and topic of an output are.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// All as in the input record, tombstones included.
    Original,
    /// The value is this range of [`Processed::bytes`]; the rest is as in the input record.
    Edited(Range<usize>),
    /// All as in this entry of [`Processed::emitted`].
    Emitted(usize),
}

/// An output with all its parts at hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputView<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
    /// A topic other than the sink's, one that `[sink] topics` lists.
    pub topic: Option<&'a str>,
}

/// The headers of an output: those of its input, or its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Headers<'a> {
    /// The input's.
    Input(&'a [Header<'a>]),
    /// Those that a transform made.
    Emitted(&'a [OwnedHeader]),
}

impl<'a> Headers<'a> {
    /// Each header in order.
    pub fn iter(self) -> impl Iterator<Item = Header<'a>> {
        let (input, emitted) = match self {
            Headers::Input(headers) => (headers, &[][..]),
            Headers::Emitted(headers) => (&[][..], headers),
        };
        let own = emitted.iter().map(|(name, value)| Header { name, value: value.as_deref() });
        input.iter().copied().chain(own)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Headers::Input(headers) => headers.len(),
            Headers::Emitted(headers) => headers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl Processed {
    /// The parts of an output. `records` must be those that the chain ran on.
    pub fn view<'a>(&'a self, output: &Output, records: &'a [Record<'a>]) -> OutputView<'a> {
        view(output, records, &self.bytes, &self.emitted)
    }
}

pub(super) fn view<'a>(
    output: &Output,
    records: &'a [Record<'a>],
    bytes: &'a [u8],
    emitted: &'a [Emitted],
) -> OutputView<'a> {
    let record = &records[output.input as usize];
    let original = OutputView {
        key: record.key,
        value: record.value,
        headers: Headers::Input(record.headers),
        topic: None,
    };
    match &output.payload {
        Payload::Original => original,
        Payload::Edited(range) => OutputView { value: Some(&bytes[range.clone()]), ..original },
        Payload::Emitted(place) => {
            let emitted = &emitted[*place];
            OutputView {
                key: emitted.key.as_deref(),
                value: emitted.value.as_deref(),
                headers: Headers::Emitted(&emitted.headers),
                topic: emitted.topic.as_deref(),
            }
        }
    }
}

/// A record that goes to the dead letters: always the input record with its original bytes, also
/// where only one of the records that a transform made of it was rejected. The others of these go
/// on, and if a second one is rejected it is counted, but makes no second dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which of the batch's records.
    pub input: u32,
    /// Where it happened; the chain has the name.
    pub place: Place,
    /// What kind of reason it is.
    pub reason: Reason,
    /// The reason for a human, at most [`DeadLetter::MESSAGE_BYTES_MAX`] long.
    pub message: String,
}

impl DeadLetter {
    /// Where a message is cut, at the last whole character.
    pub const MESSAGE_BYTES_MAX: usize = 1024;
}

/// Where in the chain something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// When the input was decoded, before any stage.
    Decode,
    /// In this stage. A record that a transform emitted and that is no JSON object is rejected by
    /// the first rule behind the transform.
    Stage(usize),
    /// When the outputs were put together, behind all stages.
    Encode,
}

/// What kind of reason sent a record to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not JSON, or not an object, or nested too deeply.
    InvalidJson,
    /// A stage rejected it, or a field that a stage writes cannot be made in it.
    Rejected,
    /// The stage trapped on it.
    Trap,
    /// The stage took longer than its limit.
    Deadline,
    /// The stage needed more memory than its limit.
    Memory,
    /// The stage's answer breaks the contract of the WIT.
    WrongAnswer,
    /// What was made of it is larger than `output_record_bytes`.
    RecordTooLarge,
}

impl Reason {
    /// The name as it stands in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidJson => "invalid-json",
            Reason::Rejected => "rejected",
            Reason::Trap => "trap",
            Reason::Deadline => "deadline",
            Reason::Memory => "memory",
            Reason::WrongAnswer => "wrong-answer",
            Reason::RecordTooLarge => "record-too-large",
        }
    }
}

/// What a stage did in one batch. Counts records as they come to the stage, so those that a
/// transform emitted count each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageCounts {
    /// Records that came in, without tombstones.
    pub records: u64,
    /// Records that it dropped on purpose.
    pub dropped: u64,
    /// Records that it rejected, or whose result cannot be written.
    pub rejected: u64,
    /// Records that made it fail, whatever `on-error` made of them.
    pub faults: FaultCounts,
    /// Calls that failed, those of the search for the guilty records included; more than
    /// `faults` says, and not zero where a failure did not repeat.
    pub faulty_calls: u64,
    /// Of those in `faults`: left out, by `on-error = "skip"`.
    pub skipped: u64,
    /// Of those in `faults`: on as they were, by `on-error = "pass"`.
    pub passed: u64,
    /// Time spent in it.
    pub nanos: u64,
}

/// How many records made a stage fail, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Traps.
    pub trap: u64,
    /// Calls over their time.
    pub deadline: u64,
    /// Calls over their memory.
    pub memory: u64,
    /// Wrong answers.
    pub wrong_answer: u64,
}

impl FaultCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.trap + self.deadline + self.memory + self.wrong_answer
    }
}

/// What an observer saw: the outputs of the batch that have a value, whatever topic they go to.
/// Tombstones and what was dropped or rejected are not observed.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Which of [`Processed::outputs`], rising.
    pub outputs: Vec<u32>,
    /// The event time of each, in milliseconds since the epoch, read from its input record.
    pub times: Vec<i64>,
    /// One column per entry of the observer's `group`, one index entry per observed output, read
    /// from the output; `absent` where that is no JSON object.
    pub keys: Vec<Column>,
    /// The same for the observer's `values`.
    pub values: Vec<Column>,
    /// The same for its `filter`.
    pub filter: Option<Column>,
    /// How many of `times` are the record's own timestamp because the field is missing or no time.
    pub fallbacks: u32,
}
