//! The chain with native guests in the place of plugins.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod model;
mod native;
mod observers;
mod rejects;
mod transforms;
mod wrong_answers;
