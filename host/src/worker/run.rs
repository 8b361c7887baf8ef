//! The loop of one worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::commit::Written;
use super::control::Control;
use super::failure::Failure;
use super::frontier::SharedFrontier;
use super::generation::Running;
use super::job::Job;
use super::missing::Missing;
use super::offers::{Offers, Taken};
use super::pause::{Pause, Rest};
use super::poison::Poison;
use super::purge::Merged;
use super::reader::{At, Hop, Readers};
use super::sink::Sink;
use super::status::WorkerStatus;
use super::stop::Stop;
use super::tally::Tally;
use super::trial::{Errors, Rates};
use crate::chain::Chain;
use crate::kafka::{KafkaError, Messages, Rebalance};
use crate::shadow::Feed;
use crate::window::{ClosedWindow, Merge, Windows};

/// How long a partition's leader may take to say where the partition ends, before it is closed.
pub(super) const IDLE_QUESTION: Duration = Duration::from_secs(1);
/// How long an idle worker waits for records before it looks at everything else.
pub(super) const IDLE_WAIT: Duration = Duration::from_millis(20);

/// What a worker tells the control thread.
#[derive(Debug)]
pub enum Event {
    /// Windows whose results are committed.
    Closed(Vec<ClosedWindow>),
}

/// What a worker leaves behind when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Everything in hand is committed.
    Committed,
    /// The last transaction may not be: its records come again at the next start.
    Uncommitted,
}

/// One partition that is taken over: of the input, or of the repartition topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// The offset of the next record to process.
    pub next_offset: i64,
    /// The end of the partition, as far as is known.
    pub end_offset: i64,
    /// Since when the partition has been read to its end, in milliseconds of the wall clock.
    pub silent_since: Option<i64>,
    /// Since when no event has passed the stages, none before the partition was read to its end for
    /// the first time after that; in milliseconds of the wall clock.
    pub quiet_since: Option<i64>,
    /// When the partition was last seen to be read to its end, in milliseconds of the wall clock.
    pub ended_at: i64,
    /// The end of the partition as its leader said it while the worker paused, 0 before that.
    pub log_end: i64,
    /// Whether the running transaction changes anything of it.
    pub is_touched: bool,
}

/// What the workers of a process have in common besides their work.
#[derive(Clone)]
pub struct Common {
    /// Asks all of them to stop.
    pub stop: Stop,
    /// Where they tell the control thread what happens.
    pub events: Sender<Event>,
    /// New rules.
    pub offers: Arc<Offers>,
    /// Asks all of them to pause.
    pub pause: Pause,
    /// How far all input partitions are.
    pub frontier: SharedFrontier,
    /// What is merged and can go.
    pub merged: Merged,
}

/// A worker: a member of the group with a producer and a chain of its own.
pub struct Worker {
    pub(super) job: Arc<Job>,
    pub(super) number: usize,
    pub(super) status: Arc<WorkerStatus>,
    pub(super) stop: Stop,
    pub(super) events: Sender<Event>,
    pub(super) offers: Arc<Offers>,
    pub(super) pause: Pause,
    /// While it pauses.
    pub(super) rest: Option<Rest>,
    pub(super) chain: Chain,
    /// Candidates that see the chain's batches.
    pub(super) feeds: Vec<Feed>,
    /// What the chain belongs to.
    pub(super) running: Running,
    pub(super) readers: Readers,
    pub(super) sink: Option<Sink>,
    pub(super) held: BTreeMap<At, Held>,
    /// Partitions that are assigned, but whose state and position are to be read again.
    pub(super) adrift: Vec<At>,
    /// Where this worker began with partitions of which nothing was committed: a failure of the
    /// first commit must not choose again, and pass over what came in meanwhile.
    pub(super) first_offsets: BTreeMap<At, i64>,
    /// The windows' first hop, over the input partitions.
    pub(super) windows: Vec<Windows>,
    /// Their second hop, by partition of the repartition topic.
    pub(super) merges: BTreeMap<i32, Merge>,
    /// How far all input partitions are, those of other workers and instances included.
    pub(super) frontier: SharedFrontier,
    /// What is merged and can go.
    pub(super) merged: Merged,
    /// When the first uncommitted record, or change of a window, came in.
    pub(super) uncommitted_since: Option<Instant>,
    /// What waits for its offsets to be taken; nothing may be added to it.
    pub(super) written: Option<Written>,
    /// Whether a transaction was given up, and nothing has been committed since.
    pub(super) has_dropped: bool,
    /// When places that were chosen are to be committed, if that has to be first; see
    /// `commit_places`.
    pub(super) new_places_due: Option<Instant>,
    pub(super) poison: Poison,
    pub(super) tally: Tally,
    /// Whether records of the next fetch are kept, for new generations to be tried on.
    pub(super) is_sample_due: bool,
    pub(super) idle_checked: Instant,
    /// When the ends of the repartition topic were asked for, while it was not read.
    pub(super) ends_asked: Option<Instant>,
    pub(super) published: Instant,
    /// How long until the next snapshot.
    pub(super) publish_after: Duration,
    pub(super) backoff: Backoff,
    pub(super) missing: Missing,
}

