//! The stages in order: one generation of the rules. Records in; outputs, dead letters and what
//! the windows observe out. Does no I/O and knows guests only by the two traits of [`guest`].

pub mod guest;
mod observe;
mod processed;
mod record;
mod stage;
mod stop;
mod time;

pub use observe::{Observer, TimeSource};
pub use processed::{
    DeadLetter, FaultCounts, Headers, Observation, Output, OutputView, Payload, Place, Processed,
    Reason, StageCounts,
};
pub use record::{Header, Record};
pub use stage::{ChainError, Limits, OnError, Stage};
pub use stop::Stop;
pub use time::TimeUnit;
