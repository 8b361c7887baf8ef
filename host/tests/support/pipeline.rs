//! A pipeline as a user sets it up: a folder with `pipeline.toml`, processes of `host run` on it, an
//! input, and what came out held against the simulation.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use host::kafka::{self, ClientSettings, TopicSpec, ensure, partition_for_key};
use host::worker::merge_group;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::comparison::{
    Actual, Differences, Partitions, Promise, compare_dead_letters, compare_late, compare_outputs,
    compare_windows,
};
use super::counting::{SHIPPED as SHIPPED_WINDOW, Window};
use super::process::Process;
use super::simulation::{Expected, Input, merge, simulate};
use super::{Read, SOON, read_topic, settings, unique};

/// The `pipeline.toml` that ships.
const SHIPPED: &str = include_str!("../../../plugins/pipeline.toml");
/// Its partitions.
pub const PARTITIONS: i32 = 4;

/// A pipeline under a name of its own, with the default stages.
pub struct Pipeline {
    /// The group, the input topic, and the first part of every other name.
    pub name: String,
    pub brokers: String,
    /// Of every topic.
    pub partitions: i32,
    /// Those that are compared: the shipped one is.
    pub windows: Vec<Window>,
    folder: TempDir,
    started_ms: i64,
}

impl Pipeline {
    /// The shipped pipeline under another name. No window closes by the wall clock, which no
    /// simulation could know; `change` may change more in the text.
    pub fn new(name: &str, brokers: &str, change: impl FnOnce(String) -> String) -> Pipeline {
        let name = unique(name);
        let folder = tempfile::Builder::new().prefix("pipeline-").tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        let idle = "idle = \"5s\"";
        assert!(SHIPPED.contains(idle));
        let text = SHIPPED.replace("user-login", &name).replace(idle, "idle = \"1h\"");
        fs::write(folder.path().join("plugins/pipeline.toml"), change(text)).unwrap();
        let started_ms = Utc::now().timestamp_millis();
        let (brokers, partitions) = (brokers.to_owned(), PARTITIONS);
        let windows = vec![SHIPPED_WINDOW];
        Pipeline { name, brokers, partitions, windows, folder, started_ms }
    }

    /// The same with its input topic made, for a test that writes before it starts anything.
    pub fn with_input(
        name: &str,
        brokers: &str,
        change: impl FnOnce(String) -> String,
    ) -> Pipeline {
        let pipeline = Pipeline::new(name, brokers, change);
        pipeline.make_topic(&pipeline.name, &[]);
        pipeline
    }

    /// The same with so many partitions.
    pub fn with_partitions(
        name: &str,
        brokers: &str,
        partitions: i32,
        change: impl FnOnce(String) -> String,
    ) -> Pipeline {
        let shipped = format!("partitions = {PARTITIONS}\n");
        let widened = |text: String| {
            assert!(text.contains(&shipped));
            change(text.replace(&shipped, &format!("partitions = {partitions}\n")))
        };
        let mut pipeline = Pipeline::new(name, brokers, widened);
        pipeline.partitions = partitions;
        pipeline.make_topic(&pipeline.name, &[]);
        pipeline
    }

