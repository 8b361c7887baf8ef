//! The generations that ran lately, with the files that they were made of: kept in the state folder,
//! for a person who wants to see them or to have one back. Nothing that runs depends on it.
//!
//! ```text
//! <state>/history/blobs/<SHA-256>          a file, as it was read
//! <state>/history/generations/00000012.json a record: which files, when, where, what became of it
//! <state>/history/processes/<process>.lock  held while that process runs
//! <state>/history/lock                      held by whoever changes anything
//! ```
//!
//! All of it is its owner's alone. Several processes, and several plugins folders, may share it.

mod choose;
mod keep;
mod put_back;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use choose::{ChoiceError, find, given_up, previous};
pub use keep::Owner;
pub(super) use keep::{Keeper, Source};
pub use put_back::{Folder, PutBack, PutBackError};
pub use store::Store;

/// What became of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A process began with it.
    Started,
    /// The workers were offered it; its probation had not ended when it was last heard of.
    Offered,
    /// It came through its probation, or needed none.
    Passed,
    /// It was given up; the record has the reason.
    RolledBack,
    /// It is what the plugins folder held when a rollback by hand replaced it. Nobody is known to
    /// have run it.
    Saved,
}

impl Outcome {
    /// Its name in the history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Offered => "offered",
            Self::Passed => "passed",
            Self::RolledBack => "rolled-back",
            Self::Saved => "saved",
        }
    }
}

/// One generation, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the history of this state folder: rising, never used again.
    pub number: u64,
    /// When it was recorded, in milliseconds since the epoch.
    pub at: i64,
    /// The plugins folder, an absolute path.
    pub plugins: String,
    /// Who ran it; none for what was only saved.
    pub run: Option<Run>,
    /// What names the rules; none for what was only saved.
    pub hash: Option<String>,
    /// What names the files.
    pub content: String,
    /// What was different from the generation before, in one line.
    pub changes: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was given up.
    pub reason: Option<String>,
    /// Its files: name in the plugins folder, and SHA-256.
    pub files: BTreeMap<String, String>,
}

/// Where a generation ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The pipeline's name: the consumer group.
    pub pipeline: String,
    /// The process's name in the group.
    pub instance: String,
    /// The process, by a name that no other has; see [`Store::is_running`].
    pub process: String,
    /// The generation's number in that process.
    pub generation: u64,
}

/// A record that has no number yet.
pub(super) struct Entry {
    pub plugins: String,
    pub run: Option<Run>,
    pub hash: Option<String>,
    pub content: String,
    pub changes: String,
    pub outcome: Outcome,
}

impl Record {
    /// Whether its rules ran and nobody had to go back from them.
    pub fn ran_well(&self) -> bool {
        matches!(self.outcome, Outcome::Started | Outcome::Offered | Outcome::Passed)
    }
}

/// The history could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub struct HistoryError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl HistoryError {
    fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { doing, path, source }
    }
}

/// The name of a plugins folder in the history: absolute, links left as they are, so that a link that
/// is put in the place of the folder changes nothing.
pub fn folder_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.components().collect::<PathBuf>().to_string_lossy().into_owned()
}

/// In which of these, newest first, one can see what every live process runs: the newest that each of
/// them has not gone back from, by number.
pub fn running(records: &[Record], is_running: impl Fn(&str) -> bool) -> Vec<u64> {
    let mut processes: BTreeMap<&str, bool> = BTreeMap::new();
    let mut running = Vec::new();
    for record in records.iter().filter(|record| record.ran_well()) {
        let Some(run) = &record.run else { continue };
        if !processes.contains_key(&*run.process) {
            let is_running = is_running(&run.process);
            processes.insert(&run.process, is_running);
            running.extend(is_running.then_some(record.number));
        }
    }
    running
}
