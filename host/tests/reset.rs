//! `host reset` on a real Kafka: offsets and window state change together or not at all.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use host::cli::reset::{Pending, Report, ResetError, Target, reset};
use host::config::StartAt;
use host::demo::generate::Spec;
use host::kafka::{
    ClientSettings, Consumer, GroupOptions, HeadersArg, KafkaError, Mode, Producer, Rebalance,
    StateReader, commit_offsets, committed_offsets, outside_metadata,
};
use host::window::LiveKeys;
use host::worker::merge_group;
use support::broker::Broker;
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::{SOON, settings, topic, unique};

/// A stop flag that nobody raises.
static GO: AtomicBool = AtomicBool::new(false);
const PARTITIONS: i32 = 2;
/// Records in each partition of the input; record n has timestamp `(n + 1) * 1000`.
const RECORDS: i64 = 10;
/// What the pipeline has processed of each.
const PROCESSED: i64 = 6;
/// Deltas that nobody has merged yet, in each partition.
const WAITING: i64 = 3;
/// The keys of the state of each partition.
const STATE: [&str; 2] = ["counts|01|0/60000|\"a\"", "marker"];

/// From a start on a busy machine to everything committed.
const LIVENESS: Duration = Duration::from_secs(60);

/// A pipeline that has processed some records and was stopped.
struct Stopped {
    settings: ClientSettings,
    target: Target,
}

impl Stopped {
    fn new() -> Self {
        let settings = settings(&Broker::shared().brokers());
        let input = topic(&settings, "reset-input", PARTITIONS, &[]);
        let compacted = [("cleanup.policy", "compact")];
        let state = topic(&settings, "reset-state", PARTITIONS, &compacted);
        let state_topics = vec![state, unique("never-created")];
        let repartition = topic(&settings, "reset-repartition", PARTITIONS, &[]);
        let target = Target { group: unique("reset"), input, repartition, state_topics };
        let stopped = Self { settings, target };
        stopped.fill();
        stopped
    }

    fn fill(&self) {
        let id = unique("worker");
        let mode = Mode::Transactional { id, timeout: SOON };
        let producer = Producer::new(&self.settings, &mode).unwrap();
        producer.init_transactions(SOON).unwrap();
        producer.begin().unwrap();
        // Not in a transaction, whose end would have an offset of its own.
        let inputs = Producer::new(&self.settings, &Mode::Idempotent).unwrap();
        let input = inputs.topic(&self.target.input).unwrap();
        let state = producer.topic(&self.target.state_topics[0]).unwrap();
        let waiting = inputs.topic(&self.target.repartition).unwrap();
        for partition in 0..PARTITIONS {
            for record in 0..RECORDS {
                let (value, time) = (Some(&b"{}"[..]), Some((record + 1) * 1000));
                let none = HeadersArg::None;
                inputs.send(&input, Some(partition), None, value, none, time, 0).unwrap();
            }
            for number in 0..WAITING {
                let value = number.to_string();
                let (value, none) = (Some(value.as_bytes()), HeadersArg::None);
                inputs.send(&waiting, Some(partition), None, value, none, None, 0).unwrap();
            }
            for key in STATE {
                let (key, none) = (Some(key.as_bytes()), HeadersArg::None);
                producer.send(&state, Some(partition), key, Some(b"{}"), none, None, 0).unwrap();
            }
        }
        inputs.flush(SOON).unwrap();
        let offsets: Vec<_> = (0..PARTITIONS).map(|partition| (partition, PROCESSED)).collect();
        let Target { group, input, .. } = &self.target;
        let group = outside_metadata(&self.settings, group).unwrap();
        producer.send_offsets(&offsets, input, &group, SOON).unwrap();
        producer.commit(SOON).unwrap();
    }

    fn reset(&self, to: StartAt) -> Result<Report, ResetError> {
        reset(&self.settings, &self.target, to, &GO)
    }

    fn committed(&self) -> Vec<Option<i64>> {
        self.committed_of(&self.target.group, &self.target.input)
    }

    fn committed_of(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let partitions: Vec<_> = (0..PARTITIONS).collect();
        let committed = committed_offsets(&self.settings, group, topic, &partitions, SOON).unwrap();
        committed.into_iter().map(|(_, offset)| offset).collect()
    }

    fn merged(&self) -> Vec<Option<i64>> {
        self.committed_of(&merge_group(&self.target.group), &self.target.repartition)
    }

    /// What is in the state of each partition, as a worker would find it.
    fn state(&self) -> Vec<Vec<String>> {
        let name = &self.target.state_topics[0];
        let mut reader = StateReader::new(&self.settings, &unique("reader"), name).unwrap();
        let mut live = |partition| {
            let mut live = LiveKeys::default();
            reader.read(partition, SOON, &GO, |m| live.apply(m.key, m.value)).unwrap();
            let keys = live.into_keys().into_iter();
            keys.map(|key| String::from_utf8(key.into()).unwrap()).collect()
        };
        (0..PARTITIONS).map(&mut live).collect()
    }

    #[track_caller]
    fn check_untouched(&self) {
        assert_eq!(self.committed(), [Some(PROCESSED); 2]);
        assert_eq!(self.merged(), [None; 2]);
        assert_eq!(self.state(), [STATE; 2]);
    }

    #[track_caller]
    fn check_reset(&self, offset: i64) {
        assert_eq!(self.committed(), [Some(offset); 2]);
        // Deltas that waited are of windows that are no more.
        assert_eq!(self.merged(), [Some(WAITING); 2]);
        assert_eq!(self.state(), [[""; 0]; 2]);
    }

