//! A group from outside: who is in it, and setting its offsets while nobody is.

use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::client::drop_in_background;
use super::consumer::{self, GroupMetadata};
use super::context::Context;
use super::error::KafkaError;
use super::raw;
use super::settings::ClientSettings;
use super::topics::Cluster;

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id that the broker gave it.
    pub id: String,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
}

/// Who is in the group now; nobody when there is no such group.
pub fn members(
    settings: &ClientSettings,
    group: &str,
    timeout: Duration,
) -> Result<Vec<Member>, KafkaError> {
    let cluster = Cluster::new(settings)?;
    let doing = format!("asking for the members of group {group}");
    let groups = cluster
        .client()
        .fetch_group_list(Some(group), timeout)
        .map_err(|error| KafkaError::from_rdkafka(doing, &error))?;
    let members = groups.groups().iter().filter(|found| found.name() == group).flat_map(|found| {
        found.members().iter().map(|member| Member {
            id: member.id().to_owned(),
            client_id: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
        })
    });
    Ok(members.collect())
}

/// A client that speaks for the group without being in it.
fn outsider(settings: &ClientSettings, group: &str) -> Result<BaseConsumer<Context>, KafkaError> {
    let config = settings.consumer(Some(group), "read_committed");
    BaseConsumer::from_config_and_context(&config, Context::default())
        .map_err(|error| KafkaError::from_rdkafka("starting a client", &error))
}

/// The group's committed offsets (the next to read); stable, as [`super::Consumer::committed`].
pub fn committed_offsets(
    settings: &ClientSettings,
    group: &str,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
    let client = outsider(settings, group)?;
    let answer = consumer::committed(&client, topic, partitions, timeout);
    drop_in_background(client);
    answer
}

/// Sets the offsets (the next to read) of a group that nobody is in; the broker refuses it while
/// somebody is.
pub fn commit_offsets(
    settings: &ClientSettings,
    group: &str,
    topic: &str,
    offsets: &[(i32, i64)],
    timeout: Duration,
) -> Result<(), KafkaError> {
    let end = Instant::now() + timeout;
    let present = members(settings, group, timeout)?;
    if let Some(member) = present.first() {
        return Err(KafkaError::Config(format!(
            "group {group} has {} members, such as {} at {}: stop them first",
            present.len(),
            member.client_id,
            member.host
        )));
    }
    let client = outsider(settings, group)?;
    let doing = format!("setting offsets of group {group} on topic {topic}");
    let answer = consumer::offset_list(topic, offsets).and_then(|list| {
        let left = end.saturating_duration_since(Instant::now());
        raw::commit_offsets(&client, &list, &doing, left)
    });
    drop_in_background(client);
    answer
}

/// For [`super::Producer::send_offsets`] in the name of a group without being in it. The broker
/// takes such offsets also while the group has members: ask for them after sending.
pub fn outside_metadata(
    settings: &ClientSettings,
    group: &str,
) -> Result<GroupMetadata, KafkaError> {
    let client = outsider(settings, group)?;
    let metadata = client.group_metadata();
    drop_in_background(client);
    metadata.map(|metadata| GroupMetadata::new(group, metadata)).ok_or_else(|| {
        KafkaError::recover(format!("asking for metadata of group {group}"), "none", None)
    })
}
