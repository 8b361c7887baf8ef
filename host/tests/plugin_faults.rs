//! What a guest can do wrong, what the host calls it, and that the next call works all the same.

mod plugin_support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use host::chain::guest::{Fault, Guest, Rule, RuleBatch, TransformRecord};
use host::event::{Fates, Index, Verdict};
use host::plugin::{ConfigureError, Engine, Limits, LoadLimits, Plugin};
use plugin_support::{ANSWER, component, rule_core, transform_core};

fn plugin(bytes: &[u8]) -> Plugin {
    let engine = Engine::new(None).expect("engine");
    engine.load_bytes("a.wasm", bytes, LoadLimits::default()).expect("a plugin")
}

fn configure(bytes: &[u8], limits: &Limits) -> Result<Guest, ConfigureError> {
    plugin(bytes).configure("{}", "stage", "topic", limits)
}

fn rule(core: &str, limits: &Limits) -> Box<dyn Rule> {
    match configure(&component("rule", core), limits) {
        Ok(Guest::Rule(rule)) => rule,
        Ok(Guest::Transform(_)) => panic!("a transform"),
        Err(error) => panic!("{error}"),
    }
}

fn evaluate(rule: &mut dyn Rule, now: i64) -> Result<Verdict, Fault> {
    rule.evaluate(RuleBatch { events: 1, now, columns: &[] })
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 1 << 20,
        recycle_memory_bytes: 1 << 19,
        call: Duration::from_millis(200),
        output_batch_bytes: 200_000,
        output_record_bytes: 1_000,
        ..Limits::default()
    }
}

const LOG: &str = r#"(import "pipeline:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

