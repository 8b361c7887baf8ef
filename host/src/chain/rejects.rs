//! The share of dead letters that a stage made of the last records.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::{Limits, Stop};

/// What one stage, or decoding, did to the last records.
#[derive(Debug, Default)]
pub(super) struct Rejects {
    /// Records and dead letters of the last batches.
    batches: VecDeque<(u64, u64)>,
    /// How many of them belong to the running transaction.
    running: usize,
    /// How many of these were there before the running batch.
    before_run: usize,
    seen: u64,
    rejected: u64,
    /// How often each reason came lately: halved now and then, so that old ones fade.
    reasons: HashMap<String, u64>,
}

/// Different reasons that are counted at a time; a reason that names values may have any number.
const REASONS_MAX: usize = 64;

impl Rejects {
    /// Counts the reason of a dead letter; [`Rejects::batch`] counts the dead letter itself.
    pub(super) fn reason(&mut self, message: &str) {
        if let Some(count) = self.reasons.get_mut(message) {
            *count += 1;
            return;
        }
        if self.reasons.len() >= REASONS_MAX {
            self.reasons.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
        if self.reasons.len() < REASONS_MAX {
            self.reasons.insert(message.to_owned(), 1);
        }
    }

    /// What was counted so far stays, whatever becomes of the next batches.
    pub(super) fn transaction_started(&mut self) {
        self.running = 0;
    }

    /// The batches since the transaction began come again.
    pub(super) fn transaction_failed(&mut self) {
        self.forget_behind(0);
    }

    /// A batch is about to run, and may have to run again in parts.
    pub(super) fn run_started(&mut self) {
        self.before_run = self.running;
    }

    /// The batch comes again.
    pub(super) fn run_failed(&mut self) {
        self.forget_behind(self.before_run);
    }

    /// Keeps so many of the transaction's batches.
    fn forget_behind(&mut self, kept: usize) {
        while self.running > kept {
            self.running -= 1;
            let Some((records, rejected)) = self.batches.pop_back() else { break };
            self.seen -= records;
            self.rejected -= rejected;
        }
    }

    /// Counts a batch, and stops where too many of the last records became dead letters.
    pub(super) fn batch(
        &mut self,
        stage: &str,
        records: u64,
        rejected: u64,
        limits: &Limits,
    ) -> Result<(), Stop> {
        if records == 0 {
            return Ok(());
        }
        self.batches.push_back((records, rejected));
        self.running += 1;
        self.seen += records;
        self.rejected += rejected;
        while let Some(&(records, rejected)) = self.batches.front()
            && self.seen - records >= u64::from(limits.reject_window)
        {
            self.batches.pop_front();
            self.seen -= records;
            self.rejected -= rejected;
        }
        if self.rejected == 0 {
            self.reasons.clear();
        }
        let share = self.rejected as f64 / self.seen as f64;
        if self.seen < u64::from(limits.reject_seen_min) || share <= limits.reject_share_max {
            return Ok(());
        }
        let commonest = self.reasons.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        Err(Stop::TooManyRejects {
            stage: stage.to_owned(),
            rejected: self.rejected,
            seen: self.seen,
            share_max: limits.reject_share_max,
            reason: commonest.map(|(reason, _)| reason.clone()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_come_again_after_a_failed_commit_count_once() {
        let limits = Limits { reject_seen_min: 10, ..Limits::default() };
        let mut rejects = Rejects::default();
        assert_eq!(rejects.batch("s", 4, 0, &limits), Ok(()));
        for _ in 0..100 {
            rejects.transaction_started();
            assert_eq!(rejects.batch("s", 5, 4, &limits), Ok(()));
            rejects.transaction_failed();
        }
        rejects.transaction_started();
        assert_eq!(rejects.batch("s", 5, 4, &limits), Ok(()));
        rejects.transaction_started();
        rejects.transaction_failed();
        let stop = rejects.batch("s", 5, 4, &limits);
        assert!(
            matches!(stop, Err(Stop::TooManyRejects { rejected: 8, seen: 14, .. })),
            "{stop:?}"
        );
    }
}
