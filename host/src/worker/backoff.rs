//! How long a worker waits before it tries again, and when it gives up.

use std::time::{Duration, Instant};

use super::failure::Failure;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Being fenced this often… A process that only takes the id over and ends, or is about to, may need
/// some tries for it, each of which fences: as long as it meets with an open transaction.
const FENCED_MAX: usize = 5;
/// …within this time means that another process has the same identity.
const FENCED_WITHIN: Duration = Duration::from_secs(60);

/// See [`Backoff::is_stuck`].
const STUCK_EACH: u32 = 5;

/// Waits that double from failure to failure, until something is committed.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    fenced: Vec<Instant>,
}

impl Backoff {
    /// How long to wait now; an error where waiting would not help.
    pub fn failed(&mut self, failure: &Failure) -> Result<Duration, Failure> {
        let mut failures = self.failures;
        if matches!(failure, Failure::Fenced(_)) {
            self.fenced.retain(|at| at.elapsed() < FENCED_WITHIN);
            self.fenced.push(Instant::now());
            if self.fenced.len() >= FENCED_MAX {
                return Err(Failure::stop(format!(
                    "fenced {FENCED_MAX} times in {} s: another live process uses the same \
                     transactional id; give each process an --instance of its own ({failure})",
                    FENCED_WITHIN.as_secs()
                )));
            }
            // Commits between them do not make these waits short again: the other one needs them.
            failures = failures.max(self.fenced.len() as u32 - 1);
        }
        if matches!(failure, Failure::RolledBack(_)) {
            // The brokers did nothing wrong, and what comes next is another try.
            return Ok(Duration::ZERO);
        }
        let delay = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
        // A record that does not fit is known from now on, so there is nothing to wait for.
        if !matches!(failure, Failure::TooLarge(_)) {
            self.failures += 1;
        }
        Ok(delay)
    }

    /// How many failures there were since something was committed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether so many failures came in a row that new clients are worth a try: each fifth time.
    pub fn is_stuck(&self) -> bool {
        self.failures > 0 && self.failures.is_multiple_of(STUCK_EACH)
    }

    /// Something was committed.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_made_anew_at_each_fifth_failure_in_a_row() {
        let mut backoff = Backoff::default();
        assert!(!backoff.is_stuck(), "what is no failure of the brokers leaves them alone");
        let failure = Failure::Recover("a broker went away".into());
        let stuck = [0; 10].map(|_| {
            backoff.failed(&failure).expect("recoverable");
            backoff.is_stuck()
        });
        let (no, yes) = (false, true);
        assert_eq!(stuck, [no, no, no, no, yes, no, no, no, no, yes]);
        backoff.succeeded();
        assert!(!backoff.is_stuck());
    }

    #[test]
    fn waits_double_up_to_ten_seconds_until_something_is_committed() {
        let mut backoff = Backoff::default();
        let failure = Failure::Recover("a broker went away".into());
        let mut wait = || backoff.failed(&failure).expect("recoverable").as_millis();
        assert_eq!([wait(), wait(), wait(), wait()], [100, 200, 400, 800]);
        for _ in 0..40 {
            wait();
        }
        assert_eq!(wait(), 10_000);
        backoff.succeeded();
        assert_eq!(backoff.failed(&failure).expect("recoverable").as_millis(), 100);
    }

    #[test]
    fn fenced_again_and_again_names_the_other_process() {
        let mut backoff = Backoff::default();
        let failure = Failure::Fenced("fenced".into());
        for wait in [100, 200, 400, 800] {
            assert_eq!(backoff.failed(&failure).expect("recoverable").as_millis(), wait);
            backoff.succeeded();
        }
        let stop = backoff.failed(&failure).expect_err("the fifth time");
        assert!(stop.to_string().contains("--instance"), "{stop}");
    }
}
