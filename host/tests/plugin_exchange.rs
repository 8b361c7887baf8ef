//! What goes down to a guest comes up again, whole; and what a guest sees of the world.

mod plugin_support;

use host::chain::Header;
use host::chain::guest::{Emitted, Guest, Outcome, Rule, RuleBatch, TransformRecord};
use host::event::{
    Change, Column, Edit, Edits, Form, Index, OwnedValue, Packed, Plan, Read, Source, Value,
};
use host::plugin::{Engine, LoadLimits};
use plugin_support::{ANSWER, component, rule_core, transform_core, wasi};

fn configure(bytes: &[u8], settings: &str) -> Guest {
    let engine = Engine::new(None).expect("engine");
    let plugin = engine.load_bytes("a.wasm", bytes, LoadLimits::default()).expect("a plugin");
    plugin.configure(settings, "stage", "logins", &Default::default()).expect("configured")
}

fn rule(bytes: &[u8], settings: &str) -> Box<dyn Rule> {
    match configure(bytes, settings) {
        Guest::Rule(rule) => rule,
        Guest::Transform(_) => panic!("a transform"),
    }
}

/// Answers each column with a change that sets each event's field to what it is.
const ECHO: &str = "
    (i32.store (i32.const 1048) (i32.const 2048))
    (i32.store (i32.const 1052) (local.get $count))
    (loop $columns
      ;; The column at $from, the change at $at.
      (local.set $from (i32.add (local.get $columns) (i32.mul (local.get $i) (i32.const 28))))
      (local.set $at (i32.add (i32.const 2048) (i32.mul (local.get $i) (i32.const 36))))
      (i32.store (local.get $at) (local.get $i))
      (if (i32.load8_u (local.get $from))
        (then
          (i32.store8 offset=4 (local.get $at) (i32.const 1))
          (memory.copy (i32.add (local.get $at) (i32.const 8)) (i32.add (local.get $from) (i32.const 4)) (i32.const 16)))
        (else
          (local.set $n (i32.load offset=8 (local.get $from)))
          (i32.store offset=8 (local.get $at) (i32.const 8192))
          (i32.store offset=12 (local.get $at) (local.get $n))
          (local.set $j (i32.const 0))
          (loop $entries
            (i32.store8 (i32.add (i32.const 8192) (i32.mul (local.get $j) (i32.const 24))) (i32.const 2))
            (memory.copy
              (i32.add (i32.const 8200) (i32.mul (local.get $j) (i32.const 24)))
              (i32.add (i32.load offset=4 (local.get $from)) (i32.mul (local.get $j) (i32.const 16)))
              (i32.const 16))
            (local.set $j (i32.add (local.get $j) (i32.const 1)))
            (br_if $entries (i32.lt_u (local.get $j) (local.get $n))))))
      (i32.store8 offset=24 (local.get $at) (i32.const 3))
      (memory.copy (i32.add (local.get $at) (i32.const 28)) (i32.add (local.get $from) (i32.const 20)) (i32.const 8))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $columns (i32.lt_u (local.get $i) (local.get $count))))
    (i32.const 1024)";

