//! `host reset`: the group's offsets and the windows' state, changed together.
//!
//! One transaction sets the offsets and deletes the state, so an interrupted reset changed nothing.
//! Its offsets are sent first: from then on a worker that takes a partition over waits for the end
//! of the transaction, and one that took it over before is still a member, and is seen.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::args::{GroupArgs, PluginsArgs};
use super::connect::ConnectArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::config::{self, Config, FILE_NAME, StartAt};
use crate::demo::stop::Stop;
use crate::kafka::{
    self, ClientSettings, Cluster, HeadersArg, KafkaError, Mode, Producer, SendError, StateReader,
    committed_offsets, members, outside_metadata, reachable,
};
use crate::window::LiveKeys;
use crate::worker::merge_group;

/// One question to a broker, repeated while the answer is "not now".
const QUESTION: Duration = Duration::from_secs(30);
/// The whole transaction. A reset that was killed holds new workers up for as long, or until it is
/// run again.
const TRANSACTION_MAX: Duration = Duration::from_secs(120);
/// The pause before something is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Set the group's offsets and delete the state of its windows, both or neither.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host reset --brokers localhost:9092 --to earliest
  host reset --brokers localhost:9092 --to 2026-01-31T12:00:00Z

Refused while the pipeline runs, and where it never ran. Windows that were open are counted anew \
from the new offsets; results that were written already stay in their topics.

Exit codes:
  0  done
  1  failed
  2  wrong arguments or configuration, or no such group
  3  a broker or right is missing, or the pipeline runs")]
pub struct ResetArgs {
    /// The folder with pipeline.toml
    #[command(flatten)]
    pub plugins: PluginsArgs,

    /// Which Kafka
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// The consumer group
    #[command(flatten)]
    pub group: GroupArgs,

    /// Where the pipeline goes on: earliest, latest, a time as 2026-01-31T12:00:00Z, or seconds or
    /// milliseconds since the epoch
    #[arg(long, env = "HOST_TO", value_name = "START")]
    pub to: StartAt,
}

/// Runs the command.
pub fn run(args: &ResetArgs) -> anyhow::Result<()> {
    let overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    let file = args.plugins.plugins.join(FILE_NAME);
    let config = config::read(&file, &overrides, &properties::problem)?.finish()?;
    let Some(brokers) = &args.connect.brokers else {
        let text = "no brokers: say which Kafka with --brokers host:port; the demo keeps nothing";
        return Err(Failure::new(Exit::Input, text).into());
    };
    let settings = ClientSettings::new(brokers, config.properties.iter())?;
    reachable(&settings, QUESTION)?;
    let stop = stop_flag().context("listening for signals")?;
    match reset(&settings, &Target::from(&config), args.to, &stop) {
        Ok(report) => Ok(writeln!(io::stdout(), "{report}")?),
        Err(ResetError::Kafka(error)) => Err(error.into()),
        Err(error @ ResetError::Members { .. }) => {
            Err(Failure::new(Exit::Environment, error.to_string()).into())
        }
        Err(error @ ResetError::NoGroup { .. }) => {
            Err(Failure::new(Exit::Input, error.to_string()).into())
        }
        Err(error @ ResetError::Unsure(_)) => Err(error.into()),
    }
}

/// A flag that a signal raises, so that the transaction is ended and holds nobody up.
pub(super) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let signal = Stop::on_signal()?;
    let raised = Arc::new(AtomicBool::new(false));
    let flag = raised.clone();
    thread::Builder::new().name("stop".to_owned()).spawn(move || {
        while !signal.wait(TRANSACTION_MAX) {}
        raised.store(true, Ordering::Relaxed);
    })?;
    Ok(flag)
}

/// What is reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The consumer group.
    pub group: String,
    /// The input topic.
    pub input: String,
    /// Where deltas wait; nothing waits if there is no such topic.
    pub repartition: String,
    /// The windows' state topics; those that do not exist have no state.
    pub state_topics: Vec<String>,
}

impl From<&Config> for Target {
    fn from(config: &Config) -> Self {
        Self {
            group: config.name.clone(),
            input: config.source.topic.name.clone(),
            repartition: config.repartition.topic.name.clone(),
            state_topics: vec![
                config.state.progress_topic.clone(),
                config.state.windows_topic.clone(),
            ],
        }
    }
}

/// Why nothing was reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The pipeline runs.
    #[error(
        "group {group} has {count} members, such as {example}: stop them first; one that was killed \
         is counted until its session has timed out"
    )]
    Members {
        /// The group.
        group: String,
        /// How many.
        count: usize,
        /// One of them, and where it is.
        example: String,
    },
    /// Nothing was ever run under this name.
    #[error(
        "there is no group {group:?}: it has committed no offset of {input} and has no window state; \
         the name is --group, or else name in pipeline.toml. A pipeline that has not run yet begins \
         where `host run --from` says"
    )]
    NoGroup {
        /// The group.
        group: String,
        /// The input.
        input: String,
    },
    /// Kafka refused or did not answer.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The commit failed; what the broker made of it is not known.
    #[error("committing the reset failed ({0}): run the same command again, which is safe")]
    Unsure(KafkaError),
}

