//! What a rule answered to a batch (`verdict` in `wit/rules.wit`), not yet checked.

use super::OwnedValue;

/// Many texts in one buffer: text `i` is `bytes[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed {
    /// The texts, one behind the other.
    pub bytes: Vec<u8>,
    /// Where each text ends.
    pub ends: Vec<u32>,
}

/// How answers spread over the events of the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Index {
    /// Every event has entry 0.
    Constant,
    /// Event `i` has entry `i`.
    Identity,
    /// Event `i` has the entry that it has in this column of the rule's batch.
    AsColumn(u32),
    /// Event `i` has entry `index[i]`.
    Each(Vec<u32>),
}

/// What becomes of one field of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// It stays byte for byte.
    Leave,
    /// The member is taken out, if it is there.
    Remove,
    /// The member gets this value.
    Set(OwnedValue),
}

/// The entries of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edits {
    /// One edit per entry.
    Values(Vec<Edit>),
    /// Every entry sets a text.
    Texts(Packed),
}

/// The edits of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// A place in the plan's `writes`.
    pub write: u32,
    /// The entries.
    pub edits: Edits,
    /// Which event has which of them.
    pub index: Index,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It goes on.
    Keep,
    /// It is left out of the output.
    Drop,
    /// It goes to the dead letters, with this reason.
    Reject(String),
}

/// The fates of all events of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Fates {
    /// The entries.
    pub entries: Vec<Fate>,
    /// Which event has which of them.
    pub index: Index,
}

/// A rule's answer to a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// None: every event is kept.
    pub fates: Option<Fates>,
    /// The edits.
    pub changes: Vec<Change>,
}
