//! Every way in which a rule's answer can break the contract is a fault of that rule.

use host::event::{Change, Edit, Edits, Fate, Fates, Index, OwnedValue, Packed, Value, Verdict};

use crate::native::*;

/// A rule that reads `/a` and `/b`, writes `/x` and `/y`, and gives this answer wherever the
/// second of three events is in the batch.
#[track_caller]
fn check_wrong(answer: impl Fn(u32) -> Verdict + Send + 'static, message: &str) {
    let guest = rule(&["/a", "/b"], &["/x", "/y"], move |batch| {
        let column = batch.columns[0].0;
        let bad = (0..column.len()).any(|entry| column.value(entry) == Value::Text("bad"));
        Ok(if bad { answer(batch.events) } else { Verdict::default() })
    });
    let mut chain = chain(vec![guest]);
    let values = [r#"{"a":"x","b":1}"#, r#"{"a":"bad","b":1}"#, r#"{"a":"y","b":2}"#];
    let records = records(&values);
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(&chain, &records, &processed);
    assert_eq!(found.outputs, [(0, values[0].to_owned()), (2, values[2].to_owned())]);
    let dead = (1, "s0".to_owned(), "wrong-answer", format!("wrong answer: {message}"));
    assert_eq!(found.dead_letters, [dead]);
    assert_eq!(processed.stages[0].faults.wrong_answer, 1);
}

fn fates(entries: Vec<Fate>, index: Index) -> Verdict {
    Verdict { fates: Some(Fates { entries, index }), changes: vec![] }
}

fn edits(edits: Vec<Edit>, index: Index) -> Verdict {
    Verdict { fates: None, changes: vec![change(edits, index)] }
}

fn set(value: OwnedValue) -> Verdict {
    edits(vec![Edit::Set(value)], Index::Constant)
}

fn texts(bytes: &[u8], ends: &[u32]) -> Verdict {
    let packed = Packed { bytes: bytes.to_vec(), ends: ends.to_vec() };
    let change = Change { write: 0, edits: Edits::Texts(packed), index: Index::Constant };
    Verdict { fates: None, changes: vec![change] }
}

#[test]
fn fates_that_do_not_fit() {
    check_wrong(
        |_| fates(vec![], Index::Constant),
        "0 fates where there must be 1, one for all events",
    );
    check_wrong(
        |events| fates(vec![Fate::Drop; events as usize + 1], Index::Identity),
        "2 fates where there must be 1, one per event",
    );
    check_wrong(
        |_| fates(vec![Fate::Keep; 4], Index::AsColumn(1)),
        "4 fates where there must be 1, one per value of the column",
    );
    check_wrong(
        |_| fates(vec![Fate::Keep], Index::AsColumn(2)),
        "an answer as column 2, the plan reads 2",
    );
    check_wrong(
        |events| fates(vec![Fate::Keep], Index::Each(vec![0; events as usize + 1])),
        "an index of 2 numbers for 1 events",
    );
    check_wrong(
        |events| fates(vec![Fate::Keep], Index::Each(vec![1; events as usize])),
        "an index names fate 1 of 1",
    );
    check_wrong(
        |events| fates(vec![], Index::Each(vec![0; events as usize])),
        "an index names fate 0 of 0",
    );
}

#[test]
fn edits_that_do_not_fit() {
    let leave = || vec![Edit::Leave];
    check_wrong(
        move |_| edits(vec![], Index::Constant),
        "0 edits where there must be 1, one for all events",
    );
    check_wrong(
        |events| edits(vec![Edit::Leave; events as usize + 1], Index::Identity),
        "2 edits where there must be 1, one per event",
    );
    check_wrong(
        |_| edits(vec![Edit::Leave; 4], Index::AsColumn(1)),
        "4 edits where there must be 1, one per value of the column",
    );
    check_wrong(
        move |_| edits(leave(), Index::AsColumn(7)),
        "an answer as column 7, the plan reads 2",
    );
    check_wrong(
        move |events| edits(leave(), Index::Each(vec![0; events as usize + 2])),
        "an index of 3 numbers for 1 events",
    );
    check_wrong(
        move |events| edits(leave(), Index::Each(vec![9; events as usize])),
        "an index names edit 9 of 1",
    );
}

#[test]
fn fields_that_the_plan_does_not_write_or_twice() {
    check_wrong(
        |_| Verdict {
            fates: None,
            changes: vec![Change { write: 2, ..change(vec![Edit::Leave], Index::Constant) }],
        },
        "a change of field 2, the plan writes 2",
    );
    check_wrong(
        |_| Verdict { fates: None, changes: vec![change(vec![Edit::Leave], Index::Constant); 2] },
        "two changes of one field",
    );
}

/// Only that it is a wrong answer: the words are the batch's.
#[test]
fn values_that_json_does_not_have() {
    for value in [
        OwnedValue::Absent,
        OwnedValue::Number(f64::NAN),
        OwnedValue::Number(f64::INFINITY),
        OwnedValue::Number(f64::NEG_INFINITY),
        OwnedValue::Json(String::new()),
        OwnedValue::Json("{".into()),
        OwnedValue::Json("1 2".into()),
        OwnedValue::Json("[".repeat(10_000)),
    ] {
        let guest = rule(&[], &["/x"], move |_| Ok(set(value.clone())));
        let mut chain = chain(vec![guest]);
        let processed = chain.run(&records(&["{}"]), NOW).unwrap();
        assert_eq!(processed.outputs, []);
        assert_eq!(processed.dead_letters[0].reason.as_str(), "wrong-answer");
    }
}

#[test]
fn packed_texts_that_are_none() {
    for (bytes, ends) in [
        (&b"ab"[..], &[1][..]),
        (b"ab", &[3]),
        (b"ab", &[]),
        (b"", &[]),
        (b"\xff", &[1]),
        (b"ab", &[1, 2]),
    ] {
        let guest = rule(&[], &["/x"], move |_| Ok(texts(bytes, ends)));
        let mut chain = chain(vec![guest]);
        let processed = chain.run(&records(&["{}"]), NOW).unwrap();
        assert_eq!(processed.outputs, [], "{bytes:?} {ends:?}");
        assert_eq!(processed.dead_letters[0].reason.as_str(), "wrong-answer");
    }
    for (bytes, ends) in [("aé".as_bytes(), [2, 3]), (b"abc", [3, 2])] {
        let guest = rule(&[], &["/x"], move |batch| {
            let packed = Packed { bytes: bytes.to_vec(), ends: ends.to_vec() };
            let index = Index::Each(vec![1; batch.events as usize]);
            let change = Change { write: 0, edits: Edits::Texts(packed), index };
            Ok(Verdict { fates: None, changes: vec![change] })
        });
        let mut chain = chain(vec![guest]);
        let processed = chain.run(&records(&["{}"]), NOW).unwrap();
        assert_eq!(processed.outputs, [], "{bytes:?} {ends:?}");
    }
}

#[test]
fn every_index_spreads_right_answers() {
    let values = [r#"{"a":"p"}"#, r#"{"a":"q"}"#, r#"{"a":"p"}"#];
    let number = |n: i64| Edit::Set(OwnedValue::Integer(n));
    let cases: [(Index, Vec<Edit>, [&str; 3]); 4] = [
        (Index::Constant, vec![number(7)], ["7", "7", "7"]),
        (Index::Identity, vec![number(1), number(2), number(3)], ["1", "2", "3"]),
        (Index::AsColumn(0), vec![number(1), number(2)], ["1", "2", "1"]),
        (Index::Each(vec![1, 0, 0]), vec![number(1), number(2)], ["2", "1", "1"]),
    ];
    for (index, edits, expected) in cases {
        let guest = rule(&["/a"], &["/x"], move |_| {
            Ok(Verdict { fates: None, changes: vec![change(edits.clone(), index.clone())] })
        });
        let expected: Vec<String> = values
            .iter()
            .zip(expected)
            .map(|(value, x)| format!(r#"{},"x":{x}}}"#, &value[..value.len() - 1]))
            .collect();
        let outputs: Vec<_> = (0..).zip(expected.iter().map(String::as_str)).collect();
        check(&mut chain(vec![guest]), &values, &outputs, &[]);
    }
    let (keep, drop) = (Fate::Keep, Fate::Drop);
    let cases = [
        (Index::Constant, vec![keep.clone()], vec![0, 1, 2]),
        (Index::Constant, vec![drop.clone()], vec![]),
        (Index::Identity, vec![keep.clone(), drop.clone(), keep.clone()], vec![0, 2]),
        (Index::AsColumn(0), vec![drop.clone(), keep.clone()], vec![1]),
        (Index::Each(vec![1, 0, 0]), vec![drop, keep], vec![0]),
    ];
    for (index, entries, kept) in cases {
        let guest = rule(&["/a"], &[], move |_| Ok(fates(entries.clone(), index.clone())));
        let outputs: Vec<_> = kept.iter().map(|&n: &u32| (n, values[n as usize])).collect();
        check(&mut chain(vec![guest]), &values, &outputs, &[]);
    }
}

#[test]
fn edits_of_events_that_do_not_go_on_are_not_missed() {
    // The edit cannot be made in the event that is dropped: that is no rejection.
    let guest = rule(&["/a"], &["/a/b"], |_| {
        Ok(Verdict {
            fates: Some(Fates { entries: vec![Fate::Drop, Fate::Keep], index: Index::Identity }),
            changes: vec![change(vec![Edit::Set(OwnedValue::Null)], Index::Constant)],
        })
    });
    let values = [r#"{"a":1}"#, r#"{"a":{}}"#];
    let processed = check(&mut chain(vec![guest]), &values, &[(1, r#"{"a":{"b":null}}"#)], &[]);
    assert_eq!((processed.stages[0].dropped, processed.stages[0].rejected), (1, 0));
}
