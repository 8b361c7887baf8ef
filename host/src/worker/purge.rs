//! Deltas that are merged are of no use to anybody: they are taken out of the repartition topic
//! long before its retention would do it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::job::Job;
use super::stop::Stop;
use crate::kafka::{KafkaError, remove_records};

/// How often they are taken out.
const EVERY: Duration = Duration::from_secs(60);
/// For the brokers to do it.
const ANSWER: Duration = Duration::from_secs(10);

/// Up to where the partitions of the repartition topic are merged and committed since it was last asked.
#[derive(Clone, Debug, Default)]
pub struct Merged(Arc<Mutex<BTreeMap<i32, i64>>>);

impl Merged {
    /// All records before this offset are merged, which is committed.
    pub(super) fn note(&self, partition: i32, next_offset: i64) {
        let mut merged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        merged.insert(partition, next_offset);
    }

    fn take(&self) -> Vec<(i32, i64)> {
        let mut merged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *merged).into_iter().collect()
    }

    /// Takes them out in a thread of its own, until a stop is asked for.
    pub(super) fn purge(&self, job: &Arc<Job>, stop: &Stop) -> io::Result<()> {
        let (merged, job, stop) = (self.clone(), job.clone(), stop.clone());
        let purge = move || {
            let topics = job.hops.as_ref().expect("there are windows");
            let topic = &topics.repartition.name;
            let mut is_said = false;
            while !stop.is_raised() {
                stop.sleep(EVERY);
                let before = merged.take();
                if before.is_empty() || stop.is_raised() {
                    continue;
                }
                match remove_records(&job.client, topic, &before, ANSWER) {
                    Ok(()) => tracing::debug!(topic, "counts that are merged are taken out"),
                    Err(error @ KafkaError::Auth(_)) if !is_said => {
                        is_said = true;
                        tracing::info!(
                            "{error}: they stay as long as the topic's retention says; the right to \
                             DELETE records of {topic} frees their space at once"
                        );
                    }
                    Err(error) => tracing::debug!(topic, %error, "nothing taken out"),
                }
            }
        };
        thread::Builder::new().name("purge".to_owned()).spawn(purge).map(drop)
    }
}
