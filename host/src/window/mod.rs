//! Watermarks and open windows of one partition, and their state as values. Does no I/O and
//! never reads the clock.
//!
//! A partition's **watermark** is the greatest event time that was observed in it; it never falls.
//! A window `[start, end)` is **closed** as soon as watermark >= end + grace, and an event is
//! **late** if its window is closed when its turn comes in the order of its partition. So results
//! depend on records and their order alone, never on where a batch begins or ends.
//!
//! - Only observed events move the watermark: those that passed the stages. A record that was
//!   dropped or rejected does not, because its event time counts for nothing else either.
//! - An event whose time is more than [`WindowSpec::future_max`] past its record's timestamp is
//!   counted in its window, and does not move the watermark. That window stays open until the
//!   watermark comes to it.
//! - [`Windows::close_idle`] is the only decision that the wall clock makes: a watermark like any
//!   other, committed with the state.
//!
//! The worker's use of it, for each spec: [`Restore`] a partition and [`Windows::adopt`] it;
//! [`Windows::observe`] every batch; at each commit write [`Windows::take_closed`] and
//! [`Windows::take_changes`] of each partition in the transaction. After a failed transaction the
//! whole value is thrown away and restored.

mod counts;
mod keys;
mod log;
mod observe;
mod output;
mod partition;
mod records;
mod span;
mod spec;
mod state;

#[cfg(test)]
mod tests;

pub use log::{ClosedLog, Table};
pub use observe::{Events, Late, Observed, OpenWindow, Origin, Windows};
pub use output::{ClosedWindow, Row};
pub use partition::PartitionWindows;
pub use records::Records;
pub use span::{Span, rfc3339};
pub use spec::{Limits, WindowSpec};
pub use state::{LiveKeys, MARKER_KEY, Marker, Restore, StateError};