/// What was reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The consumer group.
    pub group: String,
    /// Partition, its offset before, its offset now: the next record to be read.
    pub offsets: Vec<(i32, Option<i64>, i64)>,
    /// How many records of window state were deleted.
    pub deleted: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "group {} goes on at", self.group)?;
        for (partition, before, now) in &self.offsets {
            let before = before.map_or("nothing committed".to_owned(), |offset| offset.to_string());
            writeln!(f, "  partition {partition}: {now} (before: {before})")?;
        }
        write!(f, "{} records of window state deleted", self.deleted)
    }
}

/// Resets offsets and window state, or nothing.
pub fn reset(
    settings: &ClientSettings,
    target: &Target,
    to: StartAt,
    stop: &AtomicBool,
) -> Result<Report, ResetError> {
    Pending::open(settings, target, to, stop)?.finish(stop)
}

/// A reset whose offsets are sent and not yet committed. Dropped, it changes nothing, and holds new
/// workers up until its transaction times out or another reset begins.
pub struct Pending {
    settings: ClientSettings,
    target: Target,
    producer: Producer,
    offsets: Vec<(i32, Option<i64>, i64)>,
    /// Partition of the repartition topic, and its end: deltas that wait are passed over.
    waiting: Vec<(i32, i64)>,
    end: Instant,
}

impl Pending {
    /// Checks that the group is empty, finds the offsets and opens the transaction with them.
    pub fn open(
        settings: &ClientSettings,
        target: &Target,
        to: StartAt,
        stop: &AtomicBool,
    ) -> Result<Self, ResetError> {
        refuse_members(settings, &target.group)?;
        let id = format!("{}/reset", target.group);
        let mode = Mode::Transactional { id, timeout: TRANSACTION_MAX };
        let producer = Producer::new(settings, &mode)?;
        // Ends what a killed reset left open, which would hold up the questions that follow.
        let end = Instant::now() + QUESTION;
        patiently(end, stop, || producer.init_transactions(QUESTION))?;
        let offsets = find_offsets(settings, target, to, stop)?;
        let waiting = find_ends(settings, &target.repartition, stop)?;
        if offsets.iter().all(|(_, before, _)| before.is_none())
            && !has_state_topic(settings, target, stop)?
        {
            let Target { group, input, .. } = target.clone();
            return Err(ResetError::NoGroup { group, input });
        }
        let end = Instant::now() + TRANSACTION_MAX;
        producer.begin()?;
        let pending = Self {
            settings: settings.clone(),
            target: target.clone(),
            producer,
            offsets,
            waiting,
            end,
        };
        match pending.send_offsets(stop) {
            Ok(()) => Ok(pending),
            Err(error) => Err(pending.abandon(error.into())),
        }
    }

    /// Deletes the state and commits; nothing is changed if somebody joined the group meanwhile.
    pub fn finish(self, stop: &AtomicBool) -> Result<Report, ResetError> {
        let deleted = match refuse_members(&self.settings, &self.target.group)
            .and_then(|()| self.delete_state(stop).map_err(ResetError::from))
        {
            Ok(deleted) => deleted,
            Err(error) => return Err(self.abandon(error)),
        };
        self.producer.commit(QUESTION).map_err(ResetError::Unsure)?;
        Ok(Report { group: self.target.group, offsets: self.offsets, deleted })
    }

    fn send_offsets(&self, stop: &AtomicBool) -> Result<(), KafkaError> {
        let Target { group, input, repartition, .. } = &self.target;
        let offsets: Vec<_> =
            self.offsets.iter().map(|&(partition, _, now)| (partition, now)).collect();
        let all =
            [(group.clone(), input, &offsets), (merge_group(group), repartition, &self.waiting)];
        for (group, topic, offsets) in all.iter().filter(|(.., offsets)| !offsets.is_empty()) {
            let group = outside_metadata(&self.settings, group)?;
            patiently(self.end, stop, || {
                self.producer.send_offsets(offsets, topic, &group, QUESTION)
            })?;
        }
        Ok(())
    }

