//! The stages in order: one generation of the rules. Records in; outputs, dead letters and what
//! the windows observe out. Does no I/O and knows guests only by the two traits of [`guest`].
//!
//! Neighbouring rules form a segment that decodes its events once; their columns live through the
//! whole segment. A transform ends a segment: it is handed whole values, and the next rule behind
//! it decodes what it made. What comes out does not depend on where batches begin and end.

mod bisect;
mod copied;
mod flow;
pub mod guest;
mod observe;
mod processed;
mod record;
mod rejects;
mod run;
mod segment;
mod stage;
mod stop;
mod time;
mod transform;
mod verdict;

pub use copied::Copied;
pub use observe::{Observer, TimeSource};
pub use processed::{
    DeadLetter, FaultCounts, Headers, Observation, Output, OutputView, Payload, Place, Processed,
    Reason, StageCounts,
};
pub use record::{Header, Record};
pub use run::Chain;
pub(crate) use stage::TAKEN;
pub use stage::{ChainError, Limits, OnError, Stage};
pub use stop::Stop;
pub use time::TimeUnit;

/// The name of the pseudo stage at the beginning of a chain.
const DECODE: &str = "decode";
/// The name of the pseudo stage at its end.
const ENCODE: &str = "encode";
