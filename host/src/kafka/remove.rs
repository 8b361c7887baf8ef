//! Removing topics and groups, for those who made them for a short while, as `host bench` does; and
//! records that nobody reads again.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::drop_in_background;
use super::consumer::offset_list;
use super::context::Context;
use super::error::KafkaError;
use super::settings::ClientSettings;
use super::topics::{left, wait};

/// The pause between two tries of a group whose members are still leaving.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes topics with their records, and groups with their offsets; those that are not there are
/// fine. Goes on after an error, and returns the first.
pub fn remove(
    settings: &ClientSettings,
    topics: &[String],
    groups: &[String],
    timeout: Duration,
) -> Result<(), KafkaError> {
    let end = Instant::now() + timeout;
    let admin = AdminClient::from_config_and_context(&settings.admin(), Context::default())
        .map_err(|error| KafkaError::from_rdkafka("starting an admin client", &error))?;
    let groups_gone = remove_groups(&admin, groups, end);
    let topics_gone = remove_topics(&admin, topics, end);
    drop_in_background(admin);
    topics_gone.and(groups_gone)
}

/// Removes the records of a topic that lie before these offsets.
pub fn remove_records(
    settings: &ClientSettings,
    topic: &str,
    before: &[(i32, i64)],
    timeout: Duration,
) -> Result<(), KafkaError> {
    let end = Instant::now() + timeout;
    let doing = format!("removing records of topic {topic}");
    let offsets = offset_list(topic, before)?;
    let admin = AdminClient::from_config_and_context(&settings.admin(), Context::default())
        .map_err(|error| KafkaError::from_rdkafka("starting an admin client", &error))?;
    let answer = wait(admin.delete_records(&offsets, &options(end)), end);
    drop_in_background(admin);
    let answer = answer
        .ok_or_else(|| KafkaError::timed_out(&doing, timeout))?
        .map_err(|error| KafkaError::from_rdkafka(&doing, &error))?;
    let wrong = answer.elements().iter().find_map(|element| element.error().err());
    wrong.map_or(Ok(()), |error| Err(KafkaError::from_rdkafka(&doing, &error)))
}

fn options(end: Instant) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(left(end))).operation_timeout(Some(left(end)))
}

fn remove_topics(
    admin: &AdminClient<Context>,
    topics: &[String],
    end: Instant,
) -> Result<(), KafkaError> {
    if topics.is_empty() {
        return Ok(());
    }
    let doing = "removing topics";
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let answer = wait(admin.delete_topics(&names, &options(end)), end)
        .ok_or_else(|| KafkaError::timed_out(doing, Duration::ZERO))?
        .map_err(|error| KafkaError::from_rdkafka(doing, &error))?;
    first_error(answer, "topic", Code::UnknownTopicOrPartition)
}

/// A member that closed a moment ago still counts, so a group that is not empty is tried again.
fn remove_groups(
    admin: &AdminClient<Context>,
    groups: &[String],
    end: Instant,
) -> Result<(), KafkaError> {
    if groups.is_empty() {
        return Ok(());
    }
    let doing = "removing groups";
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    loop {
        let answer = wait(admin.delete_groups(&names, &options(end)), end)
            .ok_or_else(|| KafkaError::timed_out(doing, Duration::ZERO))?
            .map_err(|error| KafkaError::from_rdkafka(doing, &error))?;
        let busy = |result: &Result<String, (String, Code)>| {
            matches!(result, Err((_, Code::NonEmptyGroup)))
        };
        if !answer.iter().any(busy) || Instant::now() + PAUSE >= end {
            return first_error(answer, "group", Code::GroupIdNotFound);
        }
        thread::sleep(PAUSE);
    }
}

fn first_error(
    answer: Vec<Result<String, (String, Code)>>,
    what: &str,
    missing: Code,
) -> Result<(), KafkaError> {
    for result in answer {
        match result {
            Ok(_) => {}
            Err((_, code)) if code == missing => {}
            Err((name, code)) => {
                let doing = format!("removing {what} {name}");
                return Err(KafkaError::from_code(doing, code, code.to_string()));
            }
        }
    }
    Ok(())
}
