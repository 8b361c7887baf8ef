//! What a seed runs on, and the numbers of the environment.

use std::fmt;
use std::time::Duration;

use chrono::Utc;
use host::demo::generate::{Mix, Spec};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

use crate::support::counting::{Shape, Window};
use crate::support::mix;

/// Events a second of the wall clock; slow enough for the faults to come while they flow.
pub const PACE: u64 = 2_500;
/// Events a second of event time: some windows a run.
const EVENT_RATE: u32 = 500;
/// The most processes that a run has at a time.
pub const PROCESSES_MAX: usize = 6;
const PARTITIONS_MAX: u32 = 64;

/// Windows of the other shapes, beside the shipped one: overlapping ones, and sessions that many
/// partitions and instances make a part of each.
pub const MORE_WINDOWS: [Window; 2] = [
    Window {
        name: "hops",
        shape: Shape::Hopping { size_ms: 15_000, every_ms: 6_000 },
        grace_ms: 2_000,
        by: &["device_category"],
    },
    Window {
        name: "visits",
        shape: Shape::Session { gap_ms: 1_000 },
        grace_ms: 1_000,
        by: &["app_version", "locale"],
    },
];

/// A `pipeline.toml` with these as well.
pub fn with_more_windows(text: &str) -> String {
    assert!(text.contains("\n[sink]"));
    let more: String = MORE_WINDOWS.iter().map(shown).collect();
    text.replacen("\n[sink]", &format!("{more}\n[sink]"), 1)
}

/// A window as `pipeline.toml` has it; none closes by the clock.
fn shown(window: &Window) -> String {
    let Window { name, shape, grace_ms, by } = window;
    let shape = match shape {
        Shape::Tumbling { size_ms } => format!("size = \"{size_ms}ms\""),
        Shape::Hopping { size_ms, every_ms } => {
            format!("size = \"{size_ms}ms\"\nevery = \"{every_ms}ms\"")
        }
        Shape::Session { gap_ms } => format!("gap = \"{gap_ms}ms\""),
    };
    let by: Vec<String> = by.iter().map(|member| format!("\"/{member}\"")).collect();
    let by = if by.len() == 1 { by.concat() } else { format!("[{}]", by.join(", ")) };
    format!(
        "\n[[window]]\nname = \"{name}\"\n{shape}\ngrace = \"{grace_ms}ms\"\nby = {by}\n\
         time = {{ field = \"/timestamp\" }}\nidle = \"1h\"\n"
    )
}

/// A number below `bound`.
pub fn below(random: &mut ChaCha8Rng, bound: u32) -> u32 {
    random.next_u32() % bound
}

/// A time between two, in milliseconds.
pub fn between(random: &mut ChaCha8Rng, millis: std::ops::Range<u32>) -> Duration {
    let span = millis.end - millis.start;
    Duration::from_millis(u64::from(millis.start + below(random, span)))
}

/// A number of the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().expect("a number in the environment") }
}

/// The cluster, the topics and the processes of a run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// One; or three, with three replicas of which two must be in sync.
    pub brokers: usize,
    /// Of every topic.
    pub partitions: i32,
    /// The workers of each process that is there at the start.
    pub workers: Vec<u32>,
}

impl Setting {
    /// That of a seed. Every second one has three brokers, and one in four few partitions.
    pub fn draw(seed: u64, random: &mut ChaCha8Rng) -> Setting {
        let brokers = if seed.is_multiple_of(2) { 3 } else { 1 };
        let partitions_max = if below(random, 4) == 0 { 4 } else { PARTITIONS_MAX };
        let partitions = 1 + below(random, partitions_max) as i32;
        let processes = 1 + below(random, PROCESSES_MAX as u32);
        let workers = (0..processes).map(|_| 1 + below(random, 2)).collect();
        Setting { brokers, partitions, workers }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { brokers, partitions, workers } = self;
        write!(f, "{brokers} brokers, {partitions} partitions, workers {workers:?}")
    }
}

/// Events with everything that a pipeline has to put up with, each of a user of its own: two with
/// the same content would hide that they were exchanged, or that one came twice in the place of both.
pub fn events(seed: u64, count: u64) -> Spec {
    let mix = Mix { missing: 0.01, malformed: 0.01, invalid: 0.01, ..mix() };
    let lasts_ms = (count * 1_000 / u64::from(EVENT_RATE)) as i64;
    let start_ms = Utc::now().timestamp_millis() - lasts_ms;
    Spec { seed, start_ms, rate: EVENT_RATE, users: 0, mix, ..Spec::default() }
}
