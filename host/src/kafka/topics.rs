//! Topics: what they are like, and making those that are missing. Never changes one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::drop_in_background;
use super::consumer;
use super::context::Context;
use super::error::{Failure, KafkaError};
use super::settings::ClientSettings;

/// The pause between two looks at a topic that is being made.
const PAUSE: Duration = Duration::from_millis(50);

/// A topic that should exist.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it is made with.
    pub partitions: i32,
    /// How many replicas each has; -1 is the broker's default.
    pub replication: i32,
    /// Topic settings, such as `cleanup.policy`.
    pub configs: Vec<(String, String)>,
}

/// What a topic is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether `ensure` made it just now.
    pub created: bool,
    /// Its settings by name; none where the broker does not tell (no ACL, or the demo broker).
    pub settings: BTreeMap<String, String>,
}

impl TopicState {
    /// A setting, such as `cleanup.policy`, where the broker tells.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// One that is a number; -1 is mostly "no limit".
    pub fn number(&self, key: &str) -> Option<i64> {
        self.setting(key)?.parse().ok()
    }
}

/// A client that only asks.
pub struct Cluster {
    client: Option<BaseConsumer<Context>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop_in_background(client);
        }
    }
}

impl Cluster {
    /// Starts the client; no broker is waited for.
    pub fn new(settings: &ClientSettings) -> Result<Self, KafkaError> {
        Self::with_isolation(settings, "read_committed")
    }

    /// The same; [`Cluster::watermarks`] tells the end of everything, open transactions included.
    pub fn uncommitted(settings: &ClientSettings) -> Result<Self, KafkaError> {
        Self::with_isolation(settings, "read_uncommitted")
    }

    fn with_isolation(settings: &ClientSettings, isolation: &str) -> Result<Self, KafkaError> {
        let config = settings.consumer(None, isolation);
        let client = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|error| KafkaError::from_rdkafka("starting a client", &error))?;
        Ok(Cluster { client: Some(client) })
    }

    pub(super) fn client(&self) -> &BaseConsumer<Context> {
        self.client.as_ref().expect("taken by drop only")
    }

    /// How many partitions a topic has; `MissingTopic` where there is none.
    pub fn partition_count(&self, topic: &str, timeout: Duration) -> Result<i32, KafkaError> {
        partition_count(self.client().client(), topic, timeout)
    }

    /// The oldest offset that is kept and the end of what is committed.
    pub fn watermarks(
        &self,
        topic: &str,
        partition: i32,
        timeout: Duration,
    ) -> Result<(i64, i64), KafkaError> {
        self.client().fetch_watermarks(topic, partition, timeout).map_err(|error| {
            let doing = format!("asking for watermarks of partition {partition} of topic {topic}");
            KafkaError::from_rdkafka(doing, &error)
        })
    }

    /// As [`super::Consumer::offsets_for_time`], without a group.
    pub fn offsets_for_time(
        &self,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
        timeout: Duration,
    ) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
        let doing = format!("looking offsets of topic {topic} up by time");
        consumer::offsets_for_time(self.client(), topic, partitions, timestamp, &doing, timeout)
    }
}

/// Asks the brokers, not a cache.
pub(super) fn partition_count<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<i32, KafkaError> {
    let doing = || format!("asking for partitions of topic {topic}");
    let metadata = client
        .fetch_metadata(Some(topic), timeout)
        .map_err(|error| KafkaError::from_rdkafka(doing(), &error))?;
    let missing =
        || Failure { doing: doing(), why: "there is no such topic".to_owned(), code: None };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(KafkaError::MissingTopic(missing()));
    };
    match found.error() {
        Some(code) => {
            let code = Code::from(code);
            Err(KafkaError::from_code(doing(), code, code.to_string()))
        }
        None if found.partitions().is_empty() => Err(KafkaError::MissingTopic(missing())),
        None => Ok(found.partitions().len() as i32),
    }
}

/// Makes the topics that are missing and says what all of them are like, in order. A topic that
/// another process makes at the same time is fine; one that exists is left as it is.
pub fn ensure(
    settings: &ClientSettings,
    specs: &[TopicSpec],
    timeout: Duration,
) -> Result<Vec<TopicState>, KafkaError> {
    let end = Instant::now() + timeout;
    let cluster = Cluster::new(settings)?;
    let mut states = Vec::with_capacity(specs.len());
    let mut missing = Vec::new();
    for spec in specs {
        match cluster.partition_count(&spec.name, left(end)) {
            Ok(partitions) => states.push(state(spec, partitions, false)),
            Err(KafkaError::MissingTopic(_)) => {
                missing.push(spec);
                states.push(state(spec, 0, true));
            }
            Err(error) => return Err(error),
        }
    }
    let admin = AdminClient::from_config_and_context(&settings.admin(), Context::default())
        .map_err(|error| KafkaError::from_rdkafka("starting an admin client", &error))?;
    let done = create(&admin, &missing, end)
        .and_then(|made| await_created(&cluster, specs, &mut states, &made, end))
        .and_then(|()| describe(&admin, &mut states, end));
    drop_in_background(admin);
    done.map(|()| states)
}

fn state(spec: &TopicSpec, partitions: i32, created: bool) -> TopicState {
    TopicState { name: spec.name.clone(), partitions, created, settings: BTreeMap::new() }
}

