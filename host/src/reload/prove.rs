//! Tries a generation on records before any worker runs it. Nothing of it is written.

use std::sync::Arc;

use crate::chain::{Chain, Header, Processed, Record, Stop};
use crate::pipeline::Generation;
use crate::worker::{ErrorLimits, Rate, Seen};

/// What speaks against a generation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The place of the first guilty record among those that were tried, where one is known.
    pub at: Option<usize>,
    pub message: String,
}

impl Objection {
    fn of(message: String) -> Self {
        Self { at: None, message }
    }
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Proven {
    pub records: usize,
    /// Of those: became dead letters of a stage, or could not be decoded.
    pub rejected: usize,
    /// Of those: could not be decoded.
    pub undecodable: u64,
}

/// What a stage did with all of the records.
#[derive(Clone, Debug, Default)]
struct Did {
    records: u64,
    rejected: u64,
    faults: u64,
    /// The first record that it did not cope with, and what it said; only where `on-error` makes a
    /// dead letter of it.
    first: Option<(usize, String)>,
}

impl Did {
    fn rate(&self) -> Rate {
        Rate { records: self.records, errors: self.rejected + self.faults }
    }
}

/// Why a generation does not come to the workers; otherwise what became of the records. What the
/// running generation does with the same records is what it may do as well: a record that neither of
/// them can cope with says nothing against the new one. At the start of a process there is none.
pub(super) fn prove(
    running: Option<&Generation>,
    new: &Generation,
    sample: &[Arc<Seen>],
    limits: &ErrorLimits,
    now: i64,
) -> Result<Proven, Objection> {
    if sample.is_empty() {
        return Ok(Proven::default());
    }
    let mut chain = chain(new)?;
    let mut run = Run::new(&chain, new);
    run.run(&mut chain, sample, now).map_err(|(from, stop)| stopped(&stop, from, sample))?;
    if run.undecodable > 0 || run.stages.iter().any(|did| did.rate().errors > 0) {
        let usual = running.map(|running| usual(running, sample, now)).transpose()?;
        if let Some(usual) = &usual {
            decodable(run.undecodable, usual.undecodable, sample.len() as u64, limits)?;
        }
        let usual = usual.map(|usual| usual.stages);
        for (stage, (name, did)) in chain.stage_names().iter().zip(&run.stages).enumerate() {
            let stages = usual.iter().flatten();
            let usual = stages.clone().find(|(stage, _)| stage == name).map(|(_, did)| did.clone());
            judge(did, usual.as_ref(), limits).map_err(|problem| {
                let first = match &did.first {
                    Some((_, message)) => format!(", the first: {message}"),
                    None => String::new(),
                };
                let message = format!("stage {name:?} {problem}{first}");
                let at = did.first.as_ref().map(|(at, _)| *at);
                Objection { at: at.or_else(|| guilty(new, sample, stage, now)), message }
            })?;
        }
    }
    let (rejected, undecodable) = (run.rejected, run.undecodable);
    Ok(Proven { records: sample.len(), rejected, undecodable })
}

fn chain(generation: &Generation) -> Result<Chain, Objection> {
    generation.chain().map_err(|error| Objection::of(format!("{error:#}")))
}

/// What the running generation does.
#[derive(Default)]
struct Usual {
    /// By name of the stage.
    stages: Vec<(String, Did)>,
    undecodable: u64,
}

/// That of the running generation; nothing where it does not come to the end.
fn usual(running: &Generation, sample: &[Arc<Seen>], now: i64) -> Result<Usual, Objection> {
    let mut chain = chain(running)?;
    let mut run = Run::new(&chain, running);
    let done = run.run(&mut chain, sample, now);
    let stages = chain.stage_names().iter().cloned().zip(run.stages);
    Ok(match done {
        Ok(_) => Usual { stages: stages.collect(), undecodable: run.undecodable },
        Err(_) => Usual::default(),
    })
}

/// A stage in front that made JSON of the input may be gone, or another rule may be the first now.
fn decodable(now: u64, before: u64, records: u64, limits: &ErrorLimits) -> Result<(), Objection> {
    let rate = |errors| Rate { records, errors };
    if !limits.are_passed(rate(now), rate(before)) {
        return Ok(());
    }
    Err(Objection::of(format!(
        "{now} of {records} records are no JSON objects for the first rule, where the running rules \
         cannot read {before}: is a stage that makes JSON of them missing in front of it?"
    )))
}

fn judge(did: &Did, usual: Option<&Did>, limits: &ErrorLimits) -> Result<(), String> {
    let before = usual.cloned().unwrap_or_default();
    if did.faults > before.faults {
        return Err(format!("failed on {} of {} records", did.faults, did.records));
    }
    if limits.are_passed(did.rate(), before.rate()) {
        let (errors, records) = (did.rate().errors, did.records);
        let running = match usual {
            Some(_) => format!(", where the running rules reject {}", before.rate().errors),
            None => String::new(),
        };
        return Err(format!("rejected {errors} of {records} records{running}"));
    }
    Ok(())
}

/// A stop in the middle of what was tried from `from` on. It names its record by partition and offset.
fn stopped(stop: &Stop, from: usize, sample: &[Arc<Seen>]) -> Objection {
    let place = |partition: &i32, offset: &i64| {
        let is_it = |seen: &Arc<Seen>| (seen.partition, seen.offset) == (*partition, *offset);
        sample[from..].iter().position(is_it).map(|place| from + place)
    };
    match stop {
        Stop::StageBroken { stage, calls, fault, partition, offset, .. } => Objection {
            at: place(partition, offset),
            message: format!(
                "stage {stage:?} is broken: {calls} of its calls failed, the last: {fault}"
            ),
        },
        Stop::GuiltyRecord { stage, fault, partition, offset } => Objection {
            at: place(partition, offset),
            message: format!("stage {stage:?} failed: {fault}"),
        },
        stop => Objection::of(stop.to_string()),
    }
}

/// A record that a stage does not cope with, by halving, for where `on-error` leaves no trace of it.
fn guilty(generation: &Generation, sample: &[Arc<Seen>], stage: usize, now: i64) -> Option<usize> {
    let (mut from, mut to) = (0, sample.len());
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        let mut chain = chain(generation).ok()?;
        let mut run = Run::new(&chain, generation);
        let done = run.run(&mut chain, &sample[from..middle], now);
        match done.is_err() || run.stages[stage].rate().errors > 0 {
            true => to = middle,
            false => from = middle,
        }
    }
    Some(from)
}