#[test]
fn columns_go_down_and_changes_come_up_unchanged() {
    let mut rule = rule(&component("rule", &rule_core(ANSWER, ECHO, "", "")), "{}");
    let every_case = Column::new(
        &[
            Value::Absent,
            Value::Null,
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Integer(i64::MIN),
            Value::Integer((1 << 53) + 1),
            Value::Number(-0.0),
            Value::Number(f64::MAX),
            Value::Text(""),
            Value::Text("häus \u{1f642} \0 end"),
            Value::Json(r#"{"a":[1e400,"\ud800"]}"#),
        ],
        vec![10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    );
    let texts = Column::new(
        &[Value::Text("one"), Value::Text(""), Value::Text("drü")],
        vec![0, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0],
    );
    for now in [0, -1, i64::MAX] {
        let verdict = rule
            .evaluate(RuleBatch {
                events: 11,
                now,
                columns: &[(&every_case, Form::Values), (&texts, Form::Packed)],
            })
            .expect("an answer");
        assert_eq!(verdict.fates, None);
        let [values, packed] = &verdict.changes[..] else { panic!("{verdict:?}") };
        let set = |value| Edit::Set(value);
        let expected = vec![
            set(OwnedValue::Absent),
            set(OwnedValue::Null),
            set(OwnedValue::Boolean(true)),
            set(OwnedValue::Boolean(false)),
            set(OwnedValue::Integer(i64::MIN)),
            set(OwnedValue::Integer((1 << 53) + 1)),
            set(OwnedValue::Number(-0.0)),
            set(OwnedValue::Number(f64::MAX)),
            set(OwnedValue::Text(String::new())),
            set(OwnedValue::Text("häus \u{1f642} \0 end".into())),
            set(OwnedValue::Json(r#"{"a":[1e400,"\ud800"]}"#.into())),
        ];
        let index = Index::Each(every_case.index().to_vec());
        assert_eq!(values, &Change { write: 0, edits: Edits::Values(expected), index });
        let expected = Packed { bytes: "onedrü".into(), ends: vec![3, 3, 7] };
        let index = Index::Each(texts.index().to_vec());
        assert_eq!(packed, &Change { write: 1, edits: Edits::Texts(expected), index });
    }
}

#[test]
fn a_packed_column_goes_down_as_values_where_not_all_are_texts_or_it_was_not_asked_for() {
    let mut rule = rule(&component("rule", &rule_core(ANSWER, ECHO, "", "")), "{}");
    let mixed = Column::new(&[Value::Text("a"), Value::Null], vec![0, 1]);
    let texts = Column::new(&[Value::Text("a"), Value::Text("b")], vec![0, 1]);
    for (column, form) in [(&mixed, Form::Packed), (&texts, Form::Values)] {
        let columns = [(column, form)];
        let verdict = rule.evaluate(RuleBatch { events: 2, now: 0, columns: &columns });
        let change = verdict.expect("an answer").changes.remove(0);
        assert!(matches!(change.edits, Edits::Values(edits) if edits.len() == 2));
    }
}

#[test]
fn settings_go_down_and_the_plan_comes_up() {
    // Reads the field that the settings name, packed, and the timestamp; writes the same field.
    let plan = "
        (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 2))
        (i32.store (i32.const 1036) (i32.const 3072)) (i32.store (i32.const 1040) (i32.const 1))
        (i32.store (i32.const 2052) (local.get $settings)) (i32.store (i32.const 2056) (local.get $length))
        (i32.store8 (i32.const 2060) (i32.const 1))
        (i32.store8 (i32.const 2064) (i32.const 1))
        (i32.store (i32.const 3072) (local.get $settings)) (i32.store (i32.const 3076) (local.get $length))
        (i32.const 1024)";
    let rule = rule(&component("rule", &rule_core(plan, ANSWER, "", "")), "/ä/b");
    let reads = vec![
        Read { source: Source::Field("/ä/b".into()), form: Form::Packed },
        Read { source: Source::Timestamp, form: Form::Values },
    ];
    assert_eq!(rule.plan(), &Plan { reads, writes: vec!["/ä/b".into()] });
}

#[test]
fn records_go_down_and_outputs_come_up_unchanged() {
    // One output of each record, of the same parts, to the topic that the record names.
    let echo = "
        (i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1028) (local.get $count))
        (loop
          (local.set $from (i32.add (local.get $records) (i32.mul (local.get $i) (i32.const 72))))
          (local.set $at (i32.add (i32.const 2048) (i32.mul (local.get $i) (i32.const 12))))
          (i32.store8 (local.get $at) (i32.const 2))
          (i32.store offset=8 (local.get $at) (i32.const 1))
          (i32.store offset=4 (local.get $at) (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 44))))
          (local.set $at (i32.load offset=4 (local.get $at)))
          (memory.copy (local.get $at) (local.get $from) (i32.const 12))
          (i32.store8 offset=12 (local.get $at) (i32.const 1))
          (memory.copy (i32.add (local.get $at) (i32.const 16)) (i32.add (local.get $from) (i32.const 12)) (i32.const 16))
          (i32.store8 offset=32 (local.get $at) (i32.const 1))
          (memory.copy (i32.add (local.get $at) (i32.const 36)) (i32.add (local.get $from) (i32.const 48)) (i32.const 8))
          ;; What does not come back must be what was sent.
          (if (i64.ne (i64.load offset=40 (local.get $from)) (i64.add (local.get $now) (i64.extend_i32_u (local.get $i)))) (then unreachable))
          (if (i32.ne (i32.load offset=56 (local.get $from)) (i32.const 7)) (then unreachable))
          (if (i64.ne (i64.load offset=64 (local.get $from)) (i64.const 1099511627776)) (then unreachable))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (local.get $count))))
        (i32.const 1024)";
    let Guest::Transform(mut transform) =
        configure(&component("transform", &transform_core(echo, "")), "{}")
    else {
        panic!("a rule")
    };
    let headers =
        [Header { name: "trace", value: Some(b"\xff\0") }, Header { name: "", value: None }];
    let record = TransformRecord {
        key: Some(b"key"),
        value: b"\xde\xad",
        headers: &headers,
        timestamp: Some(1_000),
        partition: 7,
        offset: 1 << 40,
    };
    let bare =
        TransformRecord { key: None, value: b"", headers: &[], timestamp: Some(1_001), ..record };
    let empty_key = TransformRecord { key: Some(b""), timestamp: Some(1_002), ..record };
    let outcomes = transform.transform(&[record, bare, empty_key], 1_000).expect("an answer");
    let emitted = |record: TransformRecord<'_>| {
        Outcome::Emit(vec![Emitted {
            key: record.key.map(Vec::from),
            value: Some(record.value.into()),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.map(Vec::from)))
                .collect(),
            topic: Some("logins".into()),
        }])
    };
    assert_eq!(outcomes, [emitted(record), emitted(bare), emitted(empty_key)]);
}

