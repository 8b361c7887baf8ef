//! What a worker tells the rest of the process about itself: counters that it adds to once per
//! commit, and a snapshot that it publishes at most a few times a second. Nothing here is touched
//! per record.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::sample::Sample;
use super::trial::Rates;
use crate::window::OpenWindow;

/// A histogram of durations with fixed bounds.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Upper bounds of the buckets, in seconds; one more bucket holds what is beyond the last.
    pub const BOUNDS: [f64; 14] =
        [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = Self::BOUNDS.iter().position(|&bound| seconds <= bound);
        self.buckets[bucket.unwrap_or(Self::BOUNDS.len())].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(duration.as_micros() as u64, Relaxed);
    }

    /// How many durations each bucket holds (not cumulated), the last being beyond every bound,
    /// and the sum of all durations in seconds.
    pub fn read(&self) -> ([u64; Self::BOUNDS.len() + 1], f64) {
        let counts = std::array::from_fn(|i| self.buckets[i].load(Relaxed));
        (counts, self.sum_micros.load(Relaxed) as f64 / 1e6)
    }
}

/// Totals since the process started. Records count once their transaction is committed.
#[derive(Debug, Default)]
pub struct Counters {
    /// Input records.
    pub records_in: AtomicU64,
    /// Bytes of keys and values of input records.
    pub bytes_in: AtomicU64,
    /// Output records (dead letters, late records and window results not included).
    pub records_out: AtomicU64,
    /// Batches that went through the chain.
    pub batches: AtomicU64,
    /// Late records.
    pub late: AtomicU64,
    /// Window results, updates included.
    pub window_results: AtomicU64,
    /// Records whose event time was missing or malformed, per window and record.
    pub event_time_fallbacks: AtomicU64,
    /// Events whose time is too far in the future to move a watermark, per window and event.
    pub future_events: AtomicU64,
    /// Transactions (or, at-least-once, offset commits) that succeeded.
    pub commits: AtomicU64,
    /// Transactions that were given up, for whatever reason.
    pub aborts: AtomicU64,
    /// Times that the worker went through its failure path.
    pub recoveries: AtomicU64,
    /// Producers replaced since a request may have been retried (delivery rule 9).
    pub producers_replaced: AtomicU64,
    /// From the start of a commit to its end.
    pub commit_seconds: Histogram,
    /// From the timestamp of a transaction's oldest record to the end of its commit.
    pub latency_seconds: Histogram,
}

/// One stage, for as long as a generation ran.
#[derive(Clone, Debug, Default)]
pub struct StageStatus {
    /// Its name.
    pub name: String,
    /// What names its plugin's file; empty for the host's own parts of the chain, and where many
    /// generations are taken together.
    pub plugin: String,
    /// The generation; 0 for those that ended longest ago, taken together.
    pub generation: u64,
    /// Records that came to it.
    pub records_in: u64,
    /// Records that it dropped.
    pub dropped: u64,
    /// Records that it rejected.
    pub rejected: u64,
    /// Calls that gave no answer, by kind of fault.
    pub faults: BTreeMap<&'static str, u64>,
    /// Time spent in it.
    pub busy: Duration,
}

impl StageStatus {
    /// Adds what another did.
    pub(super) fn take_in(&mut self, other: &Self) {
        self.records_in += other.records_in;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        self.busy += other.busy;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// As it stands in metrics.
    pub fn generation_label(&self) -> String {
        if self.generation == 0 { "older".to_owned() } else { self.generation.to_string() }
    }
}

/// One input partition that the worker holds.
#[derive(Clone, Debug, Default)]
pub struct PartitionStatus {
    /// The offset of the next record to process.
    pub next_offset: i64,
    /// The end of the partition as the last fetch saw it.
    pub end_offset: i64,
    /// The watermark of each window, by its name, in milliseconds since the epoch.
    pub watermarks: BTreeMap<String, i64>,
}

/// One partition of the repartition topic that the worker holds.
#[derive(Clone, Debug, Default)]
pub struct MergeStatus {
    /// Records of deltas that wait there.
    pub lag: u64,
    /// Its windows, in the order of the configuration.
    pub windows: Vec<MergeWindow>,
}

/// One window in a partition of the repartition topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeWindow {
    /// Its name.
    pub name: String,
    /// What ends then or before is final, in milliseconds since the epoch; none before every input
    /// partition has said how far it is.
    pub final_before: Option<i64>,
    /// Up to when results are given out; less than what is final while more is than a commit holds.
    pub given_out: Option<i64>,
    /// The input partitions that are the least far.
    pub behind: Vec<i32>,
}

impl PartitionStatus {
    /// Records between the two.
    pub fn lag(&self) -> u64 {
        u64::try_from(self.end_offset - self.next_offset).unwrap_or(0)
    }
}

/// What is true of a worker at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The input partitions that it holds.
    pub partitions: BTreeMap<i32, PartitionStatus>,
    /// The partitions of the repartition topic that it holds.
    pub merges: BTreeMap<i32, MergeStatus>,
    /// Dead letters by reason, since the process started.
    pub dead_letters: BTreeMap<String, u64>,
    /// The stages in order, then those of earlier generations.
    pub stages: Vec<StageStatus>,
    /// The open windows with their largest groups, at most [`Snapshot::GROUPS_MAX`] each.
    pub open_windows: Vec<OpenWindow>,
    /// The generation of the rules that it runs.
    pub generation: u64,
    /// The errors of its stages that are committed, lately.
    pub errors: Rates,
}

impl Snapshot {
    /// Smaller groups of an open window than so many are left out of a snapshot.
    pub const GROUPS_MAX: usize = 50;
}

/// What one worker shows to the outside.
#[derive(Debug)]
pub struct WorkerStatus {
    /// Totals.
    pub counters: Counters,
    /// Whether the worker takes part in the group and can process.
    pub ready: AtomicBool,
    /// Whether it pauses, and has committed what it had in hand.
    pub at_rest: AtomicBool,
    /// Some of the records that it has seen lately.
    pub sample: Sample,
    snapshot: Mutex<Snapshot>,
    step: Mutex<(Instant, &'static str)>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            ready: AtomicBool::new(false),
            at_rest: AtomicBool::new(false),
            sample: Sample::default(),
            snapshot: Mutex::default(),
            step: Mutex::new((Instant::now(), "starting")),
        }
    }
}

impl WorkerStatus {
    /// Publishes a new snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        *lock(&self.snapshot) = snapshot;
    }

    /// The last snapshot.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.snapshot).clone()
    }

    /// Says that the worker lives, and which call it goes into.
    pub fn step(&self, call: &'static str) {
        *lock(&self.step) = (Instant::now(), call);
    }

    /// For how long the worker has been in which call.
    pub fn stuck_in(&self) -> (Duration, &'static str) {
        let (since, call) = *lock(&self.step);
        (since.elapsed(), call)
    }
}

/// The values behind these locks are replaced whole, so a panic elsewhere leaves them right.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
