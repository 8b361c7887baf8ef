//! The loop: gather, run, produce, commit; recovery and rebalance as one path. Takes new rules between
//! two transactions, and gives them up when their errors are too many. Parses no JSON and knows
//! nothing of wasmtime.

mod backoff;
mod batch;
mod commit;
mod control;
mod dead_letter;
mod failure;
mod frontier;
mod generation;
pub mod headers;
mod hops;
mod idle;
mod job;
mod missing;
mod offers;
mod pause;
mod poison;
mod pool;
mod publish;
mod purge;
mod reader;
mod recover;
mod restore;
mod run;
mod sample;
mod sink;
pub mod status;
mod stop;
mod takeover;
mod tally;
#[cfg(test)]
mod tests;
mod trial;

pub use failure::{Failure, StopKind};
pub use job::{
    Batching, Delivery, HopTopics, Job, OnExpired, OutTopic, Start, WindowJob, merge_group,
};
pub use offers::Offers;
pub use pause::Pause;
pub use pool::{Ended, Pool};
pub use run::{Event, Left};
pub use sample::Seen;
pub use stop::Stop;
pub use trial::{ErrorLimits, Probation, Rate, Rates, Trial};
