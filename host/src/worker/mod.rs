//! The loop: gather, run, produce, commit; recovery and rebalance as one path. Parses no JSON
//! and knows nothing of wasmtime.

pub mod headers;
pub mod status;