/// A rule that does one thing where `now` is 1, and keeps all events else.
fn evil(deed: &str) -> String {
    let rest = r#"
        (func $recurse (param i32) (result i32)
          (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
        (data (i32.const 256) "panicked at src/lib.rs:7: no\nsuch \ff\fe")"#;
    let evaluate = format!("(if (i64.eq (local.get $now) (i64.const 1)) (then {deed})) {ANSWER}");
    rule_core(ANSWER, &evaluate, LOG, rest)
}

#[track_caller]
fn check(deed: &str, expected: Fault) {
    let mut rule = rule(&evil(deed), &limits());
    for _ in 0..2 {
        assert_eq!(evaluate(&mut *rule, 0), Ok(Verdict::default()));
        assert_eq!(evaluate(&mut *rule, 1), Err(expected.clone()));
    }
    assert_eq!(evaluate(&mut *rule, 0), Ok(Verdict::default()));
}

fn trap(words: &str) -> Fault {
    Fault::Trap(words.into())
}

fn wrong(words: &str) -> Fault {
    Fault::WrongAnswer(words.into())
}

#[test]
fn a_loop_without_end_is_ended() {
    let start = Instant::now();
    // One event: 100 µs more than the call's own time.
    check("(loop (br 0))", Fault::Deadline(Duration::from_micros(200_100)));
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[test]
fn memory_without_end_is_refused() {
    check(
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
        Fault::Memory(1 << 20),
    );
}

#[test]
fn a_guest_that_lives_with_refused_memory_is_left_alone() {
    let deed = "(drop (memory.grow (i32.const 1000)))";
    let mut rule = rule(&evil(deed), &limits());
    for _ in 0..3 {
        assert_eq!(evaluate(&mut *rule, 1), Ok(Verdict::default()));
    }
}

#[test]
fn what_the_plugin_itself_forbids_is_no_matter_of_limits() {
    let core = evil("(drop (memory.grow (i32.const 2))) unreachable")
        .replace(r#"(memory (export "memory") 4)"#, r#"(memory (export "memory") 4 5)"#);
    let mut rule = rule(&core, &limits());
    assert_eq!(evaluate(&mut *rule, 1), Err(trap("it gave up: a panic or an abort")));
}

#[test]
fn a_recursion_without_end_is_a_trap() {
    check(
        "(drop (call $recurse (i32.const 0)))",
        trap("its calls nest too deep for the stack of 512 KiB"),
    );
}

#[test]
fn a_trap_is_told_in_plain_words() {
    check("unreachable", trap("it gave up: a panic or an abort"));
    check(
        "(drop (i32.div_u (i32.const 1) (i32.wrap_i64 (i64.sub (local.get $now) (i64.const 1)))))",
        trap("it divided by zero"),
    );
    check("(drop (i32.load (i32.const -8)))", trap("it reached outside its memory"));
}

#[test]
fn the_last_error_in_the_log_is_the_reason_of_a_trap() {
    let log = |level: u32, length: u32| {
        format!("(call $log (i32.const {level}) (i32.const 256) (i32.const {length}))")
    };
    let deed = format!("{} {} {} unreachable", log(3, 8), log(3, 33), log(2, 5));
    check(&deed, trap("panicked at src/lib.rs:7: no such (it gave up: a panic or an abort)"));
    // A reason is not that of a later call.
    let mut rule = rule(&evil(&log(3, 33)), &limits());
    assert_eq!(evaluate(&mut *rule, 1), Ok(Verdict::default()));
}

/// Stores a verdict with one `reject` whose text is at `text` with `length` bytes.
fn reject(text: u32, length: u32) -> String {
    format!(
        "(i32.store8 (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 1))
         (i32.store8 (i32.const 2048) (i32.const 2))
         (i32.store (i32.const 2052) (i32.const {text})) (i32.store (i32.const 2056) (i32.const {length}))"
    )
}

#[test]
fn an_answer_that_breaks_the_wit_is_a_wrong_answer() {
    // Text that is not UTF-8, reaches out of the memory, lies there alone.
    check(&reject(290, 2), wrong("invalid utf-8 sequence of 1 bytes from index 0"));
    check(&reject(262_140, 8), wrong("string pointer/length out of bounds of memory"));
    check(&reject(u32::MAX, u32::MAX), wrong("string pointer/length out of bounds of memory"));
    // No such case of a variant, a pointer that is not aligned or outside the memory.
    check("(i32.store8 (i32.const 1024) (i32.const 9))", wrong("invalid option discriminant"));
    check("(return (i32.const 1025))", wrong("return pointer not aligned"));
    check("(return (i32.const 262140))", wrong("pointer out of bounds of memory"));
}

#[test]
fn a_list_longer_than_the_memory_or_the_limit_is_a_wrong_answer() {
    let changes = |count: u32| {
        format!(
            "(i32.store (i32.const 1048) (i32.const 4096)) (i32.store (i32.const 1052) (i32.const {count}))"
        )
    };
    check(&changes(u32::MAX), wrong("list pointer/length out of bounds of memory"));
    check(&changes(5_000), wrong("more bytes than the host takes over in one call"));
}

#[test]
fn a_text_over_the_limit_of_a_record_is_a_wrong_answer() {
    // One change, one edit: set(text of 1,001 bytes).
    let deed = "(i32.store (i32.const 1048) (i32.const 2048)) (i32.store (i32.const 1052) (i32.const 1))
        (i32.store (i32.const 2056) (i32.const 4096)) (i32.store (i32.const 2060) (i32.const 1))
        (i32.store8 (i32.const 4096) (i32.const 2)) (i32.store8 (i32.const 4104) (i32.const 5))
        (i32.store (i32.const 4112) (i32.const 8192)) (i32.store (i32.const 4116) (i32.const 1001))";
    check(deed, wrong("1001 bytes for one record, more than its 1000"));
}

#[test]
fn a_transform_may_not_make_more_or_larger_records_than_its_limits() {
    // One outcome: emit, so many outputs; each with the same value of so many bytes.
    let transform = |outputs: u32, bytes: u32| {
        let core = transform_core(
            &format!(
                "(i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1028) (i32.const 1))
                 (i32.store8 (i32.const 2048) (i32.const 2))
                 (i32.store (i32.const 2052) (i32.const 4096)) (i32.store (i32.const 2056) (i32.const {outputs}))
                 (loop
                   (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $i) (i32.const 44))))
                   (i32.store8 (i32.add (local.get $at) (i32.const 12)) (i32.const 1))
                   (i32.store (i32.add (local.get $at) (i32.const 20)) (i32.const {bytes}))
                   (local.set $i (i32.add (local.get $i) (i32.const 1)))
                   (br_if 0 (i32.lt_u (local.get $i) (i32.const {outputs}))))
                 (i32.const 1024)"
            ),
            "",
        );
        let limits = Limits { outputs_per_record: 3, ..limits() };
        let Ok(Guest::Transform(mut transform)) =
            configure(&component("transform", &core), &limits)
        else {
            panic!("no transform")
        };
        let record = TransformRecord {
            key: None,
            value: b"",
            headers: &[],
            timestamp: None,
            partition: 0,
            offset: 0,
        };
        transform.transform(&[record], 0).map(|outcomes| outcomes.len())
    };
    assert_eq!(transform(3, 1_000), Ok(1));
    assert_eq!(transform(4, 1_000), Err(wrong("4 records out of one, more than its 3")));
    assert_eq!(transform(1, 1_001), Err(wrong("1001 bytes for one record, more than its 1000")));
}

#[test]
fn an_instance_that_has_grown_is_replaced_between_two_calls() {
    // Grows by a page and answers how often it has been called, as the number of a column.
    let counting = "
        (drop (memory.grow (i32.const 1)))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store8 (i32.const 1036) (i32.const 2))
        (i32.store (i32.const 1040) (global.get $calls))
        (i32.const 1024)";
    let core = rule_core(ANSWER, counting, "", "(global $calls (mut i32) (i32.const 0))");
    let mut rule = rule(&core, &limits());
    let mut calls = || match evaluate(&mut *rule, 0) {
        Ok(Verdict { fates: Some(Fates { index: Index::AsColumn(calls), .. }), .. }) => calls,
        other => panic!("{other:?}"),
    };
    // 4 pages at the start and 8 at the mark: the ninth page is the last.
    let seen: Vec<_> = (0..12).map(|_| calls()).collect();
    assert_eq!(seen, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]);
}

