//! What the windows see of a batch: event times from the inputs, group keys from the outputs.

use super::TimeUnit;
/// Someone who wants to know times and keys of what comes out of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    /// Where the event time comes from.
    pub time: TimeSource,
    /// JSON Pointers into the output event, one column each; may be empty.
    pub group: Vec<String>,
}

/// Where an event's time comes from. It is read before the chain, from the input record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The record's own timestamp. A record without one counts as 1970-01-01: never on time, so
    /// that no clock decides.
    Record,
    /// A field of the event; where it is missing or no time the record's own timestamp, counted.
    Field {
        /// A JSON Pointer.
        pointer: String,
        /// How to read it.
        unit: TimeUnit,
    },
}
