//! The topics of a pipeline: what is missing is created, what exists is never altered.

use std::time::Duration;

use crate::config::{Config, Topic};
use crate::kafka::{ClientSettings, KafkaError, TopicSpec, TopicState, check_state_topic, ensure};
use crate::worker::{HopTopics, OutTopic};

/// How long creating and describing topics may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the state topics keep that something is deleted.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(10 * 60);
/// What a broker takes unless it is told otherwise, for one that does not say.
const MESSAGE_BYTES_MAX: usize = 1_048_588;

/// The topics, as they are.
pub struct Topics {
    /// Partitions of the input.
    pub input_partitions: i32,
    /// The sink.
    pub sink: OutTopic,
    /// What transforms may emit to besides.
    pub further: Vec<OutTopic>,
    /// Dead letters.
    pub dead_letters: OutTopic,
    /// Late records.
    pub late: OutTopic,
    /// The results of each window.
    pub windows: Vec<OutTopic>,
    /// What the windows have in common; none without windows.
    pub hops: Option<HopTopics>,
}

impl Topics {
    /// The largest batch of records that each of them takes: the smallest and the largest.
    pub fn message_bytes(&self) -> (usize, usize) {
        let hops = self.hops.iter();
        let hops = hops.flat_map(|hops| [&hops.repartition, &hops.progress, &hops.state]);
        let fixed = [&self.sink, &self.dead_letters, &self.late];
        let all = fixed.into_iter().chain(&self.further).chain(&self.windows).chain(hops);
        all.fold((usize::MAX, 0), |(least, most), topic| {
            (least.min(topic.message_bytes_max), most.max(topic.message_bytes_max))
        })
    }
}

/// Creates what is missing and looks at the rest. The input comes first: dead letters and late records
/// get as many partitions as it really has.
pub fn prepare(client: &ClientSettings, config: &Config) -> Result<Topics, KafkaError> {
    let input = ensure(client, &[plain(&config.source.topic)], TIMEOUT)?;
    let partitions = input.first().map_or(1, |state| state.partitions);
    let mut specs = vec![
        plain(&config.sink.topic),
        as_input(&config.dead_letters.topic, partitions),
        as_input(&config.late, partitions),
    ];
    let further = config.sink.further.iter();
    let as_sink = |name: &String| TopicSpec { name: name.clone(), ..plain(&config.sink.topic) };
    specs.extend(further.map(as_sink));
    specs.extend(config.windows.iter().map(|window| as_sink(&window.results_topic)));
    let mut states = ensure(client, &specs, TIMEOUT)?.into_iter();
    let mut next = || out(states.next().expect("one answer for each topic")).1;
    let (sink, dead_letters, late) = (next(), next(), next());
    let further = config.sink.further.iter().map(|_| next()).collect();
    let windows: Vec<_> = config.windows.iter().map(|_| next()).collect();
    let hops = match windows.is_empty() {
        true => None,
        false => Some(prepare_hops(client, config, partitions)?),
    };
    Ok(Topics { input_partitions: partitions, sink, further, dead_letters, late, windows, hops })
}

/// The windows' own topics. The state has the partitions that the repartition topic really has.
fn prepare_hops(
    client: &ClientSettings,
    config: &Config,
    inputs: i32,
) -> Result<HopTopics, KafkaError> {
    let specs =
        [repartition_topic(config), state_topic(config, &config.state.progress_topic, inputs)];
    let mut states = ensure(client, &specs, TIMEOUT)?.into_iter().map(out);
    let (state, repartition) = states.next().expect("one answer for each topic");
    check_repartition_topic(&state, config, client.brokers())?;
    let merges = state.partitions;
    let (state, progress) = states.next().expect("one answer for each topic");
    check_state_topic(&state, state.partitions, client.brokers())?;
    let windows = [state_topic(config, &config.state.windows_topic, merges)];
    let windows = ensure(client, &windows, TIMEOUT)?.into_iter().map(out).next();
    let (found, state) = windows.expect("one answer for each topic");
    check_state_topic(&found, merges, client.brokers())?;
    Ok(HopTopics { repartition, progress, state })
}

