//! The topics of a pipeline: what is missing is created, what exists is never altered.

use std::time::Duration;

use crate::config::{Config, Topic};
use crate::kafka::{ClientSettings, KafkaError, TopicSpec, TopicState, check_state_topic, ensure};
use crate::worker::OutTopic;

/// How long creating and describing topics may take.
const TIMEOUT: Duration = Duration::from_secs(30);
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
    /// State and partial results of each window.
    pub windows: Vec<(OutTopic, OutTopic)>,
}

impl Topics {
    /// The largest batch of records that each of them takes: the smallest and the largest.
    pub fn message_bytes(&self) -> (usize, usize) {
        let windows = self.windows.iter().flat_map(|(state, partial)| [state, partial]);
        let fixed = [&self.sink, &self.dead_letters, &self.late];
        let all = fixed.into_iter().chain(&self.further).chain(windows);
        all.fold((usize::MAX, 0), |(least, most), topic| {
            (least.min(topic.message_bytes_max), most.max(topic.message_bytes_max))
        })
    }
}

/// Creates what is missing and looks at the rest. The input comes first: the state topics get as
/// many partitions as it really has, and dead letters and late records as well.
pub fn prepare(client: &ClientSettings, config: &Config) -> Result<Topics, KafkaError> {
    let input = ensure(client, &[plain(&config.source.topic)], TIMEOUT)?;
    let partitions = input.first().map_or(1, |state| state.partitions);
    let mut specs = vec![
        plain(&config.sink.topic),
        as_input(&config.dead_letters.topic, partitions),
        as_input(&config.late, partitions),
    ];
    let further = config.sink.further.iter();
    specs.extend(further.map(|name| TopicSpec { name: name.clone(), ..plain(&config.sink.topic) }));
    for window in &config.windows {
        let partial = TopicSpec { name: window.partial_topic.clone(), ..plain(&config.sink.topic) };
        specs.push(TopicSpec { partitions, ..partial });
        specs.push(state_topic(config, &window.state_topic, partitions));
    }
    let mut states = ensure(client, &specs, TIMEOUT)?.into_iter();
    let mut next = || out(states.next().expect("one answer for each topic"));
    let (sink, dead_letters, late) = (next().1, next().1, next().1);
    let further = config.sink.further.iter().map(|_| next().1).collect();
    let mut windows = Vec::new();
    for _ in &config.windows {
        let partial = next().1;
        let (state, state_topic) = next();
        check_state_topic(&state, partitions, client.brokers())?;
        windows.push((state_topic, partial));
    }
    Ok(Topics { input_partitions: partitions, sink, further, dead_letters, late, windows })
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
    let windows = config.windows.iter();
    Topics {
        input_partitions: partitions,
        sink: out(&sink.name, sink.partitions),
        further: config.sink.further.iter().map(|name| out(name, sink.partitions)).collect(),
        dead_letters: out(&config.dead_letters.topic.name, partitions),
        late: out(&config.late.name, partitions),
        windows: windows
            .map(|window| {
                (out(&window.state_topic, partitions), out(&window.partial_topic, partitions))
            })
            .collect(),
    }
}

/// Every topic with its partitions, for a broker that makes them in its own way.
pub fn topic_names(config: &Config) -> Vec<(String, i32)> {
    let input = &config.source.topic;
    let mut names = vec![(input.name.clone(), input.partitions)];
    let sink = &config.sink.topic;
    let outputs = std::iter::once(&sink.name).chain(&config.sink.further);
    names.extend(outputs.map(|name| (name.clone(), sink.partitions)));
    let windows =
        config.windows.iter().flat_map(|window| [&window.partial_topic, &window.state_topic]);
    let beside = [&config.dead_letters.topic.name, &config.late.name].into_iter().chain(windows);
    names.extend(beside.map(|name| (name.clone(), input.partitions)));
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

fn state_topic(config: &Config, name: &str, partitions: i32) -> TopicSpec {
    let state = &config.state;
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
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
        message_bytes_max: state.max_message_bytes.unwrap_or(MESSAGE_BYTES_MAX),
    };
    (state, topic)
}
