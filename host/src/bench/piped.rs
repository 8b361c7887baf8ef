//! The pipeline itself, one worker, from the start of the input to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::meter::{Measured, Meter};
use crate::chain::Chain;
use crate::demo::stop::Stop;
use crate::worker::status::WorkerStatus;
use crate::worker::{self, Ended, Job, Offers, Pool};

/// How often the worker is looked at: its commits are seen so much later at most.
const LOOK: Duration = Duration::from_millis(3);

/// (c): runs the job with one worker until it has done all events; none after a request to stop.
pub fn run(job: Job, chain: Chain, events: u64, stop: &Stop) -> Result<Option<Measured>> {
    let halt = worker::Stop::default();
    let offers = Arc::new(Offers::fixed("bench", vec![chain]));
    let mut pool = Pool::start(&Arc::new(job), &offers, &halt).context("starting the worker")?;
    let status = pool.statuses().pop().context("the pool has no worker")?;
    let followed = follow(&mut pool, &status, events, stop);
    halt.raise();
    let meter = followed?;
    end(&mut pool)?;
    let counters = &status.counters;
    let (aborts, recoveries) = (counters.aborts.load(Relaxed), counters.recoveries.load(Relaxed));
    if aborts + recoveries > 0 {
        tracing::warn!(
            aborts,
            recoveries,
            "the worker had to begin again: the figures include that"
        );
    }
    meter.map(|meter| meter.finish(counters.records_out.load(Relaxed))).transpose()
}

fn follow(
    pool: &mut Pool,
    status: &WorkerStatus,
    events: u64,
    stop: &Stop,
) -> Result<Option<Meter>> {
    let mut meter = Meter::default();
    let mut seen = 0;
    let mut moved = Instant::now();
    while seen < events {
        if stop.wait(LOOK) {
            return Ok(None);
        }
        let done = status.counters.records_in.load(Relaxed);
        if done > seen {
            seen = done;
            moved = Instant::now();
            meter.committed(seen)?;
        }
        super::check_moving(moved.elapsed(), seen, events)?;
        look_after(pool)?;
    }
    Ok(Some(meter))
}

/// An error if the workers have ended, or hang.
pub fn look_after(pool: &mut Pool) -> Result<()> {
    drain(pool);
    pool.watch().map_or(Ok(()), |ended| Err(failed(ended)))
}

/// Waits for the end of workers that were asked to stop.
pub fn end(pool: &mut Pool) -> Result<()> {
    loop {
        drain(pool);
        match pool.watch() {
            None => std::thread::sleep(LOOK),
            Some(Ended::Stopped(_)) => return Ok(()),
            Some(ended) => return Err(failed(ended)),
        }
    }
}

/// Closed windows are of no interest here, but must not pile up.
fn drain(pool: &Pool) {
    pool.events.try_iter().for_each(drop);
}

fn failed(ended: Ended) -> anyhow::Error {
    match ended {
        Ended::Stopped(_) => anyhow!("the worker ended before its input"),
        Ended::Failed(failure) => anyhow!("the worker stopped: {failure}"),
        Ended::Hangs { since, call, .. } => {
            anyhow!("the worker has been {call} for {} s", since.as_secs())
        }
    }
}
