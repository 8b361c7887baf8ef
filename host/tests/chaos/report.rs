//! What is said of a seed, and of all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Counts;
use crate::recovery::Times;
use crate::setting::Setting;
use crate::support::comparison::{Differences, Kind};

/// What came of one seed.
pub struct Outcome {
    pub setting: Setting,
    pub records: u64,
    /// What came out of the windows.
    pub results: u64,
    pub took: Duration,
    /// From the last fault to everything committed and merged.
    pub drained: Duration,
    pub faults: Counts,
    /// How often a worker went back to what is committed, and gave up what it had in hand.
    pub recoveries: usize,
    /// Output records that were written and never committed.
    pub aborted_records: u64,
    pub ended: BTreeMap<&'static str, u64>,
    pub slowest_stop: Duration,
    pub times: Times,
    pub differences: Differences,
}

impl Outcome {
    /// One line.
    pub fn line(&self, seed: u64) -> String {
        let Outcome { setting, records, results, recoveries, aborted_records, .. } = self;
        let (took, drained) = (self.took.as_secs(), self.drained.as_secs_f64());
        let of = |kind| self.differences.of(kind);
        let ended: Vec<String> =
            self.ended.iter().map(|(why, count)| format!("{count} ended: {why}, ")).collect();
        let times: Vec<String> = self
            .times
            .rows()
            .map(|(what, _, half, most)| format!("{what} {half}/{most} ms"))
            .collect();
        format!(
            "seed {seed}: {setting}; {records} records, {results} results of windows, {took} s, drained in {drained:.1} s; \
             {faults}; {ended}{recoveries} recoveries, {aborted_records} output records aborted, \
             SIGTERM to end at most {stop:.1} s; \
             lost {lost}, duplicated {repeated}, out of order {order}, unexpected {unexpected}, \
             windows wrong {windows}, readers differ {readers}; recovery p50/p99: {times}",
            faults = self.faults,
            ended = ended.concat(),
            stop = self.slowest_stop.as_secs_f64(),
            lost = of(Kind::Lost),
            repeated = of(Kind::Repeated),
            order = of(Kind::OutOfOrder),
            unexpected = of(Kind::Unexpected),
            windows = of(Kind::Window),
            readers = of(Kind::Reader),
            times = times.join(", "),
        )
    }
}

/// All seeds together.
#[derive(Default)]
pub struct Totals {
    seeds: u64,
    records: u64,
    results: u64,
    faults: Counts,
    recoveries: usize,
    aborted_records: u64,
    drained: Duration,
    slowest_stop: Duration,
    times: Times,
    by_kind: BTreeMap<Kind, u64>,
}

impl Totals {
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.records += outcome.records;
        self.results += outcome.results;
        self.faults.add_all(&outcome.faults);
        self.recoveries += outcome.recoveries;
        self.aborted_records += outcome.aborted_records;
        self.drained = self.drained.max(outcome.drained);
        self.slowest_stop = self.slowest_stop.max(outcome.slowest_stop);
        for kind in KINDS {
            *self.by_kind.entry(kind).or_default() += outcome.differences.of(kind);
        }
        self.times.add_all(outcome.times);
    }

    /// The tables of the README.
    pub fn tables(&self) -> String {
        let of = |kind| self.by_kind.get(&kind).copied().unwrap_or_default();
        let mut text = format!(
            "\n{seeds} seeds, {records} records, {results} results of windows: {faults}\n\n\
             | | |\n|---|--:|\n\
             | lost | {lost} |\n| duplicated | {repeated} |\n| out of order | {order} |\n\
             | unexpected | {unexpected} |\n| windows wrong | {windows} |\n\
             | seen otherwise by a concurrent reader | {readers} |\n\
             | recoveries: a worker gave up its transaction and went back to what is committed | {recoveries} |\n\
             | output records of aborted transactions, seen by nobody | {aborted} |\n\
             | from the last fault to everything committed, at most | {drained:.1} s |\n\
             | from SIGTERM to the end, at most | {stop:.1} s |\n\n\
             | recovery after | partitions | p50 | p99 |\n|---|--:|--:|--:|\n",
            seeds = self.seeds,
            records = self.records,
            results = self.results,
            faults = self.faults,
            lost = of(Kind::Lost),
            repeated = of(Kind::Repeated),
            order = of(Kind::OutOfOrder),
            unexpected = of(Kind::Unexpected),
            windows = of(Kind::Window),
            readers = of(Kind::Reader),
            recoveries = self.recoveries,
            aborted = self.aborted_records,
            drained = self.drained.as_secs_f64(),
            stop = self.slowest_stop.as_secs_f64(),
        );
        for (what, count, half, most) in self.times.rows() {
            let seconds = |millis: i64| millis as f64 / 1_000.0;
            let (half, most) = (seconds(half), seconds(most));
            text += &format!("| {what} | {count} | {half:.2} s | {most:.2} s |\n");
        }
        text
    }
}

const KINDS: [Kind; 6] =
    [Kind::Lost, Kind::Repeated, Kind::OutOfOrder, Kind::Unexpected, Kind::Window, Kind::Reader];
