//! Stages that reject, and stages that reject too much.

use host::chain::{Chain, ChainError, Limits, Stop};
use host::event::Fate;

use crate::native::*;

#[test]
fn what_is_no_event_is_a_dead_letter_of_decoding() {
    let mut chain = chain(vec![set_text("/a", "b")]);
    let values = ["{}", "nonsense", "[1]", r#"{"a":1}"#];
    let records = records(&values);
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(&chain, &records, &processed);
    let expected = [(0, r#"{"a":"b"}"#.to_owned()), (3, r#"{"a":"b"}"#.to_owned())];
    assert_eq!(found.outputs, expected);
    let dead: Vec<_> =
        found.dead_letters.iter().map(|dead| (dead.0, dead.1.as_str(), dead.2)).collect();
    assert_eq!(dead, [(1, "decode", "invalid-json"), (2, "decode", "invalid-json")]);
    assert_eq!((processed.decode.records, processed.decode.rejected), (4, 2));
    assert_eq!(processed.stages[0].records, 2);
}

#[test]
fn dead_letters_come_in_the_order_of_the_inputs() {
    let mut chain = chain(vec![reject_text("/a", "p", "first"), reject_text("/a", "q", "second")]);
    let (p, q) = (r#"{"a":"p"}"#, r#"{"a":"q"}"#);
    let values = [q, p, "", p];
    let records = records(&values);
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(&chain, &records, &processed).dead_letters;
    let found: Vec<_> = found.iter().map(|dead| (dead.0, dead.1.as_str(), dead.2)).collect();
    let (second, first) = ((0, "s1", "rejected"), (1, "s0", "rejected"));
    assert_eq!(found, [second, first, (2, "decode", "invalid-json"), (3, "s0", "rejected")]);
}

#[test]
fn a_long_reason_is_cut_at_a_whole_character() {
    let mut chain = chain(vec![judge("/a", |_| Fate::Reject(format!("x{}", "é".repeat(600))))]);
    let processed = chain.run(&records(&["{}"]), NOW).unwrap();
    assert_eq!(processed.dead_letters[0].message, format!("x{}", "é".repeat(511)));
}

#[test]
fn a_field_that_cannot_be_made_rejects_the_record() {
    let mut chain = chain(vec![set_text("/a/b", "c")]);
    let values = [r#"{"a":{}}"#, r#"{"a":1}"#, r#"{}"#];
    let records = records(&values);
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(&chain, &records, &processed);
    let expected = [(0, r#"{"a":{"b":"c"}}"#.to_owned()), (2, r#"{"a":{"b":"c"}}"#.to_owned())];
    assert_eq!(found.outputs, expected);
    assert_eq!(found.dead_letters.len(), 1);
    assert_eq!(found.dead_letters[0].0, 1);
    assert_eq!((found.dead_letters[0].1.as_str(), found.dead_letters[0].2), ("s0", "rejected"));
    assert!(found.dead_letters[0].3.contains("/a/b"), "{:?}", found.dead_letters);
    assert_eq!(processed.stages[0].rejected, 1);
}

fn rejecting(limits: Limits) -> Chain {
    let guests = vec![drop_text("/a", "drop"), reject_text("/a", "bad", "the value is bad")];
    Chain::new(stages(guests), vec![], limits).unwrap()
}

/// Runs batches of 100 records of which `bad` are rejected.
fn batches(chain: &mut Chain, count: usize, bad: usize) -> Result<(), Stop> {
    let values: Vec<_> =
        (0..100).map(|n| if n < bad { r#"{"a":"bad"}"# } else { r#"{"a":"good"}"# }).collect();
    (0..count).try_for_each(|_| chain.run(&records(&values), NOW).map(drop))
}

#[test]
fn a_stage_that_rejects_more_than_its_share_stops_the_chain() {
    let mut chain = rejecting(Limits::default());
    assert_eq!(batches(&mut chain, 20, 50), Ok(()), "just the share is not over it");
    let stopped = batches(&mut chain, 1, 60).expect_err("it is over the share");
    let Stop::TooManyRejects { stage, rejected: 1060, seen: 2100, reason, .. } = &stopped else {
        panic!("{stopped:?}")
    };
    assert_eq!((stage.as_str(), reason.as_str()), ("s1", "the value is bad"));
    let sentence = stopped.to_string();
    assert!(sentence.contains("raise reject-share-max"), "{sentence}");
}

#[test]
fn the_share_needs_records_enough_to_count() {
    let mut chain = rejecting(Limits::default());
    assert_eq!(batches(&mut chain, 9, 100), Ok(()));
    assert!(matches!(batches(&mut chain, 1, 100), Err(Stop::TooManyRejects { seen: 1000, .. })));
}

#[test]
fn the_share_forgets_what_is_long_past() {
    let mut chain = rejecting(Limits { reject_window: 2_000, ..Limits::default() });
    assert_eq!(batches(&mut chain, 100, 0), Ok(()));
    assert_eq!(batches(&mut chain, 10, 100), Ok(()));
    assert!(matches!(
        batches(&mut chain, 1, 100),
        Err(Stop::TooManyRejects { rejected: 1100, seen: 2000, .. })
    ));
}

#[test]
fn a_share_of_one_switches_the_check_off() {
    let mut chain = rejecting(Limits { reject_share_max: 1.0, ..Limits::default() });
    assert_eq!(batches(&mut chain, 200, 100), Ok(()));
}

#[test]
fn invalid_json_has_a_share_of_its_own() {
    let mut chain = rejecting(Limits::default());
    let mixed: Vec<_> =
        (0..1000).map(|n| if n % 5 < 3 { "{" } else { r#"{"a":"good"}"# }).collect();
    let stopped = stop(&mut chain, &mixed);
    let Stop::TooManyRejects { stage, rejected: 600, seen: 1000, .. } = &stopped else {
        panic!("{stopped:?}")
    };
    assert_eq!(stage, "decode");
}

#[test]
fn all_that_is_wrong_with_a_chain_is_told_at_once() {
    let mut stages = stages(vec![
        rule(&["a"], &[""], |_| Ok(Default::default())),
        drop_text("/a", "x"),
        drop_text("/a", "x"),
    ]);
    stages[2].name = "s1".into();
    stages[1].name = "decode".into();
    stages.extend(crate::native::stages(vec![drop_text("/a", "x")]));
    let errors =
        Chain::new(stages, vec![observer(field_time("t"), &["/ok", "g"])], Limits::default())
            .err()
            .unwrap();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let plans = errors.iter().filter(|error| matches!(error, ChainError::Plan { .. })).count();
    let is_name = |error: &&ChainError| {
        matches!(error, ChainError::Taken { place: 1, .. } | ChainError::Twice { .. })
    };
    let names = errors.iter().filter(is_name).count();
    let observers =
        errors.iter().filter(|error| matches!(error, ChainError::Observer { .. })).count();
    assert_eq!((names, plans, observers), (2, 2, 2), "{texts:#?}");
}

#[test]
fn records_that_run_again_in_halves_count_once_in_the_share() {
    let limits = Limits {
        reject_share_max: 0.4,
        reject_seen_min: 5,
        output_batch_bytes: 50,
        ..Limits::default()
    };
    let guests = vec![reject_text("/a", "bad", "bad"), set_text("/b", "twenty bytes and more")];
    let mut chain = Chain::new(stages(guests), vec![], limits).unwrap();
    let (good, bad) = (r#"{"a":"good"}"#, r#"{"a":"bad"}"#);
    let values = [good, bad, good, bad];
    assert!(matches!(stop(&mut chain, &values), Stop::OutputTooLarge { .. }));
    for half in values.chunks(2) {
        chain.run(&records(half), NOW).expect("four records were seen, fewer than must be");
    }
    let stopped = chain.run(&records(&values[1..2]), NOW);
    assert!(matches!(stopped, Err(Stop::TooManyRejects { rejected: 3, seen: 5, .. })));
}
