//! All of it again and again, in a process that has nothing else to do: nothing may pile up.

use std::fs;
use std::process::Command;

use host::plugin::Limits;

use crate::ground::{Ground, brief, patient};
use crate::guests::*;

/// Set in the process that does the rounds.
const CHILD: &str = "HOSTILE_ROUNDS";
const ROUNDS: usize = 200;
/// Rounds until all that is made once has been made.
const WARM: usize = 20;
/// What the resident memory may grow by after that, and what it may be at any time.
const GROWTH_MIB_MAX: u64 = 32;
const PEAK_MIB_MAX: u64 = 640;

#[test]
fn rounds_of_everything_leave_no_memory_threads_or_files_behind() {
    if std::env::var_os(CHILD).is_some() {
        return rounds();
    }
    let name = "rounds::rounds_of_everything_leave_no_memory_threads_or_files_behind";
    let mut child = Command::new(std::env::current_exe().expect("this test has a file"));
    child.args(["--exact", name, "--test-threads=1"]).env(CHILD, "1");
    let output = child.output().expect("this test can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn rounds() {
    let small = || Limits { memory_bytes: 8 << 20, ..patient() };
    let large = Limits { memory_bytes: 256 << 20, ..patient() };
    let guilty = [
        (rule(TRAP), small(), "trap", 1),
        (rule(ALLOCATE), small(), "memory", 1),
        (rule(RECURSE), small(), "trap", 1),
        (rule(&fates(2_000, IDENTITY)), small(), "wrong-answer", 1),
        (rule(&packed_not_utf8()), small(), "wrong-answer", 1),
        (rule(&undeclared_write()), small(), "wrong-answer", 1),
        (transform(MANY_OUTCOMES), small(), "wrong-answer", 1),
        (transform(&outputs(1_000_000)), patient(), "wrong-answer", 10),
        (rule(&hundred_megabytes()), large, "wrong-answer", 10),
        (rule(LOOP), brief(), "deadline", 20),
    ];
    let innocent = [looking(), counting(), leaking(), rule(&log_lines(100))];
    let make = |(bytes, limits, ..): &(Vec<u8>, Limits, _, _)| Ground::with(bytes, limits.clone());
    let mut guilty_grounds: Vec<_> = guilty.iter().map(make).collect();
    let mut innocent_grounds: Vec<_> =
        innocent[1..].iter().map(|bytes| Ground::with(bytes, patient())).collect();
    let mut looking = Ground::with(&innocent[0], patient());
    let mut before = None;
    for round in 0..ROUNDS {
        if round == WARM {
            before = Some(Usage::now());
        }
        for (ground, (_, _, reason, every)) in guilty_grounds.iter_mut().zip(&guilty) {
            if round % every == 0 {
                ground.run_one_guilty(round % 20, reason);
            }
        }
        for ground in &mut innocent_grounds {
            ground.run_one_innocent(round % 20);
        }
        looking.note(100 + round as i64);
        // As after a change of the rules: fresh plugins, and the old ones gone.
        if round % 50 == 0 {
            guilty_grounds[0] = make(&guilty[0]);
        }
    }
    let (before, after) = (before.expect("more rounds than that"), Usage::now());
    assert_eq!((before.threads, before.files), (after.threads, after.files));
    let growth = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(growth <= GROWTH_MIB_MAX << 10, "{before:?}, then {after:?}");
    assert!(after.peak_kib <= PEAK_MIB_MAX << 10, "{after:?}");
}

/// What this process uses.
#[derive(Debug)]
struct Usage {
    resident_kib: u64,
    peak_kib: u64,
    threads: u64,
    files: usize,
}

impl Usage {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
        };
        let files = fs::read_dir("/proc/self/fd").expect("Linux").count();
        Self {
            resident_kib: number("VmRSS:"),
            peak_kib: number("VmHWM:"),
            threads: number("Threads:"),
            files,
        }
    }
}