    /// Makes a topic with the pipeline's partitions.
    pub fn make_topic(&self, name: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions: self.partitions,
            replication: -1,
            configs: configs.collect(),
        };
        assert!(ensure(&self.settings(), &[spec], SOON).unwrap()[0].created);
    }

    /// Gives a topic this configuration in the place of what it has.
    pub fn configure_topic(&self, name: &str, configs: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        change.entries.extend(configs.iter().copied());
        let changed = admin.alter_configs([&change], &AdminOptions::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(changed).unwrap().pop().unwrap().unwrap();
    }

    /// Puts a component beside the default ones.
    pub fn add_plugin(&self, name: &str, component: &[u8]) {
        fs::write(self.folder.path().join(format!("plugins/{name}.wasm")), component).unwrap();
    }

    /// Its plugins folder.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// Changes its `pipeline.toml` as an editor does that writes a new file and moves it there.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.plugins().join("pipeline.toml");
        let new = self.plugins().join("pipeline.toml.new");
        fs::write(&new, change(fs::read_to_string(&path).unwrap())).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Where processed events go.
    pub fn processed(&self) -> String {
        format!("processed-{}", self.name)
    }

    /// Where dead letters go.
    pub fn dead_letters(&self) -> String {
        format!("{}-dead-letters", self.name)
    }

    /// Where the results of the shipped window go.
    pub fn results(&self) -> String {
        self.results_of(&SHIPPED_WINDOW)
    }

    /// Where the results of a window go.
    pub fn results_of(&self, window: &Window) -> String {
        format!("{}-{}", self.name, window.name)
    }

    /// Where deltas of its window go.
    pub fn repartition(&self) -> String {
        format!("{}-repartition", self.name)
    }

    /// The state of its windows.
    pub fn state(&self) -> String {
        format!("{}-windows", self.name)
    }

    /// Settings of a client that goes straight to the broker.
    pub fn settings(&self) -> ClientSettings {
        settings(&self.brokers)
    }

    /// Starts a process, straight to the broker.
    pub fn start(&self, instance: &str, more: &[&str]) -> Process {
        self.start_with(instance, &self.brokers, &[], more)
    }

    /// Starts a process with its own way to the broker and its own environment.
    pub fn start_with(
        &self,
        instance: &str,
        brokers: &str,
        environment: &[(&str, &str)],
        more: &[&str],
    ) -> Process {
        let mut command = Process::command();
        command.envs(environment.iter().copied());
        self.prepare(&mut command, instance, brokers, more);
        Process::start(&mut command, &self.log_of(instance))
    }

    /// Gives a command that starts `host` the arguments of a process of this pipeline.
    pub fn prepare(&self, command: &mut Command, instance: &str, brokers: &str, more: &[&str]) {
        command.current_dir(self.folder.path());
        command.args(["run", "--plugins", "plugins", "--state-dir", "state"]);
        command.args(["--brokers", brokers, "--instance", instance]);
        if !more.contains(&"--workers") {
            command.args(["--workers", "1"]);
        }
        command.args(["--admin", "127.0.0.1:0", "-X", "session.timeout.ms=3000"]);
        command.args(["-X", "heartbeat.interval.ms=500"]).args(more);
    }

    /// Takes the transactional id of an instance's worker over, as a forgotten process of the same
    /// name would.
    pub fn fence(&self, instance: &str) {
        let id = format!("{}/{instance}/0", self.name);
        let mode = kafka::Mode::Transactional { id, timeout: Duration::from_secs(10) };
        let producer = kafka::Producer::new(&self.settings(), &mode).unwrap();
        let end = Instant::now() + SOON;
        while let Err(error) = producer.init_transactions(SOON) {
            // While a commit is just being written out.
            assert!(error.is_retry() && Instant::now() < end, "{error}");
        }
    }

    /// Runs another command of `host` on its folder, and waits for its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Process::command();
        command.current_dir(self.folder.path()).args(arguments);
        command.args(["--plugins", "plugins", "--state-dir", "state"]).output().unwrap()
    }

    /// The log of all lives of an instance.
    pub fn log_of(&self, instance: &str) -> PathBuf {
        self.folder.path().join(format!("{instance}.log"))
    }

    /// How often a text is in the logs of these instances.
    pub fn logged(&self, instances: &[&str], text: &str) -> usize {
        let read = |instance: &&str| fs::read_to_string(self.log_of(instance)).unwrap_or_default();
        instances.iter().map(|instance| read(instance).matches(text).count()).sum()
    }

    /// The group's committed offsets and the ends of the input, by partition.
    pub fn progress(&self) -> Result<BTreeMap<i32, (i64, i64)>, rdkafka::error::KafkaError> {
        self.progress_of(&self.name)
    }

    /// The same of another group.
    pub fn progress_of(
        &self,
        group: &str,
    ) -> Result<BTreeMap<i32, (i64, i64)>, rdkafka::error::KafkaError> {
        const ASK: Duration = Duration::from_secs(5);
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", group)
            .set("log_level", "0")
            .create()?;
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            asked.add_partition(&self.name, partition);
        }
        let committed = client.committed_offsets(asked, ASK)?;
        let mut progress = BTreeMap::new();
        for element in committed.elements() {
            let committed = if let Offset::Offset(offset) = element.offset() { offset } else { 0 };
            let (_, end) = client.fetch_watermarks(&self.name, element.partition(), ASK)?;
            progress.insert(element.partition(), (committed, end));
        }
        Ok(progress)
    }

    /// Waits until so many records of each partition are committed.
    #[track_caller]
    pub fn await_committed(&self, process: &mut Process, records: i64, timeout: Duration) {
        let end = Instant::now() + timeout;
        while !self.progress().is_ok_and(|all| all.values().all(|(at, _)| *at >= records)) {
            process.assert_runs();
            assert!(Instant::now() < end, "not committed: {}", process.log_tail());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a process has partitions of the input. Those of the repartition topic are another
    /// group's, which may come together before.
    #[track_caller]
    pub fn await_input(&self, process: &mut Process, timeout: Duration) {
        let topic = format!("partitions=\"{} ", self.name);
        let is_input = |line: &str| line.contains("partitions taken over") && line.contains(&topic);
        process.await_in_log(&topic, |log| log.lines().any(is_input), timeout);
    }

    /// Whether the deltas that wait are all merged. There is none behind the committed offset
    /// then but the marks of transactions.
    fn is_merged(&self) -> Result<bool, rdkafka::error::KafkaError> {
        const ASK: Duration = Duration::from_secs(5);
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", merge_group(&self.name))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("log_level", "0")
            .create()?;
        let metadata = client.fetch_metadata(Some(&self.repartition()), ASK)?;
        if metadata.topics().iter().all(|topic| topic.partitions().is_empty()) {
            return Ok(true); // a pipeline without windows
        }
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            asked.add_partition(&self.repartition(), partition);
        }
        let committed = client.committed_offsets(asked, ASK)?;
        let mut from = TopicPartitionList::new();
        for element in committed.elements() {
            let offset = match element.offset() {
                Offset::Offset(offset) => Offset::Offset(offset),
                _ => Offset::Beginning,
            };
            from.add_partition_offset(element.topic(), element.partition(), offset)?;
        }
        client.assign(&from)?;
        let (mut ends, until) = (0, Instant::now() + ASK);
        while ends < self.partitions && Instant::now() < until {
            match client.poll(Duration::from_millis(100)) {
                Some(Ok(_)) => return Ok(false),
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ends += 1,
                Some(Err(_)) | None => {}
            }
        }
        Ok(ends == self.partitions)
    }

    /// Whether the whole input is committed within this time, and what its windows make of it. Every
    /// process must go on running.
    #[track_caller]
    pub fn reaches_end(&self, processes: &mut [Process], timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        loop {
            processes.iter_mut().for_each(Process::assert_runs);
            // A broker that is just coming back answers the next time.
            if self.progress().is_ok_and(|all| all.values().all(|(at, end)| at == end))
                && self.is_merged().is_ok_and(|merged| merged)
            {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(250));
        }
    }

    /// Waits until the whole input is committed.
    #[track_caller]
    pub fn await_end(&self, processes: &mut [Process], timeout: Duration) {
        if !self.reaches_end(processes, timeout) {
            let logs: Vec<String> = processes.iter().map(Process::log_tail).collect();
            let progress = self.progress();
            panic!("not at its end after {timeout:?}: {progress:?}\n{}", logs.join("\n---\n"));
        }
    }

    /// Reads the input and everything that came out of it, and compares with the simulation.
    pub fn differences(&self, promise: Promise) -> Differences {
        let (expected, mut differences) = self.compare_records(promise);
        let to = &mut differences;
        let late = self.actual(&format!("{}-late", self.name));
        compare_late(&self.name, &expected, &late, promise, to);
        for (window, expected) in self.windows.iter().zip(merge(&expected, &self.windows)) {
            let results = self.actual(&self.results_of(window));
            compare_windows(window.name, &expected, &results, false, promise, to);
        }
        differences
    }

    /// The same for a pipeline without windows.
    pub fn record_differences(&self, promise: Promise) -> Differences {
        self.compare_records(promise).1
    }

    fn compare_records(&self, promise: Promise) -> (BTreeMap<i32, Expected>, Differences) {
        let expected = self.expected();
        let mut differences = Differences::default();
        let to = &mut differences;
        let processed = self.started_ms..=Utc::now().timestamp_millis();
        compare_outputs(&expected, &self.actual(&self.processed()), processed, promise, to);
        let dead_letters = self.actual(&self.dead_letters());
        compare_dead_letters(&self.name, &expected, &dead_letters, promise, to);
        (expected, differences)
    }

    /// What must come out of all that is in the input.
    pub(super) fn expected(&self) -> BTreeMap<i32, Expected> {
        let input = read_topic(&self.settings(), &self.name, self.partitions).into_iter();
        let input = input
            .map(|(partition, records)| (partition, records.into_iter().map(input_of).collect()));
        simulate(&input.collect(), &self.windows)
    }

    fn actual(&self, topic: &str) -> Partitions {
        let records = read_topic(&self.settings(), topic, self.partitions).into_iter();
        let actual = |(partition, records): (i32, Vec<Read>)| {
            (partition, records.into_iter().map(actual_of).collect())
        };
        records.map(actual).collect()
    }
}

fn input_of(record: Read) -> Input {
    let timestamp = record.timestamp.expect("a real broker gives one");
    Input { offset: record.offset, key: record.key, value: record.value, timestamp }
}

fn actual_of(record: Read) -> Actual {
    let timestamp = record.timestamp.expect("a real broker gives one");
    let Read { offset, key, value, headers, .. } = record;
    Actual { offset, key, value, headers, timestamp }
}

/// A key that lies in this partition.
pub fn key_for(partition: i32) -> String {
    key_in(partition, PARTITIONS)
}

/// A key that lies in this of so many partitions.
pub fn key_in(partition: i32, partitions: i32) -> String {
    let mut keys = (0..).map(|number| format!("key-{number}"));
    keys.find(|key| partition_for_key(key.as_bytes(), partitions) == partition).unwrap()
}

/// A good event.
pub fn event(device_type: &str, time_ms: i64) -> String {
    let timestamp = time_ms / 1_000;
    format!(
        r#"{{"user_id":"424cdd21-063a-43a7-b91b-7ca1a833afae","app_version":"2.3.0","device_type":"{device_type}","ip":"199.172.111.135","locale":"DE","device_id":"593-47-5928","timestamp":{timestamp}}}"#
    )
}
