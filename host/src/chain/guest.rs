//! What the chain needs of a plugin. The wasm guests of `plugin/` implement these, and so do the
//! native rules that the benchmarks and tests compare them with.

use std::time::Duration;

use crate::event::{Column, Form, Plan, Source, Verdict};

/// Why a call gave no answer. The guest that reports it has already put a fresh instance in the
/// place of the one that failed, or will do so at the next call.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum Fault {
    /// The guest trapped: a panic, an endless recursion, an access out of bounds.
    #[error("trap: {0}")]
    Trap(String),
    /// The call took longer than its limit.
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The guest asked for more memory than it may have, and gave up.
    #[error("more than {0} bytes of memory needed")]
    Memory(usize),
    /// The answer breaks the contract of the WIT.
    #[error("wrong answer: {0}")]
    WrongAnswer(String),
    /// A fresh instance could not be made; nothing that a record did.
    #[error("no new instance: {0}")]
    Instance(String),
}

/// One batch as a rule sees it. Dictionaries hold exactly the values of these events.
#[derive(Clone, Copy, Debug)]
pub struct RuleBatch<'a> {
    /// How many events, at least 1.
    pub events: u32,
    /// The time of processing, in milliseconds since the epoch.
    pub now: i64,
    /// One column per entry of the plan's `reads`, in that order, with the form asked for.
    pub columns: &'a [(&'a Column, Form)],
}

/// A rule that has been configured. It answers; the chain checks the answer.
pub trait Rule: Send {
    /// What it reads and writes.
    fn plan(&self) -> &Plan;
    /// Judges one batch.
    fn evaluate(&mut self, batch: RuleBatch<'_>) -> Result<Verdict, Fault>;
    /// Told when the chain found the last answer wrong: whatever answered so is not to be asked
    /// again. Nothing to do where no instance can be in a bad state.
    fn discard(&mut self) {}
}

/// A record as a transform sees it.
#[derive(Clone, Copy, Debug)]
pub struct TransformRecord<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
    /// The headers.
    pub headers: &'a [super::Header<'a>],
    /// The timestamp.
    pub timestamp: Option<i64>,
    /// The input partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// A header that owns its parts.
pub type OwnedHeader = (String, Option<Vec<u8>>);

/// A record that a transform made.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<OwnedHeader>,
    /// A topic other than the sink's.
    pub topic: Option<String>,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It goes on as it is.
    Pass,
    /// It is left out.
    Drop,
    /// These go on in its place.
    Emit(Vec<Emitted>),
    /// It goes to the dead letters, with this reason.
    Reject(String),
}

/// A transform that has been configured. It answers; the chain checks that there are as many
/// outcomes as records.
pub trait Transform: Send {
    /// Rewrites some records.
    fn transform(
        &mut self,
        records: &[TransformRecord<'_>],
        now: i64,
    ) -> Result<Vec<Outcome>, Fault>;
    /// As [`Rule::discard`].
    fn discard(&mut self) {}
}

/// A configured plugin of either world.
pub enum Guest {
    /// World `rule`.
    Rule(Box<dyn Rule>),
    /// World `transform`.
    Transform(Box<dyn Transform>),
}

impl Guest {
    /// Whether it looks at the headers of records: a transform gets them all.
    pub(super) fn reads_headers(&self) -> bool {
        match self {
            Guest::Rule(rule) => {
                rule.plan().reads.iter().any(|read| matches!(read.source, Source::Header(_)))
            }
            Guest::Transform(_) => true,
        }
    }
}
