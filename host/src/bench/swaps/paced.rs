//! Changes of the settings under a paced load: how long until the new rules make something, and
//! what a change does to the output meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::scratch::Scratch;
use super::ground::{Ground, Live, Names};
use super::input::{Expected, Numbered};
use super::output::{self, Output};
use crate::demo::generate::{Generator, Spec};
use crate::demo::send::{Kafka, send};
use crate::demo::stop::Stop;

/// How long the load runs before the first change.
const WARM_UP: Duration = Duration::from_secs(5);
/// From one change to the next: the stretch that is looked at for gaps. Half as many stretches without
/// a change come before all changes, and as many after them.
const STRETCH: Duration = Duration::from_millis(1_500);

/// Milliseconds, one for each change, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paced {
    /// From the save to the first record by the new rules in the output, by the broker's clock.
    pub written: Vec<f64>,
    /// From the save to the commit of the first records by the new rules.
    pub committed: Vec<f64>,
    /// The longest gap in the output in the stretch behind a save.
    pub gaps: Vec<f64>,
    /// The longest gap in a stretch of the same length without one.
    pub quiet_gaps: Vec<f64>,
}

/// What was done; times in milliseconds since the epoch.
#[derive(Default)]
struct Done {
    swaps: Vec<Swap>,
    /// Where stretches without a change begin.
    quiet: Vec<i64>,
}

/// A change of the settings, as it looked from here.
struct Swap {
    saved: i64,
    generation: u64,
    committed: Duration,
}

/// None after a request to stop.
pub fn measure(ground: &Ground<'_>, scratch: &mut Scratch, stop: &Stop) -> Result<Option<Paced>> {
    let plan = ground.plan;
    let names = Names {
        input: scratch.topic("paced-in"),
        output: scratch.topic("paced-out"),
        group: scratch.group("paced"),
    };
    super::make(plan, &names.input, &[])?;
    super::make(plan, &names.output, &[("message.timestamp.type", "LogAppendTime")])?;
    ground.save_settings(&names, 0)?;
    let kafka = Kafka::connect(&plan.client, &names.input, None, stop)?;
    let spec = Spec { start_ms: now(), rate: plan.rate, ..Spec::default() };
    let mut live = ground.start(scratch)?;
    if !live.begin(stop)? {
        return Ok(None);
    }
    let feeding = Stop::new();
    let fed = std::thread::scope(|scope| {
        let feed = scope.spawn(|| -> Result<(u64, Expected)> {
            let (mut numbered, mut generator) = (Numbered::new(kafka), Generator::new(spec));
            send(&mut generator, None, Some(plan.rate), &feeding, &mut numbered, &mut |_| {})?;
            numbered.finish()
        });
        let done = swap_often(ground, &names, &mut live, stop);
        feeding.stop();
        let fed = feed.join().expect("sending does not panic").context("feeding the input");
        Ok::<_, anyhow::Error>((done?, fed?))
    });
    let (done, (sent, expected)) = fed?;
    let Some(done) = done else { return Ok(None) };
    if !live.await_that("the end of the input", stop, |live| live.records_in() == sent)? {
        return Ok(None);
    }
    live.end()?;
    let output = output::read(&plan.client, &names.output, &expected)?;
    figures(&done, &output).map(Some)
}

fn swap_often(
    ground: &Ground<'_>,
    names: &Names,
    live: &mut Live,
    stop: &Stop,
) -> Result<Option<Done>> {
    let swaps = u64::from(ground.plan.swaps);
    tracing::info!(swaps, rate = ground.plan.rate, "swapping under a load");
    let mut done = Done::default();
    if !live.await_that("the first commit of each worker", stop, Live::all_work)?
        || !live.rest(Instant::now() + WARM_UP, stop)?
        || !be_quiet(swaps / 2, &mut done, live, stop)?
    {
        return Ok(None);
    }
    for number in 1..=swaps {
        let saved = now();
        let at = ground.save_settings(names, number)?;
        let is_there = |live: &Live| {
            let trial = live.trial();
            trial.number == number + 1 && trial.first().is_some()
        };
        if !live.await_that("the first record by the new rules", stop, is_there)? {
            return Ok(None);
        }
        let trial = live.trial();
        let (committed, _) = trial.first().expect("it was waited for");
        let committed = committed.duration_since(at);
        done.swaps.push(Swap { saved, generation: trial.number, committed });
        if !live.rest(at + STRETCH, stop)? {
            return Ok(None);
        }
    }
    Ok(be_quiet(swaps.div_ceil(2), &mut done, live, stop)?.then_some(done))
}

/// So many stretches without a change; false after a request to stop.
fn be_quiet(stretches: u64, done: &mut Done, live: &mut Live, stop: &Stop) -> Result<bool> {
    for _ in 0..stretches {
        done.quiet.push(now());
        if !live.rest(Instant::now() + STRETCH, stop)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn figures(done: &Done, output: &Output) -> Result<Paced> {
    let gap =
        |from: i64| longest_gap(&output.times, from, from + STRETCH.as_millis() as i64) as f64;
    let mut paced = Paced::default();
    for swap in &done.swaps {
        let first = output.first.get(&swap.generation);
        let first = first.with_context(|| format!("nothing by generation {}", swap.generation))?;
        paced.written.push((first - swap.saved) as f64);
        paced.committed.push(swap.committed.as_secs_f64() * 1e3);
        paced.gaps.push(gap(swap.saved));
    }
    paced.quiet_gaps = done.quiet.iter().map(|from| gap(*from)).collect();
    Ok(paced)
}

/// The longest time between two records next to each other that has a part between these two moments;
/// `times` is sorted.
fn longest_gap(times: &[i64], from: i64, to: i64) -> i64 {
    let first = times.partition_point(|time| *time < from).saturating_sub(1);
    let end = (times.partition_point(|time| *time < to) + 1).min(times.len());
    let gaps = times[first..end].windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or(to - from)
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_where_a_part_of_it_lies_in_the_stretch() {
        let times = [0, 10, 15, 100, 101, 130];
        assert_eq!(longest_gap(&times, 10, 16), 85);
        assert_eq!(longest_gap(&times, 101, 120), 29);
        assert_eq!(longest_gap(&times, 2, 12), 10);
        assert_eq!(longest_gap(&times, 500, 600), 100);
    }
}
