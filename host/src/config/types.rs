//! The checked configuration. Field docs show the TOML; the shipped `pipeline.toml` explains the
//! keys to a user.

use std::sync::Arc;
use std::time::Duration;

use super::stages::Spots;
use super::{Place, Properties};

/// A whole pipeline, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from, as shown to a person.
    pub file: String,
    /// `[pipeline] name`: the consumer group, and the first part of the names of its own topics.
    pub name: String,
    /// `[source]`.
    pub source: Source,
    /// `[[stage]]`, in order; none is a pipeline that only copies.
    pub stages: Vec<Stage>,
    /// `[[shadow.stage]]`, in order: a candidate for the place of all stages; none if there is none.
    pub shadow: Vec<Stage>,
    /// `[[window]]`, in order.
    pub windows: Vec<Window>,
    /// `[sink]`.
    pub sink: Sink,
    /// `[dead-letters]`.
    pub dead_letters: DeadLetters,
    /// `[late]`.
    pub late: Topic,
    /// `[repartition]`.
    pub repartition: Repartition,
    /// `[state]`.
    pub state: State,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[reload]`.
    pub reload: Reload,
    /// `[limits]`.
    pub limits: Limits,
    /// `[kafka]` and `-X`.
    pub properties: Properties,
}

/// A topic, and what it is created with where it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// `topic = "user-login"`: a name that Kafka takes.
    pub name: String,
    /// `partitions = 4`: 1 to 10,000.
    pub partitions: i32,
    /// `replication = -1`: 1 to 100, or -1 for the broker's default.
    pub replication: i32,
}

/// `[source]`: the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The input topic.
    pub topic: Topic,
    /// `on-expired = "stop"`.
    pub on_expired: OnExpired,
}

/// What happens when retention has deleted records that were not read yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpired {
    /// `"stop"`: the pipeline stops and says what is lost.
    #[default]
    Stop,
    /// `"skip"`: it goes on at the oldest record there is.
    Skip,
}

/// `[[stage]]`: one plugin in the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// `name = "filter"`: unique; by default the plugin's.
    pub name: String,
    /// `plugin = "filter"`: `filter.wasm` in the plugins folder.
    pub plugin: String,
    /// `on-error = "dead-letter"`.
    pub on_error: OnError,
    /// `[stage.settings]` as JSON text, always an object.
    pub settings: Arc<str>,
    /// `[stage.limits]`, completed from `[limits]`.
    pub limits: StageLimits,
    /// Where the plugin is named.
    pub place: Place,
    /// Where else it says what.
    pub(super) spots: Arc<Spots>,
    /// `[stage.shadow]`: a candidate for the stage's place, with the stage's name.
    pub shadow: Option<Box<Stage>>,
}

/// What becomes of a record that a stage fails on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// `"dead-letter"`: it goes to the dead letters.
    #[default]
    DeadLetter,
    /// `"skip"`: it is dropped and counted.
    Skip,
    /// `"pass"`: it goes on as it was before the stage.
    Pass,
    /// `"stop"`: the pipeline stops.
    Stop,
}

/// What one instance of a plugin may use. A call beyond one of these is a fault of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageLimits {
    /// `plugin-memory`, in a stage `memory = "64MiB"`: linear memory, bytes.
    pub memory: u64,
    /// `recycle-memory = "32MiB"`: an instance above it after a call is replaced before its next.
    pub recycle_memory: u64,
    /// `configure = "5s"`: wall time to start an instance and configure it.
    pub configure: Duration,
    /// `call = "100ms"`: wall time of one call, to which `call_per_event` is added.
    pub call: Duration,
    /// `call-per-event = "100us"`: further wall time for each event of the batch.
    pub call_per_event: Duration,
    /// `output-record = "8MiB"`: bytes that one record may bring forth.
    pub output_record: u64,
    /// `output-batch = "64MiB"`: bytes that one answer may hold.
    pub output_batch: u64,
    /// `outputs-per-record = 1000`: records that a transform may emit for one.
    pub outputs_per_record: u32,
    /// `log-lines-per-second = 20`: further lines are counted and left out.
    pub log_lines_per_second: u32,
}

/// `[[window]]`: windows of event time that add events up by a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// `name = "counts"`: unique; part of the names of its topics.
    pub name: String,
    /// `size = "60s"`, with `every = "10s"`, or `gap = "30s"`.
    pub shape: WindowShape,
    /// `grace = "5s"`: for how long after its end a window waits for stragglers.
    pub grace: Duration,
    /// `by = "/app_version"`, or a list: JSON Pointers into the output event. Empty: all together.
    pub by: Vec<String>,
    /// `time = { field = "/timestamp", unit = "auto" }`, `"record"` or `"processing"`.
    pub time: EventTime,
    /// `aggregates = { count = "count" }`, in the order of the file: each has a name of its own,
    /// and there is at least one.
    pub aggregates: Vec<Aggregate>,
    /// `where = "/flag"`: a JSON Pointer into the output event; only events that hold `true` there
    /// count. None: all do.
    pub filter: Option<String>,
    /// `emit = "final"`.
    pub emit: Emit,
    /// `idle = "5s"`: a partition that is caught up and silent for this long closes its windows
    /// by the wall clock.
    pub idle: Duration,
    /// `future-max = "1h"`: an event time further past its record's own timestamp does not move
    /// the watermark.
    pub future_max: Duration,
    /// `keys-max = 1000000`: keys of all open windows of a partition; at more the pipeline stops.
    pub keys_max: u64,
    /// `bytes-max = "256MiB"`: the same in bytes of keys and accumulators.
    pub bytes_max: u64,
    /// Where its results go: `<input>-<window>`.
    pub results_topic: String,
    /// Where it begins in the file.
    pub place: Place,
}

/// Which stretches of event time the windows are. Whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowShape {
    /// `size = "60s"`: one after the other, aligned to the epoch.
    Tumbling {
        /// How long each is.
        size: Duration,
    },
    /// `size = "60s"` and `every = "10s"`: overlapping, each the sum of at most 1000 slices of
    /// their greatest common divisor.
    Hopping {
        /// How long each is.
        size: Duration,
        /// How far apart they begin; at most `size`.
        every: Duration,
    },
    /// `gap = "30s"`: as long as events of a group are less than this apart.
    Session {
        /// The least silence between two of them.
        gap: Duration,
    },
}

/// One member of a window's results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Its name.
    pub name: String,
    /// How it is computed.
    pub kind: AggregateKind,
}

/// How a member of a result is computed. Fields are JSON Pointers into the output event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AggregateKind {
    /// `"count"`: how many events.
    Count,
    /// `{ sum = "/amount" }`.
    Sum(String),
    /// `{ min = "/amount" }`.
    Min(String),
    /// `{ max = "/amount" }`.
    Max(String),
    /// `{ avg = "/amount" }`.
    Avg(String),
    /// `{ distinct = "/user", exact-max = 1000 }`: how many different values.
    Distinct {
        /// The field.
        field: String,
        /// Up to how many it is exact.
        exact_max: usize,
    },
    /// `{ top = "/user", k = 5, counted-max = 10000 }`: the most frequent values.
    Top {
        /// The field.
        field: String,
        /// How many of them.
        k: usize,
        /// Up to how many different ones it is exact; at least `k`.
        counted_max: usize,
    },
}

impl WindowShape {
    /// `size`, unless it is a session.
    pub fn size(&self) -> Option<Duration> {
        match *self {
            Self::Tumbling { size } | Self::Hopping { size, .. } => Some(size),
            Self::Session { .. } => None,
        }
    }

    /// `every`, of a hopping window.
    pub fn every(&self) -> Option<Duration> {
        match *self {
            Self::Hopping { every, .. } => Some(every),
            _ => None,
        }
    }

    /// `gap`, of a session.
    pub fn gap(&self) -> Option<Duration> {
        match *self {
            Self::Session { gap } => Some(gap),
            _ => None,
        }
    }
}

impl AggregateKind {
    /// The field that it reads, if any.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(field) | Self::Min(field) | Self::Max(field) | Self::Avg(field) => {
                Some(field)
            }
            Self::Distinct { field, .. } | Self::Top { field, .. } => Some(field),
        }
    }
}

/// When a window's results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// `"final"`: once.
    #[default]
    Final,
    /// `"updates"`: at each commit what changed as well.
    Updates,
}

/// Where the time of an event is read from, in the input record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// `"record"`: the record's own timestamp.
    Record,
    /// `"processing"`: the wall clock when the record is processed.
    Processing,
    /// A field of the event; where it is missing or malformed, the record's own timestamp.
    Field {
        /// A JSON Pointer.
        pointer: String,
        /// How to read it.
        unit: TimeUnit,
    },
}

/// How a field says what time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// `"auto"`: a text is RFC 3339; a number's magnitude tells its unit: seconds below 10^11,
    /// milliseconds below 10^14, microseconds below 10^17, else nanoseconds.
    #[default]
    Auto,
    /// `"seconds"` since the epoch.
    Seconds,
    /// `"milliseconds"` since the epoch.
    Milliseconds,
    /// `"microseconds"` since the epoch.
    Microseconds,
    /// `"nanoseconds"` since the epoch.
    Nanoseconds,
    /// `"rfc3339"`: a text such as `2026-01-31T12:00:00Z`.
    Rfc3339,
}

/// `[sink]`: the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// The output topic.
    pub topic: Topic,
    /// `topics = []`: further ones that transforms may emit to; created like the sink's.
    pub further: Vec<String>,
    /// `stamp = false`: whether outputs carry the generation that made them in a header.
    pub stamp: bool,
}

/// `[dead-letters]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetters {
    /// Their topic, by default `<input>-dead-letters`.
    pub topic: Topic,
    /// `reject-share-max = 0.5`: above 0, at most 1. A stage that rejects a greater share stops the
    /// pipeline; at 1 none ever does.
    pub reject_share_max: f64,
    /// `reject-share-over = 10000`: over how many of a stage's last records.
    pub reject_share_over: u32,
}

