//! The batch: events decoded once, their fields as dictionary columns, edits spliced into the
//! original bytes. Knows neither wasmtime nor Kafka, and never reads a clock.

mod batch;
#[cfg(test)]
mod batch_tests;
mod column;
mod edits;
mod input;
mod intern;
mod layout;
mod plan;
mod pointer;
mod render;
mod scan;
mod splice;
mod text;
mod value;
mod verdict;

pub use batch::Batch;
pub use column::Column;
pub use edits::{FieldChange, Spread, WrongAnswer};
pub use input::{EventInput, Header, Invalid};
pub use layout::{ColumnId, FieldId, Layout, LayoutBuilder, WriteId};
pub use plan::{Form, Plan, Read, Source};
pub use pointer::{PointerError, check_plan};
pub use splice::Written;
pub use value::{OwnedValue, Value};
pub use verdict::{Change, Edit, Edits, Fate, Fates, Index, Packed, Verdict};
