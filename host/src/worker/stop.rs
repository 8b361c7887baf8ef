//! The request to stop, and waiting that looks for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::kafka::KafkaError;

/// How often a wait looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// A request to stop, shared by everything that waits. Once raised it stays.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    is_raised: AtomicBool,
    at: OnceLock<Instant>,
}

impl Stop {
    /// Asks everyone to finish what is in hand, commit it, and leave.
    pub fn raise(&self) {
        self.0.at.get_or_init(Instant::now);
        self.0.is_raised.store(true, Ordering::Relaxed);
    }

    /// Whether someone has asked.
    pub fn is_raised(&self) -> bool {
        self.0.is_raised.load(Ordering::Relaxed)
    }

    /// The flag itself, for calls that look at it while they wait.
    pub fn flag(&self) -> &AtomicBool {
        &self.0.is_raised
    }

    /// For how long someone has been waiting for the end; none if nobody has asked.
    pub fn raised_for(&self) -> Option<Duration> {
        self.0.at.get().map(Instant::elapsed)
    }

    /// Sleeps, unless or until a stop is asked for. False if it was.
    pub fn sleep(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.is_raised() || left.is_zero() {
                return !self.is_raised();
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Makes a call again as long as it says that it can be made again, until this time.
    pub fn retry<T>(
        &self,
        until: Instant,
        mut call: impl FnMut() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        loop {
            match call() {
                Err(error) if error.is_retry() && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }
}