/// `[repartition]`: where the counts of the input partitions of all windows come together by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repartition {
    /// Its topic, `<pipeline>-repartition`; made by default as the source is.
    pub topic: Topic,
    /// `retention = "7d"`: the topic's `retention.ms`; longer than the pipeline is ever stopped.
    pub retention: Duration,
}

/// `[state]`: the compacted topics, and how they are created.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// How far each input partition is: `<pipeline>-progress`.
    pub progress_topic: String,
    /// The open windows: `<pipeline>-windows`.
    pub windows_topic: String,
    /// `replication = -1`, as in [`Topic`].
    pub replication: i32,
    /// `segment-age = "10m"`: the topics' `segment.ms`.
    pub segment_age: Duration,
    /// `segment-bytes = "16MiB"`: the topics' `segment.bytes`.
    pub segment_bytes: u64,
    /// `dirty-ratio = 0.1`: the topics' `min.cleanable.dirty.ratio`, above 0, at most 1.
    pub dirty_ratio: f64,
}

/// `[delivery]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `mode = "exactly-once"`.
    pub mode: Mode,
    /// `commit-interval = "200ms"`: from the first uncommitted record to the commit.
    pub commit_interval: Duration,
    /// `transaction-timeout = "10s"`: after that a broker aborts what a lost worker left open. More
    /// than twice the commit interval.
    pub transaction_timeout: Duration,
}

