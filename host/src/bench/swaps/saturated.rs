//! One input, read as fast as may be, without changes of the rules and with one each second.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::meter::{Measured, Meter};
use super::super::scratch::Scratch;
use super::super::{START_MS, check_moving};
use super::ground::{Ground, LOOK, Live, Names};
use super::input::{Expected, Numbered};
use super::output;
use crate::demo::generate::{Generator, Spec};
use crate::demo::send::{Kafka, send};
use crate::demo::stop::Stop;

/// From one change to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// One run of all three ways, one after another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Without changes.
    pub none: Way,
    /// The plugin's file is one of two, both compiled before.
    pub cached: Way,
    /// The plugin's file is a new one each time.
    pub compiled: Way,
}

/// What came of one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// How fast it was.
    pub measured: Measured,
    /// Changes that reached the output.
    pub swaps: usize,
}

/// What is saved each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    OneOfTwo,
    New,
}

/// None after a request to stop.
pub fn measure(
    ground: &Ground<'_>,
    scratch: &mut Scratch,
    stop: &Stop,
) -> Result<Option<Vec<Round>>> {
    let plan = ground.plan;
    let input = scratch.topic("in");
    super::make(plan, &input, &[])?;
    tracing::info!(events = plan.events, topic = input, "filling the input");
    let mut numbered = Numbered::new(Kafka::connect(&plan.client, &input, None, stop)?);
    let mut generator = Generator::new(Spec { start_ms: START_MS, ..Spec::default() });
    send(&mut generator, Some(plan.events), None, stop, &mut numbered, &mut |_| {})?;
    if stop.stopped() {
        return Ok(None);
    }
    let (_, expected) = numbered.finish()?;
    let mut rounds = Vec::new();
    let mut versions = Versions::default();
    for run in 1..=plan.runs {
        let mut way = |change: Change| {
            let name = format!("{change:?}{run}").to_lowercase();
            let names = Names {
                input: input.clone(),
                output: scratch.topic(&format!("{name}-out")),
                group: scratch.group(&name),
            };
            let task = Task { ground, names, expected: &expected, change };
            let way = task.run(&mut versions, scratch, stop);
            let way = way.with_context(|| format!("run {run}, way {change:?}"))?;
            if let Some(Way { measured, swaps }) = way {
                let events_per_second = measured.events_per_second.round();
                tracing::info!(run, ?change, events_per_second, swaps, "measured");
            }
            Ok::<_, anyhow::Error>(way)
        };
        // Each way is the first as often as the others.
        let mut ways = [Change::None, Change::OneOfTwo, Change::New];
        ways.rotate_left(run as usize % 3);
        let mut found = Vec::new();
        for change in ways {
            let Some(measured) = way(change)? else { return Ok(None) };
            found.push((change, measured));
        }
        let of = |change| {
            let way = found.iter().find(|(other, _)| *other == change);
            way.expect("all three were run").1
        };
        rounds.push(Round {
            none: of(Change::None),
            cached: of(Change::OneOfTwo),
            compiled: of(Change::New),
        });
    }
    Ok(Some(rounds))
}

/// Numbers of plugin files.
#[derive(Default)]
struct Versions {
    saved: u32,
    /// Of those that nobody has seen before.
    new: u32,
}

impl Versions {
    fn next(&mut self, change: Change) -> Option<u32> {
        match change {
            Change::None => return None,
            Change::OneOfTwo => self.saved = u32::from(self.saved == 0),
            Change::New => {
                self.new += 1;
                // 0 and 1 are compiled.
                self.saved = 1 + self.new;
            }
        }
        Some(self.saved)
    }
}

/// One way to read the input.
struct Task<'a> {
    ground: &'a Ground<'a>,
    names: Names,
    expected: &'a Expected,
    change: Change,
}

impl Task<'_> {
    /// None after a request to stop.
    fn run(
        &self,
        versions: &mut Versions,
        scratch: &mut Scratch,
        stop: &Stop,
    ) -> Result<Option<Way>> {
        let plan = self.ground.plan;
        super::make(plan, &self.names.output, &[])?;
        self.ground.save_settings(&self.names, 0)?;
        self.ground.save_plugin(0)?;
        versions.saved = 0;
        let mut live = self.ground.start(scratch)?;
        if !live.begin(stop)? {
            return Ok(None);
        }
        let Some(meter) = self.follow(&mut live, versions, stop)? else { return Ok(None) };
        live.end()?;
        let output = output::read(&plan.client, &self.names.output, self.expected)?;
        let measured = meter.finish(output.times.len() as u64)?;
        Ok(Some(Way { measured, swaps: output.first.len() - 1 }))
    }

    fn follow(
        &self,
        live: &mut Live,
        versions: &mut Versions,
        stop: &Stop,
    ) -> Result<Option<Meter>> {
        let events = self.ground.plan.events;
        let (mut meter, mut seen) = (Meter::default(), 0);
        let mut moved = Instant::now();
        let mut due = None;
        while seen < events {
            if stop.wait(LOOK) {
                return Ok(None);
            }
            let now = Instant::now();
            let done = live.records_in();
            if done > seen {
                (seen, moved) = (done, now);
                meter.committed(seen)?;
                // The first change is in the middle of a period, as all are on average.
                due.get_or_insert(now + PERIOD / 2);
            }
            if due.is_some_and(|due| now >= due)
                && let Some(version) = versions.next(self.change)
            {
                self.ground.save_plugin(version)?;
                due = Some(now + PERIOD);
            }
            check_moving(moved.elapsed(), seen, events)?;
            live.look()?;
        }
        Ok(Some(meter))
    }
}
