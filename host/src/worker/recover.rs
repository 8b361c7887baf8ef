//! The one failure path, and the end.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::control::Control;
use super::failure::Failure;
use super::reader::Readers;
use super::run::Worker;

/// After so many failures without a commit between, topics are looked for.
const LOOK_FOR_TOPICS_AFTER: u32 = 2;

impl Worker {
    /// The one failure path: nothing that is not committed is left, and everything is read again.
    pub(super) fn recover(&mut self, failure: Failure) -> Result<(), Failure> {
        let failure = match self.blame(failure) {
            stop @ Failure::Stop { .. } => return Err(stop),
            failure => self.explained(failure),
        };
        self.status.counters.recoveries.fetch_add(1, Relaxed);
        let delay = self.backoff.failed(&failure)?;
        let milliseconds = delay.as_millis() as u64;
        tracing::warn!(
            worker = self.number, error = %failure, retry_in_ms = milliseconds,
            "going back to what is committed"
        );
        if let Failure::TooLarge(refused) = &failure
            && !self.poison.learn(refused.clone())
        {
            return Err(Failure::input(format!(
                "not even an empty dead letter fits into topic {}: raise its max.message.bytes",
                self.job.dead_letters.name
            )));
        }
        self.drop_uncommitted();
        self.publish_now();
        let is_missing = matches!(failure, Failure::MissingTopic(_));
        let is_again = self.backoff.failures() >= LOOK_FOR_TOPICS_AFTER;
        let are_all_there = (is_missing || is_again) && self.look_for_topics()?;
        // After brokers were restarted in turn a client may take partitions for missing that are there,
        // and not find the way back by itself.
        let is_blind = is_missing && is_again && are_all_there;
        if is_blind || matches!(failure, Failure::Rejoin(_)) || self.backoff.is_stuck() {
            self.readers = Readers::default();
            self.adrift.clear();
        }
        self.step("waiting before another try");
        self.stop.sleep(delay);
        Ok(())
    }

    /// A transaction that took longer than the broker leaves it open fences its producer just as
    /// another process with its id does, and is no sign of one.
    pub(super) fn explained(&self, failure: Failure) -> Failure {
        let timeout = self.job.transaction_timeout;
        match failure {
            Failure::Fenced(text)
                if self.uncommitted_since.is_some_and(|at| at.elapsed() >= timeout) =>
            {
                Failure::Recover(format!(
                    "the transaction was open for more than its {} s: {text}",
                    timeout.as_secs()
                ))
            }
            failure => failure,
        }
    }

    /// What was refused while more was still being sent is the cause of whatever that met with: a
    /// right that is missing, or a record; unless it is known, the next try ends here again.
    fn blame(&self, failure: Failure) -> Failure {
        if let (Failure::Recover(_), Some(sink)) = (&failure, &self.sink) {
            if let Some(refusal) = sink.refusal() {
                return refusal.into();
            }
            let cause = sink.refused_late();
            if let Some(
                cause @ (Failure::TooLarge(_) | Failure::MissingTopic(_) | Failure::Stop { .. }),
            ) = cause
            {
                return cause;
            }
        }
        failure
    }

    /// Throws the producer and the state away. Partitions stay assigned, and are adrift.
    pub(super) fn drop_uncommitted(&mut self) {
        if self.uncommitted_since.take().is_some() {
            self.has_dropped = true;
            self.chain.transaction_failed();
            self.generation_dropped();
            self.status.counters.aborts.fetch_add(1, Relaxed);
        }
        self.sink = None;
        self.written = None;
        self.new_places_due = None;
        self.tally.clear();
        for windows in &mut self.windows {
            windows.clear();
        }
        self.merges.clear();
        self.adrift.extend(std::mem::take(&mut self.held).into_keys());
    }

    /// Leaves the group, within a bounded time. What is not committed is thrown away.
    pub(super) fn leave(&mut self) {
        self.status.ready.store(false, Relaxed);
        if Control::KeepState.is_on() {
            self.commit_what_is_left();
        }
        self.drop_uncommitted();
        self.step("leaving the group");
        let closing: Vec<_> = self.readers.take().map(|reader| reader.consumer.close()).collect();
        for closing in closing {
            closing.wait(Duration::from_secs(3));
        }
        self.publish_now();
    }
}
