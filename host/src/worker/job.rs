//! What all workers of a process have in common: fixed when the process starts.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use super::reader::{At, Hop};
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

/// One window with the topic of its results.
#[derive(Clone, Debug)]
pub struct WindowJob {
    /// What to count.
    pub spec: Arc<WindowSpec>,
    /// Where its results go.
    pub results: OutTopic,
}

/// The topics between and behind the two hops of all windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopTopics {
    /// Deltas on their way from the input partitions to the merge partitions.
    pub repartition: OutTopic,
    /// Compacted: how far each input partition is.
    pub progress: OutTopic,
    /// Compacted: the open windows, with as many partitions as the repartition topic.
    pub state: OutTopic,
}

/// The group of a pipeline's second hop, by that of its first.
pub fn merge_group(group: &str) -> String {
    format!("{group}-windows")
}

/// The work of a process.
#[derive(Clone, Debug)]
pub struct Job {
    /// Brokers and what the user passes through.
    pub client: ClientSettings,
    /// The consumer group; [`merge_group`] tells that of the windows' second hop.
    pub group: String,
    /// The first parts of the transactional id, `<pipeline>/<instance>`; the worker's number follows.
    pub identity: String,
    /// `host reset` with the flags that say which pipeline this is, up to its `--to`; no secret.
    pub reset_command: String,
    /// The input topic.
    pub input: Arc<str>,
    /// How many partitions it had when the process started.
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
    /// Their topics; none without windows.
    pub hops: Option<HopTopics>,
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

    /// The hops that there are.
    pub(super) fn hops(&self) -> &'static [Hop] {
        if self.hops.is_some() { &[Hop::First, Hop::Second] } else { &[Hop::First] }
    }

    /// The topic that a hop reads.
    pub(super) fn topic(&self, hop: Hop) -> &str {
        match (hop, &self.hops) {
            (Hop::Second, Some(hops)) => &hops.repartition.name,
            _ => &self.input,
        }
    }

    /// The group that shares the topic's partitions. One for each hop: a group that read both could give
    /// one worker all partitions of the input, and the other what is little work.
    pub(super) fn group(&self, hop: Hop) -> String {
        match hop {
            Hop::First => self.group.clone(),
            Hop::Second => merge_group(&self.group),
        }
    }

    /// How many partitions of its topic a worker knows to deal with.
    pub(super) fn partitions(&self, hop: Hop) -> i32 {
        match (hop, &self.hops) {
            (Hop::Second, Some(hops)) => hops.repartition.partitions,
            _ => self.input_partitions,
        }
    }

    /// The windows' definitions.
    pub fn specs(&self) -> Arc<[Arc<WindowSpec>]> {
        self.windows.iter().map(|window| window.spec.clone()).collect()
    }

    /// Partitions for the log: by topic.
    pub(super) fn show(&self, partitions: impl IntoIterator<Item = (At, Option<i64>)>) -> String {
        let mut shown = String::new();
        let mut last = None;
        for (at, offset) in partitions {
            let topic = self.topic(at.hop);
            let _ = match (last == Some(at.hop), last) {
                (true, _) => write!(shown, ", {}", at.partition),
                (false, None) => write!(shown, "{topic} {}", at.partition),
                (false, Some(_)) => write!(shown, "; {topic} {}", at.partition),
            };
            if let Some(offset) = offset {
                let _ = write!(shown, " from {offset}");
            }
            last = Some(at.hop);
        }
        shown
    }

    /// All its topics, with the partitions that they had when the process started.
    pub fn topics(&self) -> impl Iterator<Item = (&str, i32)> {
        let hops =
            self.hops.iter().flat_map(|hops| [&hops.repartition, &hops.progress, &hops.state]);
        let windows = self.windows.iter().map(|window| &window.results).chain(hops);
        let outputs = [&self.sink, &self.dead_letters, &self.late].into_iter();
        let outputs = outputs.chain(&self.further).chain(windows);
        let outputs = outputs.map(|topic| (topic.name.as_str(), topic.partitions));
        std::iter::once((&*self.input, self.input_partitions)).chain(outputs)
    }
}
