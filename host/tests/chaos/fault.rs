//! What happens to a run, and in which order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::setting::{below, between};
use crate::support::proxy::{Fault as Cut, api};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    Terminate,
    Stop,
    Fence,
    Add,
    Remove,
    BrokerKill,
    RollingRestart,
    Partitioned,
    CutBefore,
    CutAfter,
    Late,
    Swap,
    Refused,
    HalfWritten,
    Trapping,
    DiskFull,
}

impl Kind {
    pub const ALL: [Kind; 17] = [
        Kind::Kill,
        Kind::Terminate,
        Kind::Stop,
        Kind::Fence,
        Kind::Add,
        Kind::Remove,
        Kind::BrokerKill,
        Kind::RollingRestart,
        Kind::Partitioned,
        Kind::CutBefore,
        Kind::CutAfter,
        Kind::Late,
        Kind::Swap,
        Kind::Refused,
        Kind::HalfWritten,
        Kind::Trapping,
        Kind::DiskFull,
    ];

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill -9",
            Kind::Terminate => "SIGTERM",
            Kind::Stop => "SIGSTOP",
            Kind::Fence => "fenced",
            Kind::Add => "instance added",
            Kind::Remove => "instance removed",
            Kind::BrokerKill => "broker kill -9",
            Kind::RollingRestart => "rolling restart",
            Kind::Partitioned => "broker partitioned",
            Kind::CutBefore => "request lost",
            Kind::CutAfter => "reply lost",
            Kind::Late => "request late",
            Kind::Swap => "swap",
            Kind::Refused => "refused file",
            Kind::HalfWritten => "half-written plugin",
            Kind::Trapping => "trapping plugin",
            Kind::DiskFull => "disk full",
        }
    }

    /// Whether it takes no time of its own, so that several come at once.
    pub fn is_quick(self) -> bool {
        matches!(self, Kind::CutBefore | Kind::CutAfter | Kind::Late | Kind::Swap)
    }
}

/// Draws faults: each kind once, in any order, before one comes again.
pub struct Bag {
    /// One broker has nobody to take over from it: stopped in order it may complete a transaction
    /// without its markers (delivery rule 17), so it is only killed.
    rolling: bool,
    left: VecDeque<Kind>,
}

impl Bag {
    pub fn new(brokers: usize) -> Bag {
        Bag { rolling: brokers > 1, left: VecDeque::new() }
    }

    /// The next kind that is possible; the others wait for their turn.
    pub fn draw(
        &mut self,
        random: &mut ChaCha8Rng,
        is_possible: impl Fn(Kind) -> bool,
    ) -> Option<Kind> {
        if self.left.is_empty() {
            self.left = self.shuffled(random);
        }
        let at = self.left.iter().position(|kind| is_possible(*kind))?;
        self.left.remove(at)
    }

    fn shuffled(&self, random: &mut ChaCha8Rng) -> VecDeque<Kind> {
        let all =
            Kind::ALL.into_iter().filter(|kind| self.rolling || *kind != Kind::RollingRestart);
        let mut all: Vec<Kind> = all.collect();
        for place in (1..all.len()).rev() {
            all.swap(place, below(random, place as u32 + 1) as usize);
        }
        all.into()
    }
}

/// What is cut off: requests that are sent again when nobody knows whether they were executed.
const CUT: [i16; 5] = [
    api::PRODUCE,
    api::TXN_OFFSET_COMMIT,
    api::END_TXN,
    api::ADD_PARTITIONS_TO_TXN,
    api::ADD_OFFSETS_TO_TXN,
];

/// A fault of the connection.
pub fn cut(kind: Kind, random: &mut ChaCha8Rng) -> Cut {
    let api = CUT[below(random, CUT.len() as u32) as usize];
    match kind {
        Kind::CutBefore => Cut::LoseRequest { api },
        Kind::CutAfter => Cut::LoseReply { api },
        _ => Cut::Late { api, after: between(random, 500..4_000) },
    }
}

/// How long a fault lasts that does.
pub fn lasts(kind: Kind, random: &mut ChaCha8Rng) -> Duration {
    match kind {
        Kind::Stop => between(random, 1_000..8_000),
        Kind::Partitioned => between(random, 1_000..6_000),
        Kind::DiskFull => between(random, 2_000..5_000),
        Kind::HalfWritten | Kind::Refused => between(random, 300..2_000),
        // Longer than files must be at rest, so that it is tried.
        Kind::Trapping => between(random, 1_500..3_000),
        _ => between(random, 0..1_500),
    }
}

/// How many of each kind there were.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<Kind, u64>);

impl Counts {
    pub fn add(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn add_all(&mut self, other: &Counts) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told: Vec<String> =
            self.0.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        f.write_str(&told.join(", "))
    }
}
