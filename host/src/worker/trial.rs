//! What all workers of the process, and whoever offered it, know of one generation; and when its
//! errors are too many.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::chain::{Processed, StageCounts};

/// Errors by name of the stage.
pub type Rates = HashMap<String, Rate>;

/// When a generation is one to go back from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorLimits {
    /// The share of a stage's records…
    pub share_max: f64,
    /// …and the number of them that must be errors.
    pub errors_min: u64,
}

/// For how long a generation is watched, by each worker; whichever comes first ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probation {
    /// So many records are committed.
    pub records: u64,
    /// So much time has passed since the worker took it.
    pub time: Duration,
    /// When it is one to go back from.
    pub errors: ErrorLimits,
}

/// The errors of one stage: records that it rejected, and those that made it fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Records that came to it.
    pub records: u64,
    /// Errors among them.
    pub errors: u64,
}

impl Rate {
    /// What a stage did in one batch.
    pub fn of(counts: &StageCounts) -> Self {
        Self { records: counts.records, errors: counts.rejected + counts.faults.total() }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.errors += other.errors;
    }

    fn share(self) -> f64 {
        if self.records == 0 { 0.0 } else { self.errors as f64 / self.records as f64 }
    }
}

impl ErrorLimits {
    /// Whether a stage with these errors is broken, when it, or its predecessor, had those before.
    pub fn are_passed(&self, now: Rate, before: Rate) -> bool {
        now.errors >= self.errors_min
            && now.share() >= self.share_max
            && now.share() > 2.0 * before.share()
    }
}

/// One generation: its name, and what has become of it in each worker.
#[derive(Debug)]
pub struct Trial {
    /// Rising; the one that the process starts with is 1.
    pub number: u64,
    /// What names its rules across processes.
    pub hash: String,
    /// What names the plugin of each stage, in their order.
    pub plugins: Vec<String>,
    /// None for one that is known to be good.
    pub probation: Option<Probation>,
    /// What is usual, by name of the stage: what all workers have seen of it so far.
    usual: Rates,
    workers: Vec<Stand>,
    /// When the first record was committed that it processed, and by which worker.
    first: OnceLock<(Instant, usize)>,
    condemned: OnceLock<String>,
}

/// How far one worker is with it.
#[derive(Debug, Default)]
struct Stand {
    has_taken: AtomicBool,
    has_passed: AtomicBool,
}

impl Trial {
    /// One that no worker has taken yet, and that is known to be good.
    pub fn good(number: u64, hash: &str, workers: usize) -> Self {
        Self::new(number, hash, None, Rates::new(), workers)
    }

    /// One that no worker has taken yet.
    pub fn new(
        number: u64,
        hash: &str,
        probation: Option<Probation>,
        usual: Rates,
        workers: usize,
    ) -> Self {
        Self {
            number,
            hash: hash.to_owned(),
            plugins: Vec::new(),
            probation,
            usual,
            workers: (0..workers).map(|_| Stand::default()).collect(),
            first: OnceLock::new(),
            condemned: OnceLock::new(),
        }
    }

    /// The same with what names the plugin of each stage.
    pub fn with_plugins(self, plugins: impl Iterator<Item = String>) -> Self {
        Self { plugins: plugins.collect(), ..self }
    }

    /// Whether every worker runs it, or has run it.
    pub fn is_taken(&self) -> bool {
        self.workers.iter().all(|stand| stand.has_taken.load(Ordering::Relaxed))
    }

    /// Whether no worker watches it any more.
    pub fn has_passed(&self) -> bool {
        self.workers.iter().all(|stand| stand.has_passed.load(Ordering::Relaxed))
    }

    /// When, and by which worker, the first record was committed that it processed.
    pub fn first(&self) -> Option<(Instant, usize)> {
        self.first.get().copied()
    }

    /// Why no worker may commit anything of it any more.
    pub fn condemned(&self) -> Option<&str> {
        self.condemned.get().map(String::as_str)
    }

    /// Says that nothing of it may be committed any more. The first reason stays.
    pub fn condemn(&self, reason: String) {
        let _ = self.condemned.set(reason);
    }

    pub(super) fn taken(&self, worker: usize) {
        self.workers[worker].has_taken.store(true, Ordering::Relaxed);
    }

    pub(super) fn passed(&self, worker: usize) {
        self.workers[worker].has_passed.store(true, Ordering::Relaxed);
    }

    pub(super) fn processed(&self, worker: usize) {
        let _ = self.first.set((Instant::now(), worker));
    }
}

/// What is counted of the errors before a swap looks at about so many records.
const MEMORY_RECORDS: u64 = 100_000;
/// What a worker has seen of a stage says little about it before it is so many records.
const KNOWN_RECORDS: u64 = 1_000;

/// The errors of the running generation in one worker, by stage.
#[derive(Debug, Default)]
pub(super) struct Errors {
    stages: Vec<StageErrors>,
    /// What the generation before did, by name of the stage.
    before: Rates,
}

#[derive(Debug)]
struct StageErrors {
    name: String,
    committed: Rate,
    open: Rate,
}

impl Errors {
    pub fn new(stages: &[String], before: Rates) -> Self {
        let stage = |name: &String| StageErrors {
            name: name.clone(),
            committed: Rate::default(),
            open: Rate::default(),
        };
        Self { stages: stages.iter().map(stage).collect(), before }
    }

    /// A batch went through the stages.
    pub fn ran(&mut self, processed: &Processed) {
        for (stage, counts) in self.stages.iter_mut().zip(&processed.stages) {
            stage.open.add(Rate::of(counts));
        }
    }

