//! Other rules beside those that run, on the same records: what would come out differently.
//!
//! A [`Pair`] runs both sides over some records and tells a [`Report`]. In a running pipeline a
//! [`Shadow`] does so on a thread of its own, with copies of batches from a bounded queue; whoever
//! fills the queue never waits for it. Nothing that comes out is written anywhere.

mod difference;
mod pair;
mod priority;
mod report;
mod thread;

pub use difference::{FieldChange, Kind, field_changes};
pub use pair::Pair;
#[cfg(test)]
pub(crate) use priority::behind;
pub use priority::stand_back;
pub use report::{Keep, Report, Sample, Side};
pub use thread::{Feed, Info, QUEUE_BATCHES, Shadow, Status};

#[cfg(test)]
mod tests;