/// A rule that answers what it sees as the number of a column.
fn looking() -> Vec<u8> {
    let evaluate = format!(
        "{}
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store8 (i32.const 1036) (i32.const 2))
        (i32.store (i32.const 1040) (local.get $n))
        {ANSWER}",
        wasi::LOOK
    );
    wasi::component(&rule_core(ANSWER, &evaluate, wasi::IMPORTS, ""))
}

#[test]
fn a_guest_with_wasi_sees_the_clock_of_its_batch_and_nothing_else() {
    let bytes = looking();
    let look = || {
        let mut rule = rule(&bytes, "{}");
        let mut seen = |now| {
            let verdict =
                rule.evaluate(RuleBatch { events: 1, now, columns: &[] }).expect("an answer");
            match verdict.fates.expect("fates").index {
                Index::AsColumn(seen) => seen,
                other => panic!("{other:?}"),
            }
        };
        [seen(0), seen(1_700_000_000_123), seen(86_400_000)]
    };
    let seen = look();
    assert_eq!(seen.map(|seen| seen & 0b111), [0b011; 3], "{seen:?}");
    assert_ne!(seen[0] >> 3, seen[1] >> 3, "random numbers differ within an instance");
    assert_eq!(seen, look(), "and not between two");
}

#[test]
fn exit_is_a_trap_and_the_process_lives() {
    let bytes = looking();
    let mut rule = rule(&bytes, "{}");
    let fault =
        rule.evaluate(RuleBatch { events: 1, now: 13, columns: &[] }).expect_err("it exits");
    assert_eq!(fault.to_string(), "trap: it called exit with code 1");
    rule.evaluate(RuleBatch { events: 1, now: 14, columns: &[] }).expect("an answer");
}
