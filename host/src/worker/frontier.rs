//! How far all input partitions are, for those that have fallen silent: they follow the furthest, or an
//! empty partition would hold every window up. A thread of the process reads what all instances commit.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::job::Job;
use super::stop::Stop;
use crate::kafka::{KafkaError, Tail};
use crate::window::{Frontier, WindowSpec};

/// Records taken in at once.
const BATCH: usize = 1000;
/// The longest wait between two looks at the stop flag.
const WAIT: Duration = Duration::from_millis(100);
/// The pause before the topic is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// The progress of all input partitions as far as it is committed and was read. It may be behind, never
/// ahead: a silent partition follows a little later then.
#[derive(Clone, Debug, Default)]
pub struct SharedFrontier(Arc<Mutex<Frontier>>);

impl SharedFrontier {
    /// See [`Frontier::others`]; none if no other partition has a watermark in this window.
    pub fn others(&self, spec: &WindowSpec, partition: i32) -> Option<i64> {
        self.with(|frontier| frontier.others(&spec.name, &spec.definition_hash(), partition))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Frontier) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps it up to date in a thread of its own, until a stop is asked for.
    pub(super) fn follow(&self, job: &Arc<Job>, stop: &Stop) -> io::Result<()> {
        let (frontier, job, stop) = (self.clone(), job.clone(), stop.clone());
        let follow = move || {
            while !stop.is_raised() {
                if let Err(error) = frontier.read(&job, &stop) {
                    tracing::debug!(%error, "reading the progress of all partitions");
                    stop.sleep(AGAIN);
                }
            }
        };
        thread::Builder::new().name("frontier".to_owned()).spawn(follow).map(drop)
    }

    fn read(&self, job: &Job, stop: &Stop) -> Result<(), KafkaError> {
        let topics = job.hops.as_ref().expect("it is followed for windows only");
        let topic = &topics.progress;
        let tail = Tail::new(&job.client, &job.group, &topic.name, topic.partitions)?;
        while !stop.is_raised() {
            let messages = tail.fetch(BATCH, WAIT);
            if !messages.is_empty() {
                self.with(|frontier| {
                    for message in messages.iter() {
                        // The worker that takes this partition over reads it as well, and says it.
                        if let Err(error) =
                            frontier.apply(message.key.unwrap_or_default(), message.value)
                        {
                            tracing::debug!(%error, "not known how far this partition is");
                        }
                    }
                });
            }
            if let Some((_, error)) =
                messages.errors().iter().find(|(_, error)| !error.is_passing())
            {
                return Err(error.clone());
            }
        }
        Ok(())
    }
}
