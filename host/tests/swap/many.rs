//! Many changes of the rules under load, good ones and bad ones.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::ground::*;
use crate::plugin_support::{ANSWER, component, marked_rule_core, rule_core, trapping};
use crate::support::SOON;
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;

/// After so long the group takes a silent member's partitions away.
const SESSION: Duration = Duration::from_secs(3);
/// From one event of each partition to the next.
const PACE: Duration = Duration::from_millis(2);
/// From one swap to the next, besides what it takes.
const REST: Duration = Duration::from_millis(100);
/// After so many swaps the process sleeps for longer than its session.
const REBALANCE_EVERY: u64 = 250;
/// The first of them that has such a sleep before it.
const FIRST_REBALANCE: u64 = 25;

/// Rules that must not stay.
#[derive(Clone, Copy, Debug)]
enum Candidate {
    /// Half of a file.
    HalfWritten,
    /// Traps, or loops, over all that was seen lately.
    Traps,
    Loops,
    /// Does well with what was seen so far, and then traps, loops, or rejects it.
    TrapsLater,
    LoopsLater,
    RejectsLater,
}

impl Candidate {
    const ALL: &[Self] = &[
        Self::TrapsLater,
        Self::HalfWritten,
        Self::RejectsLater,
        Self::Loops,
        Self::LoopsLater,
        Self::Traps,
    ];

    /// What it does not cope with, if that is not what was seen lately.
    fn later(self) -> Option<Events> {
        match self {
            Self::HalfWritten | Self::Traps | Self::Loops => None,
            Self::TrapsLater | Self::LoopsLater => Some(Events::ThreeLetters),
            Self::RejectsLater => Some(Events::Malformed),
        }
    }
}

/// How the rules change.
struct Course {
    swaps: u64,
    /// After so many swaps a candidate is tried.
    candidate_every: u64,
    candidates: &'static [Candidate],
    environment: &'static [(&'static str, &'static str)],
}

/// A pipeline in the middle of it.
struct Ground<'a> {
    pipeline: &'a Pipeline,
    process: &'a mut Process,
    load: &'a Load,
    /// The number that the running rules have.
    generation: u64,
    /// How many rules were refused, and how many gone back from.
    refused: usize,
    gone_back: usize,
}

impl Ground<'_> {
    /// The other one of two settings.
    fn swap(&mut self, number: u64) {
        let settings = ["fallback = \"one\"", "fallback = \"two\""];
        let (from, to) = (settings[number as usize % 2], settings[1 - number as usize % 2]);
        self.pipeline.edit(|text| replace(&text, from, to));
        let (code, body) = reload(self.process);
        self.generation += 1;
        let expected = (200, &self.generation.into());
        assert_eq!((code, &body["generation"]), expected, "{body}");
    }

    /// Tries rules that must not stay, and puts the good ones back into the folder.
    fn attempt(&mut self, candidate: Candidate) {
        let text = fs::read_to_string(self.pipeline.plugins().join("pipeline.toml")).unwrap();
        self.put(candidate);
        match candidate.later() {
            None => {
                let (code, body) = reload(self.process);
                assert_eq!(code, 422, "{candidate:?} {body}");
                self.refused += 1;
            }
            Some(events) => self.go_back(candidate, events),
        }
        self.pipeline.add_plugin("own", &keeps_all());
        self.pipeline.edit(|_| text);
        let (code, body) = reload(self.process);
        let expected = (200, &"unchanged".into(), &self.generation.into());
        let found = (code, &body["outcome"], &body["generation"]);
        assert_eq!(found, expected, "{candidate:?} {body}");
    }

    fn put(&self, candidate: Candidate) {
        let rule = |evaluate| component("rule", &rule_core(ANSWER, evaluate, "", ""));
        let own = match candidate {
            Candidate::HalfWritten => keeps_all()[..100].to_vec(),
            Candidate::Traps => rule("unreachable"),
            Candidate::Loops => rule(LOOP),
            Candidate::TrapsLater => trapping(),
            Candidate::LoopsLater => component("rule", &marked_rule_core(LOOP, "", "")),
            Candidate::RejectsLater => {
                let stage = "plugin = \"timestamps\"\n";
                let rejects = format!("{stage}[stage.settings]\nmalformed = \"reject\"\n");
                return self.pipeline.edit(|text| replace(&text, stage, &rejects));
            }
        };
        self.pipeline.add_plugin("own", &own);
    }

    /// Taken, found out, and gone back from by all workers.
    fn go_back(&mut self, candidate: Candidate, events: Events) {
        let end = Instant::now() + SOON;
        loop {
            let (code, body) = reload(self.process);
            if code == 200 {
                assert_eq!(body["taken"], true, "{candidate:?} {body}");
                break;
            }
            // What the last candidate did not cope with is among what was seen lately still.
            let message = body["message"].as_str().unwrap();
            assert!(message.starts_with("tried on the last "), "{candidate:?} {body}");
            assert!(Instant::now() < end, "{candidate:?} {body}");
            sleep(REST);
        }
        self.load.give(events);
        self.gone_back += 1;
        let is_back = |log: &str| log.matches("rolled back: ").count() == self.gone_back;
        self.process.await_in_log("rolled back", is_back, SOON);
        self.load.give(Events::Good);
        // The candidate has a number, and so has what it was before.
        self.generation += 2;
    }
}

