//! Topics that are deleted, or made anew with fewer partitions, under a running pipeline. They are
//! waited for, but not for ever. Mostly such a call only runs out of time, so the brokers are asked.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::run::Worker;
use crate::kafka::{Cluster, KafkaError};

/// How long a topic may be missing: a broker that has just started may not know all of them yet.
const MISSING_MAX: Duration = Duration::from_secs(30);
/// How often a topic that is missing is asked for while nothing else fails.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often topics are asked for while nothing comes in: that the input is gone is no error to
/// librdkafka, which goes on looking for it.
const ASK_SILENT: Duration = Duration::from_secs(15);
/// How long each answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Since when a topic is missing, as far as the brokers answer.
#[derive(Debug)]
pub struct Missing {
    since: Option<Instant>,
    /// When they were asked, or a record came in.
    heard: Instant,
}

impl Missing {
    /// Nothing is missing as far as is known.
    pub fn new(now: Instant) -> Self {
        Self { since: None, heard: now }
    }

    /// Records came in.
    pub fn came_in(&mut self, now: Instant) {
        if self.since.is_none() {
            self.heard = now;
        }
    }

    /// Whether it is time to ask again.
    fn is_due(&self, now: Instant) -> bool {
        let every = if self.since.is_some() { ASK_EVERY } else { ASK_SILENT };
        now.duration_since(self.heard) >= every
    }

    /// Takes in what is wrong with a topic, if anything is; an error once that has lasted. No
    /// answer at all says nothing about topics, and the time starts anew.
    fn answered(
        &mut self,
        wrong: Option<String>,
        begin_anew: impl Fn() -> String,
        now: Instant,
    ) -> Result<(), Failure> {
        self.heard = now;
        let Some(wrong) = wrong else {
            self.since = None;
            return Ok(());
        };
        let lasted = now.duration_since(*self.since.get_or_insert(now));
        if lasted < MISSING_MAX {
            tracing::warn!("{wrong}: waiting for it");
            return Ok(());
        }
        Err(Failure::input(format!(
            "{wrong}: start the pipeline again, which makes topics that are missing; if it was the \
             input that was deleted, {} begins anew with it",
            begin_anew()
        )))
    }
}

impl Worker {
    /// Asks for a topic that was missing, and for all of them where nothing has come in for long.
    pub(super) fn look_again_for_topics(&mut self) -> Result<(), Failure> {
        if self.missing.is_due(Instant::now()) {
            self.look_for_topics()?;
        }
        Ok(())
    }

    /// Asks whether all topics are as they were at the start; true if the brokers say so.
    pub(super) fn look_for_topics(&mut self) -> Result<bool, Failure> {
        self.step("asking whether all topics are there");
        let (wrong, are_all_there) = match self.wrong_topic() {
            Ok(wrong) => {
                let are_all_there = wrong.is_none();
                (wrong, are_all_there)
            }
            Err(error) => {
                tracing::debug!(worker = self.number, %error, "no answer about topics");
                (None, false)
            }
        };
        self.missing.answered(wrong, || self.job.begin_anew(), Instant::now())?;
        Ok(are_all_there)
    }

    fn wrong_topic(&self) -> Result<Option<String>, KafkaError> {
        let cluster = Cluster::new(&self.job.client)?;
        for (name, partitions) in self.job.topics() {
            if self.stop.is_raised() {
                break;
            }
            match cluster.partition_count(name, ANSWER) {
                Ok(found) if found >= partitions => {}
                Ok(found) => {
                    return Ok(Some(format!(
                        "topic {name} has {found} partitions, and had {partitions} when the \
                         pipeline started"
                    )));
                }
                Err(KafkaError::MissingTopic(_)) => {
                    return Ok(Some(format!("topic {name} does not exist any more")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_stays_away_stops_the_pipeline_and_one_that_comes_back_does_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let command = || "`host reset --brokers b:1 --to earliest`".to_owned();
        let gone = || Some("topic t does not exist any more".to_owned());
        let mut missing = Missing::new(at(0));
        assert!(!missing.is_due(at(14)) && missing.is_due(at(15)));
        missing.came_in(at(1));
        assert!(!missing.is_due(at(15)));
        assert!(missing.answered(gone(), command, at(1)).is_ok());
        assert!(!missing.is_due(at(5)) && missing.is_due(at(6)));
        assert!(missing.answered(gone(), command, at(29)).is_ok());
        assert!(missing.answered(None, command, at(31)).is_ok());
        assert!(!missing.is_due(at(45)));
        assert!(missing.answered(gone(), command, at(60)).is_ok());
        missing.came_in(at(61));
        assert!(missing.is_due(at(65)), "that it comes in does not bring the topic back");
        assert!(missing.answered(gone(), command, at(89)).is_ok());
        let stop = missing.answered(gone(), command, at(90)).expect_err("half a minute");
        let Failure::Stop { kind: super::super::StopKind::Input, message } = stop else {
            panic!("{stop:?}")
        };
        assert!(message.contains("topic t") && message.contains("again"), "{message}");
        assert!(message.contains(&command()), "{message}");
    }
}
