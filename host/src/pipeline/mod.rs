//! Puts a pipeline together: a checked configuration, its plugins and its topics become running
//! workers. Decides nothing about records.

mod content;
mod generation;
mod inspect;
mod instance;
mod job;
mod offline;
mod shadow;
mod topics;
mod windows;

pub use content::{Content, Files};
pub use generation::{Generation, Loader, Times};
pub use inspect::{probe, time};
pub use instance::Instance;
pub use job::{Setup, job, spec};
pub use topics::topic_names;
pub use windows::{LookError, PartitionLook, WindowLook, windows};
