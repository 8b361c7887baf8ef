//! Why windows cannot go on.

/// Why windows cannot go on. Each stops the pipeline: guessing would lose or repeat counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by another version of this program.
    #[error(
        "{what} has format {found}, and this version reads format {reads}; run the version that \
         wrote it, or start anew"
    )]
    Format {
        /// What was read.
        what: String,
        /// The version found.
        found: u32,
        /// The version that can be read.
        reads: u32,
    },
    /// Not what this program writes.
    #[error(
        "{what} cannot be read: {problem}; if something else writes to its topic, stop that, then \
         start anew"
    )]
    Corrupt {
        /// What was read.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// The group's offset is not the one that was committed with the state.
    #[error(
        "the committed offset is {}, but {what} was committed with {stored}: offsets were changed \
         from outside, and going on would count wrongly; set offsets and windows together",
        .committed.map_or("missing".to_owned(), |offset| offset.to_string())
    )]
    Offset {
        /// What was read.
        what: String,
        /// The offset that the group has committed, if any.
        committed: Option<i64>,
        /// The offset that was stored.
        stored: i64,
    },
    /// Groups lie elsewhere now.
    #[error(
        "the windows' state was made with {stored} merge partitions, and their topics have {now}: \
         groups would go to other partitions than their counts; make the topics with {stored} \
         partitions again, or start anew"
    )]
    Merges {
        /// How many there were.
        stored: usize,
        /// How many there are.
        now: usize,
    },
    /// A limit of a window's state is reached.
    #[error(
        "window {window:?} holds more than {limit} {unit} open in merge partition {partition}; \
         raise its `{unit}-max`, make it or `grace` shorter, or group by a field with fewer values"
    )]
    Limit {
        /// The window's name.
        window: String,
        /// The merge partition.
        partition: i32,
        /// `keys` or `bytes`.
        unit: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A bug in the caller: events of a partition that was not adopted.
    #[error(
        "window {window:?} was given an event of partition {partition}, which it does not hold"
    )]
    NotHeld {
        /// The window's name.
        window: String,
        /// The partition.
        partition: i32,
    },
}

impl StateError {
    /// Whether setting offsets and windows anew mends it, which whoever knows the command says.
    pub fn is_mended_by_reset(&self) -> bool {
        matches!(
            self,
            Self::Format { .. } | Self::Corrupt { .. } | Self::Offset { .. } | Self::Merges { .. }
        )
    }

    pub(super) fn check_offset(
        what: impl FnOnce() -> String,
        stored: i64,
        committed: Option<i64>,
    ) -> Result<(), Self> {
        if committed == Some(stored) {
            return Ok(());
        }
        Err(Self::Offset { what: what(), committed, stored })
    }
}
