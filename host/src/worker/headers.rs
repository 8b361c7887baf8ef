//! The names of the headers that the host writes. They are part of its interface: other systems
//! read dead letters and late records by them.

/// Why the record is here: one of the stable reasons of [`crate::chain`] (`invalid-json`,
/// `rejected`, `trap`, …), or `late` in the topic of late records.
pub const REASON: &str = "dead-letter-reason";
/// The same for a person, at most 1 KiB.
pub const MESSAGE: &str = "dead-letter-message";
/// The stage that it happened in; for a late record the window.
pub const STAGE: &str = "dead-letter-stage";
/// The topic that the record came from.
pub const TOPIC: &str = "dead-letter-topic";
/// Its partition there, in decimal.
pub const PARTITION: &str = "dead-letter-partition";
/// Its offset there, in decimal.
pub const OFFSET: &str = "dead-letter-offset";
/// Its timestamp there, in milliseconds since the epoch, in decimal; missing if it had none.
pub const TIMESTAMP: &str = "dead-letter-timestamp";
/// How many bytes the original value had, in decimal: only on a dead letter that holds less
/// of it, because the whole did not fit into the topic.
pub const TRUNCATED: &str = "dead-letter-truncated";
/// Which rules made an output, with `[sink] stamp`: the generation's number in its process, a space,
/// and its hash. If a record comes from another pipeline that stamps, the last one counts.
pub const GENERATION: &str = "pipeline-generation";
