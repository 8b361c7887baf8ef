//! Records that make a stage fail.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host::chain::guest::{Fault, Guest};
use host::chain::{Chain, Limits, OnError, Stop};
use host::event::{Value, Verdict};

use crate::native::*;

fn trap() -> Fault {
    Fault::Trap("unreachable".into())
}

fn with(guests: Vec<Guest>, on_error: OnError, limits: Limits) -> Chain {
    let mut stages = stages(guests);
    for stage in &mut stages {
        stage.on_error = on_error;
    }
    Chain::new(stages, vec![], limits).unwrap()
}

#[test]
fn a_value_dropped_in_one_stage_never_reaches_the_next() {
    let mut chain = chain(vec![drop_text("/a", "poison"), fail_on_text("/a", "poison", trap())]);
    let processed = check(
        &mut chain,
        &[r#"{"a":"poison"}"#, r#"{"a":"good"}"#, r#"{"a":"poison"}"#],
        &[(1, r#"{"a":"good"}"#)],
        &[],
    );
    assert_eq!(processed.stages[0].dropped, 2);
    assert_eq!(processed.stages[1].records, 1);
    assert_eq!(processed.stages[1].faulty_calls, 0);
}

#[test]
fn a_value_overwritten_in_one_stage_never_reaches_the_next() {
    let mut chain = chain(vec![set_text("/a", "good"), fail_on_text("/a", "poison", trap())]);
    check(&mut chain, &[r#"{"a":"poison"}"#], &[(0, r#"{"a":"good"}"#)], &[]);
}

#[test]
fn the_one_record_in_a_thousand_that_traps_is_the_one_dead_letter() {
    for guilty in [0, 499, 500, 998, 999] {
        let values: Vec<String> =
            (0..1000)
                .map(|n| {
                    if n == guilty {
                        r#"{"a":"poison"}"#.into()
                    } else {
                        format!(r#"{{"a":"{n}"}}"#)
                    }
                })
                .collect();
        let mut chain = chain(vec![
            fail_on_text("/a", "poison", trap()),
            edit("/a", "/b", |value| {
                let Value::Text(text) = value else { panic!("all are texts") };
                host::event::Edit::Set(host::event::OwnedValue::Text(format!("{text}!")))
            }),
        ]);
        let records = records(&values);
        let processed = chain.run(&records, NOW).unwrap();
        let found = summary(&chain, &records, &processed);
        let expected: Vec<_> = (0..1000)
            .filter(|&n| n != guilty)
            .map(|n| (n as u32, format!(r#"{{"a":"{n}","b":"{n}!"}}"#)))
            .collect();
        assert_eq!(found.outputs, expected);
        let dead = (guilty as u32, "s0".into(), "trap", "trap: unreachable".into());
        assert_eq!(found.dead_letters, [dead]);
        assert_eq!(processed.stages[0].faults.trap, 1);
        assert!(processed.stages[0].faulty_calls <= 5, "{:?}", processed.stages[0]);
    }
}

#[test]
fn several_guilty_records_are_all_found() {
    let values: Vec<String> = (0..64)
        .map(|n| format!(r#"{{"a":"{}"}}"#, if n % 32 == 5 { "poison" } else { "good" }))
        .collect();
    let mut chain = chain(vec![fail_on_text("/a", "poison", Fault::Memory(1 << 20))]);
    let records = records(&values);
    let processed = chain.run(&records, NOW).unwrap();
    let dead: Vec<_> = processed.dead_letters.iter().map(|dead| dead.input).collect();
    assert_eq!(dead, [5, 37]);
    assert_eq!(processed.dead_letters[0].reason.as_str(), "memory");
    assert_eq!(processed.outputs.len(), 62);
}

#[test]
fn each_on_error_does_what_it_says() {
    let values = [r#"{"a":"x"}"#, r#"{"a":"poison"}"#, r#"{"a":"y"}"#];
    let guests =
        || vec![set_text("/b", "1"), fail_on_text("/a", "poison", trap()), set_text("/c", "2")];
    let (x, y) = (r#"{"a":"x","b":"1","c":"2"}"#, r#"{"a":"y","b":"1","c":"2"}"#);
    let dead = (1, "s1", "trap", "trap: unreachable");

    let mut chain = with(guests(), OnError::DeadLetter, Limits::default());
    check(&mut chain, &values, &[(0, x), (2, y)], &[dead]);

    let mut chain = with(guests(), OnError::Skip, Limits::default());
    let processed = check(&mut chain, &values, &[(0, x), (2, y)], &[]);
    assert_eq!((processed.stages[1].skipped, processed.stages[1].faults.trap), (1, 1));

    let mut chain = with(guests(), OnError::Pass, Limits::default());
    let passed = r#"{"a":"poison","b":"1","c":"2"}"#;
    let processed = check(&mut chain, &values, &[(0, x), (1, passed), (2, y)], &[]);
    assert_eq!((processed.stages[1].passed, processed.stages[1].faults.trap), (1, 1));

    let mut chain = with(guests(), OnError::Stop, Limits::default());
    assert_eq!(
        stop(&mut chain, &values),
        Stop::GuiltyRecord { stage: "s1".into(), fault: trap(), partition: 3, offset: 1 }
    );
}

#[test]
fn each_on_error_holds_for_transforms_too() {
    let guest = || {
        transform_batch(|records, _| {
            if records.iter().any(|record| record.value == b"poison") {
                return Err(trap());
            }
            Ok(records
                .iter()
                .map(|record| host::chain::guest::Outcome::Emit(vec![emitted(record, "new")]))
                .collect())
        })
    };
    let values = ["x", "poison", "y"];
    let dead = (1, "s0", "trap", "trap: unreachable");
    let mut chain = with(vec![guest()], OnError::DeadLetter, Limits::default());
    check(&mut chain, &values, &[(0, "new"), (2, "new")], &[dead]);
    let mut chain = with(vec![guest()], OnError::Skip, Limits::default());
    check(&mut chain, &values, &[(0, "new"), (2, "new")], &[]);
    let mut chain = with(vec![guest()], OnError::Pass, Limits::default());
    check(&mut chain, &values, &[(0, "new"), (1, "poison"), (2, "new")], &[]);
    let mut chain = with(vec![guest()], OnError::Stop, Limits::default());
    assert!(matches!(stop(&mut chain, &values), Stop::GuiltyRecord { offset: 1, .. }));
}

#[test]
fn a_stage_that_loops_on_every_record_is_broken() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let guest = rule(&[], &[], move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Err(Fault::Deadline(Duration::from_millis(100)))
    });
    let mut chain = with(vec![guest], OnError::Skip, Limits::default());
    let values = vec!["{}"; 1000];
    let stopped = stop(&mut chain, &values);
    let Stop::StageBroken { stage, calls: told, fault, partition: 3, .. } = &stopped else {
        panic!("{stopped:?}")
    };
    assert_eq!((stage.as_str(), *told), ("s0", 33));
    assert_eq!(*fault, Fault::Deadline(Duration::from_millis(100)));
    assert_eq!(calls.load(Ordering::Relaxed), 33);
    let sentence = stopped.to_string();
    assert!(sentence.contains("\"s0\" is broken: 33 of its calls failed"), "{sentence}");
    assert!(sentence.contains("no answer within 100 ms"), "{sentence}");
}

#[test]
fn the_time_that_faults_take_is_limited() {
    let limits = Limits { fault_time_max: Duration::ZERO, ..Limits::default() };
    let mut chain = with(vec![fail_on_text("/a", "poison", trap())], OnError::Skip, limits);
    let stopped = stop(&mut chain, &[r#"{"a":"poison"}"#]);
    assert!(matches!(stopped, Stop::StageBroken { calls: 1, .. }), "{stopped:?}");
}

#[test]
fn the_budget_is_one_transactions_and_one_stages() {
    // Two calls for each guilty record that is a batch of its own.
    let limits = Limits { faulty_calls_max: 4, ..Limits::default() };
    let guests = || vec![fail_on_text("/a", "p", trap()), fail_on_text("/a", "q", trap())];
    let mut chain = with(guests(), OnError::Skip, limits);
    let (p, q) = ([r#"{"a":"p"}"#], [r#"{"a":"q"}"#]);
    check(&mut chain, &p, &[], &[]);
    check(&mut chain, &p, &[], &[]);
    check(&mut chain, &q, &[], &[]);
    check(&mut chain, &q, &[], &[]);
    chain.transaction_started();
    check(&mut chain, &p, &[], &[]);
    check(&mut chain, &p, &[], &[]);
    assert!(matches!(stop(&mut chain, &p), Stop::StageBroken { calls: 5, .. }));
}

#[test]
fn a_batch_that_runs_again_in_halves_spends_the_budget_once() {
    // Two calls find the one guilty record of four, and no more may fail.
    let limits = Limits { faulty_calls_max: 2, output_batch_bytes: 50, ..Limits::default() };
    let guests = vec![fail_on_text("/a", "p", trap()), set_text("/b", "twenty bytes and more")];
    let mut chain = with(guests, OnError::Skip, limits);
    let values = [r#"{"a":"p"}"#, r#"{"a":"q"}"#, r#"{"a":"q"}"#, r#"{"a":"q"}"#];
    assert!(matches!(stop(&mut chain, &values), Stop::OutputTooLarge { records: 4, .. }));
    let out = r#"{"a":"q","b":"twenty bytes and more"}"#;
    check(&mut chain, &values[..2], &[(1, out)], &[]);
    assert!(matches!(stop(&mut chain, &values[2..]), Stop::OutputTooLarge { records: 2, .. }));
    check(&mut chain, &values[2..3], &[(0, out)], &[]);
    check(&mut chain, &values[3..], &[(0, out)], &[]);
}

#[test]
fn a_fault_that_does_not_repeat_is_nobodys() {
    let mut first = true;
    let guest = rule(&["/a"], &["/b"], move |batch| {
        if std::mem::take(&mut first) {
            return Err(trap());
        }
        let edits = (0..batch.columns[0].0.len())
            .map(|_| host::event::Edit::Set(host::event::OwnedValue::Boolean(true)))
            .collect();
        Ok(Verdict { fates: None, changes: vec![change(edits, host::event::Index::AsColumn(0))] })
    });
    let mut chain = chain(vec![guest]);
    let processed = check(
        &mut chain,
        &[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#],
        &[(0, r#"{"a":1,"b":true}"#), (1, r#"{"a":2,"b":true}"#), (2, r#"{"a":1,"b":true}"#)],
        &[],
    );
    assert_eq!(processed.stages[0].faulty_calls, 1);
    assert_eq!(processed.stages[0].faults.total(), 0);
}

#[test]
fn a_record_is_guilty_only_where_a_fresh_instance_fails_on_it() {
    // Fails at each third call since its last failure, whatever the records.
    let mut calls = 0;
    let worn_out = rule(&["/a"], &[], move |_| {
        calls += 1;
        if calls == 3 {
            calls = 0;
            return Err(trap());
        }
        Ok(Verdict::default())
    });
    let mut chain = chain(vec![worn_out]);
    let mut faulty_calls = 0;
    for count in [1, 1, 1, 1, 3, 1, 5, 2, 1, 1, 1, 4] {
        let values = vec![r#"{"a":1}"#; count];
        let outputs: Vec<_> = (0..count as u32).map(|input| (input, values[0])).collect();
        chain.transaction_started();
        let processed = check(&mut chain, &values, &outputs, &[]);
        faulty_calls += processed.stages[0].faulty_calls;
    }
    assert!(faulty_calls >= 4, "{faulty_calls}");
}

#[test]
fn a_record_that_loops_in_a_full_batch_costs_few_calls() {
    let deadline = Fault::Deadline(Duration::from_millis(100));
    for guilty in [0, 1, 124, 125, 1_000, 1_998, 1_999] {
        let mut values = vec![r#"{"a":"good"}"#; 2_000];
        values[guilty] = r#"{"a":"poison"}"#;
        let mut chain = chain(vec![fail_on_text("/a", "poison", deadline.clone())]);
        let records = records(&values);
        let processed = chain.run(&records, NOW).unwrap();
        let dead: Vec<_> = processed.dead_letters.iter().map(|dead| dead.input as usize).collect();
        assert_eq!((dead, processed.outputs.len()), (vec![guilty], 1_999));
        assert!(processed.stages[0].faulty_calls <= 5, "{:?}", processed.stages[0]);
    }
}

#[test]
fn a_stage_that_cannot_start_again_stops_the_chain() {
    let guest = rule(&[], &[], |_| Err(Fault::Instance("out of address space".into())));
    let mut chain = with(vec![guest], OnError::Skip, Limits::default());
    assert_eq!(
        stop(&mut chain, &["{}", "{}"]),
        Stop::Instance { stage: "s0".into(), message: "out of address space".into() }
    );
}

#[test]
fn the_time_of_processing_is_the_same_in_the_search() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let guest = rule(&["/a"], &[], move |batch| {
        told.lock().unwrap().push((batch.now, batch.events, batch.columns[0].0.len()));
        let column = batch.columns[0].0;
        let hit = (0..column.len()).any(|entry| column.value(entry) == Value::Integer(2));
        if hit { Err(trap()) } else { Ok(Verdict::default()) }
    });
    let mut chain = chain(vec![guest]);
    // Parts of two: 1 and 1, 2 and 3, and 3 and 3 from there on.
    let mut values = [r#"{"a":3}"#; 32];
    values[..3].copy_from_slice(&[r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#]);
    let outputs: Vec<_> = (0..32).filter(|&n| n != 2).map(|n| (n as u32, values[n])).collect();
    let dead = (2, "s0", "trap", "trap: unreachable");
    check(&mut chain, &values, &outputs, &[dead]);
    // The dictionaries of a part hold its own values only.
    let mut parts = vec![(NOW, 32, 3), (NOW, 2, 1), (NOW, 2, 2), (NOW, 1, 1), (NOW, 1, 1)];
    parts.extend([(NOW, 2, 1); 14]);
    assert_eq!(*seen.lock().unwrap(), parts);
}
