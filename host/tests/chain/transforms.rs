//! Transforms, alone and between rules.

use host::chain::guest::{Emitted, Outcome};
use host::chain::{Chain, Header, Limits, Payload, Record, Stop};
use host::event::Source;

use crate::native::*;

fn split() -> host::chain::guest::Guest {
    transform(|record| {
        let text = std::str::from_utf8(record.value).unwrap_or_default();
        Outcome::Emit(text.split(';').map(|part| emitted(record, part)).collect())
    })
}

#[test]
fn a_chain_of_transforms_never_parses() {
    let mut chain = chain(vec![transform(|_| Outcome::Pass), split()]);
    let processed = check(
        &mut chain,
        &["not json", "\u{1}\u{2};{", ""],
        &[(0, "not json"), (1, "\u{1}\u{2}"), (1, "{"), (2, "")],
        &[],
    );
    assert_eq!(processed.decode.records, 0);
    assert!(matches!(processed.outputs[0].payload, Payload::Emitted(_)));
}

#[test]
fn a_transform_between_two_rules_splits_what_the_first_wrote_and_feeds_the_second() {
    let parts = transform(|record| {
        let text = std::str::from_utf8(record.value).unwrap();
        let part = |n| emitted(record, &format!(r#"{{"n":{n},"was":{text}}}"#));
        Outcome::Emit(vec![part(1), part(2)])
    });
    let mut chain =
        chain(vec![set_text("/x", "y"), parts, drop_text("/was/a", "no"), set_text("/z", "!")]);
    let processed = check(
        &mut chain,
        &[r#"{"a":1}"#, r#"{"a":"no"}"#, r#"{"a":3}"#],
        &[
            (0, r#"{"n":1,"was":{"a":1,"x":"y"},"z":"!"}"#),
            (0, r#"{"n":2,"was":{"a":1,"x":"y"},"z":"!"}"#),
            (2, r#"{"n":1,"was":{"a":3,"x":"y"},"z":"!"}"#),
            (2, r#"{"n":2,"was":{"a":3,"x":"y"},"z":"!"}"#),
        ],
        &[],
    );
    let records: Vec<u64> = processed.stages.iter().map(|counts| counts.records).collect();
    assert_eq!(records, [3, 3, 6, 4]);
}

#[test]
fn every_outcome_does_what_it_says() {
    let guest = transform(|record| match record.value {
        b"pass" => Outcome::Pass,
        b"drop" => Outcome::Drop,
        b"none" => Outcome::Emit(vec![]),
        b"reject" => Outcome::Reject("no good".into()),
        _ => Outcome::Emit(vec![emitted(record, "new")]),
    });
    let mut chain = chain(vec![guest]);
    let processed = check(
        &mut chain,
        &["pass", "drop", "none", "reject", "emit"],
        &[(0, "pass"), (4, "new")],
        &[(3, "s0", "rejected", "no good")],
    );
    assert_eq!((processed.stages[0].dropped, processed.stages[0].rejected), (2, 1));
    assert_eq!(processed.outputs[0].payload, Payload::Original);
}

#[test]
fn emitted_keys_headers_and_topics_are_the_outputs() {
    let guest = transform(|_| {
        Outcome::Emit(vec![Emitted {
            key: None,
            value: Some(br#"{"a":1}"#.to_vec()),
            headers: vec![("h".into(), None), ("h".into(), Some(b"v".to_vec()))],
            topic: Some("side".into()),
        }])
    });
    let mut chain = chain(vec![guest, set_text("/b", "c")]);
    let records = records(&["x"]);
    let processed = chain.run(&records, NOW).unwrap();
    let view = processed.view(&processed.outputs[0], &records);
    assert_eq!((view.key, view.topic), (None, Some("side")));
    assert_eq!(view.value, Some(&br#"{"a":1,"b":"c"}"#[..]));
    let headers: Vec<_> = view.headers.iter().collect();
    let header = |value| Header { name: "h", value };
    assert_eq!(headers, [header(None), header(Some(&b"v"[..]))]);
}

#[test]
fn a_transform_sees_what_an_earlier_one_emitted() {
    let first = transform(|record| {
        let mut output = emitted(record, "one");
        output.key = Some(b"k2".to_vec());
        output.headers.push(("added".into(), Some(b"1".to_vec())));
        Outcome::Emit(vec![output])
    });
    let second = transform(|record| {
        assert_eq!((record.key, record.value), (Some(&b"k2"[..]), &b"one"[..]));
        assert_eq!((record.timestamp, record.partition, record.offset), (Some(1_000), 3, 0));
        let names: Vec<_> = record.headers.iter().map(|header| header.name).collect();
        assert_eq!(names, ["was", "added"]);
        Outcome::Emit(vec![emitted(record, "two")])
    });
    let mut chain = chain(vec![first, second]);
    let header = [Header { name: "was", value: Some(b"0") }];
    let record = Record { headers: &header, ..records(&["x"])[0] };
    let processed = chain.run(&[record], NOW).unwrap();
    assert_eq!(processed.view(&processed.outputs[0], &[record]).value, Some(&b"two"[..]));
}

#[test]
fn what_is_no_event_is_rejected_by_the_rule_behind_the_transform_and_its_siblings_go_on() {
    let mut chain = chain(vec![split(), drop_text("/a", "x"), set_text("/b", "c")]);
    let records = records(&[r#"{"a":1};nonsense;[];{"a":2}"#, r#"{"a":3}"#]);
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(&chain, &records, &processed);
    let expected =
        [(0, r#"{"a":1,"b":"c"}"#), (0, r#"{"a":2,"b":"c"}"#), (1, r#"{"a":3,"b":"c"}"#)];
    assert_eq!(found.outputs, expected.map(|(input, value)| (input, value.to_owned())));
    assert_eq!(found.dead_letters.len(), 1, "one dead letter carries the input once");
    let (input, place, reason, _) = &found.dead_letters[0];
    assert_eq!((*input, place.as_str(), *reason), (0, "s1", "invalid-json"));
    assert_eq!(processed.stages[1].rejected, 2);
}

#[test]
fn a_topic_that_the_sink_does_not_list_is_a_wrong_answer() {
    let guest = transform(|record| {
        let mut output = emitted(record, "new");
        output.topic = Some(std::str::from_utf8(record.value).unwrap().to_owned());
        Outcome::Emit(vec![output])
    });
    let mut chain = chain(vec![guest]);
    let processed = check(
        &mut chain,
        &["side", "elsewhere", "side"],
        &[(0, "new"), (2, "new")],
        &[(
            1,
            "s0",
            "wrong-answer",
            "wrong answer: emitted to topic \"elsewhere\", which [sink] topics does not list",
        )],
    );
    assert_eq!(processed.stages[0].faults.wrong_answer, 1);
}

#[test]
fn too_few_and_too_many_outcomes_are_wrong_answers() {
    for more in [false, true] {
        let guest = transform_batch(move |records, _| {
            let mut outcomes = vec![Outcome::Pass; records.len()];
            if records.iter().any(|record| record.value == b"bad") {
                if more { outcomes.push(Outcome::Pass) } else { outcomes.truncate(0) }
            }
            Ok(outcomes)
        });
        let message = format!("wrong answer: {} outcomes for 1 records", if more { 2 } else { 0 });
        let dead = (1, "s0", "wrong-answer", message.as_str());
        check(&mut chain(vec![guest]), &["a", "bad", "c"], &[(0, "a"), (2, "c")], &[dead]);
    }
}

#[test]
fn tombstones_pass_by_all_stages_and_observers() {
    let poison = || host::chain::guest::Fault::Trap("x".into());
    let swallow =
        transform(|record| if record.value == b"{}" { Outcome::Drop } else { Outcome::Pass });
    let bury =
        transform(|record| Outcome::Emit(vec![Emitted { value: None, ..emitted(record, "") }]));
    let guests = vec![drop_text("/a", "x"), swallow, bury, fail_on_text("/a", "y", poison())];
    let observers = vec![observer(field_time("/t"), &["/a"])];
    let mut chain = Chain::new(stages(guests), observers, Limits::default()).unwrap();
    let mut records = records(&["", "{}", r#"{"a":"y"}"#]);
    records[0].value = None;
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(&chain, &records, &processed);
    assert_eq!(found.outputs, [(0, "<none>".to_owned()), (2, "<none>".to_owned())]);
    assert_eq!(found.dead_letters, []);
    assert_eq!(processed.outputs[0].payload, Payload::Original);
    assert!(processed.observations[0].outputs.is_empty());
    assert_eq!(processed.stages[0].records, 2);
    assert_eq!(processed.stages[3].records, 0);
}

#[test]
fn a_record_that_grows_too_large_is_a_dead_letter() {
    let limits = Limits { output_record_bytes: 16, ..Limits::default() };
    let original = r#"{"a":"a very long value indeed"}"#;
    let dead = "key and value take 17 bytes, more than output-record = 16";

    let mut chain = Chain::new(stages(vec![set_text("/b", "c")]), vec![], limits.clone()).unwrap();
    let message = dead.replace("17", "19");
    let ok = (0, r#"{"b":"c"}"#);
    let processed = check(
        &mut chain,
        &["{}", r#"{"a":12}"#],
        &[ok],
        &[(1, "encode", "record-too-large", &message)],
    );
    assert_eq!((processed.encode.records, processed.encode.rejected), (2, 1));

    let mut chain = Chain::new(stages(vec![drop_text("/b", "c")]), vec![], limits.clone()).unwrap();
    check(&mut chain, &[original], &[(0, original)], &[]);

    let mut chain = Chain::new(stages(vec![split()]), vec![], limits).unwrap();
    check(
        &mut chain,
        &["1234567890123;12345678901234;3"],
        &[(0, "1234567890123"), (0, "3")],
        &[(0, "s0", "record-too-large", dead)],
    );
}

#[test]
fn a_batch_that_grows_too_large_is_no_result() {
    let limits = Limits { output_batch_bytes: 64, outputs_per_record: 8, ..Limits::default() };
    for guest in [
        set_text("/b", "0123456789"),
        transform(|record| Outcome::Emit(vec![emitted(record, "0123456789012345")])),
    ] {
        let mut chain = Chain::new(stages(vec![guest]), vec![], limits.clone()).unwrap();
        let stopped = stop(&mut chain, &["{}"; 4]);
        assert_eq!(stopped, Stop::OutputTooLarge { records: 4, bytes_max: 64 });
        let records = records(&["{}"; 2]);
        assert_eq!(chain.run(&records, NOW).unwrap().outputs.len(), 2);
    }
    let many = transform(|record| Outcome::Emit(vec![emitted(record, ""); 9]));
    let mut chain = Chain::new(stages(vec![many]), vec![], limits).unwrap();
    let message =
        "wrong answer: 9 records emitted in place of one, more than outputs-per-record = 8";
    check(&mut chain, &["x"], &[], &[(0, "s0", "wrong-answer", message)]);
}

#[test]
fn whether_headers_are_looked_at_is_known() {
    assert!(!chain(vec![drop_text("/a", "x"), set_text("/b", "c")]).reads_headers());
    assert!(chain(vec![set_text("/b", "c"), split()]).reads_headers());
    assert!(!chain(vec![reader(Source::Key)]).reads_headers());
    assert!(chain(vec![reader(Source::Header("h".into()))]).reads_headers());
}
