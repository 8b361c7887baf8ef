//! Names: what Kafka takes, and that no two purposes share a topic.

use std::collections::BTreeMap;

use super::document::Document;
use super::problem::Place;
use super::table::Table;
use super::types::{Config, Topic};

/// Kafka's own bound on a topic's name.
const NAME_LENGTH_MAX: usize = 249;

/// Whether Kafka takes this as the name of a topic, or a part of one; else what is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if name == "." || name == ".." {
        return Err(format!("{name:?} cannot be a name in Kafka"));
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(format!("longer than {NAME_LENGTH_MAX} characters"));
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !['.', '_', '-'].contains(c)) {
        Some(c) => Err(format!("{name:?} has a {c:?}: use letters, digits, `.`, `_` and `-`")),
        None => Ok(()),
    }
}

/// The keys `topic`, `partitions` and `replication`.
pub(super) fn read(table: &Table<'_>, default: Option<Topic>) -> Topic {
    let example = default.as_ref().map_or("user-login", |topic| &topic.name).to_owned();
    let found = table.checked_text("topic", &example, check_name);
    if found.is_none() && default.is_none() && !table.has("topic") {
        table.problem("topic", "missing", "add `topic = \"user-login\"`, with your topic's name");
    }
    let default = default.unwrap_or(Topic { name: String::new(), partitions: 4, replication: -1 });
    Topic {
        name: found.unwrap_or(default.name),
        partitions: table.integer("partitions", i64::from(default.partitions), 1..=10_000) as i32,
        replication: read_replication(table, default.replication),
    }
}

/// The key `replication`.
pub(super) fn read_replication(table: &Table<'_>, default: i32) -> i32 {
    let found = table.integer("replication", i64::from(default), -1..=100);
    if found == 0 {
        table.problem("replication", "0 copies hold nothing", "write -1 for the broker's default");
        return default;
    }
    found as i32
}

/// Notes every topic that two purposes would share, and every name that came out too long.
pub(super) fn check(
    document: &Document,
    config: &Config,
    place_of: impl Fn(&str) -> Option<Place>,
) {
    if config.source.topic.name.is_empty() {
        return; // noted already, and every other name is made of it
    }
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut claim = |name, key, place: Option<Place>| {
        if let Some(other) = seen.insert(name, key) {
            let message = format!("{name:?} is the topic of {other} too");
            document.add(place, key, message, "give each its own topic");
        }
        if check_name(name).is_err() {
            let message = format!("the name {name:?} that is made of it is no topic's in Kafka");
            document.add(place, key, message, "choose a shorter name");
        }
    };
    let one = [
        (&config.source.topic, "[source] topic"),
        (&config.sink.topic, "[sink] topic"),
        (&config.dead_letters.topic, "[dead-letters] topic"),
        (&config.late, "[late] topic"),
    ];
    for (topic, key) in one {
        claim(&topic.name, key, place_of(key));
    }
    for topic in &config.sink.further {
        claim(topic, "[sink] topics", place_of("[sink] topics"));
    }
    if config.windows.is_empty() {
        return;
    }
    let state = &config.state;
    let own = [&config.repartition.topic.name, &state.progress_topic, &state.windows_topic];
    for topic in own {
        claim(topic, "[pipeline] name", None);
    }
    for window in &config.windows {
        claim(&window.results_topic, "[[window]] name", Some(window.place));
    }
}
