//! What a transaction did, counted when it is committed; and what the stages did, committed or not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::dead_letter::Why;
use super::status::{Counters, StageStatus};
use super::trial::Trial;
use crate::chain::{Chain, Place, Processed, Record, StageCounts};
use crate::kafka::Message;

/// One dead letter, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Where it happened.
    pub stage: String,
    /// Its reason.
    pub reason: String,
    /// The reason for a person.
    pub message: String,
    /// Where the record is.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// Former generations whose counts are kept apart; those before are taken together by stage.
const FORMER_MAX: usize = 8;
/// Stages that no longer are and whose counts are kept; those that went first are forgotten.
const FORMER_STAGES_MAX: usize = 256;

/// Counts that wait for the commit.
#[derive(Debug, Default)]
pub struct Tally {
    /// Input records.
    pub records_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Output records.
    pub records_out: u64,
    /// Late records.
    pub late: u64,
    /// Window results.
    pub results: u64,
    /// Events that are too far in the future to move a watermark.
    pub future: u64,
    /// Event times that were missing or malformed.
    pub fallbacks: u64,
    batches: u64,
    oldest: Option<i64>,
    uncommitted: BTreeMap<String, u64>,
    dead_letters: BTreeMap<String, u64>,
    example: Option<Example>,
    stages: Vec<StageStatus>,
}

impl Tally {
    /// For the stages of this chain, which is of this generation.
    pub fn new(chain: &Chain, trial: &Trial) -> Self {
        let named = |place| {
            let plugin = match place {
                Place::Stage(stage) => trial.plugins.get(stage).cloned().unwrap_or_default(),
                Place::Decode | Place::Encode => String::new(),
            };
            let (name, generation) = (chain.place_name(place).to_owned(), trial.number);
            StageStatus { name, plugin, generation, ..StageStatus::default() }
        };
        let stages = (0..chain.stage_names().len()).map(Place::Stage);
        let places = std::iter::once(Place::Decode).chain(stages).chain([Place::Encode]);
        Self { stages: places.map(named).collect(), ..Self::default() }
    }

    /// The chain of another generation takes over. What the ones before did stays, the oldest of
    /// them together.
    pub fn follow(&mut self, chain: &Chain, trial: &Trial) {
        let former = std::mem::replace(&mut self.stages, Self::new(chain, trial).stages);
        let mut kept = BTreeSet::new();
        let mut old: Vec<StageStatus> = Vec::new();
        for stage in former {
            kept.insert(Reverse(stage.generation));
            // The newest come first.
            if stage.generation > 0 && kept.len() <= FORMER_MAX {
                self.stages.push(stage);
                continue;
            }
            match old.iter_mut().find(|old| old.name == stage.name) {
                Some(old) => old.take_in(&stage),
                None => old.push(StageStatus { plugin: String::new(), generation: 0, ..stage }),
            }
        }
        old.truncate(FORMER_STAGES_MAX);
        self.stages.append(&mut old);
    }

