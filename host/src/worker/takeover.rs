//! Taking partitions over: after an assignment, and after a failure, by the same path.

use std::time::{Duration, Instant};

use super::control::Control;
use super::failure::Failure;
use super::job::{Delivery, OnExpired, Start};
use super::run::{Held, Worker};
use super::sink::Sink;
use crate::kafka::StateReader;
use crate::window::{Marker, PartitionWindows, Restore, StateError};

/// How long a question to the group or to a partition's leader may take.
const QUESTION: Duration = Duration::from_secs(10);
/// How long a restore may wait for transactions that are open in the state topic: longer than a
/// broker needs to give up those of a dead worker.
const RESTORE: Duration = Duration::from_secs(25);

/// How long the group may take to note where to begin, before it is asked what it wants.
const PLACES: Duration = Duration::from_millis(500);
/// How long the group is left alone before the next try: a rebalance waits for commits that are on
/// their way, so that tries without a pause would hold it up for ever.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked what it wants meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// Where to begin with a partition, and the state that belongs there.
struct Found {
    partition: i32,
    offset: i64,
    windows: Vec<PartitionWindows>,
    /// Whether this is not what is committed, so that it must be even if no record ever comes: a
    /// place that was chosen now, or windows of another definition, which are closed.
    must_commit: bool,
}

impl Worker {
    /// Answers an assignment.
    pub(super) fn take_over(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        if !(self.held.is_empty() && self.adrift.is_empty()) {
            self.check_member()?;
        }
        // A restore may take longer than the broker leaves a transaction open.
        self.commit()?;
        let found = self.find(partitions)?;
        let offsets: Vec<_> = found.iter().map(|found| (found.partition, found.offset)).collect();
        let consumer = self.consumer.as_mut().expect("it asked");
        consumer.assign(&offsets)?;
        self.member = consumer.member_id();
        self.hold(found)?;
        // A member that gets nothing, or nothing more, is told so at each rebalance.
        if !offsets.is_empty() {
            tracing::info!(worker = self.number, ?offsets, "partitions taken over");
        }
        Ok(())
    }

    /// Takes over again what is assigned and adrift since a failure.
    pub(super) fn take_over_adrift(&mut self) -> Result<(), Failure> {
        self.check_member()?;
        self.adrift.sort_unstable();
        self.adrift.dedup();
        let found = self.find(&self.adrift.clone())?;
        let offsets: Vec<_> = found.iter().map(|found| (found.partition, found.offset)).collect();
        self.step("rewinding");
        if !Control::NoRewind.is_on() {
            self.consumer.as_mut().expect("it assigned them").seek(&offsets, QUESTION)?;
        }
        self.adrift.clear();
        self.hold(found)?;
        tracing::info!(worker = self.number, ?offsets, "rewound to what is committed");
        Ok(())
    }

    fn hold(&mut self, found: Vec<Found>) -> Result<(), Failure> {
        let must_commit = found.iter().any(|found| found.must_commit);
        for Found { partition, offset, windows, must_commit } in found {
            for (all, windows) in self.windows.iter_mut().zip(windows) {
                all.adopt(windows);
            }
            let held = Held {
                next_offset: offset,
                end_offset: offset,
                silent_since: None,
                log_end: 0,
                is_touched: must_commit,
            };
            self.held.insert(partition, held);
        }
        self.status.ready.store(true, std::sync::atomic::Ordering::Relaxed);
        match self.job.delivery {
            _ if !must_commit => Ok(()),
            // Chosen anew after a crash it would be another place, behind records that came meanwhile.
            Delivery::AtLeastOnce if self.job.start == Start::Latest => {
                self.new_places_due = Some(Instant::now());
                Ok(())
            }
            Delivery::ExactlyOnce | Delivery::AtLeastOnce => self.begin(),
        }
    }

