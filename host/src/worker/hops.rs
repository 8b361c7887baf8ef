//! The windows' two hops in a worker: deltas of input partitions to the repartition topic, and
//! from there into the results. Both in the transaction in which what they come of is committed.

use std::time::Instant;

use super::failure::Failure;
use super::job::HopTopics;
use super::pause::ENDS_EVERY;
use super::reader::{At, Hop};
use super::run::{IDLE_QUESTION, Worker};
use crate::kafka::{Message, partition_for_key};
use crate::window::{
    ClosedWindow, Merge, Orphan, Portion, Records, Taken, Watch, write_deltas, write_progress,
};

/// A record of deltas is not larger, unless one row is.
const DELTA_BYTES_MAX: usize = 512 << 10;

/// What a commit gives out of windows that are final, in bytes: some 50,000 groups, which take a
/// fraction of a second. More goes into the next ones.
const RESULT_BYTES: usize = 16 << 20;

/// What a partition's windows were restored to.
pub(super) enum Restored {
    /// Of an input partition: by window.
    Watches(Vec<Watch>),
    /// Of a partition of the repartition topic.
    Merge(Box<Merge>),
}

impl Worker {
    fn hop_topics(&self) -> &HopTopics {
        self.job.hops.as_ref().expect("there are windows")
    }

    /// Takes restored windows of a partition in, in the place of what is held of it.
    pub(super) fn adopt(&mut self, at: At, restored: Restored) {
        match restored {
            Restored::Watches(watches) => {
                for (windows, watch) in self.windows.iter_mut().zip(watches) {
                    windows.adopt(watch);
                }
            }
            Restored::Merge(merge) => _ = self.merges.insert(at.partition, *merge),
        }
    }

    /// Forgets the windows of a partition.
    pub(super) fn release(&mut self, at: At) {
        match at.hop {
            Hop::First => self.windows.iter_mut().for_each(|it| drop(it.release(at.partition))),
            Hop::Second => drop(self.merges.remove(&at.partition)),
        }
    }

    /// Takes deltas in.
    pub(super) fn merge(&mut self, message: &Message<'_>) -> Result<(), Failure> {
        let merge = self.merges.get_mut(&message.partition).expect("its partition is held");
        let value = message.value.unwrap_or_default();
        merge.apply(message.offset, value).map_err(|error| self.job.state_failure(&error))
    }

    /// Writes what the windows have to tell: deltas, results, and what came too late for a result, of
    /// the partitions whose state and offsets go with it. Returns the windows that are final.
    pub(super) fn write_windows(&mut self) -> Result<Vec<ClosedWindow>, Failure> {
        if self.windows.is_empty() {
            return Ok(Vec::new());
        }
        self.write_deltas()?;
        let sink = self.sink.as_ref().expect("begin made it");
        let mut all_closed = Vec::new();
        let mut portion = Portion::of_bytes(RESULT_BYTES);
        let touched: Vec<_> = self.touched().filter(|(at, _)| at.hop == Hop::Second).collect();
        for (at, _) in touched {
            let Some(merge) = self.merges.get_mut(&at.partition) else { continue };
            let Taken { windows, orphans } = merge.take_results(&mut portion);
            for (window, results) in windows.into_iter().enumerate() {
                sink.results(window, &results.records)?;
                self.tally.results += results.records.len() as u64;
                all_closed.extend(results.closed);
            }
            for Orphan { window, results } in orphans {
                let groups = results.records.len();
                tracing::warn!(
                    worker = self.number,
                    window,
                    groups,
                    "this window is not in pipeline.toml any more: what it had counted is dropped"
                );
            }
            for row in merge.take_late() {
                sink.late_row(&row)?;
            }
        }
        Ok(all_closed)
    }

    /// Whether results are left that the commits so far did not hold. The next one, which is due at
    /// once, takes them on, and until none is left nothing is merged.
    pub(super) fn is_closing(&self) -> bool {
        self.merges.values().any(Merge::is_closing)
    }

    /// Takes what is left into the transaction.
    pub(super) fn touch_closing(&mut self) {
        for (&partition, _) in self.merges.iter().filter(|(_, merge)| merge.is_closing()) {
            if let Some(held) = self.held.get_mut(&At::new(Hop::Second, partition)) {
                held.is_touched = true;
            }
        }
    }

    /// So that the lag shows what waits meanwhile.
    pub(super) fn ask_merge_ends(&mut self) {
        if self.ends_asked.is_some_and(|at| at.elapsed() < ENDS_EVERY) {
            return;
        }
        self.ends_asked = Some(Instant::now());
        self.step("asking for the ends of the repartition topic");
        let consumer = &self.readers.of(Hop::Second).consumer;
        for (at, held) in self.held.iter_mut().filter(|(at, _)| at.hop == Hop::Second) {
            // Nothing but the lag depends on it.
            let Ok((_, end)) = consumer.watermarks(at.partition, IDLE_QUESTION) else { return };
            if end > held.end_offset {
                (held.end_offset, held.silent_since) = (end, None);
            }
        }
    }

    fn write_deltas(&mut self) -> Result<(), Failure> {
        let repartition = &self.hop_topics().repartition;
        let (merges, bytes_max) = (repartition.partitions, repartition.message_bytes_max);
        let route = |key: &str| partition_for_key(key.as_bytes(), merges) as usize;
        let bytes_max = DELTA_BYTES_MAX.min(bytes_max / 2);
        let inputs = self.job.input_partitions;
        let sink = self.sink.as_ref().expect("begin made it");
        let mut to: Vec<Records> = vec![Records::default(); merges as usize];
        let touched: Vec<_> = self.touched().filter(|(at, _)| at.hop == Hop::First).collect();
        for (at, next_offset) in touched {
            write_deltas(
                &mut self.windows,
                at.partition,
                next_offset,
                inputs,
                merges as usize,
                bytes_max,
                route,
                &mut to,
            );
        }
        for (partition, records) in (0..).zip(&to) {
            sink.repartition(partition, records)?;
        }
        Ok(())
    }

    /// Writes the state of the windows for every partition of the transaction.
    pub(super) fn write_state(&mut self) -> Result<(), Failure> {
        if self.windows.is_empty() {
            return Ok(());
        }
        let progress = self.hop_topics().progress.partitions;
        let sink = self.sink.as_ref().expect("begin made it");
        let touched: Vec<_> = self.touched().collect();
        let mut records = Records::default();
        for (at, next_offset) in touched {
            records.clear();
            if at.hop == Hop::First {
                write_progress(&mut self.windows, at.partition, next_offset, &mut records);
                sink.progress(at.partition % progress, &records)?;
            } else if let Some(merge) = self.merges.get_mut(&at.partition) {
                merge.take_changes(next_offset, &mut records);
                sink.state(at.partition, &records)?;
            }
        }
        Ok(())
    }
}