    /// A worker that has joined the group and taken every partition over.
    fn join(&self) -> Consumer {
        let options = GroupOptions::default();
        let Target { group, input, .. } = &self.target;
        let mut consumer = Consumer::new(&self.settings, group, input, &options).unwrap();
        let end = Instant::now() + SOON;
        let mut held = 0;
        while held < PARTITIONS {
            if let Some(Rebalance::Assigned(partitions)) = consumer.poll_rebalance() {
                let offsets: Vec<_> = partitions.iter().map(|&at| (at, 0)).collect();
                consumer.assign(&offsets).unwrap();
                held += i32::try_from(partitions.len()).unwrap();
            }
            assert!(Instant::now() < end, "no partitions");
            drop(consumer.fetch(1, Duration::from_millis(10)));
        }
        consumer
    }
}

#[test]
fn offsets_go_where_they_are_sent_and_no_state_is_left() {
    let pipeline = Stopped::new();
    pipeline.check_untouched();
    let report = pipeline.reset(StartAt::Earliest).unwrap();
    assert_eq!(report.offsets, [(0, Some(PROCESSED), 0), (1, Some(PROCESSED), 0)]);
    assert_eq!(report.deleted, 4, "in each partition a count and the marker");
    pipeline.check_reset(0);
    pipeline.reset(StartAt::Latest).unwrap();
    pipeline.check_reset(RECORDS);
    pipeline.reset(StartAt::Time(3_001)).unwrap();
    pipeline.check_reset(3);
    let report = pipeline.reset(StartAt::Time(RECORDS * 1000 + 1)).unwrap();
    assert_eq!(report.deleted, 0);
    pipeline.check_reset(RECORDS);
}

#[test]
fn a_group_with_members_is_refused() {
    let pipeline = Stopped::new();
    let member = pipeline.join();
    let error = pipeline.reset(StartAt::Earliest).unwrap_err();
    assert!(matches!(error, ResetError::Members { count: 1, .. }), "{error}");
    assert!(member.close().wait(SOON));
    pipeline.check_untouched();
    pipeline.reset(StartAt::Earliest).unwrap();
    pipeline.check_reset(0);
}

#[test]
fn a_member_that_joins_meanwhile_is_seen_and_nothing_is_changed() {
    let pipeline = Stopped::new();
    let pending =
        Pending::open(&pipeline.settings, &pipeline.target, StartAt::Latest, &GO).unwrap();
    let member = pipeline.join();
    let error = pending.finish(&GO).expect_err("the member is seen");
    assert!(matches!(error, ResetError::Members { .. }), "{error}");
    pipeline.check_untouched();
    assert!(member.close().wait(SOON));
}

#[test]
fn a_worker_that_starts_meanwhile_waits_for_the_reset() {
    let pipeline = Stopped::new();
    let pending =
        Pending::open(&pipeline.settings, &pipeline.target, StartAt::Latest, &GO).unwrap();
    let Target { group, input, .. } = &pipeline.target;
    // Several times what an answer takes that need not wait.
    let soon = Duration::from_secs(5);
    let early = committed_offsets(&pipeline.settings, group, input, &[0, 1], soon);
    assert!(early.is_err(), "offsets are read while they are being changed: {early:?}");
    pending.finish(&GO).unwrap();
    pipeline.check_reset(RECORDS);
}

#[test]
fn a_reset_that_was_killed_changes_nothing_and_can_be_run_again() {
    let pipeline = Stopped::new();
    drop(Pending::open(&pipeline.settings, &pipeline.target, StartAt::Latest, &GO).unwrap());
    pipeline.reset(StartAt::Earliest).unwrap();
    pipeline.check_reset(0);
}

#[test]
fn a_group_that_never_ran_is_refused_and_not_made() {
    let mut pipeline = Stopped::new();
    let state_topics = pipeline.target.state_topics.clone();
    pipeline.target.group = unique("mistyped");
    pipeline.target.state_topics = vec![unique("never-created")];
    let error = pipeline.reset(StartAt::Earliest).unwrap_err();
    assert!(matches!(error, ResetError::NoGroup { .. }), "{error}");
    assert!(error.to_string().contains(&pipeline.target.group), "{error}");
    assert_eq!(pipeline.committed(), [None; 2]);
    // Its offsets were forgotten, and it has state.
    pipeline.target.state_topics = state_topics;
    let report = pipeline.reset(StartAt::Latest).unwrap();
    assert_eq!(report.offsets, [(0, None, RECORDS), (1, None, RECORDS)]);
    pipeline.check_reset(RECORDS);
}

#[test]
fn a_pipeline_whose_offsets_were_changed_names_a_command_that_mends_it_as_it_stands() {
    let pipeline = Pipeline::with_input("moved", &Broker::shared().brokers(), |text| text);
    let mut feed = Feed::new(&pipeline, Spec::default());
    feed.send(1_000);
    feed.finish();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let (name, moved) = (&pipeline.name, [(0, 1)]);
    commit_offsets(&pipeline.settings(), name, name, &moved, SOON).unwrap();
    let mut process = pipeline.start("a", &[]);
    process.assert_ends(LIVENESS, 1, &["offsets were changed from outside"]);
    let log = process.log();
    let command = log.split('`').find(|part| part.starts_with("host reset ")).expect(&log);
    let program = Path::new(env!("CARGO_BIN_EXE_host")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let folder = pipeline.plugins();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("PATH", path).current_dir(folder.parent().unwrap());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
}

#[test]
fn an_input_that_does_not_exist_is_said() {
    let mut pipeline = Stopped::new();
    pipeline.target.input = unique("missing");
    let error = pipeline.reset(StartAt::Earliest).unwrap_err();
    assert!(matches!(error, ResetError::Kafka(KafkaError::MissingTopic(_))), "{error}");
    assert!(error.to_string().contains(&pipeline.target.input), "{error}");
}
