//! `pipeline.toml` and flags into checked types, all problems at once. Opens no plugin's file and
//! never talks to Kafka.
//!
//! [`parse()`] answers with a [`Draft`], also for a file with problems: whoever loads the plugins adds
//! what is wrong with them to the same list, and only [`Draft::finish`] hands the [`Config`] out.

mod aggregates;
mod document;
mod limits;
mod parse;
mod problem;
mod properties;
mod settings;
mod stages;
mod start;
mod table;
#[cfg(test)]
mod tests;
mod topics;
mod types;
mod units;
mod windows;

pub use parse::{Draft, Overrides, PropertyCheck, parse, read};
pub use problem::{Place, Problem, Problems};
pub use properties::{Properties, Property};
pub use stages::{Against, GivenSettings};
pub use start::StartAt;
pub use topics::check_name;
pub use types::{
    Aggregate, AggregateKind, BatchLimits, Config, DeadLetters, Delivery, Emit, EventTime, Limits,
    Mode, OnError, OnExpired, Reload, Repartition, Sink, Source, Stage, StageLimits, State,
    TimeUnit, Topic, Window, WindowShape,
};
pub use units::{parse_bytes, parse_duration};

/// The file's name inside the plugins folder.
pub const FILE_NAME: &str = "pipeline.toml";