impl Worker {
    /// A worker that has not talked to any broker yet. `number` is unique in the process.
    pub fn new(job: Arc<Job>, number: usize, status: Arc<WorkerStatus>, common: Common) -> Self {
        let Common { stop, events, offers, pause, frontier, merged } = common;
        let Taken { trial, chain, feeds } = offers.take(number).expect("each has a first chain");
        let errors = Errors::new(chain.stage_names(), Rates::new());
        let windows = job.windows.iter().map(|window| Windows::new(window.spec.clone())).collect();
        Self {
            tally: Tally::new(&chain, &trial),
            job,
            number,
            status,
            stop,
            events,
            offers,
            pause,
            rest: None,
            chain,
            feeds,
            running: Running::new(trial, number, errors),
            readers: Readers::default(),
            sink: None,
            held: BTreeMap::new(),
            adrift: Vec::new(),
            first_offsets: BTreeMap::new(),
            windows,
            merges: BTreeMap::new(),
            frontier,
            merged,
            uncommitted_since: None,
            written: None,
            has_dropped: false,
            new_places_due: None,
            poison: Poison::default(),
            idle_checked: Instant::now(),
            ends_asked: None,
            published: Instant::now(),
            publish_after: Duration::ZERO,
            backoff: Backoff::default(),
            missing: Missing::new(Instant::now()),
            is_sample_due: true,
        }
    }

    /// Works until a stop is asked for, or something happens that it cannot mend.
    pub fn run(mut self) -> Result<Left, Failure> {
        let ended = loop {
            match self.work() {
                Ok(()) | Err(Failure::Stopped) => break Ok(()),
                Err(stop @ Failure::Stop { .. }) => break Err(stop),
                Err(failure) if self.stop.is_raised() => {
                    // There is no time to read everything again, and nobody to do it for.
                    tracing::warn!(worker = self.number, error = %failure, "the last commit failed");
                    break Ok(());
                }
                Err(failure) => {
                    if let Err(stop) = self.recover(failure) {
                        break Err(stop);
                    }
                }
            }
        };
        self.leave();
        let left = if self.has_dropped { Left::Uncommitted } else { Left::Committed };
        ended.map(|()| left)
    }

    /// Works until a stop is asked for; every way out of here with an error goes to `recover`.
    fn work(&mut self) -> Result<(), Failure> {
        loop {
            self.step("answering the group");
            self.answer_rebalances()?;
            let is_stopping = self.stop.is_raised();
            if (is_stopping || self.written.is_some()) && !self.commit_or_wait()? {
                continue;
            }
            if is_stopping {
                return Ok(());
            }
            // Behind the assignment and before its first batch.
            if !self.take_newest()? {
                continue;
            }
            if !self.adrift.is_empty() {
                self.take_over_adrift()?;
            }
            if self.new_places_due.is_some() && !self.commit_places()? {
                continue;
            }
            self.look_again_for_topics()?;
            if self.rest()? {
                continue;
            }
            self.step("fetching");
            self.gather()?;
            self.close_idle()?;
            let due = |since: Instant| since.elapsed() >= self.job.commit_interval;
            let is_held_up = Control::TimerByOutput.is_on()
                && self.tally.records_out == 0
                && self.touched().all(|(at, _)| at.hop == Hop::First);
            let is_due = self.uncommitted_since.is_some_and(due) && !is_held_up;
            let is_early = self.is_cautious()
                || self.is_strained()
                || self.is_closing()
                || self.windows.iter().any(Windows::strained);
            let is_due = is_due || is_early && self.uncommitted_since.is_some();
            if is_due && !self.commit_or_wait()? {
                continue;
            }
            if self.uncommitted_since.is_none() {
                self.end_probation();
            }
            self.publish();
        }
    }

    /// Fetches a batch, runs it and writes what comes out.
    fn gather(&mut self) -> Result<(), Failure> {
        let wait = match self.uncommitted_since {
            None => IDLE_WAIT,
            Some(since) => {
                let left = self.job.commit_interval.saturating_sub(since.elapsed());
                left.min(self.job.batching.wait)
            }
        };
        let records = self.job.batching.records;
        if self.is_closing() {
            self.begin()?;
            self.ask_merge_ends();
        } else if self.job.hops.is_some() {
            // What is there: the wait is for the input.
            let consumer = &mut self.readers.of_mut(Hop::Second).consumer;
            let messages = consumer.fetch(records, Duration::ZERO);
            self.took(Hop::Second, &messages)?;
        }
        let messages = self.readers.of_mut(Hop::First).consumer.fetch(records, wait);
        self.took(Hop::First, &messages)
    }

