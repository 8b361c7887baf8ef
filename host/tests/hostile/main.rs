//! Plugins that do their worst, each in front of a default rule in a real chain: what they spoil is
//! their own records, and the chain goes on.

mod ground;
mod guests;
#[path = "../plugin_support/mod.rs"]
mod plugin_support;
mod rounds;

use host::plugin::{ConfigureError, Limits};

use ground::{Ground, brief, check, check_batches, configure, patient};
use guests::*;

const GAVE_UP: &str = "trap: it gave up: a panic or an abort";

#[test]
fn a_loop_without_end_costs_its_record() {
    check(&rule(LOOP), brief(), "deadline", "no answer within 100 ms");
}

#[test]
fn a_loop_in_a_full_batch_costs_its_record() {
    let batches: [(usize, &[usize]); 2] = [(2_000, &[1_999]), (2_000, &[])];
    let message = "no answer within 100 ms";
    check_batches(&rule(LOOP), brief(), &batches, "deadline", message);
}

#[test]
fn memory_without_end_costs_its_record() {
    let message = "more than 67108864 bytes of memory needed";
    check(&rule(ALLOCATE), patient(), "memory", message);
}

#[test]
fn a_recursion_without_end_costs_its_record() {
    let message = "trap: its calls nest too deep for the stack of 512 KiB";
    check(&rule(RECURSE), patient(), "trap", message);
}

#[test]
fn one_record_in_a_thousand_that_traps_is_the_one_dead_letter() {
    let batches: [(usize, &[usize]); 4] =
        [(1_000, &[0]), (1_000, &[731]), (1_000, &[999]), (1_000, &[])];
    check_batches(&rule(TRAP), patient(), &batches, "trap", GAVE_UP);
}

#[test]
fn a_transform_that_traps_costs_its_record() {
    check(&transform(TRAP), patient(), "trap", GAVE_UP);
}

#[test]
fn a_plugin_that_traps_at_configure_never_comes_into_a_chain() {
    let refused = configure(&traps_at_configure(), &patient());
    let Err(ConfigureError::Failed(fault)) = refused else { panic!("it was configured") };
    assert_eq!(fault.to_string(), GAVE_UP);
    Ground::without().run_alone(60);
}

#[test]
fn too_few_and_too_many_answers_and_such_that_point_nowhere_cost_their_record() {
    for (deed, message) in [
        (fates(0, IDENTITY), "0 fates where there must be 1, one per event"),
        (fates(2_000, IDENTITY), "2000 fates where there must be 1, one per event"),
        (fates(2, CONSTANT), "2 fates where there must be 1, one for all events"),
        (fates(1, AS_COLUMN_9), "column 9"),
        (fates(1, EACH_OUT_OF_RANGE), "an index names fate 4294967295 of 1"),
        (fates(1, EACH_TOO_LONG), "an index of 2000 numbers for 1 events"),
    ] {
        check(&rule(&deed), patient(), "wrong-answer", message);
    }
    let message = "0 outcomes for 1 records";
    check(&transform(NO_OUTCOMES), patient(), "wrong-answer", message);
    let message = "5000 outcomes for 1 records";
    check(&transform(MANY_OUTCOMES), patient(), "wrong-answer", message);
}

#[test]
fn text_that_is_not_utf_8_costs_its_record() {
    let message = "wrong answer: invalid utf-8 sequence of 1 bytes from index 0";
    check(&rule(REJECT_NOT_UTF8), patient(), "wrong-answer", message);
    check(&rule(&packed_not_utf8()), patient(), "wrong-answer", "UTF-8");
}

#[test]
fn a_hundred_megabytes_cost_their_record() {
    let large = Limits { memory_bytes: 256 << 20, ..patient() };
    let message = "wrong answer: more bytes than the host takes over in one call";
    check(&rule(&hundred_megabytes()), large, "wrong-answer", message);
    // One megabyte of memory, a hundred times in the answer.
    check(&rule(&a_megabyte_a_hundred_times()), patient(), "wrong-answer", message);
}

#[test]
fn a_million_outputs_cost_their_record() {
    let message = "wrong answer: more bytes than the host takes over in one call";
    check(&transform(&outputs(1_000_000)), patient(), "wrong-answer", message);
    let message = "wrong answer: 1001 records out of one, more than its 1000";
    check(&transform(&outputs(1_001)), patient(), "wrong-answer", message);
}

#[test]
fn a_write_that_was_not_declared_costs_its_record() {
    let message = "wrong answer: a change of field 7, the plan writes 1";
    check(&rule(&undeclared_write()), patient(), "wrong-answer", message);
}

#[test]
fn a_flood_of_log_lines_costs_nothing_and_one_without_end_its_record() {
    Ground::with(&rule(&log_lines(1_000)), patient()).run_innocent();
    check(&rule(LOG_FOR_EVER), brief(), "deadline", "no answer within 100 ms");
}

#[test]
fn wasi_gives_nothing_but_the_time_of_the_batch_and_fixed_numbers() {
    let notes = || {
        let mut ground = Ground::with(&looking(), patient());
        [0, 1_700_000_000_123].map(|now| ground.note(now))
    };
    let seen = notes();
    // The clock shows the batch's time, waiting an hour is over at once, and all else is empty.
    assert_eq!(seen.map(|seen| seen & 0b111), [0b011; 2], "{seen:?}");
    assert_eq!(seen, notes(), "random numbers are those of every instance");
    // Asked more often than it may hold handles, it holds on to none.
    let mut ground = Ground::with(&looking(), patient());
    (100..1_200).for_each(|now| assert_eq!(ground.note(now) & 0b111, 0b011));
}

#[test]
fn what_a_plugin_keeps_between_calls_decides_nothing() {
    // It counts its calls and traps at each third: whoever that hits is asked again elsewhere.
    let mut ground = Ground::with(&counting(), patient());
    ground.run_innocent();
    assert!(ground.faulty_calls > 0, "it has trapped");
}

#[test]
fn a_leak_is_mended_by_a_fresh_instance_out_of_sight() {
    // A megabyte a call, which would be too much at the sixty-fourth.
    let mut ground = Ground::with(&leaking(), patient());
    ground.repeat(200);
    assert_eq!(ground.faulty_calls, 0);
}
