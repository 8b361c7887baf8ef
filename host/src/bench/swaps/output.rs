//! What came out, read back and held against what must come out.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::super::PARTITIONS;
use super::input::{BEFORE_NUMBER, Expected};
use crate::kafka::{ClientSettings, Message, StateReader};
use crate::worker::headers;

/// How long reading a partition may take.
const READ: Duration = Duration::from_secs(120);

/// One record of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Out {
    number: u32,
    generation: u64,
    /// Milliseconds since the epoch: when the broker appended it, where the topic says so.
    at: i64,
}

/// The output of a run that has passed [`read`].
pub struct Output {
    /// When records were written, in milliseconds since the epoch, all partitions together, sorted.
    pub times: Vec<i64>,
    /// When the first record of each generation was.
    pub first: BTreeMap<u64, i64>,
}

/// Reads a whole topic. An error unless every expected record is there once, in order and stamped by
/// a generation that is none before that of the record before it.
pub fn read(client: &ClientSettings, topic: &str, expected: &Expected) -> Result<Output> {
    let mut reader = StateReader::new(client, topic, topic)?;
    let mut output = Output { times: Vec::new(), first: BTreeMap::new() };
    for (partition, expected) in (0..PARTITIONS).zip(expected) {
        let mut outs = Vec::with_capacity(expected.len());
        let mut wrong = None;
        reader.read(partition, READ, &AtomicBool::new(false), |message| match out(&message) {
            Ok(out) => outs.push(out),
            Err(error) => wrong = wrong.take().or(Some(error)),
        })?;
        let checked = wrong.map_or_else(|| check(&outs, expected), Err);
        checked.with_context(|| format!("{topic} partition {partition} is not exact"))?;
        for out in outs {
            output.times.push(out.at);
            let first = output.first.entry(out.generation).or_insert(out.at);
            *first = out.at.min(*first);
        }
    }
    output.times.sort_unstable();
    Ok(output)
}

fn out(message: &Message<'_>) -> Result<Out> {
    let offset = message.offset;
    let number = message.value.and_then(number).with_context(|| format!("{offset}: no number"))?;
    let mut stamps = message.headers().iter().filter(|(name, _)| *name == headers::GENERATION);
    let stamp = stamps.next().and_then(|(_, value)| std::str::from_utf8(value?).ok());
    ensure!(stamps.next().is_none(), "offset {offset} has more than one stamp");
    let generation = stamp.and_then(|stamp| stamp.split_once(' ')?.0.parse().ok());
    Ok(Out {
        number,
        generation: generation.with_context(|| format!("offset {offset} has no stamp"))?,
        at: message.timestamp.with_context(|| format!("offset {offset} has no time"))?,
    })
}

fn number(value: &[u8]) -> Option<u32> {
    let rest = value.strip_prefix(BEFORE_NUMBER)?;
    let digits = rest.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn check(outs: &[Out], expected: &[u32]) -> Result<()> {
    for (place, (out, expected)) in outs.iter().zip(expected).enumerate() {
        let number = out.number;
        ensure!(number == *expected, "event {expected} should be record {place}: {number} is");
    }
    if outs.len() != expected.len() {
        bail!("{} records, not {}", outs.len(), expected.len());
    }
    match outs.windows(2).find(|pair| pair[0].generation > pair[1].generation) {
        Some([before, after]) => bail!(
            "event {} is by generation {}, after one by {}",
            after.number,
            after.generation,
            before.generation
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_each_record_once_and_in_order_by_rising_generations_is_an_error() {
        let outs = |outs: &[(u32, u64)]| -> Vec<Out> {
            outs.iter().map(|&(number, generation)| Out { number, generation, at: 0 }).collect()
        };
        let check = |of: &[(u32, u64)], expected: Option<&str>| {
            let error = check(&outs(of), &[1, 3, 4]).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected);
        };
        check(&[(1, 1), (3, 1), (4, 2)], None);
        check(&[(1, 1), (3, 1)], Some("2 records, not 3"));
        check(&[(1, 1), (3, 1), (4, 1), (4, 1)], Some("4 records, not 3"));
        check(&[(1, 1), (4, 1), (3, 1)], Some("event 3 should be record 1: 4 is"));
        check(&[(1, 1), (3, 2), (4, 1)], Some("event 4 is by generation 1, after one by 2"));
    }

    #[test]
    fn the_number_is_read_from_the_value() {
        assert_eq!(number(b"{\"n\":12,\"a\":1}"), Some(12));
        assert_eq!(number(b"{\"n\":\"12\"}"), None);
        assert_eq!(number(b"{}"), None);
    }
}
