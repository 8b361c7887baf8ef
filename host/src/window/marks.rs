//! What the topics know of an open key.

/// Whether a key's accumulator has changed, and whether records of it exist that must be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Its state is not what the state topic has.
    pub(super) is_changed: bool,
    /// The state topic has a record of it.
    pub(super) is_stored: bool,
    /// Its value is not what the results topic has; only with `Emit::Updates`.
    pub(super) is_unsent: bool,
    /// The results topic has a record of it.
    pub(super) is_sent: bool,
}

impl Marks {
    /// What is restored from the state topic: results were committed with it.
    pub(super) const RESTORED: Self =
        Self { is_changed: false, is_stored: true, is_unsent: false, is_sent: true };

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            is_changed: self.is_changed | other.is_changed,
            is_stored: self.is_stored | other.is_stored,
            is_unsent: self.is_unsent | other.is_unsent,
            is_sent: self.is_sent | other.is_sent,
        }
    }
}