/// What the guest's `configure` comes to.
#[track_caller]
fn check_configure(body: &str, expected: ConfigureError) {
    let core = rule_core(
        body,
        ANSWER,
        LOG,
        r#"
        (func $recurse (param i32) (result i32)
          (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
        (data (i32.const 256) "`mode` must be a or b")"#,
    );
    let limits = Limits { configure: Duration::from_millis(50), ..limits() };
    match configure(&component("rule", &core), &limits) {
        Ok(_) => panic!("it was configured"),
        Err(error) => assert_eq!(error, expected),
    }
}

#[test]
fn a_refusal_is_told_apart_from_a_failure() {
    let refuse = "(i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store (i32.const 1028) (i32.const 256)) (i32.store (i32.const 1032) (i32.const 21))
        (i32.const 1024)";
    check_configure(refuse, ConfigureError::Refused("`mode` must be a or b".into()));
    let failed = ConfigureError::Failed;
    check_configure("unreachable", failed(trap("it gave up: a panic or an abort")));
    check_configure(
        "(loop (br 0)) unreachable",
        failed(Fault::Deadline(Duration::from_millis(50))),
    );
    check_configure(
        "(call $recurse (i32.const 0))",
        failed(trap("its calls nest too deep for the stack of 512 KiB")),
    );
    check_configure(
        "(return (i32.const 262144))",
        failed(wrong("pointer out of bounds of memory")),
    );
}

#[test]
fn a_guest_that_starts_with_too_much_memory_is_refused() {
    let core = rule_core(ANSWER, ANSWER, "", "")
        .replace(r#"(memory (export "memory") 4)"#, r#"(memory (export "memory") 100)"#);
    let error = configure(&component("rule", &core), &limits()).err().expect("too much");
    assert_eq!(error, ConfigureError::Failed(Fault::Memory(1 << 20)));
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_flood_of_log_lines_is_cut_and_counted_also_over_instances() {
    // 1,000 lines of 64 bytes at level warn; then a trap, so that each call has a new instance.
    let deed = "(loop
        (call $log (i32.const 2) (i32.const 256) (i32.const 26))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000)))) unreachable";
    let limits = Limits { log_line_bytes: 8, log_lines_per_second: 20, ..limits() };
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let start = Instant::now();
    tracing::subscriber::with_default(subscriber, || {
        let mut rule = rule(&evil(deed), &limits);
        for _ in 0..3 {
            assert_eq!(evaluate(&mut *rule, 1), Err(trap("it gave up: a panic or an abort")));
        }
    });
    let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    let written = text.lines().filter(|line| line.contains("panicked")).count();
    assert!(text.lines().all(|line| !line.contains("panicked at")), "{text}");
    assert!(text.contains("stage=\"stage\" plugin="), "{text}");
    let allowed = 20 * (1 + start.elapsed().as_secs() as usize + 1);
    assert!((20..=allowed).contains(&written), "{written} lines, {allowed} allowed");
}