    /// The transaction is committed.
    pub fn committed(&mut self) {
        for stage in &mut self.stages {
            stage.committed.add(std::mem::take(&mut stage.open));
            while stage.committed.records > MEMORY_RECORDS {
                stage.committed.records /= 2;
                stage.committed.errors /= 2;
            }
        }
    }

    /// The transaction is given up: its records come again.
    pub fn clear(&mut self) {
        self.stages.iter_mut().for_each(|stage| stage.open = Rate::default());
    }

    /// The stage whose errors pass the limits, in this transaction or since the generation was
    /// taken, as a sentence. A worker that has seen little of the stage before, since it had no
    /// partitions, goes by what was usual with all.
    pub fn too_many(&self, trial: &Trial, limits: &ErrorLimits) -> Option<String> {
        self.stages.iter().find_map(|stage| {
            let rate = |rates: &Rates| rates.get(&stage.name).copied().unwrap_or_default();
            let (own, usual) = (rate(&self.before), rate(&trial.usual));
            let before = if own.records < KNOWN_RECORDS { usual } else { own };
            let mut since = stage.committed;
            since.add(stage.open);
            let over =
                [stage.open, since].into_iter().find(|rate| limits.are_passed(*rate, before))?;
            Some(format!(
                "stage {:?} failed on or rejected {} of {} records, before {} of {}",
                stage.name, over.errors, over.records, before.errors, before.records
            ))
        })
    }

    /// What the next generation is held against: what this one did, and, where that is little, what
    /// those before it did as well. Nothing that was given up is in it.
    pub fn known(&self) -> Rates {
        let known = |stage: &StageErrors| {
            let mut rate = stage.committed;
            if rate.records < KNOWN_RECORDS {
                rate.add(self.before.get(&stage.name).copied().unwrap_or_default());
            }
            (stage.name.clone(), rate)
        };
        self.stages.iter().map(known).collect()
    }

    /// What it was held against itself, for the successor of a generation that was condemned.
    pub fn into_before(self) -> Rates {
        self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ErrorLimits = ErrorLimits { share_max: 0.05, errors_min: 20 };

    fn rate(errors: u64, records: u64) -> Rate {
        Rate { records, errors }
    }

    #[test]
    fn errors_are_too_many_by_number_share_and_what_was_usual() {
        let check = |now, before, expected| {
            assert_eq!(LIMITS.are_passed(now, before), expected, "{now:?} {before:?}");
        };
        check(rate(20, 400), rate(0, 0), true);
        check(rate(19, 19), rate(0, 0), false);
        check(rate(20, 401), rate(0, 0), false);
        check(rate(40, 400), rate(5, 100), false);
        check(rate(41, 400), rate(5, 100), true);
        check(rate(0, 0), rate(0, 0), false);
    }

    /// The stage `a`, whose errors are told if they are too many.
    struct One {
        errors: Errors,
        trial: Trial,
    }

    impl One {
        fn new(before: Rates, usual: Rates) -> Self {
            let errors = Errors::new(&["a".to_owned()], before);
            Self { errors, trial: Trial::new(2, "hash", None, usual, 1) }
        }

        fn ran(&mut self, rejected: u64, records: u64) {
            let counts = StageCounts { records, rejected, ..StageCounts::default() };
            self.errors.ran(&Processed { stages: vec![counts], ..Processed::default() });
        }

        fn committed(mut self, rejected: u64, records: u64) -> Self {
            self.ran(rejected, records);
            self.errors.committed();
            self
        }

        #[track_caller]
        fn check(&self, expected: Option<&str>) {
            let told = self.errors.too_many(&self.trial, &LIMITS);
            match expected {
                None => assert_eq!(told, None),
                Some(part) => {
                    assert!(told.as_ref().is_some_and(|told| told.contains(part)), "{told:?}")
                }
            }
        }
    }

    fn rates(errors: u64, records: u64) -> Rates {
        Rates::from([("a".to_owned(), rate(errors, records))])
    }

    #[test]
    fn a_transaction_counts_by_itself_and_with_what_was_committed_but_not_once_it_is_given_up() {
        let mut one = One::new(Rates::new(), Rates::new()).committed(10, 100);
        one.check(None);
        one.ran(10, 100);
        one.check(Some("20 of 200"));
        one.errors.clear();
        one.check(None);
        // A good past does not hide a transaction of which everything is bad.
        let mut one = one.committed(0, 50_000);
        one.ran(100, 100);
        one.check(Some("100 of 100"));
    }

    #[test]
    fn what_was_usual_is_no_error_and_little_is_not_taken_for_usual() {
        let first = One::new(Rates::new(), Rates::new()).committed(300, 1_000);
        // Ten records without an error are no reason to expect none.
        let second = One::new(first.errors.known(), Rates::new()).committed(0, 10);
        let mut third = One::new(second.errors.known(), Rates::new());
        third.ran(50, 100);
        third.check(None);
        third.ran(50, 50);
        third.check(Some("of 150"));
        let fixed = One::new(rates(300, 1_000), Rates::new()).committed(0, 1_000);
        let mut next = One::new(fixed.errors.known(), Rates::new());
        next.ran(50, 100);
        next.check(Some("before 0 of 1000"));
    }

    #[test]
    fn a_worker_that_had_no_partitions_goes_by_what_all_have_seen() {
        let mut one = One::new(Rates::new(), rates(300, 1_000));
        one.ran(50, 100);
        one.check(None);
        let mut one = One::new(rates(0, 1_000), rates(300, 1_000));
        one.ran(50, 100);
        one.check(Some("50 of 100"));
    }
}