/// Records on their way through a chain, in batches as a worker has them, each as a transaction of its
/// own.
struct Run {
    batch_records: usize,
    batch_bytes: usize,
    stages: Vec<Did>,
    rejected: usize,
    undecodable: u64,
}

impl Run {
    fn new(chain: &Chain, generation: &Generation) -> Self {
        let limits = &generation.config.limits.batch;
        Self {
            batch_records: limits.records as usize,
            batch_bytes: usize::try_from(limits.bytes).unwrap_or(usize::MAX),
            stages: vec![Did::default(); chain.stage_names().len()],
            rejected: 0,
            undecodable: 0,
        }
    }

    /// With a stop comes the place of the first record of its batch.
    fn run(
        &mut self,
        chain: &mut Chain,
        sample: &[Arc<Seen>],
        now: i64,
    ) -> Result<(), (usize, Stop)> {
        let mut from = 0;
        while from < sample.len() {
            let mut bytes = 0;
            let fits = |seen: &&Arc<Seen>| {
                bytes += seen.value.as_ref().map_or(0, Vec::len);
                bytes <= self.batch_bytes
            };
            let batch = sample[from..].iter().take(self.batch_records).take_while(fits).count();
            let to = from + batch.max(1);
            chain.transaction_started();
            self.run_batch(chain, sample, from..to, now).map_err(|stop| (from, stop))?;
            from = to;
        }
        Ok(())
    }

    fn run_batch(
        &mut self,
        chain: &mut Chain,
        sample: &[Arc<Seen>],
        range: std::ops::Range<usize>,
        now: i64,
    ) -> Result<(), Stop> {
        let processed = match run(chain, &sample[range.clone()], now) {
            Err(Stop::OutputTooLarge { .. }) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                self.run_batch(chain, sample, range.start..middle, now)?;
                return self.run_batch(chain, sample, middle..range.end, now);
            }
            processed => processed?,
        };
        self.rejected += processed.dead_letters.len();
        self.undecodable += processed.decode.rejected;
        for (place, (did, counts)) in self.stages.iter_mut().zip(&processed.stages).enumerate() {
            did.records += counts.records;
            did.rejected += counts.rejected;
            did.faults += counts.faults.total();
            if did.first.is_none() {
                let name = &chain.stage_names()[place];
                let mut letters = processed.dead_letters.iter();
                let first = letters.find(|letter| chain.place_name(letter.place) == name);
                did.first = first
                    .map(|letter| (range.start + letter.input as usize, letter.message.clone()));
            }
        }
        Ok(())
    }
}

fn run(chain: &mut Chain, sample: &[Arc<Seen>], now: i64) -> Result<Processed, Stop> {
    let headers: Vec<Vec<Header<'_>>> = sample
        .iter()
        .map(|seen| {
            let headers = seen.headers.iter();
            headers.map(|(name, value)| Header { name, value: value.as_deref() }).collect()
        })
        .collect();
    let records: Vec<Record<'_>> = sample
        .iter()
        .zip(&headers)
        .map(|(seen, headers)| Record {
            key: seen.key.as_deref(),
            value: seen.value.as_deref(),
            headers,
            timestamp: seen.timestamp,
            partition: seen.partition,
            offset: seen.offset,
        })
        .collect();
    chain.run(&records, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_running_rules_do_not_do_speaks_against_new_ones() {
        const LIMITS: ErrorLimits = ErrorLimits { share_max: 0.05, errors_min: 20 };
        let did = |(rejected, faults)| Did { records: 256, rejected, faults, first: None };
        let check = |now: (u64, u64), usual: Option<(u64, u64)>, expected: Option<&str>| {
            let judged = judge(&did(now), usual.map(did).as_ref(), &LIMITS);
            assert_eq!(judged.err().as_deref(), expected);
        };
        check((0, 1), Some((0, 0)), Some("failed on 1 of 256 records"));
        check((0, 1), Some((0, 1)), None);
        check((19, 0), Some((0, 0)), None);
        let reason = "rejected 20 of 256 records, where the running rules reject 0";
        check((20, 0), Some((0, 0)), Some(reason));
        check((20, 0), Some((10, 0)), None);
        check((20, 0), None, Some("rejected 20 of 256 records"));
        check((0, 1), None, Some("failed on 1 of 256 records"));
    }
}
