//! One batch on its way through the chain: what is still in it, and what has come of the rest.

use super::bisect::Budget;
use super::guest::{Emitted, Fault};
use super::observe::{Read, ReadTimes, observations};
use super::processed::{self, DeadLetter, Output, OutputView, Payload, Place, Processed, Reason};
use super::rejects::Rejects;
use super::{Header, Limits, OnError, Record, StageCounts, Stop};
use crate::event::EventInput;

/// The batch between two steps. Its outputs are the records that are still on their way.
pub(super) struct Flow<'r> {
    pub records: &'r [Record<'r>],
    pub now: i64,
    pub limits: &'r Limits,
    pub processed: Processed,
    /// The event times of the inputs, by observer, as the beginning of the chain read them.
    pub times: ReadTimes,
    /// The outputs that the last step knows to be events.
    pub observed: Vec<u32>,
    /// What each observer reads of `observed`, once the end of the chain has.
    pub keys: Vec<Read>,
    /// Which inputs are dead letters already; empty while there are none.
    dead: Vec<bool>,
    /// Bytes that stages made so far.
    made: usize,
}

/// What a stage is to the rest of the chain, whatever its world.
pub(super) struct Member {
    pub name: String,
    pub place: usize,
    pub on_error: OnError,
    pub budget: Budget,
    /// What it was before the run.
    budget_before: Budget,
    pub rejects: Rejects,
}

impl<'r> Flow<'r> {
    pub(super) fn new(
        records: &'r [Record<'r>],
        now: i64,
        limits: &'r Limits,
        stages: usize,
    ) -> Self {
        let outputs = (0..records.len() as u32)
            .map(|input| Output { input, payload: Payload::Original })
            .collect();
        let processed = Processed {
            outputs,
            stages: vec![StageCounts::default(); stages],
            ..Processed::default()
        };
        Self {
            records,
            now,
            limits,
            processed,
            times: ReadTimes::new(),
            observed: Vec::new(),
            keys: Vec::new(),
            dead: Vec::new(),
            made: 0,
        }
    }

    /// What a record on its way consists of now.
    pub(super) fn view(&self, output: &Output) -> OutputView<'_> {
        processed::view(output, self.records, &self.processed.bytes, &self.processed.emitted)
    }

    /// The records on their way that have a value, as events to be, and which output each is.
    /// `bytes` and `emitted` are those of the flow, which may be taken out of it meanwhile;
    /// `headers` are those of `emitted`.
    pub(super) fn events<'e>(
        &self,
        bytes: &'e [u8],
        emitted: &'e [Emitted],
        headers: &'e [Vec<Header<'e>>],
    ) -> (Vec<u32>, Vec<EventInput<'e>>)
    where
        'r: 'e,
    {
        let outputs = &self.processed.outputs;
        let mut places = Vec::with_capacity(outputs.len());
        let mut inputs = Vec::with_capacity(outputs.len());
        for (place, output) in (0..).zip(outputs) {
            let view = processed::view(output, self.records, bytes, emitted);
            let Some(text) = view.value else { continue };
            let record = &self.records[output.input as usize];
            let headers = match output.payload {
                Payload::Emitted(place) => &headers[place],
                _ => record.headers,
            };
            places.push(place);
            inputs.push(EventInput { text, key: view.key, headers, timestamp: record.timestamp });
        }
        (places, inputs)
    }

    /// The results, when all steps are done.
    pub(super) fn finish(mut self) -> Processed {
        self.processed.observations = observations(&mut self);
        self.processed.dead_letters.sort_by_key(|dead| dead.input);
        self.processed
    }

    /// Makes the input a dead letter, unless it is one already.
    pub(super) fn dead_letter(
        &mut self,
        input: u32,
        place: Place,
        reason: Reason,
        mut message: String,
    ) {
        if self.dead.is_empty() {
            self.dead.resize(self.records.len(), false);
        }
        if std::mem::replace(&mut self.dead[input as usize], true) {
            return;
        }
        message.truncate(message.floor_char_boundary(DeadLetter::MESSAGE_BYTES_MAX));
        self.processed.dead_letters.push(DeadLetter { input, place, reason, message });
    }

    /// Counts bytes that a stage made for one record. The answer says whether it may be so large.
    pub(super) fn made(&mut self, record_bytes: usize, made: usize) -> Result<bool, Stop> {
        if record_bytes > self.limits.output_record_bytes {
            return Ok(false);
        }
        self.made += made;
        if self.made > self.limits.output_batch_bytes {
            return Err(Stop::OutputTooLarge {
                records: self.records.len(),
                bytes_max: self.limits.output_batch_bytes,
            });
        }
        Ok(true)
    }

    /// The sentence for a record that is larger than it may be.
    pub(super) fn too_large(&self, record_bytes: usize) -> String {
        let max = self.limits.output_record_bytes;
        format!("key and value take {record_bytes} bytes, more than output-record = {max}")
    }
}

impl Member {
    pub(super) fn new(name: String, place: usize, on_error: OnError) -> Self {
        let (budget, rejects) = (Budget::default(), Rejects::default());
        Self { name, place, on_error, budget, budget_before: budget, rejects }
    }

    /// A batch is about to run, and may have to run again in parts.
    pub(super) fn run_started(&mut self) {
        self.budget_before = self.budget;
        self.rejects.run_started();
    }

    /// The batch runs again in parts: it spent nothing and counts for nothing.
    pub(super) fn run_failed(&mut self) {
        self.budget = self.budget_before;
        self.rejects.run_failed();
    }

    /// A record that this stage rejected.
    pub(super) fn reject(
        &mut self,
        flow: &mut Flow<'_>,
        input: u32,
        reason: Reason,
        message: &str,
    ) {
        flow.processed.stages[self.place].rejected += 1;
        self.rejects.reason(message);
        flow.dead_letter(input, Place::Stage(self.place), reason, message.to_owned());
    }

    /// A record that made this stage fail. The answer says whether it goes on as it was.
    pub(super) fn guilty(
        &mut self,
        flow: &mut Flow<'_>,
        input: u32,
        fault: Fault,
    ) -> Result<bool, Stop> {
        let counts = &mut flow.processed.stages[self.place];
        counts.faults.count(&fault);
        match self.on_error {
            OnError::DeadLetter => {
                let message = fault.to_string();
                self.rejects.reason(&message);
                flow.dead_letter(input, Place::Stage(self.place), Reason::of(&fault), message);
                Ok(false)
            }
            OnError::Skip => {
                counts.skipped += 1;
                Ok(false)
            }
            OnError::Pass => {
                counts.passed += 1;
                Ok(true)
            }
            OnError::Stop => {
                let record = &flow.records[input as usize];
                Err(Stop::GuiltyRecord {
                    stage: self.name.clone(),
                    fault,
                    partition: record.partition,
                    offset: record.offset,
                })
            }
        }
    }

    /// Closes the stage's part in a batch: stops where it makes too many dead letters.
    pub(super) fn close(&mut self, flow: &Flow<'_>) -> Result<(), Stop> {
        let counts = &flow.processed.stages[self.place];
        let faults = if self.on_error == OnError::DeadLetter { counts.faults.total() } else { 0 };
        self.rejects.batch(&self.name, counts.records, counts.rejected + faults, flow.limits)
    }
}

/// The headers of what a transform emitted, borrowed as those of an input are.
pub(super) fn borrowed_headers(emitted: &Emitted) -> Vec<Header<'_>> {
    emitted.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect()
}