    /// Commits places that were chosen, before anything is written that belongs to them; see `hold`.
    /// False while the group does not take it: it is still coming together, and waits for this worker
    /// to answer it.
    pub(super) fn commit_places(&mut self) -> Result<bool, Failure> {
        self.step("committing where to begin");
        if self.new_places_due.is_some_and(|at| Instant::now() < at) {
            self.stop.sleep(PAUSE);
            return Ok(false);
        }
        let places: Vec<_> = self.touched().collect();
        let consumer = self.consumer.as_ref().expect("answer_rebalances makes it");
        let committed = match places.is_empty() {
            true => Ok(()),
            false => consumer.commit_sync(&places, PLACES),
        };
        match committed {
            Ok(()) => {
                self.new_places_due = None;
                self.begin()?;
                Ok(true)
            }
            Err(error) if error.is_retry() || error.is_timeout() => {
                tracing::debug!(worker = self.number, %error, "not begun");
                self.new_places_due = Some(Instant::now() + AGAIN);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The order matters: the producer first, which ends what this worker's predecessor left open;
    /// then the committed offset, which waits for what others are just committing; then the state,
    /// which holds what was committed with that offset.
    fn find(&mut self, partitions: &[i32]) -> Result<Vec<Found>, Failure> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(new) = partitions.iter().find(|&&at| at >= self.job.input_partitions) {
            return Err(Failure::input(format!(
                "topic {} has partition {new} now, and had {} partitions when the pipeline started; \
                 the state topics need as many: start again, which says how",
                self.job.input, self.job.input_partitions
            )));
        }
        self.ensure_sink()?;
        self.step("asking for committed offsets");
        let consumer = self.consumer.as_ref().expect("partitions come from it");
        let committed = consumer.committed(partitions, QUESTION)?;
        let mut found = Vec::new();
        let mut states = self.state_readers()?;
        for (partition, committed) in committed {
            let restored = self.restore(&mut states, partition)?;
            let offset = self.offset(partition, committed, &restored)?;
            if committed.is_none() {
                self.first_offsets.insert(partition, offset);
            }
            let windows: Vec<_> = restored.into_iter().map(|(windows, _)| windows).collect();
            let must_commit =
                committed != Some(offset) || windows.iter().any(PartitionWindows::has_changes);
            found.push(Found { partition, offset, windows, must_commit });
        }
        Ok(found)
    }

    /// Makes the producer if there is none.
    pub(super) fn ensure_sink(&mut self) -> Result<(), Failure> {
        if self.sink.is_none() {
            self.step("starting the producer");
            self.sink = Some(Sink::open(&self.job, self.number, &self.stop, &self.status)?);
        }
        Ok(())
    }

    fn state_readers(&self) -> Result<Vec<StateReader>, Failure> {
        let job = &self.job;
        let reader = |topic: &str| StateReader::new(&job.client, &job.group, topic);
        Ok(job.windows.iter().map(|window| reader(&window.state.name)).collect::<Result<_, _>>()?)
    }

    fn restore(
        &self,
        states: &mut [StateReader],
        partition: i32,
    ) -> Result<Vec<(PartitionWindows, Option<Marker>)>, Failure> {
        let mut restored = Vec::new();
        for (reader, window) in states.iter_mut().zip(&self.job.windows) {
            self.step("restoring window state");
            let mut restore = Restore::new(window.spec.clone(), partition);
            let mut records = 0_u32;
            reader.read(partition, RESTORE, self.stop.flag(), |record| {
                restore.apply(record.key, record.value);
                records += 1;
                if records.is_multiple_of(10_000) {
                    self.step("restoring window state");
                }
            })?;
            let restore = restore.finish().map_err(|error| self.job.state_failure(&error))?;
            restored.push(restore);
        }
        Ok(restored)
    }

    /// Where to begin; see [`beginning`].
    fn offset(
        &self,
        partition: i32,
        committed: Option<i64>,
        restored: &[(PartitionWindows, Option<Marker>)],
    ) -> Result<i64, Failure> {
        let consumer = self.consumer.as_ref().expect("partitions come from it");
        self.step("asking for the ends of a partition");
        let (low, high) = consumer.watermarks(partition, QUESTION)?;
        let next_offset = |marker: &Option<Marker>| marker.as_ref().map(|found| found.next_offset);
        let markers: Vec<_> = restored.iter().map(|(_, marker)| next_offset(marker)).collect();
        let offset = match beginning(self.job.delivery, committed, &markers) {
            Ok(offset) => offset,
            Err(Disagreement { window, marker }) => {
                let window = self.job.windows[window].spec.name.clone();
                let error = StateError::Offset { window, partition, committed, marker };
                return Err(self.disagreement(partition, committed, error));
            }
        };
        let ahead = markers.iter().flatten().filter(|&&marker| Some(marker) > offset).max();
        if let Some(state) = ahead {
            tracing::warn!(
                worker = self.number,
                partition,
                ?committed,
                state,
                "state is ahead of the committed offset: records up to there come out again, and \
                 are not counted again"
            );
        }
        match offset {
            Some(offset) => self.still_there(partition, offset, low, high),
            None => self.first_offset(partition, low, high),
        }
    }

    /// State that does not belong to the committed offset. A worker that has lost the partition
    /// without knowing it yet sees the next owner's commits between its two readings; only an
    /// offset that stays where it is was changed from outside.
    fn disagreement(&self, partition: i32, committed: Option<i64>, error: StateError) -> Failure {
        let consumer = self.consumer.as_ref().expect("partitions come from it");
        match consumer.committed(&[partition], QUESTION) {
            Err(error) => error.into(),
            Ok(again) if again.first().is_none_or(|(_, again)| *again != committed) => {
                Failure::Recover(format!(
                    "partition {partition} was committed by another member while it was taken over"
                ))
            }
            Ok(_) => self.job.state_failure(&error),
        }
    }

    /// Where a group begins that has committed nothing.
    fn first_offset(&self, partition: i32, low: i64, high: i64) -> Result<i64, Failure> {
        if let Some(chosen) = self.first_offsets.get(&partition) {
            return Ok(low.max(*chosen));
        }
        let consumer = self.consumer.as_ref().expect("partitions come from it");
        match self.job.start {
            Start::Earliest => Ok(low),
            Start::Latest => Ok(high),
            Start::Time(millis) => {
                self.step("looking an offset up by its time");
                let found = consumer.offsets_for_time(&[partition], millis, QUESTION)?;
                Ok(found.first().and_then(|(_, offset)| *offset).unwrap_or(high))
            }
        }
    }

    /// A committed offset, checked against what the partition still has.
    fn still_there(
        &self,
        partition: i32,
        offset: i64,
        low: i64,
        high: i64,
    ) -> Result<i64, Failure> {
        let (topic, group) = (&self.job.input, &self.job.group);
        if offset > high {
            return Err(Failure::stop(format!(
                "group {group:?} has committed offset {offset} of {topic} partition {partition}, \
                 which ends at {high}: the topic is not the one that was read (made anew?); \
                 {} begins anew with it",
                self.job.begin_anew()
            )));
        }
        if offset >= low {
            return Ok(offset);
        }
        let lost = low - offset;
        match self.job.on_expired {
            OnExpired::Stop => Err(Failure::stop(format!(
                "{lost} records of {topic} partition {partition} were deleted by retention before \
                 group {group:?} processed them (committed offset {offset}, oldest kept {low}); \
                 set on-expired = \"skip\" in [source] to go on without them, or begin with the oldest \
                 that are kept, and with new windows: {}",
                self.job.begin_anew()
            ))),
            OnExpired::Skip => {
                tracing::error!(
                    worker = self.number,
                    partition,
                    lost,
                    from = offset,
                    to = low,
                    "records were deleted by retention before they were processed: skipped"
                );
                Ok(low)
            }
        }
    }
}

/// The state of this window does not belong to the committed offset.
#[derive(Debug, PartialEq, Eq)]
struct Disagreement {
    /// Its place.
    window: usize,
    marker: i64,
}

/// Where the group's offset and the state of all windows, by their markers, agree that a partition
/// is to be read again; none where nothing says so.
///
/// Exactly-once they were committed together, so any difference was made from outside.
///
/// At-least-once the outputs are written first, then the state of each window, in no order among
/// them, then the offset. A crash in between leaves state ahead of the offset, by another distance
/// for each window. What is sure to be written is what the offset says; so that is the place, and
/// each window passes over what its own state holds already
/// ([`PartitionWindows::counted_to`]). Outputs of these records come a second time; going on behind
/// the state of one window would lose them for another. State *behind* the offset cannot come of a
/// crash. Without an offset nothing but markers were written yet, all at the chosen beginning.
fn beginning(
    delivery: Delivery,
    committed: Option<i64>,
    markers: &[Option<i64>],
) -> Result<Option<i64>, Disagreement> {
    for (window, marker) in markers.iter().enumerate() {
        let Some(marker) = *marker else { continue };
        let agrees = match delivery {
            Delivery::ExactlyOnce => committed == Some(marker),
            Delivery::AtLeastOnce => committed <= Some(marker),
        };
        if !agrees {
            return Err(Disagreement { window, marker });
        }
    }
    Ok(committed.or_else(|| markers.iter().flatten().copied().min()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_once_begins_where_no_window_and_no_output_misses_a_record() {
        let check = |committed, markers: &[Option<i64>], expected| {
            assert_eq!(beginning(Delivery::AtLeastOnce, committed, markers), Ok(expected));
        };
        check(Some(5), &[Some(9), Some(5)], Some(5));
        check(Some(5), &[Some(9), Some(7)], Some(5));
        check(Some(5), &[Some(9), None], Some(5));
        check(Some(5), &[], Some(5));
        check(None, &[Some(9), Some(7), None], Some(7));
        check(None, &[None], None);
        let behind = beginning(Delivery::AtLeastOnce, Some(5), &[Some(5), Some(4)]);
        assert_eq!(behind, Err(Disagreement { window: 1, marker: 4 }));
    }

    #[test]
    fn exactly_once_any_difference_was_made_from_outside() {
        let check = |committed, markers: &[Option<i64>]| {
            beginning(Delivery::ExactlyOnce, committed, markers).map_err(|wrong| wrong.window)
        };
        assert_eq!(check(Some(5), &[Some(5), None, Some(5)]), Ok(Some(5)));
        assert_eq!(check(None, &[None]), Ok(None));
        assert_eq!(check(Some(5), &[Some(5), Some(6)]), Err(1));
        assert_eq!(check(None, &[Some(5)]), Err(0));
    }
}
