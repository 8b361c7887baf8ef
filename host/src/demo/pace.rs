//! How many events are due: an even rate that never makes up for more than a second. Takes the
//! time as an argument.

use std::time::{Duration, Instant};

/// Events become due in steps of this.
pub const STEP: Duration = Duration::from_millis(5);

/// More than this much is never made up for: after a longer stall the schedule starts again.
const ARREARS_MAX: Duration = Duration::from_secs(1);

/// At most so many events between two looks at the clock and the stop flag.
const BURST_MAX: u64 = 2_000;

/// A schedule for sending.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Events per second; none: as fast as they are taken.
    rate: Option<u32>,
    since: Instant,
    /// Events that were taken since then.
    taken: u64,
}

impl Pace {
    /// A schedule that starts now.
    pub fn new(rate: Option<u32>, now: Instant) -> Self {
        Self { rate, since: now, taken: 0 }
    }

    /// How many events are due, at most a burst of them; they count as taken.
    pub fn take(&mut self, now: Instant) -> u64 {
        let Some(rate) = self.rate else { return BURST_MAX };
        let elapsed = now.saturating_duration_since(self.since);
        let due = (elapsed.as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
        let arrears_max = (u128::from(rate) * ARREARS_MAX.as_millis() / 1_000).max(1) as u64;
        if due.saturating_sub(self.taken) > arrears_max {
            *self = Self { rate: self.rate, since: now, taken: 0 };
            return 0;
        }
        let take = due.saturating_sub(self.taken).min(BURST_MAX);
        self.taken += take;
        take
    }

    /// For how long to wait after `take` gave this many.
    pub fn rest(&self, took: u64) -> Duration {
        // After a full burst more may be due.
        if took == BURST_MAX { Duration::ZERO } else { STEP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_however_uneven_the_looks_at_the_clock() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1_000), start);
        let mut taken = 0;
        for millis in [0, 1, 3, 3, 500, 507, 999, 1_000] {
            taken += pace.take(start + Duration::from_millis(millis));
            assert_eq!(taken, millis);
        }
    }

    #[test]
    fn a_slow_rate_is_not_rounded_to_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1), start);
        let taken: u64 =
            (0..=10_000).step_by(5).map(|ms| pace.take(start + Duration::from_millis(ms))).sum();
        assert_eq!(taken, 10);
    }

    #[test]
    fn a_long_stall_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1_000), start);
        let after = start + Duration::from_secs(60);
        assert_eq!(pace.take(after), 0);
        assert_eq!(pace.take(after + Duration::from_millis(10)), 10);
    }

    #[test]
    fn a_burst_has_an_end() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1_000_000), start);
        let took = pace.take(start + Duration::from_millis(500));
        assert_eq!(took, BURST_MAX);
        assert_eq!(pace.rest(took), Duration::ZERO);
        let mut unpaced = Pace::new(None, start);
        assert_eq!(unpaced.take(start), BURST_MAX);
    }
}