pub(super) fn left(end: Instant) -> Duration {
    // librdkafka takes zero for "do not wait at all".
    end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Returns the names of those that this call made.
fn create(
    admin: &AdminClient<Context>,
    missing: &[&TopicSpec],
    end: Instant,
) -> Result<Vec<String>, KafkaError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|spec| {
            let replication = TopicReplication::Fixed(spec.replication);
            let topic = NewTopic::new(&spec.name, spec.partitions, replication);
            spec.configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options =
        AdminOptions::new().request_timeout(Some(left(end))).operation_timeout(Some(left(end)));
    let answer = wait(admin.create_topics(&topics, &options), end)
        .ok_or_else(|| KafkaError::timed_out("creating topics", Duration::ZERO))?
        .map_err(|error| KafkaError::from_rdkafka("creating topics", &error))?;
    let mut made = Vec::new();
    for result in answer {
        match result {
            Ok(name) => {
                tracing::info!(topic = %name, "topic created");
                made.push(name);
            }
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let doing = format!("creating topic {name}");
                return Err(KafkaError::from_code(doing, code, code.to_string()));
            }
        }
    }
    Ok(made)
}

/// A created topic is known to every broker a moment later only.
fn await_created(
    cluster: &Cluster,
    specs: &[TopicSpec],
    states: &mut [TopicState],
    made: &[String],
    end: Instant,
) -> Result<(), KafkaError> {
    for (spec, state) in specs.iter().zip(states).filter(|(_, state)| state.created) {
        state.created = made.contains(&spec.name);
        state.partitions = loop {
            match cluster.partition_count(&spec.name, left(end)) {
                Ok(partitions) => break partitions,
                Err(KafkaError::MissingTopic(_) | KafkaError::Retry(_)) if Instant::now() < end => {
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        };
    }
    Ok(())
}

fn describe(
    admin: &AdminClient<Context>,
    states: &mut [TopicState],
    end: Instant,
) -> Result<(), KafkaError> {
    let wanted: Vec<ResourceSpecifier<'_>> =
        states.iter().map(|state| ResourceSpecifier::Topic(&state.name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().request_timeout(Some(left(end)));
    let doing = "asking for topic settings";
    let answer = wait(admin.describe_configs(&wanted, &options), end)
        .ok_or_else(|| KafkaError::timed_out(doing, Duration::ZERO))?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if untold(error.rdkafka_error_code()) || is_unsupported(&error) => return Ok(()),
        Err(error) => return Err(KafkaError::from_rdkafka(doing, &error)),
    };
    let told: Vec<ConfigResource> = answer.into_iter().filter_map(Result::ok).collect();
    for state in states {
        let of_topic = |resource: &&ConfigResource| matches!(&resource.specifier, rdkafka::admin::OwnedResourceSpecifier::Topic(name) if *name == state.name);
        let Some(resource) = told.iter().find(of_topic) else { continue };
        let entries = resource.entries.iter();
        state.settings =
            entries.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect();
    }
    Ok(())
}

fn untold(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::UnsupportedFeature
        )
    )
}

/// The demo broker does not know the call.
fn is_unsupported(error: &rdkafka::error::KafkaError) -> bool {
    matches!(error, rdkafka::error::KafkaError::AdminOp(code) if untold(Some(*code)))
}

/// Runs a future of the admin client to its end, by parking this thread; none when the time is up.
pub(super) fn wait<F: Future>(future: F, end: Instant) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = end.checked_duration_since(Instant::now())?;
        thread::park_timeout(left);
    }
}

/// A state topic must be compacted and have as many partitions as the topic whose state it is; the error
/// has the command.
pub fn check_state_topic(
    state: &TopicState,
    partitions: i32,
    brokers: &str,
) -> Result<(), KafkaError> {
    let name = &state.name;
    if state.partitions != partitions {
        return Err(KafkaError::Config(format!(
            "state topic {name} has {} partitions, and the topic whose state it holds {partitions}: \
             delete it, with the window counts in it, and begin anew with `host reset`: \
             kafka-topics.sh --bootstrap-server {brokers} --delete --topic {name}",
            state.partitions
        )));
    }
    match state.setting("cleanup.policy") {
        Some(policy) if policy.split(',').any(|policy| policy.trim() != "compact") => {
            Err(KafkaError::Config(format!(
                "state topic {name} has cleanup.policy={policy} and would forget open windows: \
                 kafka-configs.sh --bootstrap-server {brokers} --alter --topic {name} \
                 --add-config cleanup.policy=compact"
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(partitions: i32, policy: Option<&str>) -> Result<(), String> {
        let state = TopicState {
            name: "s".to_owned(),
            partitions,
            created: false,
            settings: policy
                .map(|policy| ("cleanup.policy".to_owned(), policy.to_owned()))
                .into_iter()
                .collect(),
        };
        check_state_topic(&state, 4, "b:1").map_err(|error| error.to_string())
    }

    #[test]
    fn state_topic_must_be_compacted_and_fit_its_input() {
        assert_eq!(check(4, Some("compact")), Ok(()));
        assert_eq!(check(4, None), Ok(()));
        let deleted = check(4, Some("compact,delete")).unwrap_err();
        assert!(deleted.contains("--add-config cleanup.policy=compact"), "{deleted}");
        let narrow = check(3, Some("compact")).unwrap_err();
        assert!(narrow.contains("--delete --topic s"), "{narrow}");
    }
}
