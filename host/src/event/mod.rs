//! The batch: events decoded once, their fields as dictionary columns, edits spliced into the
//! original bytes. Knows neither wasmtime nor Kafka, and never reads a clock.

mod column;
mod plan;
mod value;
mod verdict;

pub use column::Column;
pub use plan::{Form, Plan, Read, Source};
pub use value::{OwnedValue, Value};
pub use verdict::{Change, Edit, Edits, Fate, Fates, Index, Packed, Verdict};
