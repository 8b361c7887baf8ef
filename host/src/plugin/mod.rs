//! wasmtime: load, check, limit, cache and call plugins. Knows nothing of Kafka.
//!
//! [`Engine`] loads a file into a [`Plugin`]; each worker asks the plugin for a guest of its own
//! ([`Plugin::configure`]) and calls it through the traits of [`crate::chain::guest`].
//!
//! # What a plugin can see
//!
//! Its settings, its batches and, where it imports it, `log`. Languages with a runtime also import
//! WASI 0.2, which is there but inert: no files, arguments, environment variables, sockets or
//! names; input is at its end and output goes nowhere; the wall clock shows the `now` of the batch
//! (1970-01-01T00:00:00Z during `configure`); the monotonic clock starts at zero with each instance
//! and rises by a microsecond with each reading, and waiting for it takes no time; random numbers
//! are the same in each instance. So a plugin's answer depends on its batch and settings alone.

mod bindings;
mod cache;
mod convert;
pub mod defaults;
mod deserialize;
mod engine;
mod fault;
mod guest;
mod inspect;
mod limits;
mod load;
mod log;
mod shape;
mod slot;
mod state;
mod timing;
mod wasi;
mod wit;

pub use engine::{Engine, EngineError};
pub use guest::ConfigureError;
pub use inspect::{Inspection, Probe, Producer};
pub use limits::{Limits, LoadLimits, WASM_STACK_BYTES};
pub use load::{ContentHash, Import, LoadError, Plugin, Problem, World, read};
pub use timing::{Timed, Timing};
