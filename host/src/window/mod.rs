//! Windows in two hops, as values. Does no I/O and never reads the clock.
//!
//! **Hop one** is per input partition. Its **watermark** is the greatest event time that was
//! observed in it; it never falls. What passed the stages since the last commit is added up to
//! deltas by window and group, and all that is kept beyond a commit is how far the partition is:
//! [`write_progress`]. Events that are too far behind the watermark are **late** when their turn
//! comes in the order of their partition: a slice `[start, end)` takes events until watermark >=
//! end + grace, a session those that are at most grace behind the watermark.
//!
//! **Hop two** is per merge partition, which has its share of the groups. It merges the deltas of
//! all input partitions. Each also promises up to when it is closed; a window is **final** when
//! all have promised to add nothing more to it. Its result is written and its state deleted.
//!
//! So results depend on records and their order per partition alone, never on where a batch or a
//! commit begins or ends, or on which instance does what.
//!
//! - Only observed events move the watermark: those that passed the stages. A record that was
//!   dropped or rejected does not, because its event time counts for nothing else either. An event
//!   that a window's filter leaves out does: event time is that of the partition.
//! - An event whose time is more than [`WindowSpec::future_max`] past [`WindowSpec::not_after`] is
//!   counted in its window, and does not move the watermark. That window stays open until the
//!   watermark comes to it.
//! - The wall clock decides two things, each committed with the progress: [`Windows::close_idle`], a
//!   watermark like any other, and that a record's own timestamp lies in the future.
//!
//! The worker's use of it. Hop one: [`Watch::restore`] for each spec and partition, and
//! [`Windows::adopt`] it; [`Windows::observe`] every batch; at each commit [`write_deltas`] and
//! [`write_progress`] of each partition in the transaction. Hop two: [`RestoreMerge`] a merge
//! partition; [`Merge::apply`] every record of it; at each commit [`Merge::take_results`],
//! [`Merge::take_late`] and then [`Merge::take_changes`] in the transaction. After a failed
//! transaction the whole value is thrown away and restored.

mod accumulate;
mod deltas;
mod error;
mod groups;
mod held;
mod keys;
mod log;
mod marks;
mod merge;
mod observe;
mod output;
mod pending;
mod people;
mod portion;
mod progress;
mod records;
mod restore;
mod sessions;
mod shape;
mod slices;
mod span;
mod spec;
mod state;
mod watch;

#[cfg(test)]
mod tests;

pub use deltas::write_deltas;
pub use error::StateError;
pub use held::LateRow;
pub use log::{ClosedLog, Table};
pub use merge::{Merge, Orphan, Taken};
pub use observe::{Events, Late, Observed, Origin, Windows};
pub use output::{ClosedWindow, Results, Row};
pub use people::OpenWindow;
pub use portion::Portion;
pub use progress::{Frontier, Progress, WindowProgress, write_progress};
pub use records::Records;
pub use restore::RestoreMerge;
pub use shape::Shape;
pub use span::{Span, rfc3339};
pub use spec::{Aggregate, Emit, Kind, Limits, WindowSpec};
pub use state::{LiveKeys, MARKER_KEY, MergeMarker};
pub use watch::Watch;
