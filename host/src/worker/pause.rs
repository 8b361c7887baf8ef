//! A pause on request: what is in hand is committed, and no more records are taken until it ends. The
//! worker stays in its group with its partitions, and goes on taking new rules.
//!
//! Nothing is said to librdkafka. It fills its queues up to their limits and waits; polling for the
//! group's events, which goes on, is what it counts for `max.poll.interval.ms`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::run::{IDLE_QUESTION, IDLE_WAIT, Worker, wall_millis};

/// How often the ends of partitions are asked for that are not read for a while, so that the lag shows
/// what waits.
pub(super) const ENDS_EVERY: Duration = Duration::from_secs(5);

/// The wish that all workers of this process pause; ends with the process.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<AtomicBool>);

impl Pause {
    /// Asks for a pause, or for its end.
    pub fn set(&self, on: bool) {
        self.0.store(on, Relaxed);
    }

    /// Whether a pause is asked for.
    pub fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A pause, as a worker has it.
#[derive(Debug)]
pub(super) struct Rest {
    /// Until when it is taken into account.
    counted_to: Instant,
    ends_asked: Option<Instant>,
}

impl Worker {
    /// Whether the worker pauses, and takes no records this time.
    pub(super) fn rest(&mut self) -> Result<bool, Failure> {
        if !self.pause.is_on() {
            if self.rest.take().is_some() {
                self.go_on();
            }
            return Ok(false);
        }
        if self.uncommitted_since.is_some() {
            self.commit()?;
            self.backoff.succeeded();
        }
        let now = Instant::now();
        let rest = self.rest.get_or_insert(Rest { counted_to: now, ends_asked: None });
        // A generation that is taken now has its whole probation when records come again.
        self.running.rested(now.duration_since(rest.counted_to));
        rest.counted_to = now;
        self.status.at_rest.store(true, Relaxed);
        if rest.ends_asked.is_none_or(|at| at.elapsed() >= ENDS_EVERY) {
            rest.ends_asked = Some(now);
            self.ask_ends();
        }
        self.step("paused");
        self.publish();
        self.stop.sleep(IDLE_WAIT);
        Ok(true)
    }

    /// What came in meanwhile may still be on its way: silence counts from here on.
    fn go_on(&mut self) {
        self.status.at_rest.store(false, Relaxed);
        let now = wall_millis();
        for held in self.held.values_mut() {
            held.silent_since = held.silent_since.map(|_| now);
            held.quiet_since = held.quiet_since.map(|_| now);
        }
        self.publish_now();
    }

    fn ask_ends(&mut self) {
        for (&at, held) in &mut self.held {
            self.status.step("asking for the ends of partitions");
            let consumer = &self.readers.of(at.hop).consumer;
            match consumer.watermarks(at.partition, IDLE_QUESTION) {
                Ok((_, end)) => held.log_end = end,
                Err(error) => {
                    tracing::debug!(worker = self.number, ?at, %error, "end not known");
                    return;
                }
            }
        }
    }
}
