//! What a worker shows of itself, a few times a second at most.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::job::WindowJob;
use super::reader::{At, Hop};
use super::run::{Held, Worker};
use super::status::{MergeStatus, MergeWindow, PartitionStatus, Snapshot};
use crate::window::{Merge, OpenWindow};

/// How often a snapshot is published, at most.
const EVERY: Duration = Duration::from_millis(500);
/// A snapshot passes over every open key: the time between two is so many times what one takes.
const PAUSE_FACTOR: u32 = 50;
/// How often dead letters are logged.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// When any worker of this process logged one.
static LOGGED: Mutex<Option<Instant>> = Mutex::new(None);

impl Worker {
    /// Publishes a snapshot if it is time for one.
    pub(super) fn publish(&mut self) {
        if self.published.elapsed() >= self.publish_after {
            self.publish_now();
        }
    }

    /// Publishes a snapshot.
    pub(super) fn publish_now(&mut self) {
        let started = Instant::now();
        self.log_dead_letter();
        let input = self.held.iter().filter(|(at, _)| at.hop == Hop::First);
        self.status.publish(Snapshot {
            partitions: input
                .map(|(at, held)| (at.partition, self.partition(at.partition, held)))
                .collect(),
            merges: self
                .merges
                .iter()
                .map(|(&at, merge)| (at, self.merge_status(at, merge)))
                .collect(),
            dead_letters: self.tally.dead_letters().clone(),
            stages: self.tally.stages().to_vec(),
            open_windows: OpenWindow::merge(
                self.merges
                    .values()
                    .map(|merge| merge.open_windows(Snapshot::GROUPS_MAX))
                    .collect(),
                Snapshot::GROUPS_MAX,
            ),
            generation: self.running.trial.number,
            errors: self.usual_errors(),
        });
        self.published = Instant::now();
        self.publish_after = EVERY.max(started.elapsed() * PAUSE_FACTOR);
    }

    fn merge_status(&self, partition: i32, merge: &Merge) -> MergeStatus {
        let held = self.held.get(&At::new(Hop::Second, partition));
        let lag = |held: &Held| u64::try_from(held.end_offset - held.next_offset).unwrap_or(0);
        let window = |(place, job): (usize, &WindowJob)| MergeWindow {
            name: job.spec.name.clone(),
            final_before: merge.frontier(place),
            given_out: merge.given_out(place),
            behind: merge.behind(place),
        };
        MergeStatus {
            lag: held.filter(|held| held.silent_since.is_none()).map_or(0, lag),
            windows: self.job.windows.iter().enumerate().map(window).collect(),
        }
    }

    fn partition(&self, partition: i32, held: &Held) -> PartitionStatus {
        // Behind the last record there may be control records, which nobody processes.
        let caught_up = held.silent_since.is_some();
        let watermark = |windows: &crate::window::Windows| {
            let watermark = windows.partition(partition)?.watermark()?;
            Some((windows.spec().name.clone(), watermark))
        };
        let watermarks: BTreeMap<_, _> = self.windows.iter().filter_map(watermark).collect();
        PartitionStatus {
            next_offset: if caught_up { held.end_offset } else { held.next_offset },
            end_offset: held.end_offset.max(held.log_end),
            watermarks,
        }
    }

    /// At most one line a second and process, whatever comes in; the counters have all of them.
    fn log_dead_letter(&mut self) {
        let Some(letter) = self.tally.take_example() else { return };
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            let so_far: u64 = self.tally.dead_letters().values().sum();
            tracing::warn!(
                worker = self.number,
                stage = letter.stage,
                reason = letter.reason,
                partition = letter.partition,
                offset = letter.offset,
                committed_so_far = so_far,
                "dead letter: {}",
                letter.message
            );
        }
    }
}