    /// What a fetch brought.
    fn took(&mut self, hop: Hop, messages: &Messages) -> Result<(), Failure> {
        for (partition, error) in messages.errors() {
            self.consumer_trouble(At::new(hop, *partition), error)?;
        }
        if !messages.is_empty() {
            match hop {
                Hop::First => {
                    self.missing.came_in(Instant::now());
                    self.step("running the chain");
                    self.process(messages)?;
                    if std::mem::take(&mut self.is_sample_due) {
                        self.status.sample.look_at(messages);
                    }
                }
                Hop::Second => {
                    self.step("merging deltas");
                    self.process_deltas(messages)?;
                }
            }
        }
        let now = wall_millis();
        for &(partition, end) in messages.ends() {
            if let Some(held) = self.held.get_mut(&At::new(hop, partition)) {
                held.end_offset = end;
                held.log_end = 0;
                held.silent_since.get_or_insert(now);
                held.quiet_since.get_or_insert(now);
                held.ended_at = now;
            }
        }
        Ok(())
    }

    /// An error that the consumer reported instead of a record.
    fn consumer_trouble(&self, at: At, error: &KafkaError) -> Result<(), Failure> {
        match error {
            KafkaError::Unreachable(_) | KafkaError::Retry(_) => {
                tracing::debug!(worker = self.number, %error, "consumer");
                Ok(())
            }
            KafkaError::OffsetGone(_) if self.held.contains_key(&at) => {
                // The take-over looks at what is there, and decides by `on_expired`. librdkafka has
                // stopped reading the partition, and takes no other offset for it.
                let (topic, partition) = (self.job.topic(at.hop), at.partition);
                Err(Failure::Rejoin(format!("reading {topic} partition {partition}: {error}")))
            }
            error => Err(error.clone().into()),
        }
    }

    /// Serves the groups: answers whatever they ask, and joins them if need be.
    fn answer_rebalances(&mut self) -> Result<(), Failure> {
        for &hop in self.job.clone().hops() {
            self.readers.join(&self.job, hop)?;
        }
        for &hop in self.job.clone().hops() {
            self.answer(hop)?;
        }
        Ok(())
    }

    fn answer(&mut self, hop: Hop) -> Result<(), Failure> {
        let all = |partitions: Vec<i32>| -> Vec<At> {
            partitions.into_iter().map(|partition| At::new(hop, partition)).collect()
        };
        while let Some(event) = self.readers.of_mut(hop).consumer.poll_rebalance() {
            match event {
                Rebalance::Assigned(partitions) => self.take_over(hop, &all(partitions))?,
                Rebalance::Revoked(partitions) => self.give_up(hop, &all(partitions))?,
                Rebalance::Lost(partitions) if Control::CommitWhenLost.is_on() => {
                    self.give_up(hop, &all(partitions))?;
                }
                Rebalance::Lost(partitions) => {
                    self.forget(hop, &all(partitions))?;
                    return Err(Failure::Recover("the group went on without this worker".into()));
                }
                Rebalance::Error(error) => self.consumer_trouble(At::new(hop, -1), &error)?,
            }
            self.publish_now();
        }
        Ok(())
    }

    /// Commits, then gives partitions up; the next owner begins where this commit ends. If the
    /// commit fails the partitions are given up all the same, without a trace of what was done.
    fn give_up(&mut self, hop: Hop, partitions: &[At]) -> Result<(), Failure> {
        let committed = self.commit().map_err(|failure| self.explained(failure));
        if committed.is_err() {
            self.drop_uncommitted();
        }
        self.forget(hop, partitions)?;
        let shown = self.job.show(partitions.iter().map(|at| (*at, None)));
        tracing::info!(worker = self.number, partitions = shown, "partitions given up");
        committed
    }

    /// Answers a revocation: nothing of these partitions is left.
    fn forget(&mut self, hop: Hop, partitions: &[At]) -> Result<(), Failure> {
        for at in partitions {
            self.held.remove(at);
            self.adrift.retain(|adrift| adrift != at);
            self.release(*at);
        }
        let partitions: Vec<i32> = partitions.iter().map(|at| at.partition).collect();
        Ok(self.readers.of_mut(hop).consumer.unassign(&partitions)?)
    }

    pub(super) fn step(&self, call: &'static str) {
        self.status.step(call);
    }
}

/// The wall clock, in milliseconds since the epoch.
pub(super) fn wall_millis() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
