//! Runs records through all stages, and tells what became of each.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use serde::Serialize;

use super::trace::{Step, Tracer};
use crate::chain::{Chain, DeadLetter, OutputView, Processed, Record, Stop};
use crate::pipeline::Generation;

/// Why a run does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A pipeline would stop here.
    #[error("the pipeline would stop here: {0}")]
    Stop(Stop),
    /// What became of the records cannot be written.
    #[error("writing what came out")]
    Write(#[source] io::Error),
}

/// The stages of a generation as one worker has them, but for the windows.
pub struct Runner {
    chain: Chain,
    tracer: Option<Tracer>,
    counts: Counts,
}

/// What became of the records so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that were given.
    #[serde(rename = "in")]
    pub records_in: u64,
    /// Records that came out.
    #[serde(rename = "out")]
    pub records_out: u64,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// What the stages did, in their order.
    pub stages: Vec<StageCounts>,
}

/// What one stage did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageCounts {
    /// The stage.
    pub name: String,
    /// Records that it dropped on purpose.
    pub dropped: u64,
    /// Records that it rejected.
    pub rejected: u64,
    /// Records that it failed on, whatever `on-error` made of them.
    pub failed: u64,
    /// Of those: left out, by `on-error = "skip"`.
    pub skipped: u64,
    /// Of those: on as they were, by `on-error = "pass"`.
    pub passed: u64,
}

/// What became of one record.
pub struct Became<'a> {
    /// The record as it came.
    pub record: &'a Record<'a>,
    /// Why it is a dead letter, if it is one; a record may be one and come out in parts as well.
    pub letter: Option<Letter<'a>>,
    /// What each stage did, if that was asked for.
    pub trace: Option<&'a [Step]>,
    processed: &'a Processed,
    records: &'a [Record<'a>],
    outputs: Range<usize>,
}

/// Why a record is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter<'a> {
    /// As in headers of dead letters: `rejected`, `trap`, …
    pub reason: &'static str,
    /// For a human.
    pub message: &'a str,
    /// Where it happened.
    pub stage: &'a str,
}

impl<'a> Became<'a> {
    /// What came out, in order; nothing of a record that was dropped.
    pub fn outputs(&self) -> impl Iterator<Item = OutputView<'a>> + use<'a> {
        let (processed, records) = (self.processed, self.records);
        processed.outputs[self.outputs.clone()].iter().map(|output| processed.view(output, records))
    }

    /// Whether nothing came of it, on purpose.
    pub fn is_dropped(&self) -> bool {
        self.outputs.is_empty() && self.letter.is_none()
    }
}

impl Counts {
    /// All dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.values().sum()
    }

    fn add(&mut self, processed: &Processed, records: usize) {
        self.records_in += records as u64;
        self.records_out += processed.outputs.len() as u64;
        for letter in &processed.dead_letters {
            *self.dead_letters.entry(letter.reason.as_str()).or_default() += 1;
        }
        for (ours, counts) in self.stages.iter_mut().zip(&processed.stages) {
            ours.dropped += counts.dropped;
            ours.rejected += counts.rejected;
            ours.failed += counts.faults.total();
            ours.skipped += counts.skipped;
            ours.passed += counts.passed;
        }
    }
}

impl Runner {
    /// Instances of its own. With `traces`, each stage also runs by itself over what came to it,
    /// which about doubles the work.
    pub fn new(generation: &Generation, traces: bool) -> anyhow::Result<Self> {
        let chain = generation.unobserved()?;
        let tracer = if traces { Some(Tracer::new(generation)?) } else { None };
        let stage = |name: &String| StageCounts { name: name.clone(), ..StageCounts::default() };
        let stages = chain.stage_names().iter().map(stage).collect();
        Ok(Self { chain, tracer, counts: Counts { stages, ..Counts::default() } })
    }

    /// What became of all records so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Runs some records, each batch being a transaction of its own, and gives what became of each
    /// to `take`, in their order. `now` is the time of processing, milliseconds since the epoch.
    pub fn run(
        &mut self,
        records: &[Record<'_>],
        now: i64,
        take: &mut dyn FnMut(&Became<'_>) -> io::Result<()>,
    ) -> Result<(), RunError> {
        self.chain.transaction_started();
        let processed = match self.chain.run(records, now) {
            Err(Stop::OutputTooLarge { .. }) if records.len() > 1 => {
                let (first, second) = records.split_at(records.len() / 2);
                self.run(first, now, take)?;
                return self.run(second, now, take);
            }
            ran => ran.map_err(RunError::Stop)?,
        };
        self.counts.add(&processed, records.len());
        let traces = match &mut self.tracer {
            Some(tracer) => Some(tracer.trace(records, now).map_err(RunError::Stop)?),
            None => None,
        };
        let (mut output, mut letters) = (0, processed.dead_letters.iter().peekable());
        for (input, record) in records.iter().enumerate() {
            let first = output;
            let is_of = |output: &crate::chain::Output| output.input as usize == input;
            while processed.outputs.get(output).is_some_and(is_of) {
                output += 1;
            }
            let letter = letters.next_if(|letter| letter.input as usize == input);
            let became = Became {
                record,
                letter: letter.map(|letter| self.letter(letter)),
                trace: traces.as_ref().map(|traces| &traces[input][..]),
                processed: &processed,
                records,
                outputs: first..output,
            };
            take(&became).map_err(RunError::Write)?;
        }
        Ok(())
    }

    fn letter<'a>(&'a self, letter: &'a DeadLetter) -> Letter<'a> {
        let stage = self.chain.place_name(letter.place);
        Letter { reason: letter.reason.as_str(), message: &letter.message, stage }
    }
}
