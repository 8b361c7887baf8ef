//! Keeps what one process runs. Whatever goes wrong is a warning: no pipeline stops for its history.

use std::path::PathBuf;

use super::store::{Process, Store};
use super::{Entry, HistoryError, Outcome, Run};
use crate::pipeline::{Files, Generation};

/// Whose history is kept, and where.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The state folder.
    pub state_dir: PathBuf,
    /// The process's name in its group.
    pub instance: String,
}

/// The history of this process.
pub(in crate::reload) struct Keeper {
    store: Store,
    owner: Owner,
    plugins: String,
    /// None until something is kept, and where nothing is.
    process: Option<Process>,
}

/// The files of a generation: at hand, or those of another record.
pub(in crate::reload) enum Source {
    Files(Files),
    Record(Option<u64>),
}

impl Keeper {
    pub fn new(owner: Owner, plugins: String) -> Self {
        Self { store: Store::new(&owner.state_dir), owner, plugins, process: None }
    }

    /// Keeps a generation; the number of its record. None where the configuration wants no history,
    /// or it could not be written.
    pub fn keep(
        &mut self,
        number: u64,
        generation: &Generation,
        outcome: Outcome,
        changes: &str,
        from: Source,
    ) -> Option<u64> {
        let contents_max = generation.config.reload.history;
        if contents_max == 0 {
            // What this process runs from here on is not in the history.
            self.process = None;
            return None;
        }
        let kept = self.try_keep(number, generation, outcome, changes, from);
        let kept = kept.unwrap_or_else(|error| {
            let (generation, error) = (number, anyhow::Error::from(error));
            tracing::warn!(
                generation,
                "not kept in the history, so that `host plugin rollback` cannot bring it back: {error:#}"
            );
            None
        });
        if kept.is_some()
            && let Err(error) = self.store.prune(&self.plugins, contents_max)
        {
            let error = anyhow::Error::from(error);
            tracing::warn!("old generations stay in the history: {error:#}");
        }
        kept
    }

    fn try_keep(
        &mut self,
        number: u64,
        generation: &Generation,
        outcome: Outcome,
        changes: &str,
        from: Source,
    ) -> Result<Option<u64>, HistoryError> {
        if self.process.is_none() {
            self.process = Some(self.store.enter(&self.owner.instance)?);
        }
        let process = self.process.as_ref().map(|process| process.name.clone());
        let run = Run {
            pipeline: generation.config.name.clone(),
            instance: self.owner.instance.clone(),
            process: process.expect("entered above"),
            generation: number,
        };
        let entry = Entry {
            plugins: self.plugins.clone(),
            run: Some(run),
            hash: Some(generation.hash().to_owned()),
            content: generation.content().to_owned(),
            changes: changes.to_owned(),
            outcome,
        };
        match from {
            Source::Files(files) => self.store.add(entry, &files).map(Some),
            Source::Record(Some(of)) => self.store.repeat(entry, of).map(Some),
            // The warning about it was given when it could not be kept.
            Source::Record(None) => Ok(None),
        }
    }

    /// Notes what became of a generation that was kept.
    pub fn note(&self, record: Option<u64>, outcome: Outcome, reason: Option<&str>) {
        let Some(record) = record else { return };
        if let Err(error) = self.store.note(record, outcome, reason.map(str::to_owned)) {
            let (outcome, error) = (outcome.name(), anyhow::Error::from(error));
            tracing::warn!(record, outcome, "not noted in the history: {error:#}");
        }
    }
}
