//! What others see of reloading.

use std::sync::Arc;

use serde::Serialize;

use crate::shadow::{self, Shadow};

/// The rules that run, and what became of the last change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The newest generation, which a worker takes between two transactions.
    pub generation: u64,
    /// What names its rules across processes.
    pub hash: String,
    /// Whether it is watched for errors still, and can be gone back from.
    pub on_probation: bool,
    /// Its stages, in order.
    pub stages: Vec<StageInfo>,
    /// Its candidates beside them, and in what they differ.
    pub shadows: Vec<shadow::Status>,
    /// Where that comes from.
    #[serde(skip)]
    pub candidates: Vec<Arc<Shadow>>,
    /// The last time that files or someone asked for other rules, or the process took them back.
    pub last_reload: Option<Outcome>,
    /// How often each of these has happened.
    #[serde(skip)]
    pub counts: Counts,
}

/// A stage and its plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageInfo {
    /// The stage's name.
    pub name: String,
    /// The plugin's.
    pub plugin: String,
    /// What names the plugin's file.
    pub hash: String,
}

/// Reloads so far, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Offered to the workers.
    pub offered: u64,
    /// Other files, the same rules.
    pub unchanged: u64,
    /// Left the rules as they were.
    pub refused: u64,
    /// Taken back.
    pub rolled_back: u64,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The workers run it, or will between two transactions.
    Offered,
    /// The rules are the ones that run.
    Unchanged,
    /// Refused because something is wrong with the files: one word for both, as in the metric and
    /// the log; whoever asked is answered with another code.
    #[serde(rename = "refused")]
    Invalid,
    /// The files are right, but cannot be taken now: they need a restart, or were given up before.
    Refused,
    /// The generation was given up after it had been offered.
    RolledBack,
}

/// A reload that has come to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// What became of it.
    pub outcome: Kind,
    /// The newest generation then.
    pub generation: u64,
    /// What names its rules.
    pub hash: String,
    /// What changed, or why nothing did, in one line.
    pub message: String,
    /// Whether every worker runs that generation; none where the workers were offered nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<bool>,
}

impl Outcome {
    /// Whether the rules that run are now those of the files.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Kind::Offered | Kind::Unchanged)
    }
}
