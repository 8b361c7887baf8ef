//! Committing: window results, window state, everything that was written, and the offsets, as one.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use super::control::Control;
use super::failure::Failure;
use super::job::Delivery;
use super::reader::{At, Hop, by_hop};
use super::run::{Event, Worker, wall_millis};
use super::sink::GroupOffsets;
use crate::kafka::KafkaError;
use crate::window::ClosedWindow;

/// How long committing offsets without a transaction may take.
const COMMIT_OFFSETS: Duration = Duration::from_secs(8);
/// How long a group that is coming together again may refuse offsets before that is a failure: longer
/// than it mostly takes, and short enough for a worker that is asked to stop.
const REFUSED_MAX: Duration = Duration::from_secs(5);
/// The pause before they are offered again.
const PAUSE: Duration = Duration::from_millis(20);

/// What is written of a commit whose offsets are not committed yet.
pub(super) struct Written {
    started: Instant,
    closed: Vec<ClosedWindow>,
}

/// What became of the offsets of a commit.
enum Offsets {
    Committed {
        /// Whether the producer must not go on.
        must_replace: bool,
    },
    /// At-least-once only: not now, and nothing is lost by offering them again.
    Refused(String),
}

impl Worker {
    /// Commits what is open, if anything is. After an error nothing of it may be committed later.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        // The group is about to take the partitions away; its event says how to go on.
        self.try_commit()?.map_or(Ok(()), |refused| Err(Failure::Recover(refused)))
    }

    /// The same for a worker that may wait: false while a group that is coming together again takes no
    /// offsets. Until it does, what is written stays open and nothing may be added to it; going back
    /// would write all of it again. The group's events are to be answered before the next try, and say
    /// whether the partitions are still held.
    pub(super) fn commit_or_wait(&mut self) -> Result<bool, Failure> {
        let is_first = self.written.is_none();
        let Some(refused) = self.try_commit()? else {
            return Ok(true);
        };
        let since = self.written.as_ref().map(|written| written.started.elapsed());
        if since.is_none_or(|since| since >= REFUSED_MAX) {
            return Err(Failure::Recover(refused));
        }
        if is_first {
            tracing::info!(worker = self.number, refused, "the commit waits for the group");
        }
        self.step("waiting for the group to take offsets");
        thread::sleep(PAUSE);
        Ok(false)
    }

    /// Commits what is open, if anything is; the reason if the group takes no offsets while it comes together.
    fn try_commit(&mut self) -> Result<Option<String>, Failure> {
        if self.uncommitted_since.is_none() {
            return Ok(None);
        }
        let written = match self.written.take() {
            Some(written) => written,
            None => self.write()?,
        };
        self.check_membership()?;
        self.step("committing");
        while Control::StandStill.is_on() {
            thread::sleep(PAUSE);
        }
        let offsets: Vec<_> = self.touched().collect();
        let must_replace = match self.commit_offsets(&offsets)? {
            Offsets::Committed { must_replace } => must_replace,
            Offsets::Refused(why) => {
                self.written = Some(written);
                return Ok(Some(why));
            }
        };
        self.committed(written, &offsets);
        if must_replace && !Control::KeepProducer.is_on() {
            // Not a failure: all is committed. Only this producer must not go on (rule 9).
            self.status.counters.producers_replaced.fetch_add(1, Relaxed);
            self.sink = None;
        }
        Ok(None)
    }

    /// Writes all that is to be committed, and waits until the brokers have it.
    fn write(&mut self) -> Result<Written, Failure> {
        self.may_commit()?;
        let started = Instant::now();
        self.touch_closing();
        let closed = self.write_windows()?;
        if self.job.delivery == Delivery::AtLeastOnce && !self.windows.is_empty() {
            // After a crash a window passes over what its state says it holds: what came of these
            // records, late ones and results included, must be written before the state says so.
            self.step("waiting for the brokers to take the records");
            self.flush()?;
        }
        self.write_state()?;
        self.step("waiting for the brokers to take the records");
        self.flush()?;
        Ok(Written { started, closed })
    }

    pub(super) fn touched(&self) -> impl Iterator<Item = (At, i64)> {
        let touched = self.held.iter().filter(|(_, held)| held.is_touched);
        touched.map(|(at, held)| (*at, held.next_offset))
    }

    /// What must not be done after a commit that failed: the offsets move, and what was written for
    /// them is gone.
    pub(super) fn commit_what_is_left(&mut self) {
        if self.uncommitted_since.is_none() {
            return;
        }
        (self.sink, self.written) = (None, None);
        let began = self
            .ensure_sink()
            .and_then(|()| Ok(self.sink.as_ref().expect("made before").begin()?));
        let committed = began.and_then(|()| self.commit());
        tracing::error!(worker = self.number, ?committed, "committed what is left");
    }

    /// Waits until everything that was sent is written, and learns what cannot be.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        let sink = self.sink.as_ref().expect("begin made it");
        let flushed = sink.flush();
        match sink.refused() {
            Some(refused) => Err(refused),
            None => Ok(flushed?),
        }
    }

    /// The hops of which this worker has partitions.
    fn held_hops(&self) -> impl Iterator<Item = Hop> {
        let held = |hop: &Hop| self.held.keys().any(|at| at.hop == *hop);
        self.job.hops().iter().copied().filter(held)
    }

    fn check_membership(&self) -> Result<(), Failure> {
        if Control::CommitWhenLost.is_on() {
            return Ok(());
        }
        for hop in self.held_hops() {
            if self.readers.of(hop).consumer.assignment_lost() {
                return Err(Failure::Recover("the group went on without this worker".into()));
            }
            self.check_member(hop)?;
        }
        Ok(())
    }

    /// Under another member id somebody else may own the partitions as well (rule 2).
    pub(super) fn check_member(&self, hop: Hop) -> Result<(), Failure> {
        let reader = self.readers.of(hop);
        let member = reader.consumer.member_id();
        if member != reader.member && !Control::NoMemberCheck.is_on() {
            return Err(Failure::Rejoin(format!(
                "this worker is another member of the group now ({:?}, not {:?})",
                member.unwrap_or_default(),
                reader.member.as_deref().unwrap_or_default()
            )));
        }
        Ok(())
    }

    fn commit_offsets(&self, offsets: &[(At, i64)]) -> Result<Offsets, Failure> {
        match self.job.delivery {
            Delivery::ExactlyOnce => {
                let groups = by_hop(offsets).map(|(hop, offsets)| {
                    let group = self.readers.of(hop).consumer.group_metadata()?;
                    Ok(GroupOffsets { topic: self.job.topic(hop), offsets, group })
                });
                let groups: Vec<_> = groups.collect::<Result<_, KafkaError>>()?;
                let sink = self.sink.as_ref().expect("begin made it");
                let committed = sink.commit(&groups)?;
                if Control::OffsetsOutsideTransaction.is_on() {
                    self.commit_sync(offsets)?;
                }
                Ok(Offsets::Committed { must_replace: committed.may_have_retried })
            }
            Delivery::AtLeastOnce => match self.commit_sync(offsets) {
                Ok(()) => Ok(Offsets::Committed { must_replace: false }),
                Err(error) if error.is_of_rebalance() => Ok(Offsets::Refused(error.to_string())),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn commit_sync(&self, offsets: &[(At, i64)]) -> Result<(), KafkaError> {
        by_hop(offsets).try_for_each(|(hop, offsets)| {
            self.readers.of(hop).consumer.commit_sync(&offsets, COMMIT_OFFSETS)
        })
    }

    /// What follows from a commit, now that it is true.
    fn committed(&mut self, written: Written, offsets: &[(At, i64)]) {
        let Written { started, closed } = written;
        self.uncommitted_since = None;
        self.has_dropped = false;
        self.backoff.succeeded();
        for held in self.held.values_mut() {
            held.is_touched = false;
        }
        for &(at, next_offset) in offsets {
            match at.hop {
                Hop::First => self.poison.forget_below(at.partition, next_offset),
                Hop::Second => self.merged.note(at.partition, next_offset),
            }
        }
        let counters = &self.status.counters;
        counters.commits.fetch_add(1, Relaxed);
        counters.commit_seconds.observe(started.elapsed());
        let records = self.tally.records_in;
        self.tally.committed(counters, wall_millis());
        self.generation_committed(records);
        if !closed.is_empty() {
            // Nobody listens any more only when the process is about to end.
            let _ = self.events.send(Event::Closed(closed));
        }
    }
}
