//! Tries a generation on records that were seen lately, before any worker runs it. Nothing of it is
//! written.

use std::sync::Arc;

use crate::chain::{Chain, Header, Processed, Record, StageCounts, Stop};
use crate::pipeline::Generation;
use crate::worker::{ErrorLimits, Rate, Seen};

/// Why a generation does not come to the workers; otherwise on how many records it was tried. What
/// the running generation does with the same records is what it may do as well: a record that
/// neither of them can cope with says nothing against the new one.
pub(super) fn prove(
    running: &Generation,
    new: &Generation,
    sample: &[Arc<Seen>],
    limits: &ErrorLimits,
    now: i64,
) -> Result<usize, String> {
    if sample.is_empty() {
        return Ok(0);
    }
    let chain = |generation: &Generation| generation.chain().map_err(|error| format!("{error:#}"));
    let mut new = chain(new)?;
    let processed = run(&mut new, sample, now).map_err(|stop| stop.to_string())?;
    if !processed.stages.iter().any(|counts| Rate::of(counts).errors > 0) {
        return Ok(sample.len());
    }
    let mut running = chain(running)?;
    let before = run(&mut running, sample, now).ok();
    let usual = |name: &str| {
        let place = running.stage_names().iter().position(|stage| stage == name)?;
        Some(before.as_ref()?.stages[place])
    };
    for (place, counts) in processed.stages.iter().enumerate() {
        let name = &new.stage_names()[place];
        let usual = usual(name).unwrap_or_default();
        judge(counts, &usual, limits).map_err(|problem| {
            let example = example(&new, &processed, place);
            format!("stage {name:?} {problem}{example}")
        })?;
    }
    Ok(sample.len())
}

fn judge(counts: &StageCounts, usual: &StageCounts, limits: &ErrorLimits) -> Result<(), String> {
    if counts.faults.total() > usual.faults.total() {
        let records = counts.records;
        return Err(format!("failed on {} of {records} records", counts.faults.total()));
    }
    if limits.are_passed(Rate::of(counts), Rate::of(usual)) {
        let (now, before) = (Rate::of(counts), Rate::of(usual));
        return Err(format!(
            "rejected {} of {} records, where the running rules reject {}",
            now.errors, now.records, before.errors
        ));
    }
    Ok(())
}

/// What the stage said of the first record that it did not cope with; nothing where `on-error` makes
/// no dead letter of it.
fn example(chain: &Chain, processed: &Processed, place: usize) -> String {
    let name = &chain.stage_names()[place];
    let mut letters = processed.dead_letters.iter();
    match letters.find(|letter| chain.place_name(letter.place) == name) {
        Some(letter) => format!(", the first: {}", letter.message),
        None => String::new(),
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
    chain.transaction_started();
    chain.run(&records, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::FaultCounts;

    #[test]
    fn only_what_the_running_rules_do_not_do_speaks_against_new_ones() {
        const LIMITS: ErrorLimits = ErrorLimits { share_max: 0.05, errors_min: 20 };
        let counts = |rejected, trap| StageCounts {
            records: 256,
            rejected,
            faults: FaultCounts { trap, ..FaultCounts::default() },
            ..StageCounts::default()
        };
        let check = |now: (u64, u64), usual: (u64, u64), expected: Option<&str>| {
            let judged = judge(&counts(now.0, now.1), &counts(usual.0, usual.1), &LIMITS);
            assert_eq!(judged.err().as_deref(), expected);
        };
        check((0, 1), (0, 0), Some("failed on 1 of 256 records"));
        check((0, 1), (0, 1), None);
        check((19, 0), (0, 0), None);
        let reason = "rejected 20 of 256 records, where the running rules reject 0";
        check((20, 0), (0, 0), Some(reason));
        check((20, 0), (10, 0), None);
    }
}
