//! Taking partitions over: after an assignment, and after a failure, by the same path.

use std::time::{Duration, Instant};

use super::control::Control;
use super::failure::Failure;
use super::hops::Restored;
use super::job::{Delivery, OnExpired, Start};
use super::reader::{At, Hop, by_hop};
use super::restore::Stored;
use super::run::{Held, Worker};
use super::sink::Sink;

/// How long a question to the group or to a partition's leader may take.
const QUESTION: Duration = Duration::from_secs(10);

/// How long a client may take to go on elsewhere, which it does without a broker.
const SEEK: Duration = Duration::from_secs(2);
/// How long the group may take to note where to begin, before it is asked what it wants.
const PLACES: Duration = Duration::from_millis(500);
/// How long the group is left alone before the next try: a rebalance waits for commits that are on
/// their way, so that tries without a pause would hold it up for ever.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked what it wants meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// Where to begin with a partition, and the state that belongs there.
struct Found {
    at: At,
    offset: i64,
    restored: Restored,
    /// Whether this is not what is committed, so that it must be even if no record ever comes: a
    /// place that was chosen now, or windows of another definition, which are given out as they are.
    must_commit: bool,
}

impl Worker {
    /// Answers an assignment.
    pub(super) fn take_over(&mut self, hop: Hop, partitions: &[At]) -> Result<(), Failure> {
        let is_of_hop = |at: &At| at.hop == hop;
        if self.held.keys().any(is_of_hop) || self.adrift.iter().any(is_of_hop) {
            self.check_member(hop)?;
        }
        // A restore may take longer than the broker leaves a transaction open.
        self.commit()?;
        let found = self.find(partitions)?;
        let offsets: Vec<_> = found.iter().map(|found| (found.at, found.offset)).collect();
        let from: Vec<_> = found.iter().map(|found| (found.at.partition, found.offset)).collect();
        let reader = self.readers.of_mut(hop);
        reader.consumer.assign(&from)?;
        reader.member = reader.consumer.member_id();
        self.hold(found)?;
        // A member that gets nothing, or nothing more, is told so at each rebalance.
        if !offsets.is_empty() {
            let shown = self.shown(&offsets);
            tracing::info!(worker = self.number, partitions = shown, "partitions taken over");
        }
        Ok(())
    }

    /// Takes over again what is assigned and adrift since a failure.
    pub(super) fn take_over_adrift(&mut self) -> Result<(), Failure> {
        self.adrift.sort_unstable();
        self.adrift.dedup();
        for (hop, _) in by_hop(&self.adrift.iter().map(|at| (*at, ())).collect::<Vec<_>>()) {
            self.check_member(hop)?;
        }
        let found = self.find(&self.adrift.clone())?;
        let offsets: Vec<_> = found.iter().map(|found| (found.at, found.offset)).collect();
        self.step("rewinding");
        if !Control::NoRewind.is_on() {
            for (hop, offsets) in by_hop(&offsets) {
                let sought = self.readers.of_mut(hop).consumer.seek(&offsets, SEEK);
                // A client that has stopped reading a partition never takes an offset for it again.
                sought.map_err(|error| Failure::Rejoin(error.to_string()))?;
            }
        }
        self.adrift.clear();
        self.hold(found)?;
        let shown = self.shown(&offsets);
        tracing::info!(worker = self.number, partitions = shown, "rewound to what is committed");
        Ok(())
    }

    fn shown(&self, offsets: &[(At, i64)]) -> String {
        self.job.show(offsets.iter().map(|&(at, offset)| (at, Some(offset))))
    }