/// Compaction would take counts away that are only added up later, and so would a retention shorter than
/// the time that the pipeline may be stopped.
fn check_repartition_topic(
    state: &TopicState,
    config: &Config,
    brokers: &str,
) -> Result<(), KafkaError> {
    let (name, retention) = (&state.name, config.repartition.retention.as_millis());
    let is_less = |key: &str, least: u128| {
        let found = state.number(key).and_then(|found| u128::try_from(found).ok())?;
        (found < least).then(|| format!("{key}={found}"))
    };
    let compacted = state.setting("cleanup.policy").filter(|policy| policy.contains("compact"));
    let (found, mend) = if let Some(policy) = compacted {
        (format!("cleanup.policy={policy}"), "cleanup.policy=delete".to_owned())
    } else if let Some(found) = is_less("retention.ms", retention) {
        (format!("{found}, less than [repartition] retention"), format!("retention.ms={retention}"))
    } else if let Some(found) = is_less("retention.bytes", u128::MAX) {
        (found, "retention.bytes=-1".to_owned())
    } else {
        return Ok(());
    };
    Err(KafkaError::Config(format!(
        "topic {name} has {found} and would lose counts: kafka-configs.sh --bootstrap-server {brokers} \
         --alter --topic {name} --add-config {mend}"
    )))
}

/// The topics as a demo broker has made them from [`topic_names`]. It cannot be asked, and takes
/// what librdkafka sends by default.
pub fn assume(config: &Config) -> Topics {
    let out = |name: &str, partitions| OutTopic {
        name: name.to_owned(),
        partitions,
        message_bytes_max: 1_000_000,
    };
    let partitions = config.source.topic.partitions;
    let sink = &config.sink.topic;
    let merges = config.repartition.topic.partitions;
    let windows = config.windows.iter();
    let hops = HopTopics {
        repartition: out(&config.repartition.topic.name, merges),
        progress: out(&config.state.progress_topic, partitions),
        state: out(&config.state.windows_topic, merges),
    };
    Topics {
        input_partitions: partitions,
        sink: out(&sink.name, sink.partitions),
        further: config.sink.further.iter().map(|name| out(name, sink.partitions)).collect(),
        dead_letters: out(&config.dead_letters.topic.name, partitions),
        late: out(&config.late.name, partitions),
        windows: windows.map(|window| out(&window.results_topic, sink.partitions)).collect(),
        hops: (!config.windows.is_empty()).then_some(hops),
    }
}

/// Every topic with its partitions, for a broker that makes them in its own way.
pub fn topic_names(config: &Config) -> Vec<(String, i32)> {
    let input = &config.source.topic;
    let mut names = vec![(input.name.clone(), input.partitions)];
    let sink = &config.sink.topic;
    let windows = config.windows.iter().map(|window| &window.results_topic);
    let outputs = std::iter::once(&sink.name).chain(&config.sink.further).chain(windows);
    names.extend(outputs.map(|name| (name.clone(), sink.partitions)));
    let beside = [&config.dead_letters.topic.name, &config.late.name];
    names.extend(beside.map(|name| (name.clone(), input.partitions)));
    if !config.windows.is_empty() {
        let merges = config.repartition.topic.partitions;
        names.push((config.repartition.topic.name.clone(), merges));
        names.push((config.state.progress_topic.clone(), input.partitions));
        names.push((config.state.windows_topic.clone(), merges));
    }
    names
}

fn plain(topic: &Topic) -> TopicSpec {
    TopicSpec {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication: topic.replication,
        configs: Vec::new(),
    }
}

/// Topics that follow the input have its partitions, so that order holds without keys as well.
fn as_input(topic: &Topic, partitions: i32) -> TopicSpec {
    TopicSpec { partitions, ..plain(topic) }
}

fn repartition_topic(config: &Config) -> TopicSpec {
    let retention = config.repartition.retention.as_millis().to_string();
    let configs = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention),
        // Whatever the brokers' own default is.
        ("retention.bytes", "-1".to_owned()),
    ];
    TopicSpec {
        configs: configs.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        ..plain(&config.repartition.topic)
    }
}

fn state_topic(config: &Config, name: &str, partitions: i32) -> TopicSpec {
    let state = &config.state;
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        // Longer than a restore takes; what is final is deleted, and would be read for a day else.
        ("delete.retention.ms", TOMBSTONES_KEPT.as_millis().to_string()),
        ("segment.ms", state.segment_age.as_millis().to_string()),
        ("segment.bytes", state.segment_bytes.to_string()),
        ("min.cleanable.dirty.ratio", state.dirty_ratio.to_string()),
    ];
    TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: state.replication,
        configs: configs.map(|(key, value)| (key.to_owned(), value)).to_vec(),
    }
}

fn out(state: TopicState) -> (TopicState, OutTopic) {
    let topic = OutTopic {
        name: state.name.clone(),
        partitions: state.partitions,
        message_bytes_max: state
            .number("max.message.bytes")
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(MESSAGE_BYTES_MAX),
    };
    (state, topic)
}
