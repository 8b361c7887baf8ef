//! The generation that a worker runs: taken between two transactions, watched while it is on
//! probation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::Control;
use super::failure::Failure;
use super::job::Delivery;
use super::offers::Taken;
use super::run::Worker;
use super::trial::{Errors, Rates, Trial};
use crate::chain::{Place, Processed, Stop};

/// How often a worker whose generation is condemned looks for another.
const WAIT: Duration = Duration::from_millis(2);

/// The running generation, as one worker has it.
pub(super) struct Running {
    pub trial: Arc<Trial>,
    /// The value of the header that outputs are stamped with.
    pub stamp: String,
    /// Records that are committed.
    records: u64,
    since: Instant,
    is_watched: bool,
    errors: Errors,
}

impl Running {
    pub fn new(trial: Arc<Trial>, worker: usize, errors: Errors) -> Self {
        trial.taken(worker);
        let is_watched = trial.probation.is_some();
        if !is_watched {
            trial.passed(worker);
        }
        let stamp = format!("{} {}", trial.number, trial.hash);
        Self { trial, stamp, records: 0, since: Instant::now(), is_watched, errors }
    }

    /// So much time has passed in a pause, and none of its probation.
    pub fn rested(&mut self, time: Duration) {
        self.since += time;
    }
}

impl Worker {
    /// Takes the newest generation if it is not the running one: what is open is committed first.
    /// False while there is none that may go on.
    pub(super) fn take_newest(&mut self) -> Result<bool, Failure> {
        if self.offers.newest() == self.running.trial.number {
            let goes_on = self.running.trial.condemned().is_none();
            if goes_on || Control::SwapInTransaction.is_on() {
                return Ok(true);
            }
            self.step("waiting for the rules to go back to");
            self.commit_or_wait()?;
            std::thread::sleep(WAIT);
            return Ok(false);
        }
        if !Control::SwapInTransaction.is_on() && !self.commit_or_wait()? {
            return Ok(false);
        }
        let Some(Taken { trial, chain, feeds }) = self.offers.take(self.number) else {
            return Ok(true);
        };
        let before = std::mem::take(&mut self.running.errors);
        let before = match self.running.trial.condemned() {
            None => before.known(),
            Some(_) => before.into_before(),
        };
        let errors = Errors::new(chain.stage_names(), before);
        self.tally.follow(&chain, &trial);
        (self.chain, self.feeds) = (chain, feeds);
        self.running = Running::new(trial, self.number, errors);
        tracing::debug!(worker = self.number, generation = self.running.trial.number, "taken");
        self.publish_now();
        Ok(true)
    }

    /// Counts what a batch did. At-least-once nothing of a batch is written that shows that its
    /// generation is broken: there is no transaction that could take it back.
    pub(super) fn ran(&mut self, processed: &Processed) -> Result<(), Failure> {
        self.running.errors.ran(processed);
        match self.job.delivery {
            Delivery::ExactlyOnce => Ok(()),
            Delivery::AtLeastOnce => self.check_generation(),
        }
    }

    /// Whether what is open may be committed. At-least-once it is written already, and was looked at
    /// before that.
    pub(super) fn may_commit(&mut self) -> Result<(), Failure> {
        match self.job.delivery {
            Delivery::ExactlyOnce => self.check_generation(),
            Delivery::AtLeastOnce => Ok(()),
        }
    }

    /// An error if this worker, or another, has found the running generation broken.
    fn check_generation(&mut self) -> Result<(), Failure> {
        let running = &self.running;
        if running.is_watched
            && !Control::NoProbation.is_on()
            && let Some(probation) = &running.trial.probation
            && let Some(reason) = running.errors.too_many(&running.trial, &probation.errors)
        {
            running.trial.condemn(reason);
        }
        match running.trial.condemned() {
            None => Ok(()),
            Some(reason) => Err(Failure::RolledBack(format!(
                "generation {} is given up: {reason}",
                running.trial.number
            ))),
        }
    }

    /// What a chain that does not go on leads to: back to the generation before while it is on
    /// probation, else the end. An input that is no JSON would be none to the rules before either.
    pub(super) fn stopped(&mut self, stop: &Stop) -> Failure {
        let decode = self.chain.place_name(Place::Decode);
        let is_input = matches!(stop, Stop::TooManyRejects { stage, .. } if stage == decode);
        if is_input || !self.running.is_watched {
            return Failure::stop(stop.to_string());
        }
        let trial = &self.running.trial;
        trial.condemn(stop.to_string());
        Failure::RolledBack(format!("generation {} is given up: {stop}", trial.number))
    }

    /// Whether faults have cost so much that the transaction ends before its time. Not on
    /// probation, where as much as possible is to be gone back from.
    pub(super) fn is_strained(&self) -> bool {
        !self.running.is_watched && self.chain.is_strained()
    }

    /// Whether each batch is committed by itself: at-least-once on probation, so that nothing that was
    /// written before the generation turned out to be broken comes again.
    pub(super) fn is_cautious(&self) -> bool {
        self.running.is_watched && self.job.delivery == Delivery::AtLeastOnce
    }

    /// So many records are committed with the running generation.
    pub(super) fn generation_committed(&mut self, records: u64) {
        let running = &mut self.running;
        if records > 0 && running.records == 0 {
            running.trial.processed(self.number);
        }
        running.records += records;
        running.errors.committed();
        self.is_sample_due = true;
        self.end_probation();
    }

    /// The errors that are usual in this worker, by name of the stage.
    pub(super) fn usual_errors(&self) -> Rates {
        self.running.errors.known()
    }

    /// The transaction is given up.
    pub(super) fn generation_dropped(&mut self) {
        self.running.errors.clear();
    }

    /// Ends the probation when its time has come.
    pub(super) fn end_probation(&mut self) {
        let running = &mut self.running;
        if let (true, Some(probation)) = (running.is_watched, &running.trial.probation)
            && (running.records >= probation.records || running.since.elapsed() >= probation.time)
        {
            running.is_watched = false;
            running.trial.passed(self.number);
        }
    }
}
