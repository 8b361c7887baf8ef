//! Partitions that have fallen idle: the one decision that the wall clock makes.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::reader::Hop;
use super::run::{Held, IDLE_QUESTION, Worker, wall_millis};

/// How often partitions are asked whether they have fallen silent.
const IDLE_CHECK: Duration = Duration::from_millis(500);
/// When a leader that did not say so is asked again.
const IDLE_RETRY: Duration = Duration::from_secs(5);
/// A partition that was at its end a moment ago, in milliseconds, is not behind.
const AT_END_MS: i64 = 1_000;

impl Worker {
    /// Lets the wall clock close windows of partitions that have given nothing for them for long, at
    /// their end. That a silent one still is at it is for its leader to say: this worker may have been
    /// held up, or cut off from it, while records came in.
    pub(super) fn close_idle(&mut self) -> Result<(), Failure> {
        if self.windows.is_empty() || self.idle_checked.elapsed() < IDLE_CHECK {
            return Ok(());
        }
        self.idle_checked = Instant::now();
        let now = wall_millis();
        let mut moved = false;
        for (&at, held) in self.held.iter_mut().filter(|(at, _)| at.hop == Hop::First) {
            let Some(since) = idle_since(held, now) else { continue };
            let partition = at.partition;
            let mut due = Vec::new();
            for (window, windows) in self.windows.iter().enumerate() {
                let others = self.frontier.others(windows.spec(), partition);
                if windows.is_idle_due(partition, since, now, others) {
                    due.push((window, others));
                }
            }
            if due.is_empty() {
                continue;
            }
            if held.silent_since.is_some() {
                self.status.step("asking for the end of a silent partition");
                let consumer = &self.readers.of(Hop::First).consumer;
                match consumer.watermarks(partition, IDLE_QUESTION) {
                    // What a producer has written and not committed comes, with times of before.
                    Ok((_, end))
                        if end <= held.end_offset
                            && consumer.known_end(partition).is_none_or(|all| all <= end) => {}
                    Ok(_) => {
                        held.silent_since = Some(now);
                        held.quiet_since = Some(now);
                        continue;
                    }
                    Err(error) => {
                        tracing::debug!(worker = self.number, partition, %error, "not closed");
                        self.idle_checked = Instant::now() + IDLE_RETRY;
                        break;
                    }
                }
            }
            for (window, others) in due {
                if self.windows[window].close_idle(partition, since, now, others) {
                    held.is_touched = true;
                    moved = true;
                }
            }
        }
        if moved { self.begin() } else { Ok(()) }
    }
}

/// Since when a partition gives nothing for the windows: it is at its end, and silent or with records
/// that do not pass the stages. None of one that lags behind.
fn idle_since(held: &Held, now: i64) -> Option<i64> {
    let is_at_end = held.silent_since.is_some() || now - held.ended_at <= AT_END_MS;
    held.quiet_since.filter(|_| is_at_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_lags_behind_is_never_idle() {
        let quiet = Held { quiet_since: Some(1_000), ..Held::default() };
        let silent = Held { silent_since: Some(4_000), ..quiet };
        assert_eq!(idle_since(&silent, 60_000), Some(1_000), "silent at its end");
        // Records come that pass no stage.
        let at = |ended_at| idle_since(&Held { ended_at, ..quiet }, 60_000);
        assert_eq!(at(60_000 - AT_END_MS), Some(1_000));
        assert_eq!(at(60_000 - AT_END_MS - 1), None, "not at its end for a while");
        let busy = Held { quiet_since: None, ..silent };
        assert_eq!(idle_since(&busy, 60_000), None, "something has just passed");
    }
}
