//! What a rule said that it reads and writes (`plan` in `wit/rules.wit`), not yet checked.

/// Where a column comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A JSON Pointer into the event.
    Field(String),
    /// The record's timestamp.
    Timestamp,
    /// The record's key.
    Key,
    /// The last header of this name.
    Header(String),
}

/// How a dictionary is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a list of values.
    Values,
    /// In one buffer whenever every value is a text.
    Packed,
}

/// One column that a rule wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where it comes from.
    pub source: Source,
    /// The form of its dictionary.
    pub form: Form,
}

/// What a rule is going to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The columns of each batch.
    pub reads: Vec<Read>,
    /// The fields it may write, as JSON Pointers.
    pub writes: Vec<String>,
}
