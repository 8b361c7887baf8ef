//! What delivery costs, from topic to topic, on an Apache Kafka of its own with processes of the host.
//!
//! `cargo bench --bench delivery` measures; `-- throughput`, `-- restore` or `-- recovery` one of
//! them, `--events N` with so many events a run, `--rounds N` so often. For a machine with nothing else
//! to do.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails may panic")]

mod recovery;
mod restore;
#[path = "../../tests/support/mod.rs"]
mod support;
mod throughput;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use host::demo::generate::{Mix, Spec};

use support::mix;

/// For one run to its end.
const RUN: Duration = Duration::from_secs(600);
/// Events a second of event time.
const EVENT_RATE: u32 = 500;

#[derive(Parser)]
#[command(name = "delivery")]
struct Arguments {
    /// What to measure; all if nothing is said.
    what: Option<What>,
    /// How many events a run has.
    #[arg(long, default_value_t = 1_500_000)]
    events: u64,
    /// How often each way is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// Exactly-once against at-least-once, by commit interval.
    Throughput,
    /// How long a process takes to have the state of many open groups.
    Restore,
    /// How long a partition stands still whose process ends.
    Recovery,
}

fn main() {
    let Arguments { what, events, rounds, bench: _ } = Arguments::parse();
    let is_asked = |one: What| what.is_none_or(|what| what == one);
    if is_asked(What::Throughput) {
        throughput::throughput(events, rounds);
    }
    if is_asked(What::Restore) {
        restore::restore(events);
    }
    if is_asked(What::Recovery) {
        recovery::recovery(rounds);
    }
}

/// Each event of a user of its own, of which some are good for nothing.
fn spec(start_ms: i64) -> Spec {
    let mix = Mix { missing: 0.01, malformed: 0.01, invalid: 0.01, ..mix() };
    Spec { seed: 1, start_ms, rate: EVENT_RATE, users: 0, mix, ..Spec::default() }
}

/// The text with another setting than the shipped one.
fn changed(text: &str, shipped: &str, own: &str) -> String {
    assert!(text.contains(shipped), "no {shipped} is shipped");
    text.replace(shipped, own)
}