    fn delete_state(&self, stop: &AtomicBool) -> Result<u64, KafkaError> {
        let cluster = Cluster::new(&self.settings)?;
        let mut deleted = 0;
        for name in &self.target.state_topics {
            let partitions =
                match patiently(self.end, stop, || cluster.partition_count(name, QUESTION)) {
                    Ok(partitions) => partitions,
                    Err(KafkaError::MissingTopic(_)) => continue,
                    Err(error) => return Err(error),
                };
            let mut reader = StateReader::new(&self.settings, &self.target.group, name)?;
            let topic = self.producer.topic(name)?;
            for partition in 0..partitions {
                let mut live = LiveKeys::default();
                let left = self.end.saturating_duration_since(Instant::now());
                reader.read(partition, left, stop, |message| {
                    live.apply(message.key, message.value);
                })?;
                for key in live.into_keys() {
                    self.send(stop, || {
                        let none = HeadersArg::None;
                        self.producer.send(&topic, Some(partition), Some(&key), None, none, None, 0)
                    })?;
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    /// Sends a record, waiting while the queue is full.
    fn send(
        &self,
        stop: &AtomicBool,
        send: impl Fn() -> Result<(), SendError>,
    ) -> Result<(), KafkaError> {
        loop {
            match send() {
                Ok(()) => return Ok(()),
                Err(SendError::QueueFull) => wait(self.end, stop)?,
                Err(
                    SendError::TooLarge(error)
                    | SendError::NoPartition(error)
                    | SendError::Failed(error),
                ) => return Err(error),
            }
        }
    }

    /// Ends the transaction without effect, so that workers need not wait until it times out.
    fn abandon(self, error: ResetError) -> ResetError {
        if let Err(error) = self.producer.abort(QUESTION) {
            let seconds = TRANSACTION_MAX.as_secs();
            tracing::warn!(%error, seconds, "reset not undone; workers that start wait for it this long");
        }
        error
    }
}

fn refuse_members(settings: &ClientSettings, group: &str) -> Result<(), ResetError> {
    for group in [group.to_owned(), merge_group(group)] {
        let members = members(settings, &group, QUESTION)?;
        if let Some(first) = members.first() {
            let example = format!("{} at {}", first.client_id, first.host);
            return Err(ResetError::Members { group, count: members.len(), example });
        }
    }
    Ok(())
}

/// Whether the windows have a state topic, which the first start makes: offsets are forgotten by the
/// brokers when a group has been empty for long, topics are not.
fn has_state_topic(
    settings: &ClientSettings,
    target: &Target,
    stop: &AtomicBool,
) -> Result<bool, KafkaError> {
    let end = Instant::now() + QUESTION;
    let cluster = Cluster::new(settings)?;
    for name in &target.state_topics {
        match patiently(end, stop, || cluster.partition_count(name, QUESTION)) {
            Ok(_) => return Ok(true),
            Err(KafkaError::MissingTopic(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Where every partition of the input is and goes to.
fn find_offsets(
    settings: &ClientSettings,
    target: &Target,
    to: StartAt,
    stop: &AtomicBool,
) -> Result<Vec<(i32, Option<i64>, i64)>, KafkaError> {
    let end = Instant::now() + QUESTION;
    let cluster = Cluster::new(settings)?;
    let input = &target.input;
    let count = patiently(end, stop, || cluster.partition_count(input, QUESTION))?;
    let partitions: Vec<i32> = (0..count).collect();
    let timed = match to {
        StartAt::Earliest | StartAt::Latest => Vec::new(),
        StartAt::Time(time) => {
            patiently(end, stop, || cluster.offsets_for_time(input, &partitions, time, QUESTION))?
        }
    };
    let before = committed_offsets(settings, &target.group, input, &partitions, QUESTION)?;
    let mut offsets = Vec::with_capacity(partitions.len());
    for &partition in &partitions {
        let (low, high) = patiently(end, stop, || cluster.watermarks(input, partition, QUESTION))?;
        let now = match to {
            StartAt::Earliest => low,
            StartAt::Latest => high,
            StartAt::Time(_) => offset_of(&timed, partition).unwrap_or(high),
        };
        offsets.push((partition, offset_of(&before, partition), now));
    }
    Ok(offsets)
}

/// Where every partition of a topic ends, open transactions included: nobody will end these who still
/// belongs to the group. Nothing if there is no such topic.
fn find_ends(
    settings: &ClientSettings,
    topic: &str,
    stop: &AtomicBool,
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let end = Instant::now() + QUESTION;
    let cluster = Cluster::uncommitted(settings)?;
    let count = match patiently(end, stop, || cluster.partition_count(topic, QUESTION)) {
        Ok(count) => count,
        Err(KafkaError::MissingTopic(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let last = |partition| {
        let ends = patiently(end, stop, || cluster.watermarks(topic, partition, QUESTION))?;
        Ok((partition, ends.1))
    };
    (0..count).map(last).collect()
}

fn offset_of(offsets: &[(i32, Option<i64>)], partition: i32) -> Option<i64> {
    offsets.iter().find(|(found, _)| *found == partition).and_then(|(_, offset)| *offset)
}

/// Makes a call again as long as the answer is to do so.
fn patiently<T>(
    end: Instant,
    stop: &AtomicBool,
    call: impl Fn() -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    loop {
        match call() {
            Err(error) if error.is_retry() => {
                if Instant::now() >= end {
                    return Err(error);
                }
                wait(end, stop)?;
            }
            answer => return answer,
        }
    }
}

fn wait(end: Instant, stop: &AtomicBool) -> Result<(), KafkaError> {
    if stop.load(Ordering::Relaxed) {
        return Err(KafkaError::Stopped("resetting".to_owned()));
    }
    if Instant::now() >= end {
        let why = "no answer in time; nothing is changed, run it again".to_owned();
        return Err(KafkaError::Unreachable(kafka::Failure {
            doing: "resetting".to_owned(),
            why,
            code: None,
        }));
    }
    thread::sleep(PAUSE);
    Ok(())
}
