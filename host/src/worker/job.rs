//! What all workers of a process have in common: fixed when the process starts.

use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use crate::kafka::ClientSettings;
use crate::window::{StateError, WindowSpec};

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Outputs, state and offsets become visible together or not at all.
    ExactlyOnce,
    /// Outputs first, offsets after them: a crash between the two repeats outputs.
    AtLeastOnce,
}

/// Where a group without committed offsets begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record there is.
    Earliest,
    /// Behind the newest record there is when the partition is first taken over.
    Latest,
    /// At the first record whose timestamp, in milliseconds since the epoch, is this or later.
    Time(i64),
}

/// What to do where retention has deleted records before they were processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpired {
    /// Stop, and let a human decide.
    Stop,
    /// Go on at the oldest record there is, with a warning that says how many are gone.
    Skip,
}

/// How records are gathered into a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Records of a batch, at most.
    pub records: usize,
    /// Bytes of keys and values of one run of the chain, at most (one record may be larger). What
    /// is beyond waits for the next run.
    pub bytes: usize,
    /// How long a batch waits for its last record.
    pub wait: Duration,
}

/// A topic to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// The largest batch of records that the broker takes, in bytes.
    pub message_bytes_max: usize,
}

/// One window with its topics.
#[derive(Clone, Debug)]
pub struct WindowJob {
    /// What to count.
    pub spec: Arc<WindowSpec>,
    /// Its compacted state, with as many partitions as the input.
    pub state: OutTopic,
    /// The results of each partition.
    pub partial: OutTopic,
}

/// The work of a process.
#[derive(Clone, Debug)]
pub struct Job {
    /// Brokers and what the user passes through.
    pub client: ClientSettings,
    /// The consumer group.
    pub group: String,
    /// The first parts of the transactional id, `<pipeline>/<instance>`; the worker's number follows.
    pub identity: String,
    /// `host reset` with the flags that say which pipeline this is, up to its `--to`; no secret.
    pub reset_command: String,
    /// The input topic.
    pub input: Arc<str>,
    /// How many partitions it had when the process started, which is what the state topics have.
    pub input_partitions: i32,
    /// Where a new group begins.
    pub start: Start,
    /// What to do about expired records.
    pub on_expired: OnExpired,
    /// What a commit promises.
    pub delivery: Delivery,
    /// From the first uncommitted record to its commit.
    pub commit_interval: Duration,
    /// After how long the broker gives a silent worker's transaction up.
    pub transaction_timeout: Duration,
    /// How records are gathered.
    pub batching: Batching,
    /// Where outputs go.
    pub sink: OutTopic,
    /// Whether outputs say which generation made them.
    pub stamp: bool,
    /// Other topics that transforms may emit to.
    pub further: Vec<OutTopic>,
    /// Where dead letters go.
    pub dead_letters: OutTopic,
    /// Where late records go.
    pub late: OutTopic,
    /// The windows, in the order of the chain's observers.
    pub windows: Vec<WindowJob>,
}

impl Job {
    /// How to begin anew, for a message: a command that can be copied as it is.
    pub fn begin_anew(&self) -> String {
        format!("`{} --to earliest`", self.reset_command)
    }

    /// What is wrong with the state of a window, and how to mend it.
    pub fn state_failure(&self, error: &StateError) -> Failure {
        match error.is_mended_by_reset() {
            true => {
                Failure::stop(format!("{error}: {} (or --to latest, or a time)", self.begin_anew()))
            }
            false => Failure::stop(error.to_string()),
        }
    }

    /// All its topics, with the partitions that they had when the process started.
    pub fn topics(&self) -> impl Iterator<Item = (&str, i32)> {
        let windows = self.windows.iter().flat_map(|window| [&window.state, &window.partial]);
        let outputs = [&self.sink, &self.dead_letters, &self.late].into_iter();
        let outputs = outputs.chain(&self.further).chain(windows);
        let outputs = outputs.map(|topic| (topic.name.as_str(), topic.partitions));
        std::iter::once((&*self.input, self.input_partitions)).chain(outputs)
    }
}
