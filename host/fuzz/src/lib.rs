//! The event room of the host, for the fuzz targets.

#[path = "../../src/event/mod.rs"]
pub mod event;
