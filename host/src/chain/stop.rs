//! Why a chain does not go on.

use std::time::Duration;

use super::guest::Fault;

/// The batch has no result, and the transaction must not be committed. Each variant is another
/// decision for whoever runs the chain; a chain on probation is rolled back in every case, but where
/// it is the input that is no JSON.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// The stage fails too often to go on without it: its limit of faults in one transaction is
    /// used up. Running the same records again leads here again.
    #[error(
        "stage {stage:?} is broken: {calls} of its calls failed and took {} ms in one transaction, \
         the last at partition {partition} offset {offset}: {fault}; mend the plugin, or raise \
         faults-per-transaction or fault-time-per-transaction in [limits]",
        .spent.as_millis()
    )]
    StageBroken {
        /// The stage.
        stage: String,
        /// How many of its calls failed in this transaction.
        calls: u32,
        /// How long the failing calls and the search for the guilty records took.
        spent: Duration,
        /// The last of the faults.
        fault: Fault,
        /// Where the first record of that last faulty call came from.
        partition: i32,
        /// The offset there.
        offset: i64,
    },
    /// This record makes the stage fail, and the stage is set to `on-error = "stop"`.
    #[error(
        "stage {stage:?} failed at partition {partition} offset {offset}: {fault}; mend the plugin \
         or the record, or set another on-error"
    )]
    GuiltyRecord {
        /// The stage.
        stage: String,
        /// What it did.
        fault: Fault,
        /// Where the record came from.
        partition: i32,
        /// The offset there.
        offset: i64,
    },
    /// A stage turns more records into dead letters than its share; the topic would drain there.
    #[error(
        "stage {stage:?} rejected {rejected} of the last {seen} records, more than \
         reject-share-max = {share_max}; the commonest reason is: {reason}; mend the stage or the \
         input, or raise reject-share-max in [dead-letters] (1 switches this check off)"
    )]
    TooManyRejects {
        /// The stage; `decode` for records that are no JSON objects.
        stage: String,
        /// Dead letters among those last records.
        rejected: u64,
        /// How many records that were.
        seen: u64,
        /// The share that may not be passed.
        share_max: f64,
        /// The commonest reason of late.
        reason: String,
    },
    /// A plugin could not be started again after a fault: no record's doing.
    #[error("stage {stage:?}: {message}")]
    Instance {
        /// The stage.
        stage: String,
        /// Why there is no new instance.
        message: String,
    },
    /// The outputs of this batch would take more memory than they may. Less of it may well fit:
    /// run the batch in two halves, and stop only where one record alone is too much.
    #[error(
        "the outputs of {records} records take more than output-batch = {bytes_max} bytes; \
         raise it, or lower batch-records, in [limits]"
    )]
    OutputTooLarge {
        /// How many records were in the batch.
        records: usize,
        /// The limit.
        bytes_max: usize,
    },
}
