//! How a new generation comes to the workers: one number that each of them looks at between two
//! batches, and a place for each chain that is only touched when the number has changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::trial::Trial;
use crate::chain::Chain;
use crate::shadow::Feed;

/// The newest generation, with a chain for each worker that has not taken its own yet.
pub struct Offers {
    newest: AtomicU64,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    trial: Arc<Trial>,
    chains: Vec<Option<Chain>>,
    feeds: Vec<Feed>,
}

/// A generation as one worker takes it.
pub(super) struct Taken {
    pub trial: Arc<Trial>,
    pub chain: Chain,
    /// The candidates that are to see its batches.
    pub feeds: Vec<Feed>,
}

impl Offers {
    /// The generation that the workers start with; one chain each, and the candidates beside it.
    pub fn new(trial: Arc<Trial>, chains: Vec<Chain>, feeds: Vec<Feed>) -> Self {
        let newest = AtomicU64::new(trial.number);
        Self { newest, waiting: Mutex::new(Waiting::new(trial, chains, feeds)) }
    }

    /// The only generation that there will ever be.
    pub fn fixed(hash: &str, chains: Vec<Chain>) -> Self {
        Self::new(Arc::new(Trial::good(1, hash, chains.len())), chains, Vec::new())
    }

    /// Puts a generation of a higher number in the place of the one before. All workers see it at
    /// the same moment, so that a partition which moves from one to another never goes back to an
    /// older one.
    pub fn offer(&self, trial: Arc<Trial>, chains: Vec<Chain>, feeds: Vec<Feed>) {
        let number = trial.number;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *waiting, Waiting::new(trial, chains, feeds));
        self.newest.store(number, Ordering::Release);
        drop(waiting);
        // Chains that nobody took are taken down without anybody waiting for it.
        drop(before);
    }

    /// What the newest generation is to the workers.
    pub fn trial(&self) -> Arc<Trial> {
        Arc::clone(&self.waiting.lock().unwrap_or_else(PoisonError::into_inner).trial)
    }

    /// How many workers there are chains for.
    pub fn workers(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).chains.len()
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The newest generation with this worker's chain, unless it was taken already.
    pub(super) fn take(&self, worker: usize) -> Option<Taken> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = waiting.chains.get_mut(worker)?.take()?;
        let feeds = match waiting.chains.iter().all(Option::is_none) {
            // A comparison ends with its last feed: none is kept where nobody will take it.
            true => std::mem::take(&mut waiting.feeds),
            false => waiting.feeds.clone(),
        };
        Some(Taken { trial: waiting.trial.clone(), chain, feeds })
    }
}

impl Waiting {
    fn new(trial: Arc<Trial>, chains: Vec<Chain>, feeds: Vec<Feed>) -> Self {
        Self { trial, chains: chains.into_iter().map(Some).collect(), feeds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        let chain = Chain::new(Vec::new(), Vec::new(), crate::chain::Limits::default());
        chain.expect("no stages have no problems")
    }

    #[test]
    fn a_worker_gets_the_newest_generation_once() {
        let offers = Offers::fixed("a", vec![chain(), chain()]);
        assert_eq!(offers.take(0).map(|taken| taken.trial.number), Some(1));
        let trial = |number| Arc::new(Trial::good(number, "b", 2));
        offers.offer(trial(2), vec![chain(), chain()], Vec::new());
        offers.offer(trial(3), vec![chain(), chain()], Vec::new());
        assert_eq!(offers.newest(), 3);
        for worker in 0..2 {
            assert_eq!(offers.take(worker).map(|taken| taken.trial.number), Some(3));
            assert!(offers.take(worker).is_none());
        }
    }
}
