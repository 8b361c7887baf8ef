//! Topics and groups that only live for the measurement.

use std::time::Duration;

use crate::kafka::{ClientSettings, remove};

/// How long removing them may take.
const REMOVE: Duration = Duration::from_secs(20);

/// Names under one prefix that nobody else has; what was made under them is removed on drop.
pub struct Scratch {
    client: ClientSettings,
    prefix: String,
    topics: Vec<String>,
    groups: Vec<String>,
}

impl Scratch {
    /// Nothing is made yet.
    pub fn new(client: ClientSettings) -> Self {
        let (id, time) = (std::process::id(), chrono::Utc::now().timestamp_millis());
        Self { client, prefix: format!("host-bench-{time}-{id}"), topics: vec![], groups: vec![] }
    }

    /// The name of a topic that is about to be made.
    pub fn topic(&mut self, name: &str) -> String {
        self.topics.push(self.name(name));
        self.name(name)
    }

    /// A topic of another name under the prefix, which is made elsewhere.
    pub fn adopt(&mut self, topic: String) {
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
    }

    /// The name of a group that is about to be joined.
    pub fn group(&mut self, name: &str) -> String {
        self.groups.push(self.name(name));
        self.name(name)
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        tracing::info!(topics = self.topics.len(), "removing what was made");
        if let Err(error) = remove(&self.client, &self.topics, &self.groups, REMOVE) {
            tracing::warn!(
                %error,
                "not everything was removed: delete the topics and groups that begin with {}",
                self.prefix
            );
        }
    }
}
