//! A transform in the chain: whole records in, whole records out.

use std::sync::Arc;
use std::time::Instant;

use super::bisect::judge;
use super::flow::{Flow, Member, borrowed_headers};
use super::guest::{Emitted, Fault, Outcome, Transform, TransformRecord};
use super::processed::{Output, Payload, Reason};
use super::segment::nanos;
use super::{Header, Limits, Stop};

/// A transform stage.
pub(super) struct TransformStage {
    pub member: Member,
    pub transform: Box<dyn Transform>,
    pub topics: Arc<[String]>,
}

impl TransformStage {
    /// Takes the batch through the stage; tombstones pass by.
    pub(super) fn run(&mut self, flow: &mut Flow<'_>) -> Result<(), Stop> {
        let started = Instant::now();
        let coming: Vec<usize> = (0..flow.processed.outputs.len())
            .filter(|&place| flow.view(&flow.processed.outputs[place]).value.is_some())
            .collect();
        if !coming.is_empty() {
            let outcomes = self.outcomes(flow, &coming)?;
            self.apply(flow, &coming, outcomes)?;
        }
        let counts = &mut flow.processed.stages[self.member.place];
        counts.records += coming.len() as u64;
        counts.nanos += nanos(started);
        self.member.close(flow)
    }

    /// What the guest made of each of the records that come in, or its fault.
    fn outcomes(
        &mut self,
        flow: &mut Flow<'_>,
        coming: &[usize],
    ) -> Result<Vec<Result<Outcome, Fault>>, Stop> {
        let outputs = &flow.processed.outputs;
        let headers: Vec<Vec<Header<'_>>> =
            flow.processed.emitted.iter().map(borrowed_headers).collect();
        let records: Vec<TransformRecord<'_>> = coming
            .iter()
            .map(|&place| {
                let output = &outputs[place];
                let (view, input) = (flow.view(output), &flow.records[output.input as usize]);
                TransformRecord {
                    key: view.key,
                    value: view.value.expect("records without a value do not come in"),
                    headers: match output.payload {
                        Payload::Emitted(place) => &headers[place],
                        _ => input.headers,
                    },
                    timestamp: input.timestamp,
                    partition: input.partition,
                    offset: input.offset,
                }
            })
            .collect();
        let judged = judge(
            &self.member.name,
            records.len(),
            &mut self.member.budget,
            flow.limits,
            |record| &flow.records[outputs[coming[record]].input as usize],
            |range| {
                let outcomes = self.transform.transform(&records[range.clone()], flow.now)?;
                check(&outcomes, range.len(), &self.topics, flow.limits).map_err(|problem| {
                    self.transform.discard();
                    Fault::WrongAnswer(problem)
                })?;
                Ok(outcomes)
            },
        )?;
        let mut all = Vec::with_capacity(coming.len());
        for (_, answer) in judged.parts {
            match answer {
                Ok(outcomes) => all.extend(outcomes.into_iter().map(Ok)),
                Err(fault) => all.push(Err(fault)),
            }
        }
        flow.processed.stages[self.member.place].faulty_calls += judged.faulty_calls;
        Ok(all)
    }

    fn apply(
        &mut self,
        flow: &mut Flow<'_>,
        coming: &[usize],
        outcomes: Vec<Result<Outcome, Fault>>,
    ) -> Result<(), Stop> {
        let before = std::mem::take(&mut flow.processed.outputs);
        let mut after = Vec::with_capacity(before.len());
        let mut outcomes = coming.iter().zip(outcomes).peekable();
        for (place, output) in before.into_iter().enumerate() {
            let Some((_, outcome)) = outcomes.next_if(|(coming, _)| **coming == place) else {
                after.push(output);
                continue;
            };
            match outcome {
                Ok(Outcome::Pass) => after.push(output),
                Ok(Outcome::Drop) => flow.processed.stages[self.member.place].dropped += 1,
                Ok(Outcome::Emit(list)) if list.is_empty() => {
                    flow.processed.stages[self.member.place].dropped += 1;
                }
                Ok(Outcome::Emit(list)) => self.emit(flow, output.input, list, &mut after)?,
                Ok(Outcome::Reject(message)) => {
                    self.member.reject(flow, output.input, Reason::Rejected, &message);
                }
                Err(fault) => {
                    if self.member.guilty(flow, output.input, fault)? {
                        after.push(output);
                    }
                }
            }
        }
        flow.processed.outputs = after;
        Ok(())
    }

    fn emit(
        &mut self,
        flow: &mut Flow<'_>,
        input: u32,
        list: Vec<Emitted>,
        after: &mut Vec<Output>,
    ) -> Result<(), Stop> {
        for emitted in list {
            let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
            let record_bytes = length(&emitted.key) + length(&emitted.value);
            let headers = emitted.headers.iter().map(|(name, value)| name.len() + length(value));
            if flow.made(record_bytes, record_bytes + headers.sum::<usize>())? {
                let payload = Payload::Emitted(flow.processed.emitted.len());
                flow.processed.emitted.push(emitted);
                after.push(Output { input, payload });
            } else {
                let message = flow.too_large(record_bytes);
                self.member.reject(flow, input, Reason::RecordTooLarge, &message);
            }
        }
        Ok(())
    }
}

/// Holds an answer against the contract of the WIT.
fn check(
    outcomes: &[Outcome],
    records: usize,
    topics: &[String],
    limits: &Limits,
) -> Result<(), String> {
    if outcomes.len() != records {
        let problem = format!("{} outcomes for {records} records", outcomes.len());
        return Err(problem);
    }
    for outcome in outcomes {
        let Outcome::Emit(list) = outcome else { continue };
        if list.len() > limits.outputs_per_record {
            return Err(format!(
                "{} records emitted in place of one, more than outputs-per-record = {}",
                list.len(),
                limits.outputs_per_record
            ));
        }
        for emitted in list {
            if let Some(topic) = &emitted.topic
                && !topics.contains(topic)
            {
                return Err(format!(
                    "emitted to topic {topic:?}, which [sink] topics does not list"
                ));
            }
            if let Some((name, _)) = emitted.headers.iter().find(|(name, _)| name.contains('\0')) {
                return Err(format!(
                    "header name {name:?} has a NUL, which Kafka clients cannot send"
                ));
            }
        }
    }
    Ok(())
}