/// What is promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `"exactly-once"`: the effects of a record become visible exactly once.
    #[default]
    ExactlyOnce,
    /// `"at-least-once"`: never not at all, after a failure perhaps more than once.
    AtLeastOnce,
}

impl Mode {
    /// Its name in `pipeline.toml`, on the command line and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::ExactlyOnce, Self::AtLeastOnce]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| "expected exactly-once or at-least-once".to_owned())
    }
}

/// `[reload]`: how a change of the folder is taken while the pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reload {
    /// `watch = true`: whether the folder is watched.
    pub watch: bool,
    /// `settle = "300ms"`: how long the folder must be quiet before it is read.
    pub settle: Duration,
    /// `probation-records = 10000`: records of each worker for which a new generation is watched.
    pub probation_records: u64,
    /// `probation-time = "30s"`: the same in time; whichever comes first ends it.
    pub probation_time: Duration,
    /// `error-share-max = 0.05`: above 0, at most 1. A stage that fails on, or rejects, so great a
    /// share of its records, and `errors_min` of them, is one to go back from.
    pub error_share_max: f64,
    /// `errors-min = 20`: fewer of them never count.
    pub errors_min: u64,
    /// `history = 20`: generations whose files are kept, by content, to go back to by hand; at most
    /// 1,000, and 0 keeps none.
    pub history: usize,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What every stage has unless it says otherwise.
    pub stage: StageLimits,
    /// When a batch is full.
    pub batch: BatchLimits,
    /// `faults-per-transaction = 32`: with more, the stage is broken and the pipeline stops.
    pub faults_per_transaction: u32,
    /// `fault-time-per-transaction = "2s"`: the same by the time that faulty calls took.
    pub fault_time_per_transaction: Duration,
    /// `wasm-file = "64MiB"`: a larger file is refused.
    pub wasm_file: u64,
}

/// When a batch goes through the chain: at the first of these that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// `batch-records = 2000`.
    pub records: u32,
    /// `batch-bytes = "4MiB"`: keys and values.
    pub bytes: u64,
    /// `batch-wait = "5ms"`: from its first record.
    pub wait: Duration,
}
