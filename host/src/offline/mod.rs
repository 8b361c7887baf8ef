//! Records from files and pipes through the stages, without Kafka: what became of each, and what
//! each stage did to it. The chain and its limits are those of a worker. Never waits for a broker,
//! and writes nothing but what its caller asks for.

mod bless;
mod case;
mod check;
mod lines;
mod outcome;
mod run;
mod trace;

pub use case::{CASE_NOW, Case, CaseError, Event, Expected, Output, OutputValue, Refused};
pub use check::{Failure, Subject, Tested};
pub use lines::{Batch, Lines, LinesError};
pub use outcome::{write_outcomes, write_values};
pub use run::{Became, Counts, Letter, RunError, Runner, StageCounts};
pub use trace::{Change, Did, Step};

/// Records that go through the stages at a time.
pub const BATCH_RECORDS: usize = 1_000;