fn keeps_all() -> Vec<u8> {
    component("rule", &rule_core(ANSWER, ANSWER, "", ""))
}

/// What has come of a course.
struct Past {
    pipeline: Pipeline,
    /// Records of each partition.
    sent: u64,
    refused: usize,
    gone_back: usize,
}

fn run(name: &str, course: &Course) -> Past {
    let pipeline = pipeline(name, |text| {
        let text = text.replacen("[[stage]]", "[[stage]]\nplugin = \"own\"\n\n[[stage]]", 1);
        // The first error is one too many: whatever is visible of a candidate is a mistake.
        let text = replace(&text, "error-share-max = 0.05", "error-share-max = 0.000001");
        replace(&text, "errors-min = 20", "errors-min = 1")
    });
    pipeline.add_plugin("own", &keeps_all());
    let brokers = broker().brokers();
    let mut process = pipeline.start_with("a", &brokers, course.environment, &["--workers", "2"]);
    pipeline.await_input(&mut process, SOON);
    let (mut refused, mut gone_back) = (0, 0);
    let sent = under_load(&pipeline, PACE, |load| {
        let mut ground = Ground {
            pipeline: &pipeline,
            process: &mut process,
            load,
            generation: 1,
            refused: 0,
            gone_back: 0,
        };
        let mut candidates = course.candidates.iter().cycle();
        for swap in 0..course.swaps {
            if swap % REBALANCE_EVERY == FIRST_REBALANCE {
                // The group goes on without it: its workers share the partitions anew.
                ground.process.pause();
                sleep(SESSION + Duration::from_secs(1));
                ground.process.resume();
            }
            ground.swap(swap);
            sleep(REST);
            if (swap + 1) % course.candidate_every == 0 {
                ground.attempt(*candidates.next().unwrap());
            }
        }
        (refused, gone_back) = (ground.refused, ground.gone_back);
    });
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    Past { pipeline, sent, refused, gone_back }
}

#[test]
fn many_swaps_under_load_lose_repeat_and_reorder_nothing() {
    let swaps = std::env::var("SWAPS").map_or(50, |swaps| swaps.parse().unwrap());
    let candidates = Candidate::ALL;
    let course = Course { swaps, candidate_every: 8, candidates, environment: &[] };
    let Past { pipeline, sent, refused, gone_back } = run("many", &course);
    let generations = assert_exact(&pipeline, sent);
    eprintln!(
        "{swaps} swaps, {refused} refused, {gone_back} gone back from: \
         {sent} records a partition by {} generations",
        generations.len()
    );
    assert_eq!((refused + gone_back) as u64, swaps / course.candidate_every);
    let taken_over = pipeline.logged(&["a"], "partitions taken over");
    assert!(swaps <= FIRST_REBALANCE || taken_over > 2, "no rebalance");
    assert!(generations.len() as u64 > swaps / 2, "{generations:?}");
    assert_eq!(dead_letters(&pipeline), 0);
}

/// What one worker has in hand by rules that another found broken would go into the transaction of
/// the rules that come after them.
#[test]
fn with_swaps_in_mid_transaction_the_comparison_fails() {
    let course = Course {
        swaps: 24,
        candidate_every: 4,
        candidates: &[Candidate::RejectsLater],
        environment: &[("HOST_TEST_CONTROL", "swap-in-transaction")],
    };
    let Past { pipeline, sent, .. } = run("mid-transaction", &course);
    let letters = dead_letters(&pipeline);
    eprintln!("{letters} dead letters of rules that were given up");
    assert!(letters > 0);
    compare(&pipeline, sent).expect_err("what became a dead letter is not among the outputs");
}