    fn hold(&mut self, found: Vec<Found>) -> Result<(), Failure> {
        let must_commit = found.iter().any(|found| found.must_commit);
        for Found { at, offset, restored, must_commit } in found {
            self.adopt(at, restored);
            let held = Held {
                next_offset: offset,
                end_offset: offset,
                is_touched: must_commit,
                ..Held::default()
            };
            self.held.insert(at, held);
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
        let committed = by_hop(&places).try_for_each(|(hop, places)| {
            self.readers.of(hop).consumer.commit_sync(&places, PLACES)
        });
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
    fn find(&mut self, partitions: &[At]) -> Result<Vec<Found>, Failure> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.expect_known(partitions)?;
        self.ensure_sink()?;
        self.step("asking for committed offsets");
        let mut committed = Vec::new();
        for (hop, of_hop) in by_hop(&partitions.iter().map(|at| (*at, ())).collect::<Vec<_>>()) {
            let of_hop: Vec<i32> = of_hop.into_iter().map(|(partition, ())| partition).collect();
            let answer = self.readers.of(hop).consumer.committed(&of_hop, QUESTION)?;
            committed.extend(answer.into_iter().map(|(at, offset)| (At::new(hop, at), offset)));
        }
        let mut found = Vec::new();
        let mut restored = self.restore(partitions)?;
        for (at, committed) in committed {
            let stored = restored.remove(&at).expect("all that were asked for");
            let offset = self.offset(at, committed, &stored)?;
            let restored = stored.restored;
            if committed.is_none() {
                self.first_offsets.insert(at, offset);
            }
            let must_commit = match &restored {
                Restored::Watches(_) => committed != Some(offset),
                Restored::Merge(merge) => merge.has_changes(),
            };
            found.push(Found { at, offset, restored, must_commit });
        }
        Ok(found)
    }

    /// A topic may have got more partitions while the pipeline runs.
    fn expect_known(&self, partitions: &[At]) -> Result<(), Failure> {
        let is_new = |at: &&At| at.partition >= self.job.partitions(at.hop);
        let Some(new) = partitions.iter().find(is_new) else { return Ok(()) };
        let (topic, known) = (self.job.topic(new.hop), self.job.partitions(new.hop));
        let partition = new.partition;
        Err(Failure::input(match new.hop {
            Hop::First => format!(
                "topic {topic} has partition {partition} now, and had {known} partitions when the \
                 pipeline started: stop all instances of the pipeline and start them again, which \
                 takes the new partitions in"
            ),
            Hop::Second => format!(
                "topic {topic} has partition {partition} now, and had {known} partitions when the \
                 pipeline started; what is counted so far lies in partitions by their former number: \
                 stop all instances, delete {topic} and the window state with it, and begin anew: {}",
                self.job.begin_anew()
            ),
        }))
    }

    /// Makes the producer if there is none.
    pub(super) fn ensure_sink(&mut self) -> Result<(), Failure> {
        if self.sink.is_none() {
            self.step("starting the producer");
            self.sink = Some(Sink::open(&self.job, self.number, &self.stop, &self.status)?);
        }
        Ok(())
    }

    /// Where to begin; see [`beginning`].
    fn offset(&self, at: At, committed: Option<i64>, stored: &Stored) -> Result<i64, Failure> {
        let marker = stored.marker;
        self.step("asking for the ends of a partition");
        let (low, high) = self.readers.of(at.hop).consumer.watermarks(at.partition, QUESTION)?;
        let Some(offset) = beginning(self.job.delivery, committed, marker) else {
            return Err(self.disagreement(at, committed, marker));
        };
        if marker > offset {
            tracing::warn!(
                worker = self.number,
                topic = self.job.topic(at.hop),
                partition = at.partition,
                ?committed,
                state = marker,
                "state is ahead of the committed offset: records up to there come out again, and \
                 are not counted again"
            );
        }
        match offset {
            Some(offset) => self.still_there(at, offset, low, high),
            // What came before this start came while the pipeline ran, and is not old.
            None if stored.is_added => Ok(low),
            None => self.first_offset(at, low, high),
        }
    }

    /// State that does not belong to the committed offset. A worker that has lost the partition
    /// without knowing it yet sees the next owner's commits between its two readings; only an
    /// offset that stays where it is was changed from outside.
    fn disagreement(&self, at: At, committed: Option<i64>, marker: Option<i64>) -> Failure {
        let consumer = &self.readers.of(at.hop).consumer;
        let (topic, partition) = (self.job.topic(at.hop), at.partition);
        let shown = |offset: Option<i64>| offset.map_or("none".to_owned(), |at| at.to_string());
        match consumer.committed(&[partition], QUESTION) {
            Err(error) => error.into(),
            Ok(again) if again.first().is_none_or(|(_, again)| *again != committed) => {
                Failure::Recover(format!(
                    "{topic} partition {partition} was committed by another member while it was \
                     taken over"
                ))
            }
            Ok(_) => Failure::stop(format!(
                "the committed offset of {topic} partition {partition} is {}, but the state of its \
                 windows was committed with {}: offsets were changed from outside, or a broker with a \
                 single replica lost the end of a transaction; going on would count wrongly. Set \
                 offsets and windows together: {} (or --to latest, or a time)",
                shown(committed),
                shown(marker),
                self.job.begin_anew()
            )),
        }
    }

    /// Where a group begins that has committed nothing.
    fn first_offset(&self, at: At, low: i64, high: i64) -> Result<i64, Failure> {
        if let Some(chosen) = self.first_offsets.get(&at) {
            return Ok(low.max(*chosen));
        }
        let consumer = &self.readers.of(at.hop).consumer;
        match self.job.start {
            // What waits there was counted by this pipeline.
            _ if at.hop == Hop::Second => Ok(low),
            Start::Earliest => Ok(low),
            Start::Latest => Ok(high),
            Start::Time(millis) => {
                self.step("looking an offset up by its time");
                let found = consumer.offsets_for_time(&[at.partition], millis, QUESTION)?;
                Ok(found.first().and_then(|(_, offset)| *offset).unwrap_or(high))
            }
        }
    }

    /// A committed offset, checked against what the partition still has.
    fn still_there(&self, at: At, offset: i64, low: i64, high: i64) -> Result<i64, Failure> {
        let (topic, partition) = (self.job.topic(at.hop), at.partition);
        let group = self.job.group(at.hop);
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
        if at.hop == Hop::Second {
            // Whatever may be skipped of the input: windows would be final with too low a count.
            return Err(Failure::stop(format!(
                "{lost} records of {topic} partition {partition} were deleted before group {group:?} \
                 merged them (committed offset {offset}, oldest kept {low}): counts are lost with them. \
                 Begin with new windows: {}",
                self.job.begin_anew()
            )));
        }
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

/// Where the group's offset and the state of a partition's windows agree that it is to be read again:
/// `Some(None)` where nothing says so, and none where they do not agree.
///
/// Exactly-once they were committed together, so any difference was made from outside.
///
/// At-least-once the outputs are written first, then the state, then the offset. A crash in between
/// leaves state ahead of the offset. What is sure to be written is what the offset says; so that is
/// the place, and the windows pass over what their state holds already ([`crate::window::Watch::counted_to`]). State
/// *behind* the offset cannot come of a crash. Without an offset nothing but state was written yet, at
/// the chosen beginning.
fn beginning(
    delivery: Delivery,
    committed: Option<i64>,
    marker: Option<i64>,
) -> Option<Option<i64>> {
    let Some(marker) = marker else { return Some(committed) };
    let agrees = match delivery {
        Delivery::ExactlyOnce => committed == Some(marker),
        Delivery::AtLeastOnce => committed <= Some(marker),
    };
    agrees.then_some(committed.or(Some(marker)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_once_begins_where_no_window_and_no_output_misses_a_record() {
        let at = |committed, marker| beginning(Delivery::AtLeastOnce, committed, marker);
        assert_eq!(at(Some(5), Some(9)), Some(Some(5)));
        assert_eq!(at(Some(5), Some(5)), Some(Some(5)));
        assert_eq!(at(Some(5), None), Some(Some(5)));
        assert_eq!(at(None, Some(7)), Some(Some(7)));
        assert_eq!(at(None, None), Some(None));
        assert_eq!(at(Some(5), Some(4)), None);
    }

    #[test]
    fn exactly_once_any_difference_was_made_from_outside() {
        let at = |committed, marker| beginning(Delivery::ExactlyOnce, committed, marker);
        assert_eq!(at(Some(5), Some(5)), Some(Some(5)));
        assert_eq!(at(Some(5), None), Some(Some(5)));
        assert_eq!(at(None, None), Some(None));
        assert_eq!(at(Some(5), Some(6)), None);
        assert_eq!(at(None, Some(5)), None);
    }
}