    /// A batch went through the chain.
    pub fn ran(&mut self, processed: &Processed, records: &[Record<'_>]) {
        self.batches += 1;
        let oldest = records.iter().filter_map(|record| record.timestamp).min();
        self.oldest = self.oldest.into_iter().chain(oldest).min();
        let counts = std::iter::once(&processed.decode).chain(&processed.stages);
        for (stage, counts) in self.stages.iter_mut().zip(counts.chain([&processed.encode])) {
            add(stage, counts);
        }
    }

    /// A dead letter was written.
    pub fn dead_letter(&mut self, why: Why<'_>, message: &Message<'_>) {
        match self.uncommitted.get_mut(why.reason) {
            Some(count) => *count += 1,
            None => _ = self.uncommitted.insert(why.reason.to_owned(), 1),
        }
        if self.example.is_none() {
            self.example = Some(Example {
                stage: why.stage.to_owned(),
                reason: why.reason.to_owned(),
                message: why.message.to_owned(),
                partition: message.partition,
                offset: message.offset,
            });
        }
    }

    /// All of it is true now.
    pub fn committed(&mut self, counters: &Counters, now: i64) {
        counters.records_in.fetch_add(self.records_in, Relaxed);
        counters.bytes_in.fetch_add(self.bytes_in, Relaxed);
        counters.records_out.fetch_add(self.records_out, Relaxed);
        counters.late.fetch_add(self.late, Relaxed);
        counters.window_results.fetch_add(self.results, Relaxed);
        counters.event_time_fallbacks.fetch_add(self.fallbacks, Relaxed);
        counters.future_events.fetch_add(self.future, Relaxed);
        counters.batches.fetch_add(self.batches, Relaxed);
        if let Some(oldest) = self.oldest {
            let latency = u64::try_from(now - oldest).unwrap_or(0);
            counters.latency_seconds.observe(Duration::from_millis(latency));
        }
        for (reason, count) in std::mem::take(&mut self.uncommitted) {
            *self.dead_letters.entry(reason).or_default() += count;
        }
        self.clear();
    }

    /// Nothing of it has happened.
    pub fn clear(&mut self) {
        *self = Self {
            stages: std::mem::take(&mut self.stages),
            dead_letters: std::mem::take(&mut self.dead_letters),
            example: self.example.take(),
            ..Self::default()
        };
    }

    /// Committed dead letters by reason.
    pub fn dead_letters(&self) -> &BTreeMap<String, u64> {
        &self.dead_letters
    }

    /// The first dead letter since the last call.
    pub fn take_example(&mut self) -> Option<Example> {
        self.example.take()
    }

    /// What each stage did so far.
    pub fn stages(&self) -> &[StageStatus] {
        &self.stages
    }
}

fn add(stage: &mut StageStatus, counts: &StageCounts) {
    stage.records_in += counts.records;
    stage.dropped += counts.dropped;
    stage.rejected += counts.rejected;
    stage.busy += Duration::from_nanos(counts.nanos);
    let faults = counts.faults;
    let kinds = [
        ("trap", faults.trap),
        ("deadline", faults.deadline),
        ("memory", faults.memory),
        ("wrong-answer", faults.wrong_answer),
    ];
    for (kind, count) in kinds {
        if count > 0 {
            *stage.faults.entry(kind).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chain::guest::{Fault, Guest, Outcome, Transform, TransformRecord};
    use crate::chain::{Limits, OnError, Stage};

    struct Pass;

    impl Transform for Pass {
        fn transform(
            &mut self,
            records: &[TransformRecord<'_>],
            _now: i64,
        ) -> Result<Vec<Outcome>, Fault> {
            Ok(vec![Outcome::Pass; records.len()])
        }
    }

    fn chain(names: &[&str]) -> Chain {
        let stage = |name: &&str| Stage {
            name: (*name).to_owned(),
            guest: Guest::Transform(Box::new(Pass)),
            on_error: OnError::default(),
            topics: Arc::new([]),
        };
        let chain = Chain::new(names.iter().map(stage).collect(), Vec::new(), Limits::default());
        chain.unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    #[test]
    fn what_a_stage_did_is_counted_by_generation_and_nothing_is_lost() {
        let record = Record {
            key: None,
            value: Some(b"{}"),
            headers: &[],
            timestamp: None,
            partition: 0,
            offset: 0,
        };
        let mut tally = Tally::default();
        for number in 1..=20 {
            let names = [&["a", "b"][..], &["b", "c"], &["a"], &["c", "a"]][number as usize % 4];
            let mut chain = chain(names);
            let plugins = names.iter().map(|name| format!("{name}-hash"));
            tally.follow(&chain, &Trial::good(number, "hash", 1).with_plugins(plugins));
            tally.ran(&chain.run(&[record], 0).expect("nothing stops it"), &[record]);
        }
        let stage = |stage: &StageStatus| {
            (stage.name.clone(), stage.plugin.clone(), stage.generation, stage.records_in)
        };
        let stages: Vec<_> = tally.stages().iter().map(stage).collect();
        assert_eq!(stages[1], ("a".to_owned(), "a-hash".to_owned(), 20, 1));
        let of = |name: &'static str| stages.iter().filter(move |stage| stage.0 == name);
        let sum = |name| of(name).map(|stage| stage.3).sum::<u64>();
        assert_eq!([sum("a"), sum("b"), sum("c")], [15, 10, 10]);
        let generations: BTreeSet<u64> = stages.iter().map(|stage| stage.2).collect();
        assert_eq!(generations, (12..=20).chain([0]).collect());
        assert_eq!(of("a").filter(|stage| stage.2 == 0).count(), 1, "{stages:?}");
    }
}
