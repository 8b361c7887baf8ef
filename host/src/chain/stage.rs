//! What a chain is built from, and its limits.

use std::sync::Arc;
use std::time::Duration;

use super::guest::Guest;

/// One stage: a configured plugin, and what becomes of a record that it cannot cope with.
pub struct Stage {
    /// Its name in `pipeline.toml`; unique in a chain.
    pub name: String,
    /// The plugin, configured.
    pub guest: Guest,
    /// What becomes of a record that makes the plugin fail.
    pub on_error: OnError,
    /// The topics beside the sink's that a transform may emit to (`[sink] topics`); any other is a
    /// wrong answer. Without meaning for a rule.
    pub topics: Arc<[String]>,
}

/// What becomes of a record that makes a stage trap, loop, run out of memory or answer wrongly.
/// Says nothing of a record that the stage rejects: that is always a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// It becomes a dead letter.
    #[default]
    DeadLetter,
    /// It is left out of the output, and counted.
    Skip,
    /// It goes on as it was before the stage, and is counted.
    Pass,
    /// The pipeline stops in front of it.
    Stop,
}

/// The limits of a chain. Each says what happens at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of key and value of a record that a stage edited or made; beyond it the input record
    /// becomes a dead letter. A record that no stage changed is not measured.
    pub output_record_bytes: usize,
    /// Bytes of all that the stages edited and made in one batch, which is memory that the host
    /// holds; beyond it [`Stop::OutputTooLarge`](super::Stop::OutputTooLarge).
    pub output_batch_bytes: usize,
    /// Records that a transform may emit in place of one; more is a wrong answer.
    pub outputs_per_record: usize,
    /// Calls of one stage that may fail in one transaction, those of the search for the guilty
    /// record included; beyond it [`Stop::StageBroken`](super::Stop::StageBroken).
    pub faulty_calls_max: u32,
    /// Time that may go into the faults of one stage in one transaction, from the first faulty
    /// call of a batch to the end of the search; beyond it `Stop::StageBroken`.
    pub fault_time_max: Duration,
    /// The share of the last `reject_window` records that a stage may turn into dead letters;
    /// beyond it [`Stop::TooManyRejects`](super::Stop::TooManyRejects). 1.0 switches it off.
    pub reject_share_max: f64,
    /// How many records of the past that share looks at. Whole batches are counted, so it may be
    /// up to one batch more.
    pub reject_window: u32,
    /// Records that must have been seen before the share counts.
    pub reject_seen_min: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_record_bytes: 1 << 20,
            output_batch_bytes: 256 << 20,
            outputs_per_record: 1_000,
            faulty_calls_max: 32,
            fault_time_max: Duration::from_secs(2),
            reject_share_max: 0.5,
            reject_window: 10_000,
            reject_seen_min: 1_000,
        }
    }
}

/// Why a stage cannot have a name.
pub(crate) const TAKEN: &str =
    "the host's own part of that name stands beside it in metrics and dead letters";

/// Why a chain cannot be made of these stages and observers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A stage has a name that the host itself uses.
    #[error("stage {stage:?}: {TAKEN}; give it another name")]
    Taken {
        /// Its place among the stages, from 0.
        place: usize,
        /// The name.
        stage: String,
    },
    /// A stage has the name of an earlier one.
    #[error("stage {stage:?}: an earlier stage has the same name; give it another name")]
    Twice {
        /// The name.
        stage: String,
    },
    /// A rule's plan breaks the contract of the WIT: the plugin's author must mend it.
    #[error("stage {stage:?}: its plan is wrong: {problem}")]
    Plan {
        /// Its place among the stages, from 0.
        place: usize,
        /// The stage.
        stage: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An observer reads something that is no JSON Pointer.
    #[error("observer {observer}: {problem}")]
    Observer {
        /// Its place in the list of observers.
        observer: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
}
